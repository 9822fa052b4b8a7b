// Bodies of ops/arithmetic.h: powers of two tensors, compound assignment.
#pragma once

#include "atlas/ops/arithmetic.h"
#include "atlas/ops/select.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor pow(const Tensor& a, const Tensor& b) {
  if (detail::mixed(a, b)) return pow(to(a, detail::common_dtype(a, b)), to(b, detail::common_dtype(a, b)));
  Tensor y = detail::binary(functors::Power{}, "pow", a, b);
  if (!needs_record({a, b})) return y;
  return record("pow", y, {a, b},
                [na = a.requires_grad(), nb = b.requires_grad(), sa = Saved(a, "pow"), sb = Saved(b, "pow"),
                 sy = Saved(b.requires_grad() ? y : Tensor(), "pow")](const Tensor& dy) {
                  const Tensor &p = sa(), &q = sb();
                  Tensor da, db;
                  if (na) {  // b a^(b-1), which is NaN where both are 0
                    const Tensor slope = mul(dy, mul(q, pow(p, sub(q, 1))));
                    da = sum_to(where(eq(q, 0), zeros_like(slope), slope), p.shape());
                  }
                  if (nb) {  // 0^b is flat in b from 0 on, though ln 0 is not finite
                    const Tensor slope = mul(dy, mul(sy(), log(p)));
                    db = sum_to(where(mul(eq(p, 0), ge(q, 0)), zeros_like(slope), slope), q.shape());
                  }
                  return Grads{da, db};
                });
}
ATLAS_INLINE Tensor pow(double s, const Tensor& b) {
  detail::check_number("pow", b, s);
  return pow(full({}, s, b.dtype(), b.device()), b);
}

namespace detail {

/// Where `a op= ...` may not give the handle another tensor, it has to write to a's memory.
inline void store_in_place(const char* op, Tensor& a, const Tensor& result) {
  check_in_place(a, op);
  check(result.shape() == a.shape() && result.dtype() == a.dtype(), op,
        "the result, {}, does not fit into {} (write a = a {} b)", describe(result), describe(a), op[0]);
  a.copy_(result);
}

/// a op= b. `in_reach`: the caller keeps `a`, so that it may become the recorded result.
template <class F>
void assign(const char* op, Tensor& a, const Tensor* b, bool in_reach, const F& compute) {
  check(a.defined(), op, "the operand is undefined");
  const bool recorded = grad_enabled() && (a.requires_grad() || (b != nullptr && b->requires_grad()));
  if (!recorded) {
    Tensor result;
    {
      const NoGrad off;
      result = compute();
    }
    return store_in_place(op, a, result);
  }
  const bool leaf = a.requires_grad() && (!a.impl().node || a.impl().node->leaf.lock() != nullptr);
  check(!leaf, op, "{} is a leaf that requires a gradient: change it under NoGrad, or write a = a {} b", describe(a),
        op[0]);
  const bool alone = a.requires_grad() || (a.ptr().use_count() == 1 && a.impl().storage.use_count() == 1);
  check(in_reach && alone, op,
        "the result has a gradient, which {} cannot take: others see its memory (write a = a {} b)", describe(a),
        op[0]);
  Tensor result = compute();
  check(result.shape() == a.shape() && result.dtype() == a.dtype(), op,
        "the result, {}, does not fit into {} (write a = a {} b)", describe(result), describe(a), op[0]);
  a = std::move(result);
}

}  // namespace detail

#define ATLAS_ASSIGN(symbol, function)                                                                 \
  ATLAS_INLINE Tensor& Tensor::operator symbol(const Tensor& b)& {                                     \
    detail::assign(#symbol, *this, &b, true, [&] { return function(std::as_const(*this), b); });       \
    return *this;                                                                                      \
  }                                                                                                    \
  ATLAS_INLINE Tensor& Tensor::operator symbol(double s)& {                                            \
    detail::assign(#symbol, *this, nullptr, true, [&] { return function(std::as_const(*this), s); });  \
    return *this;                                                                                      \
  }                                                                                                    \
  ATLAS_INLINE void Tensor::operator symbol(const Tensor& b)&& {                                       \
    detail::assign(#symbol, *this, &b, false, [&] { return function(std::as_const(*this), b); });      \
  }                                                                                                    \
  ATLAS_INLINE void Tensor::operator symbol(double s)&& {                                              \
    detail::assign(#symbol, *this, nullptr, false, [&] { return function(std::as_const(*this), s); }); \
  }
ATLAS_ASSIGN(+=, add)
ATLAS_ASSIGN(-=, sub)
ATLAS_ASSIGN(*=, mul)
ATLAS_ASSIGN(/=, div)
#undef ATLAS_ASSIGN

}  // namespace atlas::inline ATLAS_ABI
