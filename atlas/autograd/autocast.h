// Autocast: on CUDA devices the heavy ops compute in bfloat16, while weights, their gradients and the optimiser stay
// float32.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

#include "atlas/autograd/node.h"
#include "atlas/core/precision.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// What Autocast guards of this thread have set, and the weights that were converted under them.
class AutocastState {
 public:
  static AutocastState& get() {
    thread_local AutocastState state;
    return state;
  }
  /// `t`, a float32 weight, in bfloat16, outside the graph; converted once for each change of its memory.
  Tensor narrowed(const Tensor& t) {
    if (depth == 0 && entries_.size() >= purge_at_) {  // no guard ends that would do it
      end(false);
      purge_at_ = 2 * entries_.size() + 64;
    }
    Entry& e = entries_[t.impl().storage.get()];
    const bool same = !e.storage.expired() && e.version == t.impl().storage->version() && e.offset == t.offset() &&
                      e.narrow.shape() == t.shape() && e.strides == t.strides();
    if (!same) {
      Tensor narrow = empty(t.shape(), bfloat16, t.device());
      copy_elements(narrow, t);
      e = {t.impl().storage, t.impl().storage->version(), t.offset(), t.strides(), std::move(narrow)};
    }
    return e.narrow;
  }
  /// At the end of the outermost guard. Weights that are being trained change anyway; those of inference stay narrowed.
  void end(bool trained) {
    if (trained)
      entries_.clear();
    else
      std::erase_if(entries_, [](const auto& e) { return e.second.storage.expired(); });
  }

  DType dtype = float32;
  int depth = 0;

 private:
  struct Entry {
    std::weak_ptr<Storage> storage;
    uint64_t version = 0;
    int64_t offset = 0;
    Shape strides;
    Tensor narrow;
  };
  std::unordered_map<const Storage*, Entry> entries_;
  size_t purge_at_ = 64;
};

/// True when an op on x is to run in bfloat16: under a guard, or where nothing is recorded and inference_precision() is
/// bfloat16.
inline bool autocasts(const Tensor& x) {
  return x.device().is_cuda() && (x.dtype() == float32 || x.dtype() == bfloat16) &&
         (AutocastState::get().dtype == bfloat16 || (inference_precision() == bfloat16 && !grad_enabled()));
}
/// A weight as such an op reads it, outside the graph: its gradient is made in the weight's own type.
inline Tensor narrow_weight(const Tensor& t) {
  return t && t.dtype() == float32 ? AutocastState::get().narrowed(t) : t;
}

}  // namespace detail

/// While it lives, ops of this thread on CUDA tensors compute as mixed precision does: matmul, linear, convolutions,
/// attention and the selective scan take their float32 operands in bfloat16 (products are summed in float32),
/// everything else works in the type it is given. Norms, softmax, losses and the states of scans are float32 inside.
/// Parameters stay float32, and so are their gradients. Ops on the CPU are not affected.
///
/// Backward needs no guard: it computes in the types of the forward pass.
///
/// Example: `Tensor loss; { const Autocast mixed; loss = cross_entropy(model(x), labels); } loss.backward();`
class Autocast {
 public:
  /// @param dtype  bfloat16, or float32 to switch an outer guard off
  explicit Autocast(DType dtype = bfloat16) {
    check(dtype == bfloat16 || dtype == float32, "autocast", "computes in bfloat16 or float32, not in {}", name(dtype));
    detail::AutocastState& state = detail::AutocastState::get();
    before_ = std::exchange(state.dtype, dtype);
    ++state.depth;
  }
  ~Autocast() {
    detail::AutocastState& state = detail::AutocastState::get();
    state.dtype = before_;
    if (--state.depth == 0) state.end(grad_enabled());
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  DType before_ = float32;
};

/// What the ops of this thread on CUDA devices compute in: bfloat16 under an Autocast guard, else float32.
inline DType autocast_dtype() { return detail::AutocastState::get().dtype; }

}  // namespace atlas::inline ATLAS_ABI
