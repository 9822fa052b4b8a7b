// Kernels on feature maps on CUDA against the CPU: depthwise convolution, pooling, windows, resampling; bfloat16,
// channels that move 16 bytes at a time, 8 and one by one.
#include <doctest/doctest.h>

#include "atlas/kernels/conv.h"
#include "atlas/kernels/pool.h"
#include "atlas/kernels/resize.h"
#include "atlas/kernels/window.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/resize.h"
#include "device_input.h"

using namespace test;

namespace {

Conv2dShape depthwise_shape(int64_t batch, Conv2dShape::Pair in, int64_t channels, Conv2dShape::Pair kernel,
                            Conv2dShape::Pair stride, Conv2dShape::Pair padding, Conv2dShape::Pair dilation) {
  Conv2dShape s;
  s.batch = batch;
  s.in_channels = s.out_channels = s.groups = channels;
  s.in = in;
  s.kernel = kernel;
  s.stride = stride;
  s.padding = padding;
  s.dilation = dilation;
  for (size_t i = 0; i < 2; ++i)
    s.out[i] = (in[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) / stride[i] + 1;
  return s;
}

void compare_depthwise(const Conv2dShape& s, DType dtype) {
  CAPTURE(s.in_channels);
  CAPTURE(name(dtype));
  const Shape in{s.batch, s.in[0], s.in[1], s.in_channels}, out{s.batch, s.out[0], s.out[1], s.in_channels};
  const Shape filter{s.kernel[0] * s.kernel[1], s.in_channels};
  const Operand x = operand(in, 1, dtype), w = operand(filter, 2, dtype), b = operand({s.in_channels}, 3, dtype);
  const Operand dy = operand(out, 4, dtype);
  Operand y = output(out, dtype), dx = output(in, dtype), dw = output(filter, host_type(dtype));
  kernels::depthwise_forward(x.host, w.host, b.host, y.host, s);
  kernels::depthwise_forward(x.device, w.device, b.device, y.device, s);
  CHECK(difference(y) < tolerance(dtype));
  kernels::depthwise_backward_input(dy.host, w.host, dx.host, s);
  kernels::depthwise_backward_input(dy.device, w.device, dx.device, s);
  CHECK(difference(dx) < tolerance(dtype));
  kernels::depthwise_backward_weight(x.host, dy.host, dw.host, s);
  kernels::depthwise_backward_weight(x.device, dy.device, dw.device, s);
  CHECK(difference(dw) < tolerance(host_type(dtype), 1e-4));
}

}  // namespace

TEST_CASE("depthwise convolutions equal the CPU's") {
  for (const DType dtype : kFloats) {
    compare_depthwise(depthwise_shape(3, {1, 50}, 40, {1, 3}, {1, 1}, {0, 1}, {1, 1}), dtype);
    compare_depthwise(depthwise_shape(2, {1, 9}, 3, {1, 4}, {1, 1}, {0, 1}, {1, 1}), dtype);
    compare_depthwise(depthwise_shape(2, {7, 6}, 12, {3, 3}, {2, 2}, {1, 1}, {1, 1}), dtype);
    compare_depthwise(depthwise_shape(1, {11, 13}, 5, {5, 7}, {1, 3}, {2, 3}, {2, 1}), dtype);
    compare_depthwise(depthwise_shape(2, {4, 4}, 1100, {3, 3}, {1, 1}, {1, 1}, {1, 1}), dtype);
  }
}

TEST_CASE("depthwise convolution reads a slice of wider rows in place") {
  const Conv2dShape s = depthwise_shape(2, {1, 7}, 8, {1, 3}, {1, 1}, {0, 1}, {1, 1});
  const Operand wide = operand({2, 1, 7, 20}, 1, float32), w = operand({3, 8}, 2, float32);
  for (const int64_t at : {0, 4, 5}) {
    const auto part = [&](const Tensor& t) { return raw_view(t, {2, 1, 7, 8}, t.strides(), at); };
    Operand y = output({2, 1, 7, 8}, float32);
    kernels::depthwise_forward(part(wide.host), w.host, {}, y.host, s);
    kernels::depthwise_forward(part(wide.device), w.device, {}, y.device, s);
    CHECK(difference(y) < 1e-5);
  }
}

TEST_CASE("max pooling equals the CPU's, positions too") {
  for (const DType dtype : kFloats) {
    for (const int64_t channels : {1, 12, 16}) {
      for (const PoolWindow& w :
           {PoolWindow{{3, 3}, {2, 2}, {1, 1}}, {{2, 3}, {1, 3}, {0, 1}}, {{20, 20}, {1, 1}, {9, 9}}}) {
        const Shape in{2, 9, 8, channels}, out{2, w.count(9, 0), w.count(8, 1), channels};
        Operand x = operand(in, 1, dtype);
        const Operand dy = operand(out, 2, dtype);
        Operand y = output(out, dtype), dx = output(in, dtype);
        Tensor index = empty(out, w.index_dtype(), kHost), device_index = empty(out, w.index_dtype(), gpu()), none;
        kernels::max_pool2d_forward(x.host, w, y.host, index);
        kernels::max_pool2d_forward(x.device, w, y.device, device_index);
        CHECK(difference(y) == 0);
        Operand positions;
        positions.host = index;
        positions.device = device_index;
        CHECK(difference(positions) == 0);
        kernels::max_pool2d_forward(x.device, w, y.device, none);
        CHECK(difference(y) == 0);
        kernels::max_pool2d_backward(index, dy.host, w, dx.host);
        kernels::max_pool2d_backward(device_index, dy.device, w, dx.device);
        CHECK(difference(dx) < tolerance(dtype));
      }
    }
  }
}

TEST_CASE("windows of every dtype and width move whole pixels") {
  for (const DType dtype : {float32, float64, bfloat16, int64, uint8}) {
    for (const int64_t channels : {1, 3, 16}) {
      for (const WindowLayout& l : {WindowLayout{8, 6, 4, 3}, {9, 7, 4, 4}, {3, 2, 5, 5}, {4, 4, 1, 1}}) {
        Tensor values = empty({2, l.height, l.width, channels}, float64, kHost);
        for (int64_t i = 0; i < values.numel(); ++i) values.data<double>()[i] = static_cast<double>(i % 251);
        Operand map, windows, back;
        map.host = copied(values, dtype, kHost);
        map.device = copied(map.host, dtype, gpu());
        const Shape shape{2 * l.windows(), l.pixels(), channels};
        windows.host = empty(shape, dtype, kHost);
        windows.device = empty(shape, dtype, gpu());
        kernels::window_partition(map.host, l, windows.host);
        kernels::window_partition(map.device, l, windows.device);
        CHECK(difference(windows) == 0);
        back.host = map.host;
        back.device = empty(map.host.shape(), dtype, gpu());
        kernels::window_reverse(windows.device, l, back.device);
        CHECK(difference(back) == 0);
      }
    }
  }
}

TEST_CASE("resampling equals the CPU's in one pass and in two, and is rounded for images") {
  using detail::make_taps;
  for (const DType dtype : {float32, float64, bfloat16, uint8}) {
    for (const int64_t channels : {3, 8}) {
      for (const auto& [height, width] : {std::pair<int64_t, int64_t>{5, 7}, {20, 9}, {1, 1}, {9, 30}}) {
        for (const bool antialias : {false, true}) {
          const Operand x = dtype == uint8 ? operand({2, 13, 11, channels}, 1, float64, 60, 128)
                                           : operand({2, 13, 11, channels}, 1, dtype);
          Operand in, y;
          in.host = dtype == uint8 ? copied(x.host, uint8, kHost) : x.host;
          in.device = dtype == uint8 ? copied(in.host, uint8, gpu()) : x.device;
          y.host = empty({2, height, width, channels}, in.host.dtype(), kHost);
          y.device = empty({2, height, width, channels}, dtype, gpu());
          const auto rows = make_taps(13, height, Interpolation::bicubic, antialias);
          const auto columns = make_taps(11, width, Interpolation::bilinear, antialias);
          kernels::resample2d(in.host, rows, columns, y.host);
          kernels::resample2d(in.device, rows, columns, y.device);
          // A sum that is a half but for rounding may become either neighbor.
          CHECK(difference(y) < (dtype == uint8 ? 1 : tolerance(dtype)));
        }
      }
    }
  }
}
