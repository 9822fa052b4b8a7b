// CPU bodies of kernels/order.h.
#pragma once

#include <algorithm>
#include <numeric>
#include <type_traits>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/kernels/order.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

inline constexpr int64_t kOrderTile = 64;  // columns walked together

/// Calls f(offset, width) for tiles of neighboring columns: x + offset is the tile's first element, columns follow it.
template <class F>
void for_each_tile(int64_t outer, int64_t n, int64_t inner, const F& f) {
  const int64_t tile = std::min(inner, kOrderTile), tiles = (inner + tile - 1) / tile;
  parallel_for(outer * tiles, std::max<int64_t>(1, 16384 / (n * tile)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t o = t / tiles, c = t % tiles * tile;
      f(o, c, std::min(tile, inner - c));
    }
  });
}

}  // namespace detail

ATLAS_INLINE void argmax_forward(const Tensor& x, int64_t n, int64_t inner, Tensor& index) {
  if (index.numel() == 0) return;
  visit_number(x, "argmax", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    int64_t* to = index.data<int64_t>();
    detail::for_each_tile(index.numel() / inner, n, inner, [&](int64_t o, int64_t c, int64_t width) {
      T best[detail::kOrderTile];
      const T* row = from + o * n * inner + c;
      int64_t* at = to + o * inner + c;
      for (int64_t i = 0; i < width; ++i) {
        best[i] = row[i];
        at[i] = 0;
      }
      for (int64_t k = 1; k < n; ++k) {
        row += inner;
        for (int64_t i = 0; i < width; ++i) {
          const bool better = ranks_before(row[i], best[i]);
          best[i] = better ? row[i] : best[i];
          at[i] = better ? k : at[i];
        }
      }
    });
  });
}

ATLAS_INLINE void topk_forward(const Tensor& x, int64_t n, int64_t k, Tensor& values, Tensor& index) {
  if (values.numel() == 0) return;
  visit_number(x, "topk", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    T* value = values.data<T>();
    int64_t* at = index.data<int64_t>();
    parallel_for(values.numel() / k, std::max<int64_t>(1, 4096 / n), [&](int64_t begin, int64_t end) {
      int64_t* order = workspace<int64_t>(n, 6);
      for (int64_t o = begin; o < end; ++o) {
        const T* row = from + o * n;
        std::iota(order, order + n, int64_t{0});
        std::partial_sort(order, order + k, order + n, [row](int64_t a, int64_t b) {
          return ranks_before(row[a], row[b]) || (!ranks_before(row[b], row[a]) && a < b);
        });
        for (int64_t j = 0; j < k; ++j) {
          at[o * k + j] = order[j];
          value[o * k + j] = row[order[j]];
        }
      }
    });
  });
}

ATLAS_INLINE void sort_forward(const Tensor& x, int64_t n, bool descending, Tensor& values, Tensor& index) {
  if (x.numel() == 0) return;
  visit_number(x, "sort", [&](auto tag) {
    using T = decltype(tag);
    struct Item {
      T value;
      int64_t at;
    };
    const T* from = x.data<T>();
    T* value = values.data<T>();
    int64_t* at = index.data<int64_t>();
    parallel_for(x.numel() / n, std::max<int64_t>(1, 4096 / n), [&](int64_t begin, int64_t end) {
      Item* items = workspace<Item>(n, 6);
      for (int64_t o = begin; o < end; ++o) {
        for (int64_t i = 0; i < n; ++i) items[i] = {from[o * n + i], i};
        // Positions decide between equals, so that the order is one and the same whatever sorts.
        if (descending)
          std::sort(items, items + n, [](const Item& a, const Item& b) {
            return ranks_before(a.value, b.value) || (!ranks_before(b.value, a.value) && a.at < b.at);
          });
        else
          std::sort(items, items + n, [](const Item& a, const Item& b) {
            return ranks_before(b.value, a.value) || (!ranks_before(a.value, b.value) && a.at < b.at);
          });
        for (int64_t j = 0; j < n; ++j) {
          value[o * n + j] = items[j].value;
          at[o * n + j] = items[j].at;
        }
      }
    });
  });
}

ATLAS_INLINE void topk_backward(const Tensor& dy, const Tensor& index, int64_t n, int64_t k, Tensor& dx) {
  if (dx.numel() == 0) return;
  visit_float(dy, "topk", [&](auto tag) {
    using T = decltype(tag);
    const T* from = dy.data<T>();
    const int64_t* at = index.data<int64_t>();
    T* to = dx.data<T>();
    parallel_for(dx.numel() / n, std::max<int64_t>(1, 16384 / n), [&](int64_t begin, int64_t end) {
      std::fill(to + begin * n, to + end * n, T(0));
      for (int64_t o = begin; o < end; ++o)
        for (int64_t j = 0; j < k; ++j) to[o * n + at[o * k + j]] = from[o * k + j];
    });
  });
}

ATLAS_INLINE void cumsum_forward(const Tensor& x, int64_t n, int64_t inner, bool reverse, Tensor& y) {
  if (x.numel() == 0) return;
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    using Acc = std::conditional_t<std::is_floating_point_v<T>, double, T>;
    const T* from = x.data<T>();
    T* to = y.data<T>();
    const int64_t step = reverse ? -inner : inner;
    detail::for_each_tile(x.numel() / n / inner, n, inner, [&](int64_t o, int64_t c, int64_t width) {
      Acc acc[detail::kOrderTile] = {};
      int64_t at = (o * n + (reverse ? n - 1 : 0)) * inner + c;
      for (int64_t k = 0; k < n; ++k, at += step) {
        for (int64_t i = 0; i < width; ++i) {
          acc[i] += static_cast<Acc>(from[at + i]);
          to[at + i] = static_cast<T>(acc[i]);
        }
      }
    });
  };
  if (x.dtype() == int64)
    run(int64_t{});
  else
    visit_float(x, "cumsum", run);
}

}  // namespace atlas::inline ATLAS_ABI::cpu
