// The fast kernels against the plain loops of atlas/reference/, values and gradients, in both precisions; and the
// loops' gradients against finite differences.
#include <doctest/doctest.h>

#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/mlp.h"
#include "atlas/ops/norm.h"
#include "atlas/ops/scan.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/softmax.h"
#include "atlas/ops/unary.h"
#include "atlas/ops/window.h"
#include "atlas/tensor/create.h"
#include "tests/ops/formula_input.h"

using namespace atlas;
using namespace test;

namespace {

/// Largest difference between values and gradients on the fast and on the plain kernels.
double away(const Op& op, const std::vector<Tensor>& inputs) {
  const std::vector<Tensor> fast = with_gradients(op, inputs);
  const PlainKernels on;
  const std::vector<Tensor> plain = with_gradients(op, inputs);
  double worst = 0;
  for (size_t i = 0; i < fast.size(); ++i) worst = std::max(worst, difference(fast[i], plain[i]));
  return worst;
}

std::vector<Tensor> as(DType dtype, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> all;
  for (const Tensor& t : inputs) all.push_back(t.to(dtype));
  return all;
}

/// Both precisions against the loops; with few elements, the loops against finite differences.
void compare(const Op& op, const std::vector<Tensor>& inputs, double limit32 = 2e-5, double limit64 = 1e-11) {
  CHECK(away(op, inputs) < limit64);
  CHECK(away(op, as(float32, inputs)) < limit32);
  int64_t count = 0;
  for (const Tensor& t : inputs) count += t.numel();
  if (count == 0 || count > 200) return;
  const PlainKernels on;
  CHECK(gradcheck(op, inputs).checked > 0);
}

}  // namespace

TEST_CASE("reference: matrix products and what is fused with them") {
  const Op product = [](const std::vector<Tensor>& in) { return matmul(in[0], in[1]); };
  compare(product, {random({3, 4}, 1), random({4, 2}, 2)});
  compare(product, {random({2, 3, 4}, 1), random({4, 5}, 2)});
  compare(product, {random({2, 1, 70, 33}, 1), random({3, 33, 40}, 2)}, 1e-4);
  compare(product, {random({2, 0}, 1), random({0, 3}, 2)});
  const Op layer = [](const std::vector<Tensor>& in) { return linear(in[0], in[1], in[2]); };
  compare(layer, {scattered(random({2, 5, 7}, 1)), random({3, 7}, 2), random({3}, 3)});
  const Op perceptron = [](const std::vector<Tensor>& in) { return mlp(in[0], in[1], in[2], in[3], in[4]); };
  compare(perceptron, {random({3, 4}, 1), random({6, 4}, 2), random({6}, 3), random({4, 6}, 4), random({4}, 5)});
  const NoGrad off;
  const Tensor x = random({9, 20}, 1), w = random({33, 20}, 2), b = random({33}, 3), r = random({9, 33}, 4),
               scale = random({33}, 5);
  for (const Activation f :
       {Activation::none, Activation::relu, Activation::gelu, Activation::gelu_tanh, Activation::silu}) {
    const FusedProduct fused{.activation = f, .residual = r, .scale = scale};
    const Tensor fast = linear(x, w, b, fused);
    const PlainKernels on;
    CHECK(difference(fast, linear(x, w, b, fused)) < 1e-12);
  }
}

TEST_CASE("reference: convolutions") {
  const auto with = [](const Conv2dOptions& o) {
    return [o](const std::vector<Tensor>& in) { return conv2d(in[0], in[1], in[2], o); };
  };
  compare(with({{2, 1}, {1, 2}, {1, 2}, 1}), {random({1, 4, 5, 2}, 1), random({3, 3, 2, 2}, 2), random({3}, 3)});
  compare(with({{1, 1}, {1, 1}, {1, 1}, 2}), {random({1, 3, 3, 4}, 1), random({2, 3, 3, 2}, 2), random({2}, 3)});
  compare(with({{1, 1}, {1, 1}, {1, 1}, 6}), {random({2, 5, 4, 6}, 1), random({6, 3, 3, 1}, 2), random({6}, 3)});
  compare(with({{1, 1}, {1, 1}, {1, 1}, 1}), {random({2, 24, 24, 32}, 1), random({32, 3, 3, 32}, 2), random({32}, 3)},
          5e-4);  // Winograd's algorithm in float32
  const Op sequence = [](const std::vector<Tensor>& in) { return conv1d_depthwise(in[0], in[1], in[2]); };
  compare(sequence, {random({2, 5, 3}, 1), random({4, 3}, 2), random({3}, 3)});
  compare(sequence, {scattered(random({2, 7, 19}, 1)), random({3, 19}, 2), random({19}, 3)});
}

TEST_CASE("reference: layer norm and batch norm") {
  const Op layer = [](const std::vector<Tensor>& in) { return layer_norm(in[0], in[1], in[2]); };
  compare(layer, {random({4, 7}, 1), random({7}, 2), random({7}, 3)});
  compare(layer, {random({50, 96}, 1), random({96}, 2), random({96}, 3)}, 1e-4);
  const Op residual = [](const std::vector<Tensor>& in) {  // whose gradient is added to
    return layer_norm(in[0], in[1], in[2]) * in[0] + in[0];
  };
  compare(residual, {random({4, 7}, 1), random({7}, 2), random({7}, 3)});
  for (const Activation f : {Activation::none, Activation::gelu, Activation::gelu_tanh, Activation::silu}) {
    const Op batch = [f](const std::vector<Tensor>& in) {
      return batch_norm(in[0], in[1], in[2], {}, {}, true, 0.1, 1e-5, f);
    };
    compare(batch, {random({2, 3, 2, 4}, 1), random({4}, 2), random({4}, 3)}, 5e-5);
    const Op running = [f](const std::vector<Tensor>& in) {
      const Tensor mean = full({4}, 0.25, in[0].dtype()), var = full({4}, 2, in[0].dtype());
      return batch_norm(in[0], in[1], in[2], mean, var, false, 0.1, 1e-5, f);
    };
    compare(running, {random({2, 3, 2, 4}, 1), random({4}, 2), random({4}, 3)});
  }
  const Op relu = [](const std::vector<Tensor>& in) {
    return batch_norm(in[0], in[1], in[2], {}, {}, true, 0.1, 1e-5, Activation::relu);
  };
  compare(relu, {random({300, 5}, 1), random({5}, 2), random({5}, 3)}, 1e-4);
}

TEST_CASE("reference: softmax along any axis") {
  for (const bool logarithm : {false, true})
    for (const int axis : {0, 1, 2}) {
      const Op op = [=](const std::vector<Tensor>& in) {
        return logarithm ? log_softmax(in[0], axis) : softmax(in[0], axis);
      };
      compare(op, {random({3, 4, 5}, 1)});
      compare(op, {random({2, 70, 66}, 1)});
    }
}

TEST_CASE("reference: attention over several sources, with masked keys") {
  Tensor masked = zeros({2, 3}, boolean);
  masked[0][2].fill_(1);
  masked[1][0].fill_(1);
  const Op op = [masked](const std::vector<Tensor>& in) {
    return attention(in[0], {{in[1], in[2]}, {in[3], in[4], masked}}, 0.7);
  };
  compare(op, {random({4, 2, 1, 2}, 1), random({4, 3, 1, 2}, 2), random({4, 3, 1, 2}, 3), random({2, 3, 1, 2}, 4),
               random({2, 3, 1, 2}, 5)});
  compare(op, {random({4, 70, 3, 8}, 1), random({4, 49, 3, 8}, 2), random({4, 49, 3, 8}, 3), random({2, 3, 3, 8}, 4),
               random({2, 3, 3, 8}, 5)});
  Tensor all = zeros({1, 3}, boolean);
  all.fill_(1);
  const Op nothing = [all](const std::vector<Tensor>& in) { return attention(in[0], {{in[1], in[1], all}}); };
  compare(nothing, {random({1, 2, 1, 4}, 1), random({1, 3, 1, 4}, 2)});
}

TEST_CASE("reference: the selective scan") {
  const auto operands = [](int64_t B, int64_t L, int64_t D, int64_t N) {
    return std::vector<Tensor>{random({B, L, D}, 1), random({B, L, D}, 2), neg(exp(random({D, N}, 3))),
                               random({B, L, N}, 4), random({B, L, N}, 5), random({D}, 6),
                               random({D}, 7)};
  };
  const Op op = [](const std::vector<Tensor>& in) {
    return selective_scan(in[0], in[1], in[2], in[3], in[4], in[5], in[6]);
  };
  compare(op, operands(2, 4, 3, 2));
  compare(op, operands(2, 50, 37, 8), 5e-5);
  compare(op, operands(2, 3, 4, 0));
  const NoGrad off;
  const auto in = operands(2, 5, 7, 4);
  Tensor fast = copy_of(in[0]), plain = copy_of(in[0]);
  selective_scan_(fast, in[1], in[2], in[3], in[4], in[5], in[6]);
  const PlainKernels on;
  selective_scan_(plain, in[1], in[2], in[3], in[4], in[5], in[6]);
  CHECK(difference(fast, plain) < 1e-12);
}

TEST_CASE("reference: windows that do not divide the map") {
  const WindowLayout l{5, 7, 2, 3};
  const Op cut = [l](const std::vector<Tensor>& in) { return window_partition(in[0], l); };
  const Op join = [l](const std::vector<Tensor>& in) { return window_reverse(in[0], l, 2); };
  compare(cut, {random({2, 5, 7, 2}, 1)}, 1e-30, 1e-30);
  compare(join, {random({2 * 9, 6, 2}, 1)}, 1e-30, 1e-30);
  const Tensor bytes = arange(0, 105).reshape({1, 5, 7, 3}).to(uint8);
  const Tensor fast = window_partition(bytes, l);
  const PlainKernels on;
  CHECK(same_bits(fast, window_partition(bytes, l)));
}
