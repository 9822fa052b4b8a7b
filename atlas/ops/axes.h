// Axis lists of reductions, and the reductions themselves outside the graph; sum, max and sum_to stand on it.
// Not in atlas.h: include it by name.
#pragma once

#include <array>

#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::detail {

/// Which axes a reduction removes.
using AxisMask = std::array<bool, kMaxDims>;

/// Axis numbers (negative ones count from the end; none means all) as a mask over the axes of x.
/// @throws Error naming `op` for an axis out of range or given twice.
AxisMask axis_mask(const Shape& axes, const Tensor& x, const char* op);

/// x's shape with the axes of the mask set to 1 (keepdim) or left out.
Shape reduced_shape(const Shape& shape, const AxisMask& mask, bool keepdim);

/// A boolean tensor as the bytes 0 and 1 that it is, outside the graph; others as they are.
Tensor as_bytes(const Tensor& t);

/// How many elements go into one result.
int64_t reduced_count(const Shape& shape, const AxisMask& mask);

/// A contiguous tensor under another shape of as many elements, outside the graph.
Tensor view_as(const Tensor& t, const Shape& shape);

/// A view of t (shape of x with reduced axes of length 1, or without them) repeated to x's shape, outside the graph.
Tensor expand_reduced(const Tensor& t, const Shape& shape, const AxisMask& mask);

/// The tensor itself when it is contiguous, else a contiguous copy; outside the graph.
Tensor raw_contiguous(const Tensor& t);

/// scale times the sum over the axes of the mask, as a fresh contiguous tensor of the given shape, outside the graph.
/// The sum of nothing is 0. uint8 and bool are summed to int64.
Tensor raw_sum(const Tensor& x, const AxisMask& mask, const Shape& shape, double scale = 1);

/// Undoes broadcasting outside the graph: sums x over the axes along which `shape` was stretched to x's shape.
Tensor raw_sum_to(const Tensor& x, const Shape& shape);

}  // namespace atlas::inline ATLAS_ABI::detail

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/axes-inl.h"
#endif
