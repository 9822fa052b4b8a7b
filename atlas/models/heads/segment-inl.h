// Bodies of segment.h: inference at any size.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "atlas/models/heads/segment.h"
#include "atlas/ops/index.h"
#include "atlas/ops/order.h"
#include "atlas/ops/reduce.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::models {

namespace detail {

/// The number of the largest logit of every pixel, from logits(rows) [B, rows, W, classes] of a strip of rows at a
/// time.
template <class F>
Tensor in_strips(int64_t height, int64_t row_bytes, int64_t strip_bytes, const Segmenter::LogitRows& heard,
                 const F& logits) {
  const int64_t strip = std::clamp<int64_t>(strip_bytes / std::max<int64_t>(row_bytes, 1), 1, height);
  Tensor result;
  for (int64_t y = 0; y < height; y += strip) {
    const RowSpan rows{y, std::min(strip, height - y)};
    const Tensor x = logits(rows), classes = argmax(x, 3);
    if (heard) heard(rows, x);
    if (rows.count == height) return classes;
    if (!result.defined())
      result = empty({classes.size(0), height, classes.size(2)}, classes.dtype(), classes.device());
    Tensor part = result.slice(1, y, y + rows.count);
    copy_elements(part, classes);
  }
  return result;
}

}  // namespace detail

ATLAS_INLINE Tensor class_map(const Tensor& logits, const std::vector<std::array<int64_t, 2>>& sizes,
                              int64_t strip_bytes, const Segmenter::LogitRows& strips) {
  constexpr const char* op = "class_map";
  check(logits.defined() && logits.dim() == 4, op, "needs logits [B, h, w, classes], got {}", describe(logits));
  check(sizes.size() == 1 || sizes.size() == 2, op, "needs one or two sizes, got {}", sizes.size());
  const Tensor x = logits.detach();
  const int64_t through_h = sizes.front()[0], through_w = sizes.front()[1];
  const int64_t height = sizes.back()[0], width = sizes.back()[1];
  const bool twice = sizes.size() == 2 && sizes.front() != sizes.back();
  constexpr Interpolation mode = Interpolation::bilinear;
  // Of each output row: itself, and the rows between that it takes.
  const int64_t row_bytes = x.size(0) * x.size(3) * item_size(x.dtype());
  const int64_t per_row = row_bytes * (width + (twice ? through_w * ((through_h + height - 1) / height) : 0));
  return detail::in_strips(height, per_row, strip_bytes, strips, [&](RowSpan rows) {
    if (!twice) return resize_rows(x, 0, x.size(1), height, width, rows, mode);
    const RowSpan between = rows_read(through_h, height, rows, mode);
    const Tensor piece = resize_rows(x, 0, x.size(1), through_h, through_w, between, mode);
    return resize_rows(piece, between.first, through_h, height, width, rows, mode);
  });
}

namespace detail {

/// The mean of the logits of pieces that overlap, a strip of rows at a time.
///
/// Pieces keep their logits at the size that the model gives them, and only those pieces that the strip's rows lie in:
/// neither the logits of the whole image nor those of all pieces are ever there.
class SlidingLogits {
 public:
  SlidingLogits(const Segmenter& model, const Tensor& images, int64_t crop, int64_t stride,
                const Segmenter::SeenLogits& seen = {})
      : model_(model), images_(images), seen_(seen) {
    check(crop >= 1 && stride >= 1 && stride <= crop, "slide", "needs 1 <= stride <= crop, got crop {} and stride {}",
          crop, stride);
    check(images.defined() && images.dim() == 4 && images.numel() > 0, "slide", "needs images [B, H, W, 3], got {}",
          describe(images));
    height_ = std::min(crop, images.size(1)), width_ = std::min(crop, images.size(2));
    for (const int64_t top : starts(images.size(1), crop, stride)) bands_.push_back({top, {}});
    lefts_ = starts(images.size(2), crop, stride);
  }

  /// Rows of the mean at the size of the images. The rows' beginning must not go back from call to call.
  /// @return [B, rows.count, W, classes]
  Tensor rows(RowSpan rows) {
    const int64_t first = rows.first, end = rows.first + rows.count;
    Tensor total, count = zeros({1, rows.count, images_.size(2), 1}, images_.dtype(), images_.device());
    for (Band& band : bands_) {
      if (band.top + height_ <= first) band.logits.clear();
      const int64_t begin = std::max(first, band.top), stop = std::min(end, band.top + height_);
      if (begin >= stop) continue;
      if (band.logits.empty()) run(band);
      const Tensor one = ones({1, stop - begin, width_, 1}, images_.dtype(), images_.device());
      for (size_t i = 0; i < lefts_.size(); ++i) {
        const Tensor& logits = band.logits[i];
        const Tensor piece = resize_rows(logits, 0, logits.size(1), height_, width_, {begin - band.top, stop - begin},
                                         Interpolation::bilinear);
        if (!total.defined())
          total = zeros({images_.size(0), rows.count, images_.size(2), piece.size(3)}, piece.dtype(), piece.device());
        const auto covered = [&](const Tensor& x) {
          return x.slice(1, begin - first, stop - first).slice(2, lefts_[i], lefts_[i] + width_);
        };
        Tensor sum = covered(total), seen = covered(count);
        add_elements(sum, piece, 1);
        add_elements(seen, one, 1);
      }
    }
    return total / count;
  }

 private:
  struct Band {
    int64_t top;
    std::vector<Tensor> logits;  // of its pieces, while rows of it are asked for
  };

  static std::vector<int64_t> starts(int64_t length, int64_t crop, int64_t stride) {
    std::vector<int64_t> all;
    for (int64_t i = 0; i <= (std::max<int64_t>(length - crop, 0) + stride - 1) / stride; ++i)
      all.push_back(std::max<int64_t>(std::min(i * stride + crop, length) - crop, 0));
    return all;
  }
  void run(Band& band) const {
    for (const int64_t left : lefts_) {
      const Tensor piece = images_.slice(1, band.top, band.top + height_).slice(2, left, left + width_).contiguous();
      band.logits.push_back(model_(piece).detach());
      if (seen_) seen_(piece, band.logits.back());
    }
  }

  const Segmenter& model_;
  const Tensor images_;
  const Segmenter::SeenLogits seen_;
  int64_t height_, width_;  // of the pieces
  std::vector<Band> bands_;
  std::vector<int64_t> lefts_;
};

}  // namespace detail

ATLAS_INLINE Tensor Segmenter::slide(const Tensor& images, int64_t crop, int64_t stride) const {
  return detail::SlidingLogits(*this, images, crop, stride).rows({0, images.size(1)});
}

ATLAS_INLINE Tensor Segmenter::predict(const Tensor& images, int64_t height, int64_t width, int64_t crop,
                                       int64_t stride, int64_t strip_bytes, const SeenLogits& seen,
                                       const LogitRows& strips) const {
  check(height >= 1 && width >= 1, "predict", "the size must be at least 1 x 1, got {} x {}", height, width);
  if (crop == 0) {
    const Tensor logits = (*this)(images);
    if (seen) seen(images, logits);
    return class_map(logits, {{images.size(1), images.size(2)}, {height, width}}, strip_bytes, strips);
  }
  detail::SlidingLogits logits(*this, images, crop, stride, seen);
  const int64_t from = images.size(1), per_pixel = images.size(0) * num_classes() * item_size(images.dtype());
  const int64_t per_row = per_pixel * (width + images.size(2) * ((from + height - 1) / height));
  return detail::in_strips(height, per_row, strip_bytes, strips, [&](RowSpan rows) {
    if (height == from && width == images.size(2)) return logits.rows(rows);
    const RowSpan between = rows_read(from, height, rows, Interpolation::bilinear);
    return resize_rows(logits.rows(between), between.first, from, height, width, rows, Interpolation::bilinear);
  });
}

}  // namespace atlas::inline ATLAS_ABI::models
