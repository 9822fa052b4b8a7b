// CPU kernels of dropout and drop_path.
#pragma once

#include <algorithm>
#include <cstring>

#include "atlas/core/parallel.h"
#include "atlas/kernels/dropout.h"

namespace atlas::inline ATLAS_ABI::cpu {

ATLAS_INLINE void dropout(const Tensor& x, double p, uint64_t seed, uint64_t stream, int64_t first, Tensor& y) {
  const int64_t n = x.numel();
  // A 24-bit draw is kept when it reaches the threshold: exact for p = 0 (all) and p = 1 (none).
  const auto threshold = static_cast<uint32_t>(p * 0x1p24 + 0.5);
  visit_float(x, "dropout", [&](auto tag) {
    using T = decltype(tag);
    const T* xp = x.data<T>();
    T* yp = y.data<T>();
    const T scale = p < 1 ? static_cast<T>(1 / (1 - p)) : T(0);
    parallel_for(n, 16384, [&](int64_t begin, int64_t end) {
      // Four elements share a draw; those at the ends may be fewer.
      for (int64_t i = begin, word = (first + begin) % 4; i < end; word = 0) {
        const Philox draw(seed, stream, static_cast<uint64_t>((first + i) / 4));
        const int64_t stop = std::min(end, i + 4 - word);
        for (; i < stop; ++i, ++word) yp[i] = (draw.v[word] >> 8) >= threshold ? xp[i] * scale : T(0);
      }
    });
  });
}

ATLAS_INLINE void drop_path(const Tensor& x, double p, uint64_t seed, uint64_t stream, Tensor& y) {
  if (x.numel() == 0) return;
  const int64_t rows = x.shape()[0], length = x.numel() / rows;
  const auto threshold = static_cast<uint32_t>(p * 0x1p24 + 0.5);
  visit_float(x, "drop_path", [&](auto tag) {
    using T = decltype(tag);
    const T* xp = x.data<T>();
    T* yp = y.data<T>();
    const T scale = p < 1 ? static_cast<T>(1 / (1 - p)) : T(0);
    parallel_for(x.numel(), 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end;) {
        const int64_t row = i / length, stop = std::min(end, (row + 1) * length);
        const Philox draw(seed, stream, static_cast<uint64_t>(row / 4));
        if ((draw.v[row % 4] >> 8) >= threshold) {
          for (int64_t j = i; j < stop; ++j) yp[j] = xp[j] * scale;
        } else {
          std::memset(yp + i, 0, static_cast<size_t>(stop - i) * sizeof(T));
        }
        i = stop;
      }
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
