// Element-wise loops in two halves: walking the rows of strided operands, compiled once, and the loop over one row,
// compiled per function and type. A function pointer per row keeps compile time and code small and costs nothing per
// element.
#pragma once

#include <array>

#include "atlas/tensor/strided.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::cpu {

/// N operands at the start of a row, and the distance between their neighbors, in elements.
template <int N>
struct Row {
  std::array<char*, N> data;
  std::array<int64_t, N> step;
  int64_t n;

  template <class T>
  T* at(int k) const {
    return reinterpret_cast<T*>(data[static_cast<size_t>(k)]);
  }
  /// True when all operands are contiguous along the row.
  bool contiguous() const {
    for (int64_t s : step)
      if (s != 1) return false;
    return true;
  }
};

/// Calls body(context, row) for every row of the operands, broadcast to the shape of the first (the output), in
/// parallel.
template <int N>
void for_each_row(const std::array<const Tensor*, N>& operands, void (*body)(const void*, const Row<N>&),
                  const void* context) {
  const Shape& shape = operands[0]->shape();
  std::array<Shape, N> strides;
  std::array<char*, N> base;
  std::array<int64_t, N> bytes;
  for (size_t k = 0; k < N; ++k) {
    const Tensor& t = *operands[k];
    strides[k] = broadcast_strides(t.shape(), t.strides(), shape);
    base[k] = static_cast<char*>(t.raw());
    bytes[k] = item_size(t.dtype());
  }
  StridedLoop<N>(shape, strides).for_each([&](const auto& offset, int64_t n, const auto& step) {
    Row<N> row{base, step, n};
    for (size_t k = 0; k < N; ++k) row.data[k] += offset[k] * bytes[k];
    body(context, row);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
