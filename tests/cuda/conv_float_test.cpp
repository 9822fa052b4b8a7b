// The plain convolution in float32, against the CPU's: each size of its tiles, with and without pieces of four.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "atlas/kernels/conv.h"
#include "atlas/kernels/gemm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/norm.h"
#include "atlas/tensor/memory.h"
#include "conv_case.h"
#include "device_tensor.h"

using namespace atlas;
using test::ConvCase;
using test::on_gpu;
using test::relative_error;
using test::shape_of;

namespace {

// The CPU sums 3x3 filters by Winograd's algorithm.
constexpr double kTolerance = 1e-5;

Tensor random(const Shape& shape, uint64_t seed) { return test::converted(test::random(shape, seed), float32, {}); }

Tensor unwritten(const Shape& shape) {
  Tensor t = empty(shape, float32, Device{});
  fill_elements(t, NAN);
  return on_gpu(t);
}
/// On the device, one element behind an address of 16 bytes.
Tensor shifted(const Tensor& t) {
  Tensor longer = empty({t.numel() + 1}, float32, Device{});
  Tensor part = raw_view(longer, t.shape(), contiguous_strides(t.shape()), 1);
  copy_elements(part, t);
  return raw_view(on_gpu(longer), t.shape(), part.strides(), 1);
}

struct Tensors {
  Conv2dShape s;
  Tensor x, w, dy;
  explicit Tensors(const ConvCase& c)
      : s(shape_of(c)),
        x(random({s.batch, s.in[0], s.in[1], s.in_channels}, 1)),
        w(random({s.out_channels, s.kernel[0], s.kernel[1], s.group_in()}, 2)),
        dy(random({s.batch, s.out[0], s.out[1], s.out_channels}, 3)) {}
};

void check_forward(const ConvCase& c) {
  const Tensors t(c);
  CAPTURE(c.in);
  CAPTURE(c.out);
  const Tensor bias = random({c.out}, 4), residual = random(t.dy.shape(), 5);
  Tensor want = empty(t.dy.shape(), float32, Device{}), got = unwritten(t.dy.shape());
  cpu::conv2d_forward(t.x, t.w, bias, want, t.s, {.activation = Activation::relu, .residual = residual});
  cuda::conv2d_forward(on_gpu(t.x), on_gpu(t.w), on_gpu(bias), got, t.s,
                       {.activation = Activation::relu, .residual = on_gpu(residual)});
  CHECK(relative_error(got, want) < kTolerance);
}
void check_input(const ConvCase& c) {
  const Tensors t(c);
  CAPTURE(c.in);
  CAPTURE(c.out);
  Tensor want = empty(t.x.shape(), float32, Device{}), got = unwritten(t.x.shape());
  cpu::conv2d_backward_input(t.dy, t.w, want, t.s);
  cuda::conv2d_backward_input(on_gpu(t.dy), on_gpu(t.w), got, t.s);
  CHECK(relative_error(got, want) < kTolerance);
}
void check_weight(const ConvCase& c) {
  const Tensors t(c);
  CAPTURE(c.in);
  CAPTURE(c.out);
  Tensor want = empty(t.w.shape(), float32, Device{}), got = unwritten(t.w.shape());
  cpu::conv2d_backward_weight(t.x, t.dy, want, t.s);
  cuda::conv2d_backward_weight(on_gpu(t.x), on_gpu(t.dy), got, t.s);
  CHECK(relative_error(got, want) < kTolerance);
}

}  // namespace

// More than 264 blocks of 64 x 64 take tiles of 128 x 64 (64 or fewer channels) or of 128 x 128.
TEST_CASE("float32 convolution forward in large tiles") {
  check_forward({2, 96, 97, 4, 128});
  check_forward({2, 97, 96, 4, 64});
  check_forward({1, 131, 145, 4, 72, {3, 3}, {1, 1}, {2, 2}, {2, 2}});
  check_forward({2, 181, 97, 4, 130, {3, 3}, {2, 1}});
  check_forward({2, 96, 97, 8, 256, {1, 3}, {1, 1}, {0, 1}, {1, 1}, 2});
}
TEST_CASE("float32 input gradient of convolution in large tiles") {
  check_input({2, 96, 97, 128, 4});
  check_input({2, 97, 96, 64, 4});
  check_input({1, 259, 290, 72, 8, {3, 3}, {2, 2}});
}
TEST_CASE("float32 weight gradient of convolution in large tiles") {
  check_weight({2, 60, 61, 32, 128, {3, 3}, {1, 1}, {1, 1}});
  check_weight({2, 60, 61, 32, 256, {3, 3}, {1, 1}, {1, 1}});
}
TEST_CASE("float32 convolution one element at a time") {
  const ConvCase three{2, 20, 19, 3, 24};
  check_forward(three);
  check_input(three);
  check_weight(three);
  const Tensors t({1, 9, 8, 8, 12});
  Tensor y = empty(t.dy.shape(), float32, Device{}), dx = empty(t.x.shape(), float32, Device{}), dw = empty_like(t.w);
  const Tensor x = shifted(t.x), w = shifted(t.w), dy = shifted(t.dy);
  Tensor y_gpu = shifted(y), dx_gpu = shifted(dx), dw_gpu = shifted(dw);
  cpu::conv2d_forward(t.x, t.w, {}, y, t.s, {});
  cuda::conv2d_forward(x, w, {}, y_gpu, t.s, {});
  CHECK(relative_error(y_gpu, y) < kTolerance);
  cpu::conv2d_backward_input(t.dy, t.w, dx, t.s);
  cuda::conv2d_backward_input(dy, w, dx_gpu, t.s);
  CHECK(relative_error(dx_gpu, dx) < kTolerance);
  cpu::conv2d_backward_weight(t.x, t.dy, dw, t.s);
  cuda::conv2d_backward_weight(x, dy, dw_gpu, t.s);
  CHECK(relative_error(dw_gpu, dw) < kTolerance);
}

namespace {

struct Precision {
  bool one = cuda::tf32(), three = cuda::tf32x3();
  Precision(bool tf32, bool tf32x3) {
    cuda::set_tf32(tf32);
    cuda::set_tf32x3(tf32x3);
  }
  ~Precision() {
    cuda::set_tf32(one);
    cuda::set_tf32x3(three);
  }
};

/// Errors of forward pass and gradients, the largest one, against sums in float64.
double error_on_tensor_cores(const ConvCase& c, bool tf32, bool tf32x3) {
  const Precision precision(tf32, tf32x3);
  const Tensors t(c);
  const auto wide = [](const Tensor& v) { return test::converted(v, float64, {}); };
  const auto narrow = [](const Tensor& v) { return test::converted(v, float32, {}); };
  const Tensor residual = random(t.dy.shape(), 6), bias = random({c.out}, 7);
  Tensor y64 = empty(t.dy.shape(), float64, Device{}), dx64 = empty(t.x.shape(), float64, Device{});
  Tensor dw64 = empty(t.w.shape(), float64, Device{});
  cpu::conv2d_forward(wide(t.x), wide(t.w), wide(bias), y64, t.s,
                      {.activation = Activation::relu, .residual = wide(residual)});
  cpu::conv2d_backward_input(wide(t.dy), wide(t.w), dx64, t.s);
  cpu::conv2d_backward_weight(wide(t.x), wide(t.dy), dw64, t.s);
  Tensor y = unwritten(t.dy.shape()), dx = unwritten(t.x.shape()), dw = unwritten(t.w.shape());
  cuda::conv2d_forward(on_gpu(t.x), on_gpu(t.w), on_gpu(bias), y, t.s,
                       {.activation = Activation::relu, .residual = on_gpu(residual)});
  cuda::conv2d_backward_input(on_gpu(t.dy), on_gpu(t.w), dx, t.s);
  cuda::conv2d_backward_weight(on_gpu(t.x), on_gpu(t.dy), dw, t.s);
  return std::max({relative_error(y, narrow(y64)), relative_error(dx, narrow(dx64)), relative_error(dw, narrow(dw64))});
}

const std::vector<ConvCase>& tensor_core_cases() {
  static const std::vector<ConvCase> all{{2, 9, 7, 8, 16},
                                         {1, 6, 7, 64, 72},
                                         {1, 5, 6, 20, 12},
                                         {1, 6, 5, 49, 36},
                                         {1, 12, 11, 3, 24},
                                         {1, 13, 10, 16, 40, {3, 3}, {2, 2}},
                                         {1, 9, 11, 8, 8, {3, 3}, {1, 1}, {2, 2}, {2, 2}},
                                         {1, 10, 9, 8, 12, {3, 2}, {2, 3}, {1, 0}, {2, 1}},
                                         {2, 20, 19, 40, 136},
                                         {2, 13, 19, 64, 112}};
  return all;
}

}  // namespace

TEST_CASE("float32 convolution in three products of TF32 loses no digits") {
  for (const ConvCase& c : tensor_core_cases()) {
    CAPTURE(c.in);
    CAPTURE(c.out);
    CHECK(error_on_tensor_cores(c, false, true) < 1e-6);
  }
}
TEST_CASE("float32 convolution in TF32") {
  for (const ConvCase& c : tensor_core_cases()) {
    CAPTURE(c.in);
    CAPTURE(c.out);
    const double error = error_on_tensor_cores(c, true, false);
    CHECK(error < 6e-4);
    CHECK(error > 5e-5);  // that it was TF32
  }
}
