// Norms, softmax and cross entropy on CUDA against the CPU: every way in which rows are laid over threads, bfloat16
// with parameters of both kinds.
#include "atlas/kernels/norm.h"

#include <doctest/doctest.h>

#include "atlas/kernels/loss.h"
#include "atlas/kernels/softmax.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "device_input.h"

using namespace test;

namespace {

void compare_layer_norm(int64_t rows, int64_t channels, DType dtype, DType parameters) {
  CAPTURE(rows);
  CAPTURE(channels);
  CAPTURE(name(dtype));
  CAPTURE(name(parameters));
  const Operand x = operand({rows, channels}, 1, dtype, 2, 3), dy = operand({rows, channels}, 2, dtype);
  const Operand w = operand({channels}, 3, parameters), b = operand({channels}, 4, parameters);
  Operand y = output(x.host.shape(), dtype), dx = output(x.host.shape(), dtype);
  Operand mean = output({rows}, host_type(dtype)), rstd = output({rows}, host_type(dtype));
  Operand dw = output({channels}, parameters), db = output({channels}, parameters);
  kernels::layer_norm_forward(x.host, w.host, b.host, 1e-5, y.host, mean.host, rstd.host);
  kernels::layer_norm_forward(x.device, w.device, b.device, 1e-5, y.device, mean.device, rstd.device);
  const double limit = tolerance(dtype);
  CHECK(difference(y) < limit);
  CHECK(difference(mean) < 1e-5);
  if (channels > 1) CHECK(difference(rstd) < 1e-5);
  kernels::layer_norm_backward(x.host, w.host, mean.host, rstd.host, dy.host, dx.host, dw.host, db.host, false);
  kernels::layer_norm_backward(x.device, w.device, mean.device, rstd.device, dy.device, dx.device, dw.device, db.device,
                               false);
  if (channels > 1) CHECK(difference(dx) < limit);
  CHECK(difference(dw) < tolerance(parameters, 1e-4));
  CHECK(difference(db) < tolerance(parameters, 1e-4));
}

void compare_batch_norm(int64_t rows, int64_t channels, DType dtype, DType parameters, bool batch_statistics,
                        Activation f = Activation::none) {
  CAPTURE(rows);
  CAPTURE(channels);
  CAPTURE(name(dtype));
  CAPTURE(static_cast<int>(f));
  const DType wide = host_type(dtype);
  const Operand x = operand({rows, channels}, 1, dtype, 2, 30), dy = operand({rows, channels}, 2, dtype, 1, 0.5);
  const Operand w = operand({channels}, 3, parameters), b = operand({channels}, 4, parameters);
  Operand mean = output({channels}, wide), var = output({channels}, wide);
  kernels::batch_norm_statistics(x.host, mean.host, var.host);
  kernels::batch_norm_statistics(x.device, mean.device, var.device);
  CHECK(difference(mean) < 1e-6);
  CHECK(difference(var) < 1e-5);
  Tensor r = empty({channels}, float64, kHost);
  const Tensor v = copied(var.host, float64, kHost);
  for (int64_t i = 0; i < channels; ++i) r.data<double>()[i] = 1 / std::sqrt(v.data<double>()[i] + 1e-5);
  const Operand rstd(r, wide), m(mean.host, wide);
  Operand y = output(x.host.shape(), dtype), dx = output(x.host.shape(), dtype);
  Operand dw = output({channels}, parameters), db = output({channels}, parameters);
  kernels::batch_norm_forward(x.host, m.host, rstd.host, w.host, b.host, f, y.host);
  kernels::batch_norm_forward(x.device, m.device, rstd.device, w.device, b.device, f, y.device);
  CHECK(difference(y) < tolerance(dtype));
  kernels::batch_norm_backward(x.host, m.host, rstd.host, w.host, b.host, f, dy.host, batch_statistics, dx.host,
                               dw.host, db.host);
  kernels::batch_norm_backward(x.device, m.device, rstd.device, w.device, b.device, f, dy.device, batch_statistics,
                               dx.device, dw.device, db.device);
  CHECK(difference(dx) < tolerance(dtype));
  CHECK(difference(dw) < tolerance(parameters, 1e-4));
  CHECK(difference(db) < tolerance(parameters, 1e-4));
}

}  // namespace

TEST_CASE("layer norm in rows of every width equals the CPU's") {
  for (const DType dtype : kFloats) {
    const DType wide = host_type(dtype);
    for (const int64_t channels : {1, 20, 33, 80, 196, 320, 1568}) compare_layer_norm(5, channels, dtype, wide);
    compare_layer_norm(2100, 20, dtype, wide);  // several rows for a team in backward
    compare_layer_norm(3, 2056, dtype, wide);   // too wide for the lanes of a warp
    compare_layer_norm(2, 515, dtype, wide);    // likewise, in single elements
  }
  compare_layer_norm(2, 16392, float32, float32);  // too wide for the registers of a block, in backward
  compare_layer_norm(3, 2051, float32, float32);
  for (const int64_t channels : {20, 44, 320}) compare_layer_norm(9, channels, bfloat16, bfloat16);
}

TEST_CASE("batch norm equals the CPU's, with few and with many rows and channels") {
  for (const DType dtype : kFloats) {
    for (const bool batch_statistics : {true, false}) {
      compare_batch_norm(2, 3, dtype, host_type(dtype), batch_statistics);
      compare_batch_norm(700, 20, dtype, host_type(dtype), batch_statistics);
      compare_batch_norm(30, 1568, dtype, host_type(dtype), batch_statistics);
      for (const Activation f : {Activation::relu, Activation::gelu, Activation::gelu_tanh, Activation::silu})
        compare_batch_norm(300, 20, dtype, host_type(dtype), batch_statistics, f);
    }
  }
  compare_batch_norm(6000, 4, float32, float32, true);
  compare_batch_norm(50, 44, bfloat16, bfloat16, true);
}

TEST_CASE("batch norm statistics lose no digits to a large mean, nor to an outlier in the first row") {
  Operand x = operand({3000, 4}, 1, float32, 0.01, 1000);
  for (const double first : {1000.0, 1100.0}) {
    x.host.at<float>({0, 1}) = static_cast<float>(first);
    const Operand input(x.host, float32), exact(x.host, float64);
    Operand mean = output({4}, float32), var = output({4}, float32), m = output({4}, float64), v = output({4}, float64);
    kernels::batch_norm_statistics(input.device, mean.device, var.device);
    kernels::batch_norm_statistics(exact.host, m.host, v.host);
    const Tensor ours = copied(var.device, float64, kHost);
    for (int64_t c = 0; c < 4; ++c)
      CHECK(ours.at<double>({c}) == doctest::Approx(v.host.at<double>({c})).epsilon(1e-5));
  }
}

TEST_CASE("softmax along rows and columns equals the CPU's") {
  for (const DType dtype : kFloats) {
    for (const auto& [shape, axis] :
         {std::pair{Shape{5, 1}, 1}, {{3, 49}, 1}, {{2, 1000}, 1}, {{2, 5000}, 1}, {{7, 3, 5}, 1}, {{6, 33}, 0}}) {
      for (const bool logarithm : {false, true}) {
        CAPTURE(name(dtype));
        CAPTURE(shape.str());
        const AxisView v(shape, axis);
        const Operand x = operand(shape, 1, dtype, 3), dy = operand(shape, 2, dtype);
        Operand y = output(shape, dtype), dx = output(shape, dtype);
        kernels::softmax_forward(x.host, v, logarithm, y.host);
        kernels::softmax_forward(x.device, v, logarithm, y.device);
        CHECK(difference(y) < tolerance(dtype));
        const Operand result(copied(y.device, float64, kHost), dtype);
        kernels::softmax_backward(result.host, dy.host, v, logarithm, dx.host);
        kernels::softmax_backward(result.device, dy.device, v, logarithm, dx.device);
        CHECK(difference(dx) < tolerance(dtype, 1e-4));
      }
    }
  }
}

TEST_CASE("cross entropy of labels and of probabilities equals the CPU's") {
  for (const DType dtype : {float32, float64}) {
    for (const auto& [rows, classes] : {std::pair<int64_t, int64_t>{1, 1}, {5, 10}, {3, 1000}, {2000, 3}}) {
      for (const double smoothing : {0.0, 0.1}) {
        Tensor labels = empty({rows}, int64, kHost);
        for (int64_t r = 0; r < rows; ++r) labels.data<int64_t>()[r] = r * 7 % classes;
        const Operand x = operand({rows, classes}, 1, dtype, 3), soft = operand({rows, classes}, 2, dtype, 0.1, 0.3);
        const Operand dloss = operand({rows}, 3, dtype), weights = operand({classes}, 4, dtype, 0.5, 1.5);
        const CrossEntropySetting setting{.smoothing = smoothing, .ignores = rows > 5, .ignored = 2};
        for (const bool hard : {true, false}) {
          const Tensor host_target = hard ? labels : soft.host;
          const Tensor device_target = hard ? copied(labels, int64, gpu()) : soft.device;
          Operand loss = output({rows}, dtype), stats = output({rows, 3}, dtype), dx = output({rows, classes}, dtype);
          Operand dt = output({rows, classes}, dtype);
          kernels::cross_entropy_forward(x.host, host_target, weights.host, setting, loss.host, stats.host);
          kernels::cross_entropy_forward(x.device, device_target, weights.device, setting, loss.device, stats.device);
          CHECK(difference(loss) < tolerance(dtype));
          kernels::cross_entropy_backward(x.host, host_target, weights.host, stats.host, setting, dloss.host, dx.host);
          kernels::cross_entropy_backward(x.device, device_target, weights.device, stats.device, setting, dloss.device,
                                          dx.device);
          CHECK(difference(dx) < tolerance(dtype));
          kernels::cross_entropy_target_backward(x.host, weights.host, stats.host, setting, dloss.host, dt.host);
          kernels::cross_entropy_target_backward(x.device, weights.device, stats.device, setting, dloss.device,
                                                 dt.device);
          CHECK(difference(dt) < tolerance(dtype));
        }
      }
    }
  }
}
