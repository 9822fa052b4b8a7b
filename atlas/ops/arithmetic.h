// Arithmetic with broadcasting: + - * /, maximum, minimum, and sum_to, which undoes broadcasting in gradients.
//
// Shapes broadcast as in NumPy; operands have one dtype and one device (bool takes the type of the other operand; on
// CUDA devices bfloat16 and float32 give float32); a C++ number takes the tensor's dtype.
#pragma once

#include <concepts>

#include "atlas/ops/unary.h"

namespace atlas::inline ATLAS_ABI {

/// Sums x over the axes along which a tensor of `shape` was stretched to x's shape: the gradient of broadcasting.
/// @param x  float32, float64 or int64, of a shape that `shape` broadcasts to
/// @return a tensor of `shape`; x itself when that is its shape
/// @throws Error when `shape` does not broadcast to x's shape
Tensor sum_to(const Tensor& x, const Shape& shape);

/// a + b.   da = dy, db = dy, each summed to its operand's shape
/// @param a,b  float32, float64, int64 or uint8 (which wraps); shapes that broadcast
/// @return a tensor of the broadcast shape
/// @throws Error when dtypes or devices differ or shapes do not broadcast; so do all functions of two tensors here
Tensor add(const Tensor& a, const Tensor& b);

/// a + b, in b's memory when nothing is recorded and nobody else holds it: residual branches of inference then need
/// none of their own. The same numbers as add(a, b).
Tensor add(const Tensor& a, Tensor&& b);

/// a - b.   da = dy, db = -dy
Tensor sub(const Tensor& a, const Tensor& b);

/// a b, element by element; also of two boolean tensors, which is their logical_and.   da = dy b, db = dy a
Tensor mul(const Tensor& a, const Tensor& b);

/// a / b (float32 and float64).   da = dy / b, db = -dy (a / b) / b
Tensor div(const Tensor& a, const Tensor& b);

/// The larger of a and b, NaN if either is; any numbers, or bool. The gradient goes to the larger, by halves on a tie.
Tensor maximum(const Tensor& a, const Tensor& b);
/// The smaller of a and b, NaN if either is; any numbers, or bool. The gradient goes to the smaller, by halves on a
/// tie.
Tensor minimum(const Tensor& a, const Tensor& b);
/// maximum() and minimum() by the names of reductions (ops/reduce.h), which take axes there.
template <std::same_as<Tensor> B>  // {} and {0, 1} are axes
Tensor max(const Tensor& a, const B& b) {
  return maximum(a, b);
}
template <std::same_as<Tensor> B>
Tensor min(const Tensor& a, const B& b) {
  return minimum(a, b);
}

// ---- with numbers --------------------------------------------------------------------------------------------------

/// a + s.
/// @throws Error for an integer tensor and a number that its dtype cannot hold; so do all functions of a number here
Tensor add(const Tensor& a, double s);
Tensor add(double s, const Tensor& a);

/// a - s.
Tensor sub(const Tensor& a, double s);
/// s - a.   da = -dy
Tensor sub(double s, const Tensor& a);

/// a s.   da = dy s
Tensor mul(const Tensor& a, double s);
Tensor mul(double s, const Tensor& a);

/// a / s (float32 and float64).   da = dy / s
Tensor div(const Tensor& a, double s);
/// s / a (float32 and float64).   da = -dy (s / a) / a
Tensor div(double s, const Tensor& a);

/// The larger of a and s; floats, int64 and uint8.   da = dy where a >= s
Tensor maximum(const Tensor& a, double s);
Tensor maximum(double s, const Tensor& a);
/// The smaller of a and s; floats, int64 and uint8.   da = dy where a <= s
Tensor minimum(const Tensor& a, double s);
Tensor minimum(double s, const Tensor& a);

/// a^b of two tensors, element by element; also int64 and uint8, which wrap (a negative exponent then gives the whole
/// part, 0 for most).   da = dy b a^(b-1), 0 where b is 0; db = dy a^b ln a, 0 where a is 0 and b is not below it
/// @param a,b  of one dtype; shapes that broadcast
ATLAS_INLINE Tensor pow(const Tensor& a, const Tensor& b);
/// s^b.
ATLAS_INLINE Tensor pow(double s, const Tensor& b);

// ---- operators -----------------------------------------------------------------------------------------------------

Tensor operator+(const Tensor& a, const Tensor& b);
Tensor operator+(const Tensor& a, Tensor&& b);
Tensor operator+(const Tensor& a, double s);
Tensor operator+(double s, const Tensor& a);
Tensor operator-(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& a, double s);
Tensor operator-(double s, const Tensor& a);
Tensor operator-(const Tensor& a);
Tensor operator*(const Tensor& a, const Tensor& b);
Tensor operator*(const Tensor& a, double s);
Tensor operator*(double s, const Tensor& a);
Tensor operator/(const Tensor& a, const Tensor& b);
Tensor operator/(const Tensor& a, double s);
Tensor operator/(double s, const Tensor& a);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/ops/arithmetic-inl.h"
#endif
