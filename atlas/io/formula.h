// Weights and images from a formula, so that full-size models can be checked without shipping gigabytes.
//
// Element i (row-major) of the tensor called `name` is
//     u = (z >> 11) 2⁻⁵² - 1 in [-1, 1),   z = splitmix64(fnv1a64(name) + i · 0x9E3779B97F4A7C15)  (modulo 2⁶⁴)
// and a weight's value is made from u by the kind of tensor its name says.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <string_view>

#include "atlas/core/hash.h"
#include "atlas/nn/module.h"

namespace atlas::inline ATLAS_ABI::io {

/// Finalizer of the splitmix64 generator.
uint64_t splitmix64(uint64_t x);
/// Element i of the uniform sequence with the hash fnv1a64(name), in [-1, 1).
double formula_uniform(uint64_t hash, int64_t i);

/// How a weight's value follows from u: value = offset + scale · u, plus log(column + 1) for A_log.
struct FormulaRule {
  double offset = 0, scale = 1;
  bool log_column = false;
};
/// The rule for a state-dict entry.
/// @param name   published name, such as "levels.0.blocks.0.norm1.running_var"
/// @param shape  published shape
FormulaRule formula_rule(std::string_view name, const Shape& shape);

/// t[i] = rule(u(name, i)) for every element in row-major order of t's shape. t may be a strided view, of at most four
/// axes.
void formula_fill(Tensor& t, std::string_view name, const FormulaRule& rule);

/// Overwrites every parameter and buffer of a module, in place and in parallel, with the formula's values for its
/// published name, shape and order of elements.
void formula_fill(const Module& model);

/// u(name, ·) with the given shape, contiguous.
Tensor formula_tensor(std::string_view name, const Shape& shape, DType dtype = float32);

/// The images u(name, ·) of published shape (batch, 3, height, width), laid out as [batch, height, width, 3].
Tensor formula_image(int64_t batch, int64_t height, int64_t width, DType dtype = float32,
                     std::string_view name = "input");

}  // namespace atlas::inline ATLAS_ABI::io

#ifndef ATLAS_COMPILED_LIB
#include "atlas/io/formula-inl.h"
#endif
