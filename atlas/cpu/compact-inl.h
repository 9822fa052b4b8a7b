// CPU bodies of kernels/compact.h.
#pragma once

#include <algorithm>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/kernels/compact.h"

namespace atlas::inline ATLAS_ABI::cpu {

ATLAS_INLINE void true_positions(const Tensor& mask, Tensor& index) {
  constexpr int64_t kPiece = 1 << 16;
  const int64_t n = mask.numel(), pieces = (n + kPiece - 1) / kPiece;
  const bool* m = mask.data<bool>();
  int64_t* to = index.data<int64_t>();
  // Each piece is counted first, so that all of them know where their positions begin.
  int64_t* begins = workspace<int64_t>(pieces, 6);
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p)
      begins[p] = std::count(m + p * kPiece, m + std::min(n, (p + 1) * kPiece), true);
  });
  int64_t total = 0;
  for (int64_t p = 0; p < pieces; ++p) {
    const int64_t count = begins[p];
    begins[p] = total;
    total += count;
  }
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      int64_t* next = to + begins[p];
      for (int64_t i = p * kPiece; i < std::min(n, (p + 1) * kPiece); ++i)
        if (m[i]) *next++ = i;
    }
  });
}

ATLAS_INLINE void unravel(const Tensor& position, const Shape& shape, Tensor& index) {
  const int64_t* from = position.data<int64_t>();
  int64_t* to = index.data<int64_t>();
  const int axes = shape.size();
  parallel_for(position.numel(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      int64_t rest = from[k];
      for (int axis = axes - 1; axis >= 0; --axis) {
        to[k * axes + axis] = rest % shape[axis];
        rest /= shape[axis];
      }
    }
  });
}

ATLAS_INLINE void put(const Tensor& x, const Tensor& index, Tensor& y) {
  visit_any(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    const int64_t* at = index.data<int64_t>();
    T* to = y.data<T>();
    parallel_for(x.numel(), 16384, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) to[at[k]] = from[k];
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
