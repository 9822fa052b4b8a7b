// Kernels of the tensor cores against the CPU's float32 kernels: convolution, attention and matrix products, their
// gradients, odd sizes. bfloat16 on the same rounded inputs; float32 by three products of TF32 in attention and matrix
// products (conv_float_test.cpp has its convolutions).
#include <doctest/doctest.h>

#include <cmath>

#include "atlas/kernels/attention.h"
#include "atlas/kernels/conv.h"
#include "atlas/kernels/gemm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/attention.h"
#include "atlas/tensor/memory.h"
#include "conv_case.h"
#include "device_tensor.h"

using namespace atlas;
using test::ConvCase;
using test::from_device;
using test::on_gpu;
using test::random;
using test::relative_error;
using test::rounded;
using test::shape_of;

namespace {

// Results are rounded to bfloat16, which alone makes a relative error of about 1.7e-3; where something is rounded in
// between (probabilities, activations before a residual) there is a little more.
constexpr double kRounded = 2.2e-3, kTwice = 4e-3;

/// A tensor of NaNs on the device: what is not written shows.
Tensor unwritten(const Shape& shape, DType dtype = bfloat16) {
  Tensor t = empty(shape, dtype, Device{});
  fill_elements(t, NAN);
  return on_gpu(t);
}

void check_conv(const ConvCase& c, Activation activation) {
  const Conv2dShape s = shape_of(c);
  const Shape image{s.batch, s.out[0], s.out[1], s.out_channels};
  const Tensor x = rounded(random({s.batch, s.in[0], s.in[1], s.in_channels}, 1));
  const Tensor w = rounded(random({s.out_channels, s.kernel[0], s.kernel[1], s.group_in()}, 2));
  const Tensor bias = rounded(random({s.out_channels}, 3)), residual = rounded(random(image, 4));
  const Tensor dy = rounded(random(image, 5));
  const Tensor x16 = on_gpu(x, bfloat16), w16 = on_gpu(w, bfloat16), dy16 = on_gpu(dy, bfloat16);
  CAPTURE(c.in);
  CAPTURE(c.out);
  CAPTURE(c.height);
  CAPTURE(c.stride[0]);

  Tensor y = empty(image, float32, Device{}), y16 = unwritten(image);
  cpu::conv2d_forward(x, w, {}, y, s, {});
  cuda::conv2d_forward(x16, w16, {}, y16, s, {});
  CHECK(relative_error(y16, y) < kRounded);
  Fused fused{.activation = activation, .residual = residual};
  cpu::conv2d_forward(x, w, bias, y, s, fused);
  fused.residual = on_gpu(residual, bfloat16);
  y16 = unwritten(image);
  cuda::conv2d_forward(x16, w16, on_gpu(bias, bfloat16), y16, s, fused);
  CHECK(relative_error(y16, y) < kTwice);

  Tensor dx = empty(x.shape(), float32, Device{}), dx16 = unwritten(x.shape());
  cpu::conv2d_backward_input(dy, w, dx, s);
  cuda::conv2d_backward_input(dy16, w16, dx16, s);
  CHECK(relative_error(dx16, dx) < kRounded);

  Tensor dw = empty(w.shape(), float32, Device{}), dw16 = unwritten(w.shape());
  cpu::conv2d_backward_weight(x, dy, dw, s);
  cuda::conv2d_backward_weight(x16, dy16, dw16, s);
  CHECK(relative_error(dw16, dw) < kRounded);
  Tensor dw32 = unwritten(w.shape(), float32);
  cuda::conv2d_backward_weight(x16, dy16, dw32, s);
  CHECK(relative_error(dw32, dw) < 1e-5);
}

struct Source {
  int64_t batch, length;
  int64_t masks = 0;  // rows of its mask, or none
};

/// `strided`: q, k and v are pieces of one projection.
void check_attention(DType dtype, int64_t B, int64_t L, int64_t heads, int64_t D, const std::vector<Source>& shapes,
                     bool strided = false, double scale = 0) {
  const double tolerance = dtype == bfloat16 ? kTwice : 3e-6;
  if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(D));
  CAPTURE(L);
  CAPTURE(D);
  const auto heads_tensor = [&](int64_t batch, int64_t length, uint64_t seed) {
    return rounded(random({batch, length, heads, D}, seed));
  };
  const auto place = [&](const Tensor& t) {
    if (!strided) return on_gpu(t, dtype);
    Tensor wide = empty({t.size(0), t.size(1), 3, heads, D}, dtype, Device{});
    fill_elements(wide, NAN);
    Tensor middle = raw_view(wide, t.shape(), {t.size(1) * 3 * heads * D, 3 * heads * D, D, 1}, heads * D);
    copy_elements(middle, t);
    const Tensor there = on_gpu(wide);
    return raw_view(there, t.shape(), middle.strides(), heads * D);
  };
  const Tensor q = heads_tensor(B, L, 1), q16 = place(q);
  std::vector<KeyValue> sources, sources16, grads, grads16;
  uint64_t seed = 2;
  for (const Source& s : shapes) {
    const Tensor k = heads_tensor(s.batch, s.length, seed), v = heads_tensor(s.batch, s.length, seed + 1);
    Tensor masked;
    if (s.masks > 0) {
      masked = empty({s.masks, s.length}, boolean, Device{});
      for (int64_t i = 0; i < masked.numel(); ++i) masked.data<bool>()[i] = i % 3 == 1;
    }
    sources.push_back({k, v, masked});
    sources16.push_back({place(k), place(v), masked.defined() ? on_gpu(masked) : Tensor()});
    grads.push_back({empty(k.shape(), float32, Device{}), empty(k.shape(), float32, Device{})});
    grads16.push_back({unwritten(k.shape(), dtype), unwritten(k.shape(), dtype)});
    seed += 2;
  }
  Tensor y = empty(q.shape(), float32, Device{}), lse = empty({B, heads, L}, float32, Device{});
  Tensor y16 = unwritten(q.shape(), dtype), lse16 = unwritten({B, heads, L}, float32);
  cpu::attention_forward(q, sources, scale, y, lse);
  cuda::attention_forward(q16, sources16, scale, y16, lse16);
  CHECK(relative_error(y16, y) < tolerance);
  CHECK(relative_error(lse16, lse) < (dtype == bfloat16 ? 1e-5 : 1e-6));

  const Tensor dy = heads_tensor(B, L, 77), dy16 = place(dy);
  Tensor dq = empty(q.shape(), float32, Device{}), dq16 = unwritten(q.shape(), dtype);
  // From the same y: delta = rowsum(dy y) of a rounded y is not that of another.
  const Tensor y_used = from_device(y16);
  cpu::attention_backward(q, sources, scale, y_used, lse, dy, dq, grads);
  cuda::attention_backward(q16, sources16, scale, y16, lse16, dy16, dq16, grads16);
  CHECK(relative_error(dq16, dq) < tolerance);
  for (size_t i = 0; i < grads.size(); ++i) {
    CAPTURE(i);
    CHECK(relative_error(grads16[i].k, grads[i].k) < tolerance);
    CHECK(relative_error(grads16[i].v, grads[i].v) < tolerance);
  }
}
void check_attention(int64_t B, int64_t L, int64_t heads, int64_t D, const std::vector<Source>& shapes,
                     bool strided = false, double scale = 0) {
  for (const DType dtype : {bfloat16, float32}) {
    CAPTURE(name(dtype));
    check_attention(dtype, B, L, heads, D, shapes, strided, scale);
  }
}

}  // namespace

TEST_CASE("convolution with channels in units of 8, 4 and 1") {
  check_conv({2, 9, 7, 8, 16}, Activation::relu);
  check_conv({1, 6, 7, 64, 72}, Activation::gelu);
  check_conv({1, 5, 6, 20, 12}, Activation::silu);
  check_conv({1, 6, 5, 196, 36}, Activation::gelu_tanh);
  check_conv({1, 7, 6, 49, 20}, Activation::none);
  check_conv({1, 12, 11, 3, 24}, Activation::relu);
  check_conv({1, 3, 4, 5, 3}, Activation::relu);
}

TEST_CASE("convolution with strides, dilation and odd kernels") {
  check_conv({1, 13, 10, 16, 40, {3, 3}, {2, 2}}, Activation::relu);
  check_conv({1, 12, 11, 3, 16, {3, 3}, {2, 2}}, Activation::silu);
  check_conv({1, 9, 8, 32, 100, {1, 1}, {2, 2}, {0, 0}}, Activation::none);
  check_conv({2, 6, 8, 12, 8, {2, 2}, {2, 2}, {0, 0}}, Activation::none);
  check_conv({1, 9, 11, 8, 8, {3, 3}, {1, 1}, {2, 2}, {2, 2}}, Activation::none);
  check_conv({1, 10, 9, 8, 8, {3, 2}, {2, 3}, {1, 0}, {2, 1}}, Activation::none);
  check_conv({1, 4, 12, 8, 8, {1, 5}, {1, 2}, {0, 3}}, Activation::none);
  check_conv({1, 2, 2, 8, 8, {3, 3}, {3, 3}, {1, 1}}, Activation::none);  // pixels of x that nothing reads
}

TEST_CASE("convolutions that the tensor cores leave to the plain kernels") {
  check_conv({1, 8, 8, 8, 12, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 2}, Activation::relu);
  check_conv({1, 9, 9, 4, 6, {7, 7}, {2, 2}, {3, 3}}, Activation::gelu);
  check_conv({2, 5, 6, 24, 10, {1, 1}, {1, 1}, {0, 0}}, Activation::gelu);
}

TEST_CASE("convolution of views that begin between the pieces of 16 bytes that are copied at once") {
  const Conv2dShape s = shape_of({1, 6, 5, 8, 16});
  const Shape image{s.batch, s.out[0], s.out[1], s.out_channels}, filters{s.out_channels, 3, 3, s.in_channels};
  const auto shifted = [](const Tensor& t) {
    Tensor longer = empty({t.numel() + 1}, bfloat16, Device{});
    fill_elements(longer, NAN);
    Tensor part = raw_view(longer, t.shape(), contiguous_strides(t.shape()), 1);
    copy_elements(part, t);
    return raw_view(on_gpu(longer), t.shape(), part.strides(), 1);
  };
  const Tensor x = rounded(random({1, 6, 5, 8}, 1)), w = rounded(random(filters, 2)), dy = rounded(random(image, 3));
  const Tensor residual = rounded(random(image, 4));
  const Tensor x16 = shifted(x), w16 = shifted(w), dy16 = shifted(dy), residual16 = shifted(residual);
  Tensor y = empty(image, float32, Device{}), dx = empty(x.shape(), float32, Device{}), dw = empty_like(w);
  Tensor y16 = shifted(y), dx16 = shifted(dx), dw16 = shifted(dw);
  cpu::conv2d_forward(x, w, {}, y, s, {.residual = residual});
  cuda::conv2d_forward(x16, w16, {}, y16, s, {.residual = residual16});
  CHECK(relative_error(y16, y) < kTwice);
  cpu::conv2d_backward_input(dy, w, dx, s);
  cuda::conv2d_backward_input(dy16, w16, dx16, s);
  CHECK(relative_error(dx16, dx) < kRounded);
  cpu::conv2d_backward_weight(x, dy, dw, s);
  cuda::conv2d_backward_weight(x16, dy16, dw16, s);
  CHECK(relative_error(dw16, dw) < kRounded);
}

TEST_CASE("convolution over several blocks of pixels and of channels, weight gradient over slices of pixels") {
  check_conv({2, 20, 19, 40, 136}, Activation::relu);
  check_conv({3, 24, 16, 8, 200, {3, 3}, {2, 2}}, Activation::relu);
  check_conv({1, 40, 30, 3, 8}, Activation::none);
}

TEST_CASE("convolution in boxes of pixels and wide tiles of channels") {
  for (const ConvCase& c : test::hopper_cases()) check_conv(c, Activation::relu);
}

TEST_CASE("attention for each length of heads") {
  check_attention(2, 49, 2, 32, {{2, 49}});
  check_attention(1, 20, 1, 8, {{1, 33}});
  check_attention(1, 50, 2, 40, {{1, 64}});
  check_attention(1, 65, 1, 64, {{1, 130}});
  check_attention(1, 49, 2, 49, {{1, 49}});
  check_attention(1, 10, 3, 5, {{1, 7}});
  check_attention(1, 1, 1, 1, {{1, 1}});
  check_attention(1, 9, 1, 80, {{1, 12}});  // by ordinary arithmetic
}

TEST_CASE("attention over several sources, strided, masked") {
  check_attention(4, 16, 2, 16, {{4, 16}, {2, 9}, {1, 70}});
  check_attention(6, 5, 1, 24, {{2, 4}, {3, 3}}, false, -0.4);
  check_attention(2, 30, 2, 32, {{2, 30}, {1, 66}}, true);
  check_attention(4, 12, 1, 16, {{4, 14, 2}, {2, 65, 1}}, true);
  check_attention(8, 70, 1, 16, {{1, 8}});  // queries of several entries in parts
}

TEST_CASE("float32 products as three of TF32 lose no digits") {
  REQUIRE(cuda::tf32x3());
  const auto check_product = [](int64_t m, int64_t n, int64_t k, bool trans_a, bool trans_b, bool fused) {
    CAPTURE(m);
    CAPTURE(trans_b);
    const auto numbers = [](const Shape& shape, uint64_t seed) {
      return test::converted(random(shape, seed), float32, {});
    };
    const Tensor a = numbers(trans_a ? Shape{k, m} : Shape{m, k}, 1);
    const Tensor b = numbers(trans_b ? Shape{n, k} : Shape{k, n}, 2);
    const Tensor bias = fused ? numbers({n}, 3) : Tensor(), residual = fused ? numbers({m, n}, 4) : Tensor();
    const auto view = [](const Tensor& t, bool turned) {
      return turned ? raw_view(t, {t.size(1), t.size(0)}, {1, t.size(1)}, 0) : t;
    };
    const auto there = [](const Tensor& t) { return t ? on_gpu(t) : t; };
    const Activation f = fused ? Activation::gelu : Activation::none;
    Tensor c = empty({m, n}, float32, Device{}), found = unwritten({m, n}, float32);
    cpu::matmul(view(a, trans_a), view(b, trans_b), bias, c, {.activation = f, .residual = residual});
    cuda::matmul(view(there(a), trans_a), view(there(b), trans_b), there(bias), found,
                 {.activation = f, .residual = there(residual)});
    CHECK(relative_error(found, c) < 1e-6);
  };
  check_product(25600, 64, 12, false, true, true);
  check_product(25598, 68, 8, false, true, false);
  check_product(25600, 72, 36, false, false, true);
  check_product(68, 72, 2050, true, false, false);
  check_product(200, 64, 2048, true, false, false);
}

TEST_CASE("matrix products, sums of columns") {
  const int64_t m = 70, n = 37, k = 45;
  for (const bool trans_a : {false, true})
    for (const bool trans_b : {false, true}) {
      const Tensor a = rounded(random(trans_a ? Shape{k, m} : Shape{m, k}, 1));
      const Tensor b = rounded(random(trans_b ? Shape{n, k} : Shape{k, n}, 2));
      const Tensor bias = rounded(random({n}, 3)), residual = rounded(random({m, n}, 4));
      const auto view = [](const Tensor& t, bool turned) {
        return turned ? raw_view(t, {t.size(1), t.size(0)}, {1, t.size(1)}, 0) : t;
      };
      for (const Activation f : {Activation::none, Activation::relu, Activation::gelu, Activation::gelu_tanh}) {
        Tensor c = empty({m, n}, float32, Device{}), c16 = unwritten({m, n});
        cpu::matmul(view(a, trans_a), view(b, trans_b), bias, c, {.activation = f, .residual = residual});
        cuda::matmul(view(on_gpu(a, bfloat16), trans_a), view(on_gpu(b, bfloat16), trans_b), on_gpu(bias, bfloat16),
                     c16, {.activation = f, .residual = on_gpu(residual, bfloat16)});
        CHECK(relative_error(c16, c) < kTwice);
      }
      Tensor c = empty({m, n}, float32, Device{}), c32 = unwritten({m, n}, float32);
      cpu::matmul(view(a, trans_a), view(b, trans_b), {}, c, {});
      cuda::matmul(view(on_gpu(a, bfloat16), trans_a), view(on_gpu(b, bfloat16), trans_b), {}, c32, {});
      CHECK(relative_error(c32, c) < 1e-5);
    }
  for (const int64_t columns : {1, 7, 64, 300}) {
    const Tensor x = rounded(random({500, columns}, 5));
    Tensor sums = empty({columns}, float32, Device{}), sums16 = unwritten({columns});
    cpu::column_sums(x, sums);
    cuda::column_sums(on_gpu(x, bfloat16), sums16);
    CHECK(relative_error(sums16, sums) < kRounded);
    Tensor sums32 = unwritten({columns}, float32);
    cuda::column_sums(on_gpu(x, bfloat16), sums32);
    CHECK(relative_error(sums32, sums) < 1e-5);
  }
}
