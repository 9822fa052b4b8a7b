// Bodies of mlp.h.
#pragma once

#include <array>

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/node.h"
#include "atlas/kernels/functors.h"
#include "atlas/kernels/gemm.h"
#include "atlas/kernels/unary.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/mlp.h"
#include "atlas/ops/unary.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE Tensor mlp_reference(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2,
                                  const Tensor& b2) {
  return linear(gelu(linear(x, w1, b1)), w2, b2);
}

ATLAS_INLINE Tensor mlp(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2) {
  const char* op = "mlp";
  const auto fits = [&](const Tensor& w, const Tensor& b, int64_t in) {
    return w.dim() == 2 && w.size(1) == in && w.is_contiguous() && w.dtype() == x.dtype() && b.defined() &&
           b.dim() == 1 && b.size(0) == w.size(0) && b.is_contiguous() && b.dtype() == x.dtype() &&
           !w.device().is_cuda();
  };
  const bool fused = x.defined() && x.dim() >= 1 && !x.device().is_cuda() && !detail::autocasts(x) &&
                     (x.dtype() == float32 || x.dtype() == float64) && fits(w1, b1, x.size(-1)) &&
                     fits(w2, b2, w1.size(0)) && needs_record({x, w1, b1, w2, b2});
  if (!fused) return mlp_reference(x, w1, b1, w2, b2);  // which also says what does not fit

  const int64_t hidden = w1.size(0), out = w2.size(0);
  const Tensor rows = detail::rows_view(x);
  const int64_t count = rows.size(0);
  Tensor h = empty({count, hidden}, x.dtype(), x.device()), activated = empty_like(h);
  kernels::matmul(rows, detail::swap_last_axes(w1.detach()), b1.detach(), activated,
                  {.activation = Activation::gelu, .pre_activation = h});
  Shape shape = x.shape();
  shape[x.dim() - 1] = out;
  Tensor y = empty(shape, x.dtype(), x.device());
  Tensor flat = raw_view(y, {count, out}, {out, 1}, 0);
  kernels::matmul(activated, detail::swap_last_axes(w2.detach()), b2.detach(), flat, {});

  const Tensor kept = detail::try_rows_view(x).defined() ? x : rows;  // x itself knows whether it can be computed again
  struct Kept {
    Saved x, h, activated, w1, w2;
    Shape shape;  // of x, which `kept` may not have
    std::array<bool, 5> needed;
  };
  const bool again = worth_recomputing(activated);  // like the result of gelu() alone
  const Kept k{Saved(kept, op),
               Saved(h, op),
               Saved(again ? Tensor() : activated, op),
               Saved(w1.detach(), op),
               Saved(w2.detach(), op),
               x.shape(),
               {x.requires_grad(), w1.requires_grad(), b1.requires_grad(), w2.requires_grad(), b2.requires_grad()}};
  return record(op, y, {x, w1, b1, w2, b2}, [k](const Tensor& dy) {
    const Tensor dr = detail::rows_view(dy), &pre = k.h();
    Grads g(5);
    // The gradients of a layer's weight and bias: dW = dᵀ in, db = the sum of d over all rows.
    const auto layer = [&](size_t i, const Tensor& d, auto&& in) {
      if (k.needed[i]) {
        const Tensor from = in();
        g[i] = empty({d.size(1), from.size(1)}, d.dtype(), d.device());
        kernels::matmul(detail::swap_last_axes(d), from, {}, g[i], {});
      }
      if (k.needed[i + 1]) {
        g[i + 1] = empty({d.size(1)}, d.dtype(), d.device());
        kernels::column_sums(d, g[i + 1]);
      }
    };
    layer(3, dr, [&] {
      if (k.activated().defined()) return k.activated();
      Tensor a = empty_like(pre);
      kernels::unary_forward(functors::Gelu{}, pre, a);
      return a;
    });
    if (!k.needed[0] && !k.needed[1] && !k.needed[2]) return g;
    Tensor dh = empty_like(pre);  // dy W₂ gelu'(h)
    kernels::matmul_times_derivative(dr, k.w2(), Activation::gelu, pre, dh);
    layer(1, dh, [&] { return detail::rows_view(k.x()); });
    if (k.needed[0]) {  // dx = dh W₁
      const int64_t columns = k.w1().size(1);
      g[0] = empty(k.shape, dh.dtype(), dh.device());
      Tensor dx = raw_view(g[0], {dh.size(0), columns}, {columns, 1}, 0);
      kernels::matmul(dh, k.w1(), {}, dx, {});
    }
    return g;
  });
}

}  // namespace atlas::inline ATLAS_ABI
