// Loops over strided operands: axes that lie next to each other in every operand are merged, the rest is walked row by
// row. Kernels get rows; what a row does is theirs.
// Not in atlas.h: include it by name.
#pragma once

#include <array>

#include "atlas/core/parallel.h"
#include "atlas/core/shape.h"

namespace atlas::inline ATLAS_ABI {

/// N operands of one (broadcast) shape. Operand strides are in elements; 0 repeats.
template <int N>
class StridedLoop {
 public:
  using Offsets = std::array<int64_t, N>;

  StridedLoop(const Shape& shape, const std::array<Shape, N>& strides) {
    numel_ = shape.numel();
    for (int i = 0; i < shape.size(); ++i) {
      if (shape[i] == 1) continue;
      const int last = shape_.size() - 1;
      bool merge = last >= 0;
      for (int k = 0; k < N && merge; ++k) merge = stride_[at(k)][last] == strides[at(k)][i] * shape[i];
      if (merge) {
        shape_[last] *= shape[i];
        for (int k = 0; k < N; ++k) stride_[at(k)][last] = strides[at(k)][i];
      } else {
        shape_.push_back(shape[i]);
        for (int k = 0; k < N; ++k) stride_[at(k)].push_back(strides[at(k)][i]);
      }
    }
    if (shape_.empty()) {
      shape_.push_back(1);
      for (int k = 0; k < N; ++k) stride_[at(k)].push_back(0);
    }
    for (int k = 0; k < N; ++k) inner_[at(k)] = stride_[at(k)].back();
  }

  /// Calls f(offsets, n, inner) for each row: element j of operand k is at offsets[k] + j * inner[k].
  /// Rows run in parallel; a long row is cut. f must write each output element once (see for_each_serial otherwise).
  template <class F>
  void for_each(const F& f, int64_t grain = 16384) const {
    if (numel_ == 0) return;
    const int64_t n = shape_.back();
    if (shape_.size() == 1) {
      parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        Offsets o{};
        for (int k = 0; k < N; ++k) o[at(k)] = begin * inner_[at(k)];
        f(o, end - begin, inner_);
      });
      return;
    }
    parallel_for(numel_ / n, std::max<int64_t>(1, grain / n), [&](int64_t begin, int64_t end) { rows(begin, end, f); });
  }
  /// The same on the calling thread, rows in row-major order.
  template <class F>
  void for_each_serial(const F& f) const {
    if (numel_ != 0) rows(0, numel_ / shape_.back(), f);
  }

  /// The merged axes, and operand k's steps along them.
  const Shape& lengths() const { return shape_; }
  const Shape& strides(int k) const { return stride_[at(k)]; }

  /// Where element `i` of the row-major order is, in each operand.
  Offsets offsets(int64_t i) const {
    Offsets o{};
    for (int a = shape_.size() - 1; a >= 0; --a) {
      const int64_t index = a == 0 ? i : i % shape_[a];
      for (int k = 0; k < N; ++k) o[at(k)] += index * stride_[at(k)][a];
      if (a > 0) i /= shape_[a];
    }
    return o;
  }

 private:
  static constexpr size_t at(int k) { return static_cast<size_t>(k); }

  template <class F>
  void rows(int64_t begin, int64_t end, const F& f) const {
    const int outer = shape_.size() - 1;
    Shape index = Shape::filled(outer, 0);
    Offsets o{};
    int64_t rest = begin;
    for (int i = outer - 1; i >= 0; --i) {
      index[i] = rest % shape_[i];
      rest /= shape_[i];
      for (int k = 0; k < N; ++k) o[at(k)] += index[i] * stride_[at(k)][i];
    }
    for (int64_t r = begin; r < end; ++r) {
      f(o, shape_.back(), inner_);
      for (int i = outer - 1; i >= 0; --i) {
        for (int k = 0; k < N; ++k) o[at(k)] += stride_[at(k)][i];
        if (++index[i] < shape_[i]) break;
        for (int k = 0; k < N; ++k) o[at(k)] -= shape_[i] * stride_[at(k)][i];
        index[i] = 0;
      }
    }
  }

  Shape shape_;
  std::array<Shape, N> stride_;
  Offsets inner_{};
  int64_t numel_ = 0;
};

/// Strides that read a tensor of `shape` as if it had the (broadcast-compatible) shape `target`.
inline Shape broadcast_strides(const Shape& shape, const Shape& strides, const Shape& target) {
  Shape s = Shape::filled(target.size(), 0);
  const int shift = target.size() - shape.size();
  for (int i = 0; i < shape.size(); ++i) s[i + shift] = shape[i] == 1 ? 0 : strides[i];
  return s;
}

}  // namespace atlas::inline ATLAS_ABI
