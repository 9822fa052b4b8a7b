// Products and convolutions with activation, residual and packed weights give what the separate ops give, on every
// instruction set of this machine.
// ctest-device: cpu
#include <doctest/doctest.h>

#include <cmath>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/core/isa.h"
#include "atlas/core/rng.h"
#include "atlas/kernels/conv.h"
#include "atlas/kernels/gemm.h"
#include "atlas/nn/attention.h"
#include "atlas/nn/conv.h"
#include "atlas/nn/linear.h"
#include "atlas/nn/mamba.h"
#include "atlas/nn/norm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/unary.h"
#include "random_input.h"

using namespace atlas;

namespace {

/// Runs f(isa) on every instruction set that this machine has.
template <class F>
void on_each_isa(F&& f) {
  const CpuIsa before = cpu_isa();
  for (const CpuIsa isa : {CpuIsa::portable, CpuIsa::avx2, CpuIsa::avx512}) {
    if (!cpu_supports(isa)) continue;
    set_cpu_isa(isa);
    CAPTURE(std::string(name(isa)));
    f();
  }
  set_cpu_isa(before);
}

/// ‖a - b‖ / ‖b‖
double relative(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const Tensor x = test::on_cpu(a.to(float64)), y = test::on_cpu(b.to(float64));
  const int64_t n = x.numel();
  const double *p = x.data<double>(), *q = y.data<double>();
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < n; ++i) {
    difference += (p[i] - q[i]) * (p[i] - q[i]);
    norm += q[i] * q[i];
  }
  return std::sqrt(difference / std::max(norm, 1e-300));
}

constexpr Activation kAll[] = {Activation::none, Activation::relu, Activation::gelu, Activation::gelu_tanh,
                               Activation::silu};

}  // namespace

TEST_CASE("products of every size on every instruction set, against float64") {
  on_each_isa([] {
    for (const auto& [m_, k_, n_] : {std::array<int64_t, 3>{1, 1, 1},
                                     {1, 7, 33},
                                     {13, 40, 16},
                                     {15, 384, 31},
                                     {29, 385, 65},
                                     {168, 17, 32},
                                     {200, 400, 48},
                                     {337, 64, 5},
                                     {1000, 3, 97}}) {
      const auto &m = m_, &k = k_, &n = n_;  // clang below 16 captures no structured binding
      CAPTURE(m);
      CAPTURE(k);
      CAPTURE(n);
      const Tensor x = test::random({m, k}, 1), w = test::random({n, k}, 2), b = test::random({n}, 3);
      const Tensor x4 = x.to(float32), w4 = w.to(float32), b4 = b.to(float32);
      CHECK(relative(linear(x4, w4, b4), linear(x, w, b)) < 1e-6);
      CHECK(relative(matmul(x4.transpose(0, 1).contiguous().transpose(0, 1), w4.transpose(0, 1)),
                     matmul(x, w.transpose(0, 1))) < 1e-6);
    }
  });
}

TEST_CASE("linear with everything fused") {
  const NoGrad off;
  on_each_isa([] {
    for (const auto& [m, k, n] : {std::array<int64_t, 3>{1, 5, 3}, {49, 40, 33}, {200, 400, 96}, {700, 64, 130}})
      for (const Activation activation : kAll) {
        const Tensor x = test::random({m, k}, 1, float32), w = test::random({n, k}, 2, float32),
                     b = test::random({n}, 3, float32), r = test::random({m, n}, 4, float32);
        const Tensor packed = kernels::packed_weight(w, m);
        REQUIRE(packed);
        const Tensor want = activate(linear(x, w, b), activation);
        CHECK(relative(linear(x, w, b, {.activation = activation}), want) < 1e-6);
        CHECK(relative(linear(x, w, b, {.activation = activation, .residual = r, .packed = packed}), r + want) < 1e-6);
        CHECK(relative(linear(x, w, {}, {.packed = packed}), linear(x, w)) < 1e-6);
        const Tensor scale = test::random({n}, 5, float32);
        CHECK(relative(linear(x, w, b, {.activation = activation, .residual = r, .scale = scale}), r + want * scale) <
              1e-6);
        const Tensor exact = activate(linear(x.to(float64), w.to(float64), b.to(float64)), activation);
        CHECK(relative(linear(x.to(float64), w.to(float64), b.to(float64),
                              {.activation = activation, .residual = r.to(float64)}),
                       exact + r.to(float64)) < 1e-14);
      }
  });
  CHECK_FALSE(kernels::packed_weight(test::random({3, 4}, 1), 1));                 // float64 is not packed
  CHECK_FALSE(kernels::packed_weight(test::random({3, 4}, 1, float32), 1 << 20));  // so many rows need none kept
}

TEST_CASE("gradients of strided and dilated convolutions with many channels, against float64") {
  on_each_isa([] {
    for (const auto& [in_, out_, stride, dilation] :
         {std::array<int64_t, 4>{40, 190, 2, 1}, {33, 225, 2, 1}, {64, 128, 3, 1}, {64, 128, 1, 2}}) {
      const auto &in = in_, &out = out_;  // clang below 16 captures no structured binding
      CAPTURE(in);
      const Conv2dOptions options{.stride = {stride, stride}, .padding = {1, 1}, .dilation = {dilation, dilation}};
      const auto gradients = [&](DType dtype) {
        Tensor x = test::random({2, 13, 19, in}, 1, dtype), w = test::random({out, 3, 3, in}, 2, dtype);
        x.set_requires_grad();
        w.set_requires_grad();
        const Tensor y = conv2d(x, w, {}, options);
        return grad({y}, {x, w}, {test::random(y.shape(), 3, dtype)});
      };
      const auto got = gradients(float32), want = gradients(float64);
      CHECK(relative(got[0], want[0]) < 1e-6);
      CHECK(relative(got[1], want[1]) < 1e-6);
    }
  });
}

TEST_CASE("layers that end in a product add to a residual in the same pass") {
  manual_seed(3);
  const Linear one(24, 24);
  const Mlp two(24, 50);
  const Attention attention(24, 4);
  const MambaMixer mixer(24);
  const LayerNorm other(24);
  const Tensor x = test::random({3, 9, 24}, 1, float32), r = test::random({3, 9, 24}, 2, float32),
               scale = test::random({24}, 3, float32);
  for (const Module* layer : std::initializer_list<const Module*>{&one, &two, &attention, &mixer, &other}) {
    const Tensor recorded = layer->onto(r, x, scale), plain = layer->onto(r, x);
    CHECK(recorded.requires_grad());
    const NoGrad off;
    CHECK(relative(recorded, r + scale * (*layer)(x)) < 1e-6);
    CHECK(relative(layer->onto(r, x, scale), recorded) < 1e-6);
    CHECK(relative(layer->onto(r, x), plain) < 1e-6);
    CHECK(relative(layer->onto(r.transpose(0, 1).contiguous().transpose(0, 1), x), plain) < 1e-6);
  }
  const NoGrad off;
  CHECK_THROWS_AS(linear(x, one.weight, one.bias, {.scale = test::random({23}, 3, float32)}), Error);
}

TEST_CASE("convolution with everything fused: Winograd's, direct, pointwise and in groups") {
  const NoGrad off;
  struct Case {
    int64_t in, out, kernel, stride, padding, groups;
  };
  on_each_isa([] {
    for (const Case& c : {Case{32, 48, 3, 1, 1, 1},
                          {17, 19, 3, 1, 1, 1},
                          {3, 33, 3, 2, 1, 1},
                          {16, 40, 1, 1, 0, 1},
                          {40, 16, 2, 2, 0, 1},
                          {12, 8, 3, 1, 1, 4}})
      for (const Activation activation : kAll) {
        CAPTURE(c.in);
        const Conv2dOptions options{
            .stride = {c.stride, c.stride}, .padding = {c.padding, c.padding}, .groups = c.groups};
        const Tensor x = test::random({2, 13, 18, c.in}, 1, float32), b = test::random({c.out}, 3, float32),
                     w = test::random({c.out, c.kernel, c.kernel, c.in / c.groups}, 2, float32);
        const Tensor want = activate(conv2d(x, w, b, options), activation);
        const Tensor r = test::random(want.shape(), 4, float32);
        const Tensor packed = kernels::packed_filters(w, detail::conv2d_shape(x, w, options));
        CHECK(packed.defined() == (c.groups == 1));
        CHECK(relative(conv2d(x, w, b, options, {.activation = activation, .residual = r}), r + want) < 1e-6);
        CHECK(relative(conv2d(x, w, b, options, {.activation = activation, .residual = r, .packed = packed}),
                       r + want) < 1e-6);
        const Tensor exact = activate(conv2d(x.to(float64), w.to(float64), b.to(float64), options), activation);
        CHECK(relative(want, exact) < 1e-5);
        CHECK(relative(conv2d(x.to(float64), w.to(float64), b.to(float64), options, {.activation = activation}),
                       exact) < 1e-14);
      }
  });
}

TEST_CASE("layers keep packed weights while these, the machine and the images stay") {
  Linear layer(40, 24);
  Conv2d conv(16, 24, 3, {.padding = {1, 1}});
  const Tensor x = test::random({5, 40}, 1, float32), image = test::random({1, 9, 9, 16}, 2, float32);
  const auto check_both = [&](const char* when) {
    CAPTURE(std::string(when));
    const Tensor want = linear(x, layer.weight, layer.bias).detach();
    const Tensor want_image = conv2d(image, conv.weight, conv.bias, conv.options()).detach();
    const NoGrad off;
    for (int i = 0; i < 2; ++i) {
      CHECK(relative(layer(x), want) < 1e-6);
      CHECK(relative(conv(image), want_image) < 1e-6);
    }
    CHECK(relative(conv(test::random({2, 4, 6, 16}, 3, float32)),
                   conv2d(test::random({2, 4, 6, 16}, 3, float32), conv.weight, conv.bias, conv.options())) < 1e-6);
  };
  check_both("at first");
  layer.weight.detach().mul_(1.5);
  conv.weight.detach().mul_(0.5);
  check_both("after an edit");
  on_each_isa([&] { check_both("on another instruction set"); });
  set_exact_convolution(true);
  check_both("with exact convolutions");
  set_exact_convolution(false);
  layer.weight = test::random({24, 40}, 9, float32);
  check_both("with another tensor");
}

TEST_CASE("what is fused is never recorded, and residuals must fit") {
  const Tensor x = test::random({2, 3}, 1, float32), w = test::random({4, 3}, 2, float32);
  const auto message = [](auto&& f) {
    try {
      f();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK(message([&] { linear(x, w, {}, {.activation = Activation::gelu}); }) ==
        "[linear] activations and residuals are fused in inference only: use NoGrad");
  const NoGrad off;
  CHECK(message([&] { linear(x, w, {}, {.residual = x}); }).find("must be contiguous and like the result") !=
        std::string::npos);
  const Tensor depthwise = test::random({3, 3, 3, 1}, 3, float32), image = test::random({1, 5, 5, 3}, 4, float32);
  CHECK(message([&] { conv2d(image, depthwise, {}, {.groups = 3}, {.activation = Activation::silu}); }) ==
        "[conv2d] nothing can be fused with one filter per channel");
}
