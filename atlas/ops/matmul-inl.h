// Bodies of matmul.h.
#pragma once

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/node.h"
#include "atlas/kernels/gemm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/matmul.h"
#include "atlas/tensor/memory.h"
#include "atlas/tensor/strided.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// `t` when GEMM can read its matrices in place (plain or transposed), otherwise a contiguous copy. Outside the graph.
inline Tensor gemm_operand(const Tensor& t) { return matrix_layout(t).usable ? t.detach() : copy_of(t); }

ATLAS_INLINE Tensor try_rows_view(const Tensor& t) {
  const int last = t.dim() - 1;
  const int64_t columns = t.shape()[last];
  int64_t rows = 1, step = 0;
  if (t.numel() == 0) {  // of nothing, any view will do
    for (int i = 0; i < last; ++i) rows *= t.shape()[i];
    return raw_view(t, {rows, columns}, {std::max<int64_t>(columns, 1), 1}, t.offset());
  }
  for (int i = last - 1; i >= 0; --i) {
    if (t.shape()[i] == 1) continue;
    if (rows == 1)
      step = t.strides()[i];
    else if (t.strides()[i] != step * rows)
      return {};
    rows *= t.shape()[i];
  }
  if (columns > 1 && t.strides()[last] != 1) return {};
  if (rows > 1 && step < 1) return {};
  return raw_view(t, {rows, columns}, {rows > 1 ? step : std::max<int64_t>(columns, 1), 1}, t.offset());
}

ATLAS_INLINE Tensor rows_view(const Tensor& t) {
  Tensor v = try_rows_view(t);
  return v.defined() ? v : try_rows_view(copy_of(t));
}

ATLAS_INLINE Tensor swap_last_axes(const Tensor& t) {
  Shape shape = t.shape(), strides = t.strides();
  std::swap(shape[t.dim() - 1], shape[t.dim() - 2]);
  std::swap(strides[t.dim() - 1], strides[t.dim() - 2]);
  return raw_view(t, shape, strides, t.offset());
}

inline Shape batch_shape(const Tensor& t) {
  return Shape(std::span<const int64_t>(t.shape().begin(), static_cast<size_t>(t.dim() - 2)));
}

/// A vector as a matrix of one row (left operand) or one column (right operand); anything else unchanged.
inline Tensor promote_vector(const Tensor& t, bool left) {
  if (t.dim() != 1) return t.detach();
  const int64_t n = t.shape()[0], step = t.strides()[0];
  return left ? raw_view(t, {1, n}, {n, step}, t.offset()) : raw_view(t, {n, 1}, {step, 1}, t.offset());
}

ATLAS_INLINE Tensor multiply(Tensor a, Tensor b) {
  const Shape batch = broadcast(batch_shape(a), batch_shape(b), "matmul", describe(a), describe(b), 2);
  const int64_t m = a.size(-2), n = b.size(-1);
  Shape shape = batch;
  shape.push_back(m);
  shape.push_back(n);
  Tensor c = empty(shape, a.dtype(), a.device());
  b = gemm_operand(b);
  if (batch_shape(b).numel() == 1) {
    // One matrix for the whole batch: a single tall product instead of many small ones.
    if (const Tensor rows = try_rows_view(a); rows.defined()) {
      Tensor flat = raw_view(c, {rows.shape()[0], n}, {n, 1}, 0);
      const Shape ld = {b.strides()[b.dim() - 2], b.strides()[b.dim() - 1]};
      kernels::matmul(rows, raw_view(b, {b.size(-2), n}, ld, b.offset()), {}, flat, {});
      return c;
    }
  }
  a = gemm_operand(a);
  const auto repeat = [&](const Tensor& t) {
    Shape target = batch;
    target.push_back(t.size(-2));
    target.push_back(t.size(-1));
    Shape strides = broadcast_strides(t.shape(), t.strides(), target);
    strides[target.size() - 2] = t.strides()[t.dim() - 2];  // a length of 1 is no broadcast here
    strides[target.size() - 1] = t.strides()[t.dim() - 1];
    return raw_view(t, target, strides, t.offset());
  };
  kernels::matmul(repeat(a), repeat(b), {}, c, {});
  return c;
}

ATLAS_INLINE Tensor narrow(const Tensor& x) { return x.dtype() == float32 ? to(x, bfloat16) : x; }

ATLAS_INLINE void check_residual(const Tensor& residual, const Tensor& y, const char* op) {
  if (!residual.defined()) return;
  check(residual.shape() == y.shape() && residual.dtype() == y.dtype() && residual.is_contiguous() &&
            residual.device() == y.device(),
        op, "the residual {} must be contiguous and like the result {}", describe(residual), describe(y));
}

ATLAS_INLINE void check_same_kind(const Tensor& a, const Tensor& b, const char* op, const char* name_a,
                                  const char* name_b) {
  if (a.defined() && b.defined() && a.dtype() == b.dtype() && a.device() == b.device() && computes_as_float(a)) return;
  check_float(a, op);  // first: two of a dtype that does not compute would fit no better
  check_float(b, op);
  check(a.dtype() == b.dtype(), op, "dtypes differ: {} {}, {} {} (convert one with .to(...))", name_a, describe(a),
        name_b, describe(b));
  check(a.device() == b.device(), op, "operands are on different devices: {} {}, {} {} (move one with .to(...))",
        name_a, describe(a), name_b, describe(b));
}

}  // namespace detail

ATLAS_INLINE Tensor matmul(const Tensor& a, const Tensor& b) {
  check(a.dim() >= 1 && b.dim() >= 1, "matmul", "needs operands of at least one axis: a {}, b {}", describe(a),
        describe(b));
  if (detail::autocasts(a) && (a.dtype() == float32 || b.dtype() == float32))
    return matmul(detail::narrow(a), detail::narrow(b));
  detail::check_same_kind(a, b, "matmul", "a", "b");
  const int inner_b = std::max(b.dim() - 2, 0);
  check(a.size(-1) == b.shape()[inner_b], "matmul", "inner dimensions differ: a {} axis {} = {}, b {} axis {} = {}{}",
        describe(a), a.dim() - 1, a.size(-1), describe(b), inner_b, b.shape()[inner_b],
        b.dim() >= 2 && b.size(-1) == a.size(-1)           ? " (transpose b?)"
        : a.dim() >= 2 && a.size(-2) == b.shape()[inner_b] ? " (transpose a?)"
                                                           : "");
  const Tensor pa = detail::promote_vector(a, true), pb = detail::promote_vector(b, false);
  Tensor c = detail::multiply(pa, pb);
  const Shape full = c.shape();
  Shape shape = full;
  if (b.dim() == 1) shape.erase(shape.size() - 1);
  if (a.dim() == 1) shape.erase(shape.size() - (b.dim() == 1 ? 1 : 2));
  Tensor y = raw_view(c, shape, contiguous_strides(shape), 0);

  return record("matmul", y, {a, b},
                [sa = Saved(pa, "matmul"), sb = Saved(pb, "matmul"), full, shape_a = a.shape(), shape_b = b.shape(),
                 need_a = a.requires_grad(), need_b = b.requires_grad()](const Tensor& dy) {
                  const Tensor whole = dy.is_contiguous() ? dy : copy_of(dy);
                  const Tensor dc = raw_view(whole, full, contiguous_strides(full), whole.offset());
                  // The batch sum of a gradient undoes the broadcasting; then a vector gets its single axis back.
                  const auto finish = [](const Tensor& g, const Tensor& promoted, const Shape& shape_wanted) {
                    const Tensor s = sum_to(g, promoted.shape());
                    const Tensor flat = s.is_contiguous() ? s : copy_of(s);
                    return raw_view(flat, shape_wanted, contiguous_strides(shape_wanted), flat.offset());
                  };
                  Grads grads(2);
                  const Tensor &x = sa(), &w = sb();
                  if (need_a)
                    grads[0] = finish(detail::multiply(dc, detail::swap_last_axes(w)), x, shape_a);  // da = dc bᵀ
                  if (need_b) {                                                                      // db = aᵀ dc
                    const Tensor rows = detail::batch_shape(w).numel() == 1 ? detail::try_rows_view(x) : Tensor();
                    const Tensor drows = rows.defined() ? detail::try_rows_view(dc) : Tensor();
                    if (drows.defined() &&
                        rows.shape()[0] == drows.shape()[0])  // b was one matrix: the batch is part of the product
                      grads[1] = finish(raw_view(detail::multiply(detail::swap_last_axes(rows), drows), w.shape(),
                                                 contiguous_strides(w.shape()), 0),
                                        w, shape_b);
                    else
                      grads[1] = finish(detail::multiply(detail::swap_last_axes(x), dc), w, shape_b);
                  }
                  return grads;
                });
}

namespace detail {

/// linear() that reads its weight and bias as `w_read` and `b_read`, which are they or the same in x's type.
inline Tensor linear_reading(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& w_read,
                             const Tensor& b_read, const FusedProduct& fused) {
  check(weight.dim() == 2, "linear", "needs weight[out, in], got {}", describe(weight));
  check_same_kind(x, w_read, "linear", "x", "weight");
  check(x.size(-1) == weight.size(1), "linear", "input features differ: x {} axis {} = {}, weight {} axis 1 = {}{}",
        describe(x), x.dim() - 1, x.size(-1), describe(weight), weight.size(1),
        x.size(-1) == weight.size(0) ? " (weight is [out, in]: transpose it?)" : "");
  if (bias.defined()) {
    check_same_kind(x, b_read, "linear", "x", "bias");
    check(bias.dim() == 1 && bias.size(0) == weight.size(0), "linear", "bias {} does not fit weight {} (needs [{}])",
          describe(bias), describe(weight), weight.size(0));
  }
  const int64_t out = weight.size(0);
  const Tensor rows = rows_view(x), w = gemm_operand(w_read);
  Shape shape = x.shape();
  shape[x.dim() - 1] = out;
  Tensor y = empty(shape, x.dtype(), x.device());
  Tensor flat = raw_view(y, {rows.shape()[0], out}, {out, 1}, 0);
  check_fused(fused, y, "linear");
  check(!fused.scale.defined() ||
            (fused.scale.dim() == 1 && fused.scale.size(0) == y.size(-1) && fused.scale.dtype() == y.dtype() &&
             fused.scale.is_contiguous() && fused.scale.device() == y.device()),
        "linear", "the scale {} must be a contiguous vector over the last axis of the result {}", describe(fused.scale),
        describe(y));
  check(!fused.pre_activation.defined() || fused.pre_activation.shape() == y.shape(), "linear",
        "the pre-activation {} must be like the result {}", describe(fused.pre_activation), describe(y));
  kernels::matmul(rows, swap_last_axes(w), b_read.defined() && !b_read.is_contiguous() ? copy_of(b_read) : b_read, flat,
                  fused);
  if (!fused.empty()) return y;

  const bool need_x = x.requires_grad(), need_w = weight.requires_grad(), need_b = bias.requires_grad();
  const Tensor kept = try_rows_view(x).defined() ? x : rows;  // x itself knows whether it can be computed again
  return record("linear", y, {x, weight, bias},
                [sx = Saved(need_w ? kept : Tensor(), "linear"), sw = Saved(need_x ? w : Tensor(), "linear"), need_x,
                 need_w, need_b, shape_x = x.shape(), out, dtype = weight.dtype()](const Tensor& dy) {
                  const Tensor dr = rows_view(dy);
                  Grads grads(3);
                  if (need_x) {  // dx = dy W
                    grads[0] = empty(shape_x, dy.dtype(), dy.device());
                    Tensor dx = raw_view(grads[0], {dr.shape()[0], shape_x.back()}, {shape_x.back(), 1}, 0);
                    kernels::matmul(dr, sw(), {}, dx, {});
                  }
                  if (need_w) {  // dW = dyᵀ x
                    grads[1] = empty({out, shape_x.back()}, dtype, dy.device());
                    kernels::matmul(swap_last_axes(dr), rows_view(sx()), {}, grads[1], {});
                  }
                  if (need_b) {  // db = the sum of dy over all rows
                    grads[2] = empty({out}, dtype, dy.device());
                    kernels::column_sums(dr, grads[2]);
                  }
                  return grads;
                });
}

}  // namespace detail

ATLAS_INLINE Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const FusedProduct& fused) {
  check(x.dim() >= 1, "linear", "needs x[..., in], got {}", describe(x));
  if (detail::autocasts(x))
    return detail::linear_reading(detail::narrow(x), weight, bias, detail::narrow_weight(weight),
                                  detail::narrow_weight(bias), detail::fused_as(fused, bfloat16));
  return detail::linear_reading(x, weight, bias, weight, bias, fused);
}

}  // namespace atlas::inline ATLAS_ABI
