// All that a product can be asked to do besides, one by one and together, on the device that is tested: the same as
// separate ops, and as the plain kernel.
#include <doctest/doctest.h>

#include "atlas/autograd/node.h"
#include "atlas/kernels/gemm.h"
#include "atlas/kernels/kernel.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/fuse.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/unary.h"
#include "tests/ops/random_input.h"

using namespace atlas;
using namespace test;

namespace {

constexpr Activation kAll[] = {Activation::none, Activation::relu, Activation::gelu, Activation::gelu_tanh,
                               Activation::silu};

}  // namespace

TEST_CASE("products: bias, activation, scale, residual and the kept pre-activation, in any combination") {
  const NoGrad off;
  for (const DType dtype : {float32, float64}) {
    const double close = dtype == float32 ? 2e-6 : 1e-13;
    const Tensor a = random({7, 19}, 1, dtype), b = random({19, 33}, 2, dtype), bias = random({33}, 3, dtype),
                 scale = random({33}, 4, dtype), residual = random({7, 33}, 5, dtype);
    for (const Activation f : kAll)
      for (int which = 0; which < 16; ++which) {
        CAPTURE(static_cast<int>(f));
        CAPTURE(which);
        const Tensor with_bias = (which & 1) != 0 ? bias : Tensor();
        FusedProduct fused{.activation = f};
        if ((which & 2) != 0) fused.scale = scale;
        if ((which & 4) != 0) fused.residual = residual;
        if ((which & 8) != 0) fused.pre_activation = full({7, 33}, 9, dtype);
        Tensor z = matmul(a, b);
        if (with_bias.defined()) z = z + with_bias;
        Tensor want = activate(z, f);
        if (fused.scale.defined()) want = want * scale;
        if (fused.residual.defined()) want = want + residual;
        Tensor got = empty({7, 33}, dtype);
        kernels::matmul(a, b, with_bias, got, fused);
        CHECK(difference(got, want) < close);
        if (fused.pre_activation.defined()) CHECK(difference(fused.pre_activation, z) < close);
      }
  }
}

TEST_CASE("products times the derivative of an activation") {
  const NoGrad off;
  for (const DType dtype : {float32, float64}) {
    const Tensor a = random({7, 19}, 1, dtype), b = random({19, 33}, 2, dtype), at = random({7, 33}, 3, dtype);
    for (const Activation f : kAll) {
      CAPTURE(static_cast<int>(f));
      // f'(at), by differences in float64.
      const double step = 1e-5;
      const Tensor x = at.to(float64);
      const Tensor slope = (activate(x + step, f) - activate(x - step, f)) / (2 * step);
      Tensor got = empty({7, 33}, dtype);
      kernels::matmul_times_derivative(a, b, f, at, got);
      CHECK(difference(got, matmul(a, b).to(float64) * slope) < (dtype == float32 ? 3e-6 : 1e-9));
    }
  }
}
