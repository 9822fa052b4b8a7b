// Kernel: which backend a call reaches, and what the profile sees of it.
#include "atlas/kernels/kernel.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

#include "atlas/kernels/attention.h"
#include "atlas/tensor/create.h"

using namespace atlas;

namespace {

/// Backends that sign their result.
namespace fast {
void sign(const Tensor&, double, Tensor& y) { fill_elements(y, 1); }
}  // namespace fast
namespace device {
void sign(const Tensor&, double, Tensor& y) { fill_elements(y, 2); }
}  // namespace device
namespace loops {
void sign(const Tensor&, double, Tensor& y) { fill_elements(y, 3); }
}  // namespace loops

double flops(const Tensor& x, double factor, Tensor&) { return factor * static_cast<double>(x.numel()); }

constexpr kernels::Kernel<fast::sign, device::sign, loops::sign> signs{"sign", "sign forward", flops};
constexpr kernels::Kernel<fast::sign, device::sign> without_plain{"sign", "sign"};

template <class K>
double who(const K& kernel) {
  const Tensor x = zeros({5}, float32, Device{});
  Tensor y = empty({2}, float32, Device{});
  kernel(x, 7, y);
  return y.data<float>()[0];
}

}  // namespace

TEST_CASE("Kernel: host tensors go to the CPU, and to the plain loops while PlainKernels lives on the thread") {
  CHECK(who(signs) == 1);
  CHECK_FALSE(plain_kernels());
  {
    const PlainKernels on;
    CHECK(who(signs) == 3);
    CHECK(who(without_plain) == 1);
    {
      const PlainKernels again;
      CHECK(who(signs) == 3);
    }
    CHECK(who(signs) == 3);
    double elsewhere = 0;
    std::thread([&] { elsewhere = who(signs); }).join();
    CHECK(elsewhere == 1);
  }
  CHECK(who(signs) == 1);
}

TEST_CASE("Kernel: the profile counts every tensor among the arguments, and operations only when asked") {
  start_profile();
  who(signs);
  who(without_plain);
  stop_profile();
  const std::vector<ProfileRecord> records = profile_records();
  REQUIRE(records.size() >= 2);
  const ProfileRecord &first = records[records.size() - 2], &second = records.back();
  CHECK(std::string(first.op) == "sign forward");
  CHECK(first.flops == 35);
  CHECK(first.bytes == (5 + 2) * 4);
  CHECK(second.flops == 0);
}

TEST_CASE("for_each_operand: tensors, what holds them, and what does not") {
  const Tensor t = zeros({3}, float32, Device{});
  int count = 0;
  const auto look = [&](const Tensor& one) { count += one.defined() ? 1 : 0; };
  for_each_operand(t, look);
  CHECK(count == 1);
  for_each_operand(std::vector<KeyValue>{{t, t}, {t, t, t}}, look);
  CHECK(count == 6);
  for_each_operand(Fused{.residual = t, .packed = t}, look);  // packed weights are not read besides the weights
  CHECK(count == 7);
  for_each_operand(3.0, look);
  for_each_operand(Shape{1, 2}, look);
  CHECK(count == 7);
}
