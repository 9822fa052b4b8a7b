// Bodies of segment.h: inference at any size.
#pragma once

#include <algorithm>

#include "atlas/models/heads/segment.h"
#include "atlas/ops/index.h"
#include "atlas/ops/order.h"
#include "atlas/ops/reduce.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::models {

ATLAS_INLINE Tensor class_map(const Tensor& logits, const std::vector<std::array<int64_t, 2>>& sizes,
                              int64_t strip_bytes) {
  constexpr const char* op = "class_map";
  check(logits.defined() && logits.dim() == 4, op, "needs logits [B, h, w, classes], got {}", describe(logits));
  check(sizes.size() == 1 || sizes.size() == 2, op, "needs one or two sizes, got {}", sizes.size());
  const Tensor x = logits.detach();
  const auto [through_h, through_w] = sizes.front();
  const auto [height, width] = sizes.back();
  const bool twice = sizes.size() == 2 && sizes.front() != sizes.back();
  constexpr Interpolation mode = Interpolation::bilinear;
  // Of each output row: itself, and the rows between that it takes.
  const int64_t row_bytes = x.size(0) * x.size(3) * item_size(x.dtype());
  const int64_t per_row = row_bytes * (width + (twice ? through_w * ((through_h + height - 1) / height) : 0));
  const int64_t strip = std::clamp<int64_t>(strip_bytes / std::max<int64_t>(per_row, 1), 1, height);
  std::vector<Tensor> maps;
  for (int64_t y = 0; y < height; y += strip) {
    const RowSpan rows{y, std::min(strip, height - y)};
    Tensor piece;
    if (twice) {
      const RowSpan between = rows_read(through_h, height, rows, mode);
      piece = resize_rows(x, 0, x.size(1), through_h, through_w, between, mode);
      piece = resize_rows(piece, between.first, through_h, height, width, rows, mode);
    } else {
      piece = resize_rows(x, 0, x.size(1), height, width, rows, mode);
    }
    maps.push_back(argmax(piece, 3));
  }
  return maps.size() == 1 ? maps[0] : cat(maps, 1);
}

ATLAS_INLINE Tensor Segmenter::slide(const Tensor& images, int64_t crop, int64_t stride) const {
  check(crop >= 1 && stride >= 1 && stride <= crop, "slide", "needs 1 <= stride <= crop, got crop {} and stride {}",
        crop, stride);
  check(images.defined() && images.dim() == 4, "slide", "needs images [B, H, W, 3], got {}", describe(images));
  const int64_t height = images.size(1), width = images.size(2);
  const auto starts = [&](int64_t length) {
    std::vector<int64_t> all;
    for (int64_t i = 0; i <= (std::max<int64_t>(length - crop, 0) + stride - 1) / stride; ++i)
      all.push_back(std::max<int64_t>(std::min(i * stride + crop, length) - crop, 0));
    return all;
  };
  const int64_t h = std::min(crop, height), w = std::min(crop, width);
  Tensor total, count = zeros({1, height, width, 1}, images.dtype(), images.device());
  const Tensor one = ones({1, h, w, 1}, images.dtype(), images.device());
  for (const int64_t top : starts(height))
    for (const int64_t left : starts(width)) {
      const auto piece = [top = top, left = left, h, w](const Tensor& x) {
        return x.slice(1, top, top + h).slice(2, left, left + w);
      };
      const Tensor logits = whole(piece(images).contiguous()).detach();
      if (!total.defined())
        total = zeros({images.size(0), height, width, logits.size(3)}, logits.dtype(), logits.device());
      Tensor sum = piece(total), seen = piece(count);
      add_elements(sum, logits, 1);
      add_elements(seen, one, 1);
    }
  return total / count;
}

ATLAS_INLINE Tensor Segmenter::predict(const Tensor& images, int64_t height, int64_t width, int64_t crop,
                                       int64_t stride, int64_t strip_bytes) const {
  check(height >= 1 && width >= 1, "predict", "the size must be at least 1 x 1, got {} x {}", height, width);
  if (crop > 0) return class_map(slide(images, crop, stride), {{height, width}}, strip_bytes);
  return class_map((*this)(images), {{images.size(1), images.size(2)}, {height, width}}, strip_bytes);
}

}  // namespace atlas::inline ATLAS_ABI::models
