// Bodies of scan.h.
#pragma once

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/node.h"
#include "atlas/kernels/scan.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/join.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/scan.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/unary.h"
#include "atlas/ops/watch.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

ATLAS_INLINE void check_scan(const ScanTensors& s) {
  check(s.u.dim() == 3, "selective_scan", "needs u[B,L,D], got {}", describe(s.u));
  check(s.a.dim() == 2, "selective_scan", "needs A[D,N], got {}", describe(s.a));
  const Shape channels{s.u.size(2)}, states{s.u.size(0), s.u.size(1), s.a.size(1)};
  const auto fits = [&](const char* name, const Tensor& t, const Shape& shape, const char* letters) {
    // What all tokens share stays float32 beside bfloat16 tokens.
    const bool shared = t.defined() && t.dim() < 3 && s.u.dtype() == bfloat16 && t.dtype() == float32;
    if (!shared) check_same_kind(s.u, t, "selective_scan", "u", name);
    check(t.shape() == shape, "selective_scan", "needs {}[{}] = {}{} for u {} and A {}, got {}", name, letters, name,
          shape, describe(s.u), describe(s.a), describe(t));
  };
  fits("delta", s.delta, s.u.shape(), "B,L,D");
  fits("A", s.a, {s.u.size(2), s.a.size(1)}, "D,N");
  fits("B", s.b, states, "B,L,N");
  fits("C", s.c, states, "B,L,N");
  fits("D", s.d, channels, "D");
  fits("delta_bias", s.delta_bias, channels, "D");
}

/// `t` [B,L,n] when its rows are contiguous, otherwise a contiguous copy. Outside the graph.
inline Tensor rows_of_sequence(const Tensor& t) {
  return t.size(2) <= 1 || t.strides()[2] == 1 ? t.detach() : copy_of(t);
}

/// The operands as kernels read them.
inline ScanTensors scan_operands(const ScanTensors& s) {
  const auto whole = [](const Tensor& t) { return t.is_contiguous() ? t.detach() : copy_of(t); };
  return {rows_of_sequence(s.u), rows_of_sequence(s.delta), whole(s.a),
          rows_of_sequence(s.b), rows_of_sequence(s.c),     whole(s.d),
          whole(s.delta_bias)};
}

}  // namespace detail

ATLAS_INLINE Tensor selective_scan(const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B,
                                   const Tensor& C, const Tensor& D, const Tensor& delta_bias) {
  if (detail::autocasts(u) &&
      (u.dtype() == float32 || delta.dtype() == float32 || B.dtype() == float32 || C.dtype() == float32))
    return selective_scan(detail::narrow(u), detail::narrow(delta), A, detail::narrow(B), detail::narrow(C), D,
                          delta_bias);
  detail::check_scan({u, delta, A, B, C, D, delta_bias});
  if (u.dtype() == bfloat16 && (A.dtype() == bfloat16 || D.dtype() == bfloat16 || delta_bias.dtype() == bfloat16))
    return selective_scan(u, delta, to(A, float32), B, C, to(D, float32), to(delta_bias, float32));
  const ScanTensors in = detail::scan_operands({u, delta, A, B, C, D, delta_bias});
  Tensor y = empty(u.shape(), u.dtype(), u.device());
  kernels::scan_forward(in, y);

  const char* op = "selective_scan";
  return record(op, y, {u, delta, A, B, C, D, delta_bias},
                [su = Saved(in.u, op), sdelta = Saved(in.delta, op), sa = Saved(in.a, op), sb = Saved(in.b, op),
                 sc = Saved(in.c, op), sd = Saved(in.d, op), sbias = Saved(in.delta_bias, op)](const Tensor& dy) {
                  const ScanTensors x{su(), sdelta(), sa(), sb(), sc(), sd(), sbias()};
                  ScanTensors g{empty_like(x.u), empty_like(x.delta), empty_like(x.a),         empty_like(x.b),
                                empty_like(x.c), empty_like(x.d),     empty_like(x.delta_bias)};
                  kernels::scan_backward(x, detail::rows_of_sequence(dy), g);
                  return Grads{g.u, g.delta, g.a, g.b, g.c, g.d, g.delta_bias};
                });
}

ATLAS_INLINE void selective_scan_(Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
                                  const Tensor& D, const Tensor& delta_bias) {
  detail::check_in_place(u, "selective_scan_");
  check(!grad_enabled() && !u.device().is_cuda() && (u.size(2) <= 1 || u.strides()[2] == 1), "selective_scan_",
        "works on the CPU under NoGrad, on rows of contiguous channels, got {}", describe(u));
  detail::check_scan({u, delta, A, B, C, D, delta_bias});
  kernels::scan_forward(detail::scan_operands({u, delta, A, B, C, D, delta_bias}), u);
  u.bump_version();
}

ATLAS_INLINE Tensor leading_channels(const Tensor& x, int64_t channels) {
  const Tensor some = slice(x, -1, 0, channels);
  return some.device().is_cuda() ? some.contiguous() : some;
}

ATLAS_INLINE Tensor selective_scan_beside(Tensor xz, const Tensor& u, const Tensor& delta, const Tensor& A,
                                          const Tensor& B, const Tensor& C, const Tensor& D, const Tensor& delta_bias) {
  const int64_t half = u.size(-1);
  if (detail::inference_mode() && !xz.device().is_cuda() && computes_as_float(xz)) {
    Tensor place = slice(xz, -1, 0, half);
    selective_scan_(place, delta, A, B, C, D, delta_bias);
    return xz;
  }
  const Tensor z = slice(xz, -1, half, xz.size(-1));
  return cat({selective_scan(u, delta, A, B, C, D, delta_bias), z}, -1);
}

ATLAS_INLINE Tensor selective_scan_reference(const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B,
                                             const Tensor& C, const Tensor& D, const Tensor& delta_bias) {
  detail::check_scan({u, delta, A, B, C, D, delta_bias});
  const Tensor d = softplus(delta + delta_bias);
  Tensor h = zeros({u.size(0), u.size(2), A.size(1)}, u.dtype(), u.device());
  std::vector<Tensor> ys;
  for (int64_t t = 0; t < u.size(1); ++t) {
    const Tensor dt = select(d, 1, t);                                                        // [B,D]
    const Tensor drive = unsqueeze(dt * select(u, 1, t), 2) * unsqueeze(select(B, 1, t), 1);  // [B,D,N]
    h = exp(unsqueeze(dt, 2) * A) * h + drive;
    ys.push_back(sum(h * unsqueeze(select(C, 1, t), 1), {2}));
  }
  return ys.empty() ? u * D : stack(ys, 1) + u * D;
}

}  // namespace atlas::inline ATLAS_ABI
