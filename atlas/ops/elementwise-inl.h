// What element-wise ops have in common: functors applied, checked and recorded. For bodies of ops.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "atlas/autograd/node.h"
#include "atlas/kernels/binary.h"
#include "atlas/kernels/functors.h"
#include "atlas/kernels/select.h"
#include "atlas/kernels/unary.h"

// Declared before the ops' headers, which bring bodies that use these where everything is header-only.
namespace atlas::inline ATLAS_ABI::detail {

/// Whether F is also defined for boolean tensors, as 0 and 1: it compares, or gives 0 or 1 again.
template <class F>
inline constexpr bool kTakesBool = F::kCompares || std::is_same_v<F, functors::Mul> ||
                                   std::is_same_v<F, functors::Maximum> || std::is_same_v<F, functors::Minimum>;

template <class F>
Tensor binary(F f, const char* op, const Tensor& a, const Tensor& b);
template <class F>
Tensor unary(F f, const Tensor& x);
template <class F>
Tensor unary(F f, Tensor&& x);
Tensor zero_where(const Tensor& t, const Tensor& mask, bool when);

}  // namespace atlas::inline ATLAS_ABI::detail

#include "atlas/ops/axes.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/compare.h"

namespace atlas::inline ATLAS_ABI::detail {

/// y = f(a, b) with broadcasting, outside the graph.
template <class F>
Tensor binary(F f, const char* op, const Tensor& a, const Tensor& b) {
  if (mixed(a, b)) return binary(f, op, copy_as(a, common_dtype(a, b)), copy_as(b, common_dtype(a, b)));
  check_operands(op, a, b);
  check_dtype(a, op, (F::kIntegers ? takes::integers : 0) | (kTakesBool<F> ? takes::boolean : 0));
  Tensor y = empty(broadcast_shapes(a, b, op), F::kCompares ? boolean : a.dtype(), a.device());
  if (kTakesBool<F> && a.dtype() == boolean) {
    Tensor bytes = F::kCompares ? y : as_bytes(y);
    kernels::binary_forward(f, as_bytes(a), as_bytes(b), bytes);
  } else {
    kernels::binary_forward(f, a, b, y);
  }
  return y;
}

/// A functor of one argument whose type is gone: what records and saves is compiled once, not once for each functor.
struct UnaryOp {
  const char* name;
  bool from_output, integers;  // F::kFromOutput, F::kIntegers
  void (*forward)(const UnaryOp& f, const Tensor& x, Tensor& y);
  void (*backward)(const UnaryOp& f, const Tensor& v, const Tensor& dy, Tensor& dx);
  alignas(8) std::byte functor[16];

  template <class F>
  explicit UnaryOp(const F& f)
      : name(F::kName),
        from_output(F::kFromOutput),
        integers(F::kIntegers),
        forward([](const UnaryOp& o, const Tensor& x, Tensor& y) { kernels::unary_forward(o.as<F>(), x, y); }),
        backward([](const UnaryOp& o, const Tensor& v, const Tensor& dy, Tensor& dx) {
          kernels::unary_backward(o.as<F>(), v, dy, dx);
        }) {
    static_assert(std::is_trivially_copyable_v<F> && sizeof(F) <= sizeof(functor) && alignof(F) <= 8);
    std::memcpy(functor, &f, sizeof(F));
  }
  template <class F>
  const F& as() const {
    return *std::launder(reinterpret_cast<const F*>(functor));
  }
};

/// y = f(x), recorded with dx = dy f'(x); keeps x or y for backward, whichever the derivative is written in.
inline Tensor unary_of(const UnaryOp& f, const Tensor& x) {
  check_dtype(x, f.name, f.integers ? takes::integers : 0);
  Tensor y = empty_like(x);
  f.forward(f, x, y);
  if (!needs_record({x})) return y;
  const Saved v(f.from_output ? y : x, f.name);
  y = record(f.name, y, {x}, [f, v](const Tensor& dy) {
    Tensor dx = empty_like(dy);
    f.backward(f, v(), dy, dx);
    return Grads{dx};
  });
  if (f.from_output) return y;
  return recomputable(y, v, [f, v] {
    Tensor again = empty_like(v());
    f.forward(f, v(), again);
    return again;
  });
}

template <class F>
Tensor unary(F f, const Tensor& x) {
  return unary_of(UnaryOp(f), x);
}

/// The same in the memory of x, when nothing is recorded and nobody else holds it.
template <class F>
Tensor unary(F f, Tensor&& x) {
  if (grad_enabled() || !solely_owned(x) || x.requires_grad()) return unary(f, std::as_const(x));
  kernels::unary_forward(f, x, x);
  x.bump_version();
  return std::move(x);
}

/// t with zeros where mask == when, outside the graph.
inline Tensor zero_where(const Tensor& t, const Tensor& mask, bool when) {
  Tensor y = empty_like(t);
  kernels::masked_fill(t, mask, when, 0, y);
  return y;
}

}  // namespace atlas::inline ATLAS_ABI::detail
