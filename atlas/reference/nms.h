// Decisions between boxes, box by box.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "atlas/kernels/box_step.h"

namespace atlas::inline ATLAS_ABI::cpu::reference {

/// Non-maximum suppression: a box goes if its overlap with a kept one before it, of its group, is above the threshold.
/// @param boxes   [n, 4], best first   @param groups  [n], or null when all are of one   @param kept  [n]
template <class T>
void nms(int64_t n, const T* boxes, const int64_t* groups, T threshold, bool* kept) {
  const auto at = [&](int64_t i) {
    return BoxEdges<T>{boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]};
  };
  for (int64_t i = 0; i < n; ++i) {
    kept[i] = true;
    for (int64_t j = 0; j < i && kept[i]; ++j)
      if (kept[j] && (groups == nullptr || groups[i] == groups[j]))
        kept[i] = !boxes_overlap(at(j), box_area(at(j)), at(i), box_area(at(i)), threshold);
  }
}

/// Assignment by overlap (Ren et al., "Faster R-CNN", 2015, section 3.1.2): the best truth at `positive` or more,
/// background below `negative`; then each truth whose best is at least `low_quality` takes all boxes that reach it, a
/// later truth before an earlier one.
/// @param low_quality  negative: no truth takes any   @param out  [n]: a truth, -1 background, -2 neither
template <class T>
void assign_boxes(int64_t n, const T* boxes, int64_t truths, const T* truth, T positive, T negative, T low_quality,
                  int64_t* out) {
  const auto edges = [](const T* b) { return BoxEdges<T>{b[0], b[1], b[2], b[3]}; };
  std::vector<T> iou(static_cast<size_t>(n * truths));
  const auto at = [&](int64_t g, int64_t i) -> T& { return iou[static_cast<size_t>(g * n + i)]; };
  for (int64_t g = 0; g < truths; ++g)
    for (int64_t i = 0; i < n; ++i) {
      const BoxEdges<T> a = edges(truth + 4 * g), b = edges(boxes + 4 * i);
      at(g, i) = box_iou(a, box_area(a), b, box_area(b));
    }
  for (int64_t i = 0; i < n; ++i) {
    int64_t best = 0;
    for (int64_t g = 1; g < truths; ++g)
      if (at(g, i) > at(best, i)) best = g;
    out[i] = at(best, i) >= positive ? best : at(best, i) < negative ? -1 : -2;
  }
  for (int64_t g = 0; g < truths && low_quality >= 0; ++g) {
    T top = 0;
    for (int64_t i = 0; i < n; ++i) top = at(g, i) > top ? at(g, i) : top;
    for (int64_t i = 0; i < n && top >= low_quality; ++i)
      if (at(g, i) == top) out[i] = g;
  }
}

}  // namespace atlas::inline ATLAS_ABI::cpu::reference
