// The selective scan on CUDA against the CPU: numbers of states and channels that fill the threads of a block or not,
// bfloat16 with float32 parameters, strided operands.
#include "atlas/kernels/scan.h"

#include <doctest/doctest.h>

#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "device_input.h"

using namespace test;

namespace {

struct Operands {
  Operand u, delta, a, b, c, d, bias;
  ScanTensors host() const { return {u.host, delta.host, a.host, b.host, c.host, d.host, bias.host}; }
  ScanTensors device() const { return {u.device, delta.device, a.device, b.device, c.device, d.device, bias.device}; }
};

void compare(int64_t batch, int64_t length, int64_t channels, int64_t states, DType dtype) {
  CAPTURE(batch);
  CAPTURE(length);
  CAPTURE(channels);
  CAPTURE(states);
  CAPTURE(name(dtype));
  const DType wide = host_type(dtype);
  const Shape sequence{batch, length, channels}, rows{batch, length, states};
  const Operands in{operand(sequence, 1, dtype),
                    operand(sequence, 2, dtype),
                    operand({channels, states}, 3, wide, 0.3, -1),
                    operand(rows, 4, dtype),
                    operand(rows, 5, dtype),
                    operand({channels}, 6, wide),
                    operand({channels}, 7, wide, 1, -1)};
  Operand y = output(sequence, dtype);
  kernels::scan_forward(in.host(), y.host);
  kernels::scan_forward(in.device(), y.device);
  // More than 32 states are added up in the type of the result, 32 at a time.
  const int goes = states > 32 ? 3 : 1;
  CHECK(difference(y) < tolerance(dtype) * goes);

  const Operand dy = operand(sequence, 8, dtype);
  const Operands grads{output(sequence, dtype), output(sequence, dtype), output({channels, states}, wide),
                       output(rows, dtype),     output(rows, dtype),     output({channels}, wide),
                       output({channels}, wide)};
  ScanTensors ours = grads.device(), theirs = grads.host();
  kernels::scan_backward(in.host(), dy.host, theirs);
  kernels::scan_backward(in.device(), dy.device, ours);
  const double limit = tolerance(dtype, 1e-4) * goes;
  for (const Operand* g : {&grads.u, &grads.delta, &grads.b, &grads.c}) CHECK(difference(*g) < limit);
  for (const Operand* g : {&grads.a, &grads.d, &grads.bias}) CHECK(difference(*g) < tolerance(wide, 2e-4));
}

}  // namespace

TEST_CASE("the selective scan equals the CPU's for every number of states") {
  for (const DType dtype : kFloats) {
    for (const int64_t states : {1, 8, 11, 16, 32}) compare(2, 21, 40, states, dtype);
    compare(1, 1, 1, 1, dtype);
    compare(1, 9, 192, 8, dtype);  // the most shared memory
    compare(1, 9, 96, 16, dtype);
    compare(2, 8, 300, 8, dtype);   // several blocks of channels
    compare(1, 9, 130, 41, dtype);  // states in two goes, with different numbers of blocks
    compare(5, 3, 64, 16, dtype);
  }
}

TEST_CASE("the selective scan of nothing is nothing, and its sums are zero") {
  for (const auto& [batch, length, channels] : {std::tuple<int64_t, int64_t, int64_t>{0, 4, 3}, {2, 0, 3}, {2, 4, 0}})
    compare(batch, length, channels, 2, float32);
}

TEST_CASE("the selective scan reads B and C from wider rows") {
  const Operand wide = operand({2, 6, 37}, 1, float32);
  const auto part = [](const Tensor& t, int64_t at) { return raw_view(t, {2, 6, 8}, t.strides(), at); };
  const Operand u = operand({2, 6, 33}, 2, float32), delta = operand({2, 6, 33}, 3, float32);
  const Operand a = operand({33, 8}, 4, float32, 0.3, -1), d = operand({33}, 5, float32),
                bias = operand({33}, 6, float32);
  Operand y = output({2, 6, 33}, float32);
  kernels::scan_forward({u.host, delta.host, a.host, part(wide.host, 5), part(wide.host, 13), d.host, bias.host},
                        y.host);
  kernels::scan_forward(
      {u.device, delta.device, a.device, part(wide.device, 5), part(wide.device, 13), d.device, bias.device}, y.device);
  CHECK(difference(y) < 2e-5);
}
