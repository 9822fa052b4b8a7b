// What Autocast keeps.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

#include "atlas/autograd/autocast.h"
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

ATLAS_INLINE bool autocasts(const Tensor& x) {
  return x.device().is_cuda() && (x.dtype() == float32 || x.dtype() == bfloat16) &&
         (AutocastState::get().dtype == bfloat16 || (inference_precision() == bfloat16 && !grad_enabled()));
}

ATLAS_INLINE Tensor narrow_weight(const Tensor& t) {
  return t.defined() && t.dtype() == float32 ? AutocastState::get().narrowed(t) : t;
}

}  // namespace detail

ATLAS_INLINE Autocast::Autocast(DType dtype) {
  check(dtype == bfloat16 || dtype == float32, "autocast", "computes in bfloat16 or float32, not in {}", name(dtype));
  detail::AutocastState& state = detail::AutocastState::get();
  before_ = std::exchange(state.dtype, dtype);
  ++state.depth;
}
ATLAS_INLINE Autocast::~Autocast() {
  detail::AutocastState& state = detail::AutocastState::get();
  state.dtype = before_;
  if (--state.depth == 0) state.end(grad_enabled());
}

ATLAS_INLINE DType autocast_dtype() { return detail::AutocastState::get().dtype; }

}  // namespace atlas::inline ATLAS_ABI
