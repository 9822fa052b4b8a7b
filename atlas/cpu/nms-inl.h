// CPU kernels of kernels/nms.h. Coordinates lie in arrays of their own, so that loops over boxes are vectors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <type_traits>
#include <vector>

#include "atlas/core/parallel.h"
#include "atlas/kernels/box_step.h"
#include "atlas/kernels/nms.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// Boxes as arrays of coordinates.
template <class T>
struct BoxArrays {
  std::vector<T> x1, y1, x2, y2, area;

  void resize(size_t n) {
    for (auto* v : {&x1, &y1, &x2, &y2, &area}) v->resize(n);
  }
  void set(size_t i, const T* box) {
    x1[i] = box[0], y1[i] = box[1], x2[i] = box[2], y2[i] = box[3];
    area[i] = box_area(at(i));
  }
  void move(size_t to, size_t from) {
    for (auto* v : {&x1, &y1, &x2, &y2, &area}) (*v)[to] = (*v)[from];
  }
  BoxEdges<T> at(size_t i) const { return {x1[i], y1[i], x2[i], y2[i]}; }
};

/// Greedy suppression of boxes with the given numbers, best first. Blocks of 64 boxes are decided one after the other;
/// what a block keeps suppresses the rest in parallel, and what is left moves together.
template <class T>
void nms_of_group(const T* boxes, const int64_t* numbers, int64_t count, T threshold, bool* kept) {
  using Flag = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;  // as wide as T: the loop stays one of vectors
  constexpr int64_t kBlock = 64, kPiece = 4096;
  auto n = static_cast<size_t>(count);
  BoxArrays<T> b;
  b.resize(n);
  std::vector<int64_t> left(numbers, numbers + count);
  for (size_t i = 0; i < n; ++i) b.set(i, boxes + 4 * left[i]);
  std::vector<Flag> gone(n);
  while (n > 0) {
    const size_t block = std::min<size_t>(n, kBlock);
    std::fill(gone.begin(), gone.begin() + static_cast<std::ptrdiff_t>(n), Flag(0));
    const auto suppress = [&](size_t by, size_t begin, size_t end) {
      const BoxEdges<T> a = b.at(by);
      const T area = b.area[by], *x1 = b.x1.data(), *y1 = b.y1.data(), *x2 = b.x2.data(), *y2 = b.y2.data(),
              *areas = b.area.data();
      Flag* const out = gone.data();
      for (size_t j = begin; j < end; ++j)
        out[j] |= boxes_overlap(a, area, {x1[j], y1[j], x2[j], y2[j]}, areas[j], threshold) ? Flag(1) : Flag(0);
    };
    std::vector<size_t> best;
    for (size_t i = 0; i < block; ++i) {
      if (gone[i] != 0) continue;
      best.push_back(i);
      kept[left[i]] = true;
      suppress(i, i + 1, block);
    }
    parallel_for(static_cast<int64_t>(n - block), kPiece, [&](int64_t begin, int64_t end) {
      for (const size_t i : best) suppress(i, block + static_cast<size_t>(begin), block + static_cast<size_t>(end));
    });
    size_t rest = 0;
    for (size_t j = block; j < n; ++j) {
      if (gone[j] != 0) continue;
      b.move(rest, j);
      left[rest++] = left[j];
    }
    n = rest;
  }
}

}  // namespace detail

ATLAS_INLINE void nms(const Tensor& boxes, const Tensor& groups, double threshold, Tensor& kept) {
  const int64_t n = boxes.size(0);
  bool* const keep = kept.data<bool>();
  std::fill(keep, keep + n, false);
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::vector<int64_t> begins{0};
  if (groups.defined()) {
    const int64_t* const g = groups.data<int64_t>();
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return g[a] < g[b]; });
    for (int64_t i = 1; i < n; ++i)
      if (g[order[static_cast<size_t>(i)]] != g[order[static_cast<size_t>(i - 1)]]) begins.push_back(i);
  }
  begins.push_back(n);
  visit_float(boxes, "nms", [&](auto tag) {
    using T = decltype(tag);
    parallel_for(std::ssize(begins) - 1, 1, [&](int64_t first, int64_t last) {
      for (int64_t k = first; k < last; ++k) {
        const int64_t from = begins[static_cast<size_t>(k)], to = begins[static_cast<size_t>(k + 1)];
        detail::nms_of_group(boxes.data<T>(), order.data() + from, to - from, static_cast<T>(threshold), keep);
      }
    });
  });
}

// One truth after the other: its overlap with every box, and then, since "reaches the best" is == on numbers computed
// once, the boxes that it takes as its own. Only one row of overlaps is kept.
ATLAS_INLINE void assign_boxes(const Tensor& boxes, const Tensor& truths, const AssignSetting& setting,
                               Tensor& assigned) {
  const int64_t n = boxes.size(0), count = truths.size(0);
  constexpr int64_t kPiece = 8192;
  visit_float(boxes, "assign_boxes", [&](auto tag) {
    using T = decltype(tag);
    detail::BoxArrays<T> b;
    b.resize(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) b.set(static_cast<size_t>(i), boxes.data<T>() + 4 * i);
    const auto size = static_cast<size_t>(n);
    std::vector<T> iou(size), best(size, T(-1)), tops(static_cast<size_t>((n + kPiece - 1) / kPiece));
    std::vector<int64_t> which(size, 0), own(size, -1);
    for (int64_t g = 0; g < count; ++g) {
      const T* t = truths.data<T>() + 4 * g;
      const BoxEdges<T> truth{t[0], t[1], t[2], t[3]};
      const T area = box_area(truth);
      parallel_for(n, kPiece, [&](int64_t begin, int64_t end) {
        const T *x1 = b.x1.data(), *y1 = b.y1.data(), *x2 = b.x2.data(), *y2 = b.y2.data(), *areas = b.area.data();
        T* const row = iou.data();
        for (int64_t i = begin; i < end; ++i) row[i] = box_iou(truth, area, {x1[i], y1[i], x2[i], y2[i]}, areas[i]);
        T top = 0;
        for (int64_t i = begin; i < end; ++i) {
          top = row[i] > top ? row[i] : top;
          if (row[i] > best[static_cast<size_t>(i)]) {
            best[static_cast<size_t>(i)] = row[i];
            which[static_cast<size_t>(i)] = g;
          }
        }
        tops[static_cast<size_t>(begin / kPiece)] = top;
      });
      if (setting.low_quality < 0) continue;
      const T top = *std::max_element(tops.begin(), tops.end());
      if (!(top >= static_cast<T>(setting.low_quality))) continue;
      for (size_t i = 0; i < size; ++i)
        if (iou[i] == top) own[i] = g;
    }
    int64_t* const out = assigned.data<int64_t>();
    for (size_t i = 0; i < size; ++i) {
      out[i] = best[i] < static_cast<T>(setting.negative) ? -1 : -2;
      if (best[i] >= static_cast<T>(setting.positive)) out[i] = which[i];
      if (own[i] >= 0) out[i] = own[i];
    }
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
