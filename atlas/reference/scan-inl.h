// The plain kernels of the selective scan.
#pragma once

#include "atlas/kernels/scan.h"
#include "atlas/reference/elements.h"
#include "atlas/reference/selective_scan.h"

namespace atlas::inline ATLAS_ABI::cpu::plain {

/// Operands of a scan in row-major order.
template <class T>
struct ScanOperands {
  std::vector<T> u, delta, a, b, c, d, delta_bias;
  Shape lengths;  // batch, length, channels, states

  explicit ScanOperands(const ScanTensors& in)
      : u(elements<T>(in.u)),
        delta(elements<T>(in.delta)),
        a(elements<T>(in.a)),
        b(elements<T>(in.b)),
        c(elements<T>(in.c)),
        d(elements<T>(in.d)),
        delta_bias(elements<T>(in.delta_bias)),
        lengths{in.u.size(0), in.u.size(1), in.u.size(2), in.a.size(1)} {}
  reference::ScanInputs<T> inputs() const {
    return {lengths[0], lengths[1], lengths[2], lengths[3], u.data(),         delta.data(),
            a.data(),   b.data(),   c.data(),   d.data(),   delta_bias.data()};
  }
};

ATLAS_INLINE void scan_forward(const ScanTensors& in, Tensor& y) {
  visit_float(in.u, "selective_scan", [&](auto tag) {
    using T = decltype(tag);
    const ScanOperands<T> operands(in);
    std::vector<T> out(operands.u.size());
    reference::selective_scan(operands.inputs(), out.data());
    store<T>(out, y);
  });
}
ATLAS_INLINE void scan_backward(const ScanTensors& in, const Tensor& dy, ScanTensors& grads) {
  visit_float(in.u, "selective_scan", [&](auto tag) {
    using T = decltype(tag);
    const ScanOperands<T> operands(in);
    const reference::ScanGradients g = reference::selective_scan_backward(operands.inputs(), elements<T>(dy).data());
    store<T>(g.u, grads.u);
    store<T>(g.delta, grads.delta);
    store<T>(g.a, grads.a);
    store<T>(g.b, grads.b);
    store<T>(g.c, grads.c);
    store<T>(g.d, grads.d);
    store<T>(g.delta_bias, grads.delta_bias);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::plain
