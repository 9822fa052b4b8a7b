// Who looks at what every layer computes, and what that means for joining layers. Layers only offer the forms they can
// be computed in; which one is taken is decided here, from grad mode and from who watches.
#pragma once

#include <functional>
#include <utility>

#include "atlas/autograd/node.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// Sees a layer (its address) and its output.
using LayerObserver = std::function<void(const void* layer, const Tensor& output)>;
inline const LayerObserver*& layer_observer() {
  thread_local const LayerObserver* observer = nullptr;
  return observer;
}

/// The output of a layer, shown to whoever watches. Nobody there, it costs a test of a pointer.
inline Tensor watched(const void* layer, Tensor output) {
  if (const LayerObserver* observer = layer_observer(); observer != nullptr) [[unlikely]]
    (*observer)(layer, output);
  return output;
}

/// True when layers may be joined and use what was derived from their weights: nothing is recorded, and nobody watches.
inline bool inference_mode() { return !grad_enabled() && layer_observer() == nullptr; }

/// together() in inference, otherwise apart(): two forms of the same layers, where the first cannot be recorded.
template <class Together, class Apart>
Tensor joined_in_inference(const Together& together, const Apart& apart) {
  return inference_mode() ? together() : apart();
}

/// together() unless somebody watches, otherwise apart(): two forms of the same layers, where the first can be
/// recorded, but does not show each layer's output.
template <class Together, class Apart>
Tensor joined_unless_watched(const Together& together, const Apart& apart) {
  return layer_observer() == nullptr ? together() : apart();
}

}  // namespace detail

/// While it lives, a function sees the output of every layer that runs on this thread, inner layers before those they
/// belong to, and no layers are joined.
///
/// Example: `const LayerWatch watch([&](const void* layer, const Tensor& y) { shapes[layer] = y.shape(); });`
class LayerWatch {
 public:
  explicit LayerWatch(detail::LayerObserver see)
      : see_(std::move(see)), before_(std::exchange(detail::layer_observer(), &see_)) {}
  ~LayerWatch() { detail::layer_observer() = before_; }
  LayerWatch(const LayerWatch&) = delete;
  LayerWatch& operator=(const LayerWatch&) = delete;

 private:
  detail::LayerObserver see_;
  const detail::LayerObserver* before_;
};

}  // namespace atlas::inline ATLAS_ABI
