// conv_transpose2d against the plain loops of atlas/reference/; gradients, groups, empty batches, error texts.
// PyTorch's own values: pytorch_table_test.cpp.
#include "atlas/ops/conv_transpose.h"

#include <doctest/doctest.h>

#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/reference/convolution.h"
#include "atlas/tensor/create.h"
#include "random_input.h"

using namespace atlas;
using test::difference;
using test::error_of;
using test::on_cpu;
using test::random;
using test::scattered;

namespace {

struct Case {
  int64_t batch, height, width, in, out, kernel_h, kernel_w;
  ConvTranspose2dOptions options;
};
const Case kCases[] = {
    {2, 3, 4, 3, 2, 3, 3, {}},
    {1, 4, 3, 2, 5, 2, 2, {.stride = {2, 2}}},
    {2, 3, 2, 4, 2, 3, 2, {.stride = {2, 3}, .padding = {1, 0}, .output_padding = {1, 2}}},
    {1, 3, 3, 2, 3, 3, 3, {.padding = {2, 1}, .dilation = {2, 1}}},
    {1, 2, 3, 2, 2, 2, 3, {.output_padding = {1, 1}, .dilation = {3, 2}}},
    {2, 3, 3, 4, 6, 3, 3, {.stride = {2, 2}, .padding = {1, 1}, .output_padding = {1, 0}, .groups = 2}},
    {2, 3, 4, 4, 4, 4, 4, {.stride = {2, 2}, .padding = {1, 1}, .groups = 4}},
    {1, 3, 3, 3, 6, 3, 3, {.stride = {2, 1}, .groups = 3}},
    {1, 1, 1, 2, 3, 1, 1, {}},
};

/// The definition: the gradient that a convolution with these filters gives its input, and the bias.
Tensor by_definition(const Tensor& given, const Tensor& filters, const Tensor& bias, const ConvTranspose2dOptions& o) {
  const Tensor x = on_cpu(given), w = on_cpu(filters), b = on_cpu(bias);
  Conv2dShape s{.batch = x.size(0), .in_channels = w.size(3) * o.groups, .out_channels = x.size(3), .groups = o.groups};
  s.stride = o.stride;
  s.padding = o.padding;
  s.dilation = o.dilation;
  for (size_t i = 0; i < 2; ++i) {
    const int axis = static_cast<int>(i) + 1;
    s.out[i] = x.size(axis);
    s.kernel[i] = w.size(axis);
    s.in[i] =
        (s.out[i] - 1) * o.stride[i] - 2 * o.padding[i] + o.dilation[i] * (s.kernel[i] - 1) + o.output_padding[i] + 1;
  }
  Tensor y = empty({s.batch, s.in[0], s.in[1], s.in_channels}, float64, Device{});
  cpu::reference::conv2d_backward_input(x.data<double>(), w.data<double>(), y.data<double>(), s);
  for (int64_t i = 0; i < y.numel(); ++i) y.data<double>()[i] += b.data<double>()[i % s.in_channels];
  return y;
}

}  // namespace

TEST_CASE("values and gradients") {
  for (const Case& c : kCases) {
    CAPTURE(&c - kCases);
    const Tensor x = random({c.batch, c.height, c.width, c.in}, 1);
    const Tensor w = random({c.in, c.kernel_h, c.kernel_w, c.out / c.options.groups}, 2), b = random({c.out}, 3);
    const Tensor want = by_definition(x, w, b, c.options);
    CHECK(difference(conv_transpose2d(x, w, b, c.options), want) < 1e-12);
    CHECK(difference(conv_transpose2d(scattered(x), scattered(w), scattered(b), c.options), want) < 1e-12);
    CHECK(difference(conv_transpose2d(x.to(float32), w.to(float32), b.to(float32), c.options), want) < 1e-5);
    gradcheck([&](const std::vector<Tensor>& in) { return conv_transpose2d(in[0], in[1], in[2], c.options); },
              {scattered(x), w, b});
    gradcheck([&](const std::vector<Tensor>& in) { return conv_transpose2d(in[0], w, {}, c.options); }, {x});
    gradcheck([&](const std::vector<Tensor>& in) { return conv_transpose2d(x, in[0], {}, c.options); }, {w});
  }
}

TEST_CASE("an empty batch") {
  const Tensor x = empty({0, 3, 4, 2}, float64), w = random({2, 3, 3, 5}, 1);
  CHECK(conv_transpose2d(x, w).shape() == Shape{0, 5, 6, 5});
  gradcheck([](const std::vector<Tensor>& in) { return conv_transpose2d(in[0], in[1], in[2]); },
            {x, w, random({5}, 2)});
}

TEST_CASE("results do not depend on the number of threads") {
  const Tensor x = random({2, 17, 19, 24}, 1, float32), w = random({24, 4, 4, 16}, 2, float32);
  CHECK(test::same_for_any_threads([&] {
    return std::vector<Tensor>{conv_transpose2d(x, w, {}, {.stride = {2, 2}, .padding = {1, 1}})};
  }));
}

TEST_CASE("errors") {
  const Tensor x = zeros({1, 3, 3, 2}), w = zeros({2, 2, 2, 4});
  CHECK(error_of([&] { conv_transpose2d(x[0], w); }) == "[conv_transpose2d] needs x[B,H,W,I], got float32[3,3,2]");
  CHECK(
      error_of([&] {
        conv_transpose2d(x, zeros({3, 2, 2, 4}));
      }) ==
      "[conv_transpose2d] input channels differ: x float32[1,3,3,2] axis 3 = 2, weight float32[3,2,2,4] axis 0 = 3 (x "
      "must be channels-last: [B,H,W,I])");
  CHECK(error_of([&] {
          conv_transpose2d(x, w, {}, {.output_padding = {1, 0}});
        }) == "[conv_transpose2d] output_padding 1 must be smaller than stride 1 or dilation 1 (axis 1)");
  CHECK(error_of([&] {
          conv_transpose2d(x, w, {}, {.padding = {2, 0}});
        }) ==
        "[conv_transpose2d] padding 2 leaves nothing along axis 1: x float32[1,3,3,2], weight float32[2,2,2,4] give "
        "a length of 0");
  CHECK(error_of([&] {
          conv_transpose2d(x, w, zeros({2}));
        }).find("[conv_transpose2d] bias float32[2] does not fit 4") == 0);
  CHECK(error_of([&] { conv_transpose2d(x, w, {}, {.groups = 3}); }) ==
        "[conv_transpose2d] 2 input channels do not divide into 3 groups");
  CHECK(error_of([&] {
          conv_transpose2d(zeros({1, 3, 3, 2}, int64), zeros({2, 2, 2, 4}, int64));
        }).find("[conv_transpose2d] needs float32 or float64, got int64") == 0);
}
