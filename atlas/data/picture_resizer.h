// Resizing of 8-bit RGB pictures row by row: from rows as a decoder writes them, without the whole picture in memory.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <vector>

#include "atlas/ops/resize.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// The weights of a resize, as the loops over a row want them: pixels in groups of four, 16 numbers each.
struct ColumnWeights {
  std::vector<int64_t> begin;  ///< first pixel of each column of the result
  int64_t groups = 0;          ///< of every column
  std::vector<float> weight;   ///< of each column: groups x {3 channels of 4 pixels, 4 zeros}
};
ColumnWeights column_weights(const ResampleTaps& taps);

/// Checks the size of a result before anything is made for it. @throws Error as resize().
void check_resized_picture(int64_t height, int64_t width);

/// Numbers that loops over rows of `width` pixels may read and write: whole chunks, and the groups of the last column.
int64_t padded_row(int64_t width);

/// sums[i] = sum over k of weight[k] rows[k][i], for padded_row(width) numbers. Unused numbers of the rows may be
/// anything.
void weigh_rows(const uint8_t* const* rows, const float* weight, int64_t count, int64_t padded, float* sums);

/// One row of the result, rounded half up.
/// @param sums  padded_row(width) + 16 numbers, all of them finite
void weigh_columns(const float* sums, const ColumnWeights& columns, uint8_t* out);

}  // namespace detail

/// Makes a resized picture of rows that come one after the other. What has been read longer ago than the resize reaches
/// is forgotten.
class PictureResizer {
 public:
  /// @param rows, columns  the weights of each row and column of the result; rows.begin never falls
  /// @param width  pixels of a row that comes
  PictureResizer(const ResampleTaps& rows, const ResampleTaps& columns, int64_t width);

  /// Rows before this one are not needed: the first that comes is this.
  int64_t first_row() const { return first_; }
  /// Where the next row is to be written, 3 width bytes, before push() is called.
  uint8_t* next_row() { return row_at(next_); }
  /// The next row is there.
  void push();
  /// No more rows are needed.
  bool done() const { return made_ == rows_.size(); }
  /// uint8 [rows.size(), columns.size(), 3], once it is done.
  const Tensor& result() const { return out_; }

 private:
  uint8_t* row_at(int64_t row) { return ring_.data() + row % kept_ * padded_; }

  ResampleTaps rows_;
  std::vector<float> row_weight_;
  detail::ColumnWeights columns_;
  int64_t padded_, kept_ = 1, first_ = 0, next_ = 0, made_ = 0;
  std::vector<uint8_t> ring_;
  std::vector<const uint8_t*> window_;
  std::vector<float> sums_;
  Tensor out_;
};

/// Resizes a whole 8-bit RGB picture.
/// @param image uint8 [H,W,3], contiguous   @return [height,width,3]
Tensor resize_picture(const Tensor& image, int64_t height, int64_t width, Interpolation mode, bool antialias);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/picture_resizer-inl.h"
#endif
