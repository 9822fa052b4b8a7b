// selective_scan against its composite of plain ops: sizes that leave part of a block, several chunks, gradients,
// errors.
#include "atlas/ops/scan.h"

#include <doctest/doctest.h>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/autograd/node.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "random_input.h"

using namespace atlas;
using test::difference;
using test::error_of;
using test::random;
using test::scattered;

namespace {

/// u, delta, A, B, C, D, delta_bias; A is negative as in a model.
std::vector<Tensor> operands(int64_t B, int64_t L, int64_t D, int64_t N, DType dtype) {
  std::vector<double> a = to_vector<double>(random({D, N}, 3));
  for (double& v : a) v = -std::exp(v);
  Tensor a_cast = empty({D, N}, dtype);
  copy_elements(a_cast, from_vector(a, {D, N}));
  return {random({B, L, D}, 1, dtype), random({B, L, D}, 2, dtype), a_cast,
          random({B, L, N}, 4, dtype), random({B, L, N}, 5, dtype), random({D}, 6, dtype),
          random({D}, 7, dtype)};
}

Tensor scan(const std::vector<Tensor>& in) { return selective_scan(in[0], in[1], in[2], in[3], in[4], in[5], in[6]); }
Tensor reference(const std::vector<Tensor>& in) {
  return selective_scan_reference(in[0], in[1], in[2], in[3], in[4], in[5], in[6]);
}

void compare(const std::vector<Tensor>& in, double limit) {
  std::vector<Tensor> leaves;
  for (const Tensor& t : in) leaves.push_back(t.detach().set_requires_grad());
  const Tensor y = scan(leaves), want = reference(leaves);
  CHECK(difference(y, want) < limit);
  const Tensor dy = random(y.shape(), 9, y.dtype());
  const auto ours = grad({y}, leaves, {dy}), theirs = grad({want}, leaves, {dy});
  for (size_t i = 0; i < leaves.size(); ++i) {
    CAPTURE(i);
    CHECK(difference(ours[i], theirs[i]) < limit);
  }
}

}  // namespace

TEST_CASE("selective_scan equals its reference, values and gradients") {
  for (const auto& [dtype, limit] : {std::pair{float32, 2e-5}, std::pair{float64, 1e-12}}) {
    compare(operands(2, 5, 3, 4, dtype), limit);
    compare(operands(1, 1, 1, 1, dtype), limit);
    compare(operands(3, 7, 16, 2, dtype), limit);
    compare(operands(2, 20, 37, 8, dtype), limit);    // three blocks of channels, the last one partial
    compare(operands(1, 50, 20, 100, dtype), limit);  // chunks of 20 steps
    compare(operands(70, 3, 5, 2, dtype), limit);     // more batch entries than pieces
  }
}

TEST_CASE("selective_scan reads slices of a projection in place") {
  const auto in = operands(2, 6, 18, 4, float64);
  const Tensor wide = random({2, 6, 18 + 8}, 8);
  compare({in[0], slice(wide, 2, 0, 18), in[2], slice(wide, 2, 18, 22), slice(wide, 2, 22, 26), in[5], in[6]}, 1e-12);
  compare({scattered(in[0]), permute(random({18, 6, 2}, 8), {2, 1, 0}), scattered(in[2]), scattered(in[3]), in[4],
           scattered(in[5]), in[6]},
          1e-12);
}

TEST_CASE("selective_scan_ puts the result where u was") {
  for (const auto& [length, channels] : {std::pair<int64_t, int64_t>{5, 3}, {20, 37}}) {
    auto in = operands(2, length, channels, 4, float32);
    for (Tensor& t : in) t = test::on_cpu(t);
    const Tensor want = scan(in);
    Tensor wide = test::on_cpu(random({2, length, 2 * channels + 3}, 8, float32)), u = wide.slice(2, 3, 3 + channels);
    const Tensor before = copy_of(wide);
    const NoGrad off;
    u.copy_(in[0]);
    selective_scan_(u, in[1], in[2], in[3], in[4], in[5], in[6]);
    CHECK(difference(u, want) == 0);
    CHECK(difference(wide.slice(2, 0, 3), before.slice(2, 0, 3)) == 0);
    CHECK(difference(wide.slice(2, 3 + channels, 2 * channels + 3), before.slice(2, 3 + channels, 2 * channels + 3)) ==
          0);
  }
  auto in = operands(1, 2, 3, 2, float32);
  CHECK_THROWS_AS(selective_scan_(in[0], in[1], in[2], in[3], in[4], in[5], in[6]), Error);  // recording is on
}

TEST_CASE("selective_scan gradients by finite differences") {
  CHECK_NOTHROW(gradcheck(scan, operands(2, 4, 3, 2, float64)));
  CHECK_NOTHROW(gradcheck(scan, operands(1, 3, 17, 1, float64)));
}

TEST_CASE("selective_scan stays finite for extreme steps") {
  auto in = operands(1, 40, 16, 4, float32);
  in[1].mul_(60);
  const Tensor y = scan(in);
  for (const float v : to_vector<float>(y)) CHECK(std::isfinite(v));
  CHECK(difference(y, reference(in)) < 2e-5);
}

TEST_CASE("selective_scan with nothing to do") {
  CHECK(scan(operands(0, 4, 3, 2, float32)).shape() == Shape({0, 4, 3}));
  CHECK(scan(operands(2, 0, 3, 2, float32)).shape() == Shape({2, 0, 3}));
  CHECK(scan(operands(2, 4, 0, 2, float32)).shape() == Shape({2, 4, 0}));
  compare(operands(2, 3, 4, 0, float64), 1e-12);  // no states: y = D u
  for (auto in : {operands(2, 0, 3, 2, float64), operands(2, 4, 0, 2, float64), operands(0, 4, 3, 2, float64)}) {
    std::vector<Tensor> leaves;
    for (Tensor& t : in) leaves.push_back(t.set_requires_grad());
    for (const Tensor& g : grad({scan(leaves)}, leaves, {empty(leaves[0].shape(), float64)}))
      CHECK(difference(g, zeros(g.shape(), float64)) == 0);
  }
}

TEST_CASE("selective_scan does not depend on the number of threads") {
  for (const auto& shape : {Shape{1, 300, 70, 8}, Shape{5, 30, 40, 3}, Shape{130, 4, 20, 2}}) {
    auto in = operands(shape[0], shape[1], shape[2], shape[3], float32);
    for (Tensor& t : in) t.set_requires_grad();
    CHECK(test::same_for_any_threads([&] {
      const Tensor y = scan(in);
      auto all = grad({y}, in, {random(y.shape(), 9, float32)});
      all.push_back(y.detach());
      return all;
    }));
  }
}

TEST_CASE("errors of selective_scan name the operand and the shape it needs") {
  auto in = operands(2, 5, 4, 3, float32);
  const auto with = [&](size_t i, const Tensor& t) {
    auto changed = in;
    changed[i] = t;
    return error_of([&] { scan(changed); });
  };
  CHECK(with(0, empty({2, 5})) == "[selective_scan] needs u[B,L,D], got float32[2,5]");
  CHECK(with(3, empty({2, 5, 4})) ==
        "[selective_scan] needs B[B,L,N] = B[2,5,3] for u float32[2,5,4] and A float32[4,3], got float32[2,5,4]");
  CHECK(with(1, empty({2, 4, 4})).starts_with("[selective_scan] needs delta[B,L,D] = delta[2,5,4]"));
  CHECK(with(2, empty({3, 3})).starts_with("[selective_scan] needs A[D,N] = A[4,3]"));
  CHECK(with(6, empty({3})).starts_with("[selective_scan] needs delta_bias[D] = delta_bias[4]"));
  CHECK(with(5, empty({4}, float64)).find("dtypes differ: u float32[2,5,4], D float64[4]") != std::string::npos);
}
