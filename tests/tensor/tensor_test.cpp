// Tensor handles: item access, in-place changes, copies between strided tensors, undefined tensors.
#include <doctest/doctest.h>

#include "atlas/core/parallel.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/strided.h"

using namespace atlas;

TEST_CASE("assigning to what an index gives writes there, as PyTorch does; to a name, makes it another tensor's") {
  Tensor x = zeros({2, 3});
  const Tensor same = x;
  x[0] = ones({3});
  x[1][2] = 5;
  x.select(1, 0) = full({2}, 7);
  CHECK(to_vector<float>(same) == std::vector<float>{7, 1, 1, 7, 0, 5});
  x = ones({1});
  CHECK(same.shape() == Shape{2, 3});
  Tensor row = same[0];
  row = zeros({3});  // another tensor
  CHECK(same.to(Device{}).at<float>({0, 1}) == 1);
}

TEST_CASE("writing in place refuses what has a gradient that would be lost") {
  Tensor w = ones({3});
  w.set_requires_grad(true);
  Tensor x = zeros({2, 3});
  CHECK_THROWS_AS(x[0].copy_(w * 2), Error);
  CHECK_THROWS_AS(x[0].add_(w), Error);
  CHECK_THROWS_AS(x[0] = w, Error);
  x[0] = w.detach();
  const NoGrad off;
  x[1].add_(w);
  CHECK(to_vector<float>(x) == std::vector<float>{1, 1, 1, 1, 1, 1});
}

TEST_CASE("at, item, data: values and errors") {
  Tensor x = from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3}, Device{});
  CHECK(x.at<float>({1, 2}) == 6);
  CHECK(x.at<float>({-1, -3}) == 4);
  x.at<float>({0, 0}) = 9;
  CHECK(x.data<float>()[0] == 9);
  CHECK(x[1][0].item() == 4);
  CHECK(full({}, 2.5, bfloat16).item<float>() == 2.5f);
  CHECK(full({1, 1}, 7, uint8).item<int64_t>() == 7);
  CHECK_THROWS_WITH_AS(x.at<float>({2, 0}), "[at] index 2 is outside axis 0 of length 2", Error);
  CHECK_THROWS_WITH_AS(x.at<float>({1}), "[at] 1 indices for a tensor of shape [2,3]", Error);
  CHECK_THROWS_WITH_AS(x.at<double>({0, 0}), "[data] the tensor holds float32, asked for float64", Error);
  CHECK_THROWS_WITH_AS(x.item(), "[item] needs a tensor of one element, got shape [2,3]", Error);
  CHECK_THROWS_AS(zeros({0}).item(), Error);
  CHECK_THROWS_AS(Tensor().shape(), Error);
  CHECK(describe(Tensor()).str() == "undefined");
  CHECK(describe(zeros({2, 0}, int64)).str() == "int64[2,0]");
}

TEST_CASE("empty: overflow and zero sizes") {
  CHECK_THROWS_WITH_AS(empty({int64_t{1} << 61}, float64),
                       "[empty] the size of [2305843009213693952] overflows 64 bits", Error);
  CHECK_THROWS_AS(empty({-1}), Error);
  const Tensor none = empty({3, 0, 2});
  CHECK(none.numel() == 0);
  CHECK(none.is_contiguous());
  CHECK(transpose(none, 0, 2).is_contiguous());
  CHECK(reinterpret_cast<uintptr_t>(empty({5}).raw()) % 64 == 0);
}

TEST_CASE("copy_ between all dtypes and layouts") {
  const DType all[] = {float32, float64, bfloat16, float16, int64, uint8, boolean};
  for (DType a : all)
    for (DType b : all) {
      const Tensor x = to(from_vector<float>({0, 1, 2, 3, 0, 5}, {2, 3}), a);
      Tensor y = zeros({3, 2}, b);
      Tensor yt = transpose(y, 0, 1);
      yt.copy_(x);
      for (int64_t i = 0; i < 2; ++i)
        for (int64_t j = 0; j < 3; ++j) {
          const double v = x[i][j].item(), want = b == boolean ? (v != 0 ? 1 : 0) : v;
          CHECK(y[j][i].item() == want);
        }
    }
}

TEST_CASE("in place: broadcast, versions, overlap, expanded tensors") {
  Tensor x = zeros({2, 3});
  const uint64_t version = x.impl().storage->version();
  x.copy_(from_vector<float>({1, 2, 3}));
  x.add_(from_vector<float>({10, 20}, {2, 1}), 2).mul_(0.5);
  CHECK(x[1][2].item<float>() == 21.5f);
  CHECK(x.impl().storage->version() == version + 3);
  x[0].fill_(4);  // a view shares storage and version
  CHECK(x[0][1].item<float>() == 4);
  CHECK(x.impl().storage->version() == version + 4);

  Tensor row = arange(0, 6, 1, float32);
  row.slice(0, 1, 6).copy_(row.slice(0, 0, 5));  // overlapping
  CHECK(row[5].item<float>() == 4);
  CHECK(row[1].item<float>() == 0);
  row = arange(0, 6, 1, float32);
  row.slice(0, 1, 6).add_(row.slice(0, 0, 5));
  CHECK(row[5].item<float>() == 9);
  CHECK(row[2].item<float>() == 3);

  CHECK_THROWS_WITH_AS(expand(zeros({1}), {4}).add_(ones({4})), doctest::Contains("[add_] float32[4] is expanded"),
                       Error);
  CHECK_THROWS_WITH_AS(x.copy_(zeros({3, 3})),
                       doctest::Contains("[copy] float32[2,3] and float32[3,3] do not broadcast"), Error);
  CHECK_THROWS_WITH_AS(zeros({1, 3}).copy_(x), "[copy] float32[2,3] does not broadcast to float32[1,3]", Error);
  CHECK_THROWS_WITH_AS(x.add_(zeros({3}, float64)), "[add_] dtypes differ: float32[2,3] and float64[3]", Error);
  Tensor n = full({2}, 3, int64);
  CHECK(n.mul_(2).add_(n, -1)[0].item<int64_t>() == 0);
  CHECK_THROWS_WITH_AS(n.mul_(0.5), doctest::Contains("[mul_] int64[2] takes whole numbers, got 0.5"), Error);
  CHECK_THROWS_WITH_AS(n.mul_(0x1p63), doctest::Contains("[mul_] int64[2] takes numbers up to 2^53"), Error);
  CHECK_THROWS_WITH_AS(n.add_(n, 0.5), "[add_] 0.5 is no factor for int64[2]: integers take whole ones", Error);
  CHECK_THROWS_AS(n.add_(n, 0x1p63), Error);
  CHECK_THROWS_AS(zeros({2}, boolean).add_(ones({2}, boolean)), Error);
}

TEST_CASE("sum_to_elements: every pattern of axes against a plain loop, the same for any number of threads") {
  const auto check_case = [](const Tensor& src, const Shape& to) {
    Tensor want = zeros(to, float64, Device{});
    const Tensor from = src.to(Device{});
    const Shape strides = broadcast_strides(to, want.strides(), src.shape());
    StridedLoop<2>(src.shape(), {strides, from.strides()})
        .for_each_serial([&](const auto& o, int64_t n, const auto& step) {
          for (int64_t i = 0; i < n; ++i)
            want.data<double>()[o[0] + i * step[0]] += from.data<double>()[o[1] + i * step[1]];
        });
    Tensor first;
    const int before = num_threads();
    for (int threads : {1, 3}) {
      set_num_threads(threads);
      Tensor got = full(to, 99, float64);
      sum_to_elements(got, src);
      got = got.to(Device{});
      for (int64_t i = 0; i < got.numel(); ++i) {
        CHECK_UNARY(std::abs(got.data<double>()[i] - want.data<double>()[i]) < 1e-9);
        if (first.defined()) CHECK_UNARY(got.data<double>()[i] == first.data<double>()[i]);
      }
      first = got;
    }
    set_num_threads(before);
  };
  const Tensor x = randn({3, 4, 5, 6}, float64);
  for (int mask = 0; mask < 16; ++mask) {
    Shape to = x.shape();
    for (int i = 0; i < 4; ++i)
      if ((mask >> i & 1) != 0) to[i] = 1;
    check_case(x, to);
    check_case(permute(x, {3, 1, 0, 2}), permute(zeros(to), {3, 1, 0, 2}).shape());
  }
  check_case(x, {6});
  check_case(x, {5, 1});
  check_case(x, {});
  check_case(randn({40000, 3}, float64), {3});
  check_case(randn({3, 40000}, float64), {3, 1});
  check_case(randn({50, 3000}, float64), {3000});
  check_case(randn({2, 30, 70, 50}, float64), {2, 1, 70, 50});
  check_case(expand(randn({7, 1}, float64), {7, 100}), {7, 1});
  check_case(zeros({0, 4}, float64), {1, 4});
  check_case(zeros({0, 4}, float64), {0, 1});
  Tensor bad = zeros({4}, float64);
  CHECK_THROWS_AS(sum_to_elements(bad, x), Error);
}
