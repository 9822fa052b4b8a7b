// The perceptron as one op: values and gradients of the plain ops, in every type and layout it takes.
// ctest-device: cpu
#include "atlas/ops/mlp.h"

#include <doctest/doctest.h>

#include "atlas/autograd/gradcheck.h"
#include "atlas/autograd/node.h"
#include "atlas/core/isa.h"
#include "atlas/nn/linear.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/shape.h"
#include "tests/ops/formula_input.h"

using namespace atlas;
using namespace test;

namespace {

Tensor one(const std::vector<Tensor>& in) { return mlp(in[0], in[1], in[2], in[3], in[4]); }
Tensor plain(const std::vector<Tensor>& in) { return mlp_reference(in[0], in[1], in[2], in[3], in[4]); }

std::vector<Tensor> inputs(const Shape& x, int64_t hidden, int64_t out, DType dtype) {
  return {random(x, 1, dtype), random({hidden, x.back()}, 2, dtype), random({hidden}, 3, dtype),
          random({out, hidden}, 4, dtype), random({out}, 5, dtype)};
}

}  // namespace

TEST_CASE("mlp: gradient check, plain ops, threads") {
  for (const Shape& s : {Shape{5}, Shape{2, 3, 4}, Shape{1, 7}, Shape{0, 3}}) {
    CAPTURE(s.str());
    if (s.numel() > 0) CHECK(gradcheck(one, inputs(s, 6, 3, float64)).checked > 0);
    CHECK(op_difference(one, plain, inputs(s, 6, 3, float64)) < 1e-12);
  }
  const CpuIsa before = cpu_isa();
  for (const CpuIsa isa : {CpuIsa::portable, CpuIsa::avx2, CpuIsa::avx512}) {
    if (!cpu_supports(isa)) continue;
    set_cpu_isa(isa);
    CAPTURE(std::string(name(isa)));
    for (const auto& [rows, in, hidden] : {std::array<int64_t, 3>{3, 5, 7}, {300, 40, 161}, {700, 64, 256}})
      CHECK(op_difference(one, plain, inputs({rows, in}, hidden, in, float32)) < 2e-5 * static_cast<double>(hidden));
  }
  set_cpu_isa(before);
  CHECK(same_for_any_threads([] { return with_gradients(one, inputs({700, 64}, 256, 64, float32)); }));
  // As a view, rows that are apart.
  const Op of_slice = [](const std::vector<Tensor>& in) {
    return mlp(slice(in[0], 1, 1, 5), in[1], in[2], in[3], in[4]);
  };
  std::vector<Tensor> views = inputs({6, 4}, 5, 2, float64);
  views[0] = random({6, 7}, 6);
  CHECK(gradcheck(of_slice, views).checked > 0);
}

TEST_CASE("mlp: only the gradients that are wanted; what was saved must not change") {
  for (size_t wanted = 0; wanted < 5; ++wanted) {
    std::vector<Tensor> in = inputs({9, 4}, 6, 3, float64);
    in[wanted].set_requires_grad();
    const Tensor got = grad({one(in)}, {in[wanted]})[0], want = grad({plain(in)}, {in[wanted]})[0];
    CHECK(difference(got, want) < 1e-12);
  }
  std::vector<Tensor> in = inputs({9, 4}, 6, 3, float64);
  in[3].set_requires_grad();
  const Tensor y = one(in);
  {
    const NoGrad off;
    Tensor(in[3]).mul_(2);
  }
  CHECK_NOTHROW(grad({sum(y)}, {in[3]}));  // dW₂ does not read W₂
  in[0].set_requires_grad();
  const Tensor z = one(in);
  {
    const NoGrad off;
    Tensor(in[3]).mul_(2);
  }
  CHECK_THROWS_AS(grad({sum(z)}, {in[0]}), Error);
  CHECK_THROWS_AS(mlp(in[0], in[1], in[2], in[1], in[4]), Error);
}

TEST_CASE("mlp: large activations are computed again in backward") {
  const int64_t rows = 2048, hidden = 1024;
  std::vector<Tensor> in = inputs({rows, 16}, hidden, 16, float32);
  for (Tensor& t : in) t.set_requires_grad();
  const int64_t before = memory_stats().current;
  const Tensor y = one(in);
  CHECK(memory_stats().current < before + rows * hidden * 4 + (1 << 20));  // gelu's input alone
  const std::vector<Tensor> got = grad({y}, in), want = grad({plain(in)}, in);
  for (size_t i = 0; i < in.size(); ++i) CHECK(difference(got[i], want[i]) < 1e-3 * static_cast<double>(hidden));
}

TEST_CASE("Mlp takes the same numbers from training and from inference") {
  const Mlp layer(24, 50);
  const Tensor x = random({3, 7, 24}, 1, float32);
  const Tensor recorded = layer(x);
  CHECK(recorded.requires_grad());
  const NoGrad off;
  CHECK(difference(layer(x), recorded) < 1e-5);
}
