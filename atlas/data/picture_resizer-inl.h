// Bodies of picture_resizer.h.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/data/picture_resizer.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

// Sixteen at a time, which compilers cut into what the machine has.
inline constexpr int64_t kLanes = 16, kChunk = 4 * kLanes;
using Lanes = float __attribute__((vector_size(4 * kLanes)));
using WholeLanes = int32_t __attribute__((vector_size(4 * kLanes)));
using ShortLanes = uint16_t __attribute__((vector_size(2 * kLanes)));
using ByteLanes = uint8_t __attribute__((vector_size(kLanes)));

ATLAS_INLINE ColumnWeights column_weights(const ResampleTaps& taps) {
  ColumnWeights c;
  c.begin = taps.begin;
  for (const int64_t count : taps.count) c.groups = std::max(c.groups, (count + 3) / 4);
  c.weight.assign(static_cast<size_t>(taps.size() * c.groups * kLanes), 0);
  for (int64_t i = 0; i < taps.size(); ++i) {
    const auto s = static_cast<size_t>(i);
    for (int64_t k = 0; k < taps.count[s]; ++k)
      for (int64_t channel = 0; channel < 3; ++channel)
        c.weight[static_cast<size_t>((i * c.groups + k / 4) * kLanes + 3 * (k % 4) + channel)] =
            static_cast<float>(taps.weight[static_cast<size_t>(taps.first[s] + k)]);
  }
  return c;
}

ATLAS_INLINE int64_t padded_row(int64_t width) { return (3 * width + kChunk - 1) / kChunk * kChunk; }

/// total += weight of sixteen bytes
inline void add_weighted(const uint8_t* row, float weight, Lanes& total) {
  ByteLanes bytes;
  std::memcpy(&bytes, row, sizeof bytes);
  // By way of 16 bits: g++ has no single step that is wider.
  const ShortLanes shorts = __builtin_convertvector(bytes, ShortLanes);
  total += weight * __builtin_convertvector(__builtin_convertvector(shorts, WholeLanes), Lanes);
}

ATLAS_INLINE void weigh_rows(const uint8_t* const* rows, const float* weight, int64_t count, int64_t padded,
                             float* sums) {
  for (int64_t at = 0; at < padded; at += kChunk, sums += kChunk) {
    Lanes a{}, b{}, c{}, d{};  // names, because arrays of vectors do not stay in registers
    for (int64_t k = 0; k < count; ++k) {
      const uint8_t* row = rows[k] + at;
      add_weighted(row, weight[k], a);
      add_weighted(row + kLanes, weight[k], b);
      add_weighted(row + 2 * kLanes, weight[k], c);
      add_weighted(row + 3 * kLanes, weight[k], d);
    }
    std::memcpy(sums, &a, sizeof a);
    std::memcpy(sums + kLanes, &b, sizeof b);
    std::memcpy(sums + 2 * kLanes, &c, sizeof c);
    std::memcpy(sums + 3 * kLanes, &d, sizeof d);
  }
}

ATLAS_INLINE void weigh_columns(const float* sums, const ColumnWeights& columns, uint8_t* out) {
  const float* weight = columns.weight.data();
  const int64_t width = std::ssize(columns.begin);
  constexpr int64_t kColumns = 32;
  std::array<float, 3 * kColumns + kLanes> row{};  // of the result, before rounding
  for (int64_t done = 0; done < width; done += kColumns) {
    const int64_t count = std::min(kColumns, width - done);
    for (int64_t i = 0; i < count; ++i) {
      const float* from = sums + 3 * columns.begin[static_cast<size_t>(done + i)];
      Lanes total{};
      for (int64_t group = 0; group < columns.groups; ++group, from += 12, weight += kLanes) {
        Lanes x, w;
        std::memcpy(&x, from, sizeof x);
        std::memcpy(&w, weight, sizeof w);
        total += w * x;
      }
      // Four pixels of three channels: the first half and the second, then the two of that.
      total += __builtin_shufflevector(total, total, 6, 7, 8, 9, 10, 11, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12);
      total += __builtin_shufflevector(total, total, 3, 4, 5, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12);
      std::memcpy(row.data() + 3 * i, &total, sizeof total);  // what is too much, the next column writes over
    }
    for (int64_t k = 0; k < 3 * count; ++k)
      out[k] = static_cast<uint8_t>(std::min(std::max(row[static_cast<size_t>(k)] + 0.5f, 0.0f), 255.0f));
    out += 3 * count;
  }
}

ATLAS_INLINE void check_resized_picture(int64_t height, int64_t width) {
  check(height >= 1 && width >= 1, "resize", "the new size is {} x {}, needs at least 1 x 1", height, width);
  check_memory("resize", {height, width, 3}, 1);
  constexpr int64_t kTable = 64;  // bytes of the weights of a row or a column, at least
  check_memory("resize", {std::max(height, width)}, kTable);
}

/// Numbers behind a row of sums that weigh_columns() may read, beyond those of its last group.
inline int64_t sums_of_row(int64_t padded, const ColumnWeights& columns) {
  return padded + 12 * columns.groups + kLanes;
}

}  // namespace detail

ATLAS_INLINE PictureResizer::PictureResizer(const ResampleTaps& rows, const ResampleTaps& columns, int64_t width)
    : rows_(rows),
      row_weight_(rows.weight.begin(), rows.weight.end()),
      columns_(detail::column_weights(columns)),
      padded_(detail::padded_row(width)) {
  for (const int64_t count : rows_.count) kept_ = std::max(kept_, count);
  first_ = next_ = rows_.begin[0];
  ring_.resize(static_cast<size_t>(kept_ * padded_));
  window_.resize(static_cast<size_t>(kept_));
  sums_.resize(static_cast<size_t>(detail::sums_of_row(padded_, columns_)));
  out_ = empty({rows.size(), columns.size(), 3}, uint8, Device{});
}

ATLAS_INLINE void PictureResizer::push() {
  ++next_;
  for (; !done(); ++made_) {
    const auto s = static_cast<size_t>(made_);
    if (rows_.begin[s] + rows_.count[s] > next_) return;
    for (int64_t k = 0; k < rows_.count[s]; ++k) window_[static_cast<size_t>(k)] = row_at(rows_.begin[s] + k);
    detail::weigh_rows(window_.data(), row_weight_.data() + rows_.first[s], rows_.count[s], padded_, sums_.data());
    detail::weigh_columns(sums_.data(), columns_, out_.data<uint8_t>() + made_ * out_.size(1) * 3);
  }
}

ATLAS_INLINE Tensor resize_picture(const Tensor& image, int64_t height, int64_t width, Interpolation mode,
                                   bool antialias) {
  const int64_t in_height = image.size(0), in_width = image.size(1), padded = detail::padded_row(in_width);
  detail::check_resized_picture(height, width);
  Tensor y = empty({height, width, 3}, uint8, Device{});
  const ResampleTaps rows = atlas::detail::make_taps(in_height, height, mode, antialias);
  const std::vector<float> row_weight(rows.weight.begin(), rows.weight.end());
  const detail::ColumnWeights columns =
      detail::column_weights(atlas::detail::make_taps(in_width, width, mode, antialias));
  const uint8_t* from = image.data<uint8_t>();
  uint8_t* to = y.data<uint8_t>();
  // Loops read whole chunks: behind a row that is the next one, but the last rows are copied to where they have room.
  const int64_t stride = 3 * in_width, room = in_height * stride - padded;
  const int64_t plain_rows = room < 0 ? 0 : room / stride + 1;
  std::vector<uint8_t> tail(static_cast<size_t>((in_height - plain_rows) * padded));
  for (int64_t row = plain_rows; row < in_height; ++row)
    std::memcpy(tail.data() + (row - plain_rows) * padded, from + row * stride, static_cast<size_t>(stride));
  const int64_t work = padded * (1 + std::ssize(rows.weight) / height) + width * columns.groups * 16;
  parallel_for(height, std::max<int64_t>(1, 65536 / work), [&](int64_t begin, int64_t end) {
    float* sums = workspace<float>(detail::sums_of_row(padded, columns));
    std::fill(sums + padded, sums + detail::sums_of_row(padded, columns), 0.0f);
    std::vector<const uint8_t*> window;
    for (int64_t i = begin; i < end; ++i) {
      const auto s = static_cast<size_t>(i);
      window.clear();
      for (int64_t row = rows.begin[s]; row < rows.begin[s] + rows.count[s]; ++row)
        window.push_back(row < plain_rows ? from + row * stride : tail.data() + (row - plain_rows) * padded);
      detail::weigh_rows(window.data(), row_weight.data() + rows.first[s], rows.count[s], padded, sums);
      detail::weigh_columns(sums, columns, to + i * width * 3);
    }
  });
  return y;
}

}  // namespace atlas::inline ATLAS_ABI::data
