// Views: what they show, that they share memory, their gradients, their errors; casts.
#include "atlas/ops/shape.h"

#include <doctest/doctest.h>

#include <numeric>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

using namespace atlas;

namespace {
Tensor count(const Shape& shape) { return reshape(arange(shape.numel()), shape); }
std::vector<int64_t> values(const Tensor& t) { return to_vector<int64_t>(t); }
bool shares(const Tensor& a, const Tensor& b) { return a.impl().storage == b.impl().storage; }
using Ints = std::vector<int64_t>;
}  // namespace

TEST_CASE("reshape: views where strides allow, copies where not") {
  const Tensor x = count({2, 3, 4});
  CHECK(reshape(x, {6, -1}).shape() == Shape{6, 4});
  CHECK(shares(reshape(x, {4, 6}), x));
  CHECK(values(reshape(x, {4, 6})) == values(x));
  // The last two axes of a permuted tensor may still be joined or cut without copying, others not.
  const Tensor p = permute(count({4, 2, 3}), {1, 2, 0});  // strides 3, 1, 6
  CHECK(shares(reshape(p, {6, 4}), p));
  CHECK(shares(reshape(p, {2, 3, 2, 2}), p));
  CHECK_FALSE(shares(reshape(p, {2, 12}), p));
  CHECK(values(reshape(p, {2, 12})) == values(p));
  CHECK(values(reshape(p, {6, 4})) == values(p));
  CHECK(shares(reshape(p, {1, 6, 1, 4, 1}), p));
  const Tensor e = expand(count({3, 1}), {3, 5});
  CHECK(shares(reshape(e, {3, 5, 1}), e));
  CHECK(values(reshape(e, {15})) == values(e));
  CHECK(reshape(zeros({2, 0, 3}), {0, 7}).shape() == Shape{0, 7});
  CHECK(reshape(zeros({2, 0, 3}), {6, -1}).shape() == Shape{6, 0});
  CHECK(reshape(full({1, 1}, 3), {}).dim() == 0);
  CHECK(reshape(full({}, 3), {1, 1, 1, 1, 1, 1, 1, 1}).dim() == 8);
  CHECK_THROWS_WITH_AS(
      reshape(zeros({2, 3}), {4, 2}),
      "[reshape] float32[2,3] has 6 elements, the new shape [4,2] has 8 (one length may be -1: it is inferred)", Error);
  CHECK_THROWS_WITH_AS(reshape(zeros({2, 3}), {4, -1}),
                       "[reshape] cannot infer axis 1 of [4,-1]: float32[2,3] has 6 elements, the other axes 4", Error);
  CHECK_THROWS_AS(reshape(zeros({2, 3}), {-1, -1}), Error);
  CHECK_THROWS_AS(reshape(zeros({0}), {0, -1}), Error);
  CHECK_THROWS_AS(reshape(zeros({2, 3}), {-2, -3}), Error);
}

TEST_CASE("reshape of every permutation and cut of a small tensor equals a copy") {
  Shape order{0, 1, 2, 3};
  do {
    for (const Shape& lengths : {Shape{2, 3, 1, 4}, Shape{1, 2, 2, 2}}) {
      const Tensor p = permute(count(lengths), order);
      const int64_t n = p.numel();
      for (int64_t a = 1; a <= n; ++a)
        for (int64_t b = 1; a * b <= n; ++b)
          if (n % (a * b) == 0) CHECK(values(reshape(p, {a, b, n / (a * b)})) == values(p));
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("permute and transpose") {
  const Tensor x = count({2, 3});
  CHECK(values(transpose(x, 0, -1)) == Ints{0, 3, 1, 4, 2, 5});
  CHECK(values(permute(x, {1, 0})) == Ints{0, 3, 1, 4, 2, 5});
  CHECK(shares(permute(x, {-1, 0}), x));
  const Tensor eight = count({1, 2, 1, 3, 2, 1, 2, 1});
  const Tensor back = permute(permute(eight, {7, 6, 5, 4, 3, 2, 1, 0}), {7, 6, 5, 4, 3, 2, 1, 0});
  CHECK(values(back) == values(eight));
  CHECK_THROWS_WITH_AS(permute(x, {0, 0}), "[permute] axis 0 appears twice in [0,0] for int64[2,3]", Error);
  CHECK_THROWS_AS(permute(x, {0}), Error);
  CHECK_THROWS_WITH_AS(transpose(x, 0, 2), "[transpose] axis 2 is outside [-2, 2) of int64[2,3]", Error);
}

TEST_CASE("slice and select") {
  const Tensor x = count({3, 5});
  CHECK(values(slice(x, 1, 1, 4)) == Ints{1, 2, 3, 6, 7, 8, 11, 12, 13});
  CHECK(values(slice(x, 1, -4, -1, 2)) == Ints{1, 3, 6, 8, 11, 13});
  CHECK(values(slice(x, 0, 1, kEnd)) == Ints{5, 6, 7, 8, 9, 10, 11, 12, 13, 14});
  CHECK(slice(x, 0, 3, 3).shape() == Shape{0, 5});
  CHECK(slice(x, 0, 0, 3, kEnd).shape() == Shape{1, 5});
  CHECK(values(select(x, 1, -1)) == Ints{4, 9, 14});
  CHECK(values(x[2]) == Ints{10, 11, 12, 13, 14});
  CHECK(select(zeros({0, 3}), 1, 2).shape() == Shape{0});
  CHECK(slice(zeros({0, 3}), 1, 2, 3).shape() == Shape{0, 1});
  CHECK_THROWS_WITH_AS(slice(x, 1, 0, 6), "[slice] [0, 6) is outside axis 1 of int64[3,5], whose length is 5", Error);
  CHECK_THROWS_WITH_AS(slice(x, 1, 3, 2), "[slice] begin 3 lies after end 2 (axis 1 of int64[3,5])", Error);
  CHECK_THROWS_AS(slice(x, 1, 0, 2, 0), Error);
  CHECK_THROWS_WITH_AS(select(x, 0, 3), "[select] index 3 is outside axis 0 of int64[3,5], whose length is 3", Error);
  CHECK_THROWS_AS(full({}, 1)[0], Error);
}

TEST_CASE("expand, squeeze, unsqueeze, flatten") {
  const Tensor x = count({2, 1});
  CHECK(values(expand(x, {2, 3})) == Ints{0, 0, 0, 1, 1, 1});
  CHECK(expand(x, {4, -1, 5}).shape() == Shape{4, 2, 5});
  CHECK(shares(expand(x, {2, 1000000}), x));
  CHECK(expand(x, {2, 0}).numel() == 0);
  CHECK_THROWS_WITH_AS(expand(x, {3, 3}), "[expand] int64[2,1] cannot become [3,3]: axis 0 has length 2, wanted 3",
                       Error);
  CHECK_THROWS_AS(expand(x, {2}), Error);
  CHECK_THROWS_AS(expand(x, {-1, 2, 1}), Error);
  CHECK_THROWS_AS(expand(full({}, 1), {int64_t{1} << 40, int64_t{1} << 40}), Error);
  CHECK(squeeze(x, -1).shape() == Shape{2});
  CHECK_THROWS_WITH_AS(squeeze(x, 0), "[squeeze] axis 0 of int64[2,1] has length 2, not 1", Error);
  CHECK(unsqueeze(x, -1).shape() == Shape{2, 1, 1});
  CHECK(unsqueeze(x, 0).shape() == Shape{1, 2, 1});
  CHECK(unsqueeze(full({}, 1), 0).shape() == Shape{1});
  CHECK_THROWS_AS(unsqueeze(zeros({1, 1, 1, 1, 1, 1, 1, 1}), 0), Error);
  CHECK(flatten(count({2, 3, 4}), 1).shape() == Shape{2, 12});
  CHECK(flatten(count({2, 3, 4}), 0, 1).shape() == Shape{6, 4});
  CHECK(flatten(full({}, 1)).shape() == Shape{1});
  CHECK_THROWS_AS(flatten(count({2, 3}), 1, 0), Error);
}

TEST_CASE("split, chunk, unfold") {
  const Tensor x = count({2, 6});
  const auto parts = split(x, {1, 0, 5}, 1);
  CHECK(parts[1].shape() == Shape{2, 0});
  CHECK(values(parts[2]) == Ints{1, 2, 3, 4, 5, 7, 8, 9, 10, 11});
  CHECK(values(chunk(x, 3, -1)[1]) == Ints{2, 3, 8, 9});
  CHECK(values(chunk(x, 2)[1]) == Ints{6, 7, 8, 9, 10, 11});
  CHECK(values(split(x, {0, 2})[1]) == values(x));
  CHECK(split(x, std::vector<int64_t>(6, 1), 1).size() == 6);
  CHECK_THROWS_WITH_AS(split(x, {2, 3}, 1), "[split] the parts add up to 5, axis 1 of int64[2,6] has length 6", Error);
  CHECK_THROWS_AS(split(x, {7, -1}, 1), Error);
  const auto equal = split(x, 4, 1);
  REQUIRE(equal.size() == 2);
  CHECK(equal[0].shape() == Shape{2, 4});
  CHECK(values(equal[1]) == values(x.slice(1, 4, 6)));
  CHECK(split(x, 3, 1).size() == 2);
  CHECK(split(x, 1).size() == 2);
  CHECK(split(x, 100, 1)[0].shape() == x.shape());
  CHECK(split(x, {2}).size() == 1);  // lengths, not one length
  CHECK(split(zeros({0, 2}), 3).size() == 1);
  CHECK_THROWS_WITH_AS(split(x, 0, 1), "[split] 0 is no length of a part", Error);
  CHECK_THROWS_WITH_AS(split(x, {4}, 1), "[split] the parts add up to 4, axis 1 of int64[2,6] has length 6", Error);
  CHECK_THROWS_AS(chunk(x, 4, 1), Error);
  CHECK(values(unfold(x[0], 0, 3, 2)) == Ints{0, 1, 2, 2, 3, 4});
  CHECK(unfold(x, 0, 2, 1).shape() == Shape{1, 6, 2});
  CHECK(unfold(zeros({0, 3}), 1, 2, 1).shape() == Shape{0, 2, 2});
  CHECK_THROWS_WITH_AS(unfold(x, 1, 7, 1), "[unfold] a window of 7 does not fit into axis 1 of int64[2,6]", Error);
  CHECK_THROWS_AS(unfold(x, 1, 2, 0), Error);
}

TEST_CASE("casts: contiguous, clone, to") {
  const Tensor x = count({2, 3});
  CHECK(contiguous(x).is(x));
  CHECK(transpose(x, 0, 1).contiguous().is_contiguous());
  CHECK_FALSE(shares(clone(x), x));
  CHECK(x.to(int64).is(x));
  CHECK(x.to(default_device()).is(x));
  CHECK(values(from_vector<float>({-1.5f, 2.9f}).to(int64)) == Ints{-1, 2});
  CHECK(x.transpose(0, 1).to(bfloat16)[2][1].item() == 5);
  if (!kWithCuda)
    CHECK_THROWS_WITH_AS(x.to(Device::parse("cuda")), doctest::Contains("[to] this build of atlas has no CUDA"), Error);
  Tensor f = ones({2}, float32);
  f.set_requires_grad();
  CHECK_FALSE(f.to(int64).requires_grad());
  Tensor through = f.to(bfloat16).to(float64);
  backward(through, full({2}, 3, float64));
  CHECK(f.grad().dtype() == float32);
  CHECK(f.grad()[1].item<float>() == 3);
}

TEST_CASE("gradients of views, contiguous or not, with axes of length 0 and 1") {
  const auto one = [](auto f) { return [f](const std::vector<Tensor>& v) { return f(v[0]); }; };
  const Tensor plain = randn({2, 3, 4}, float64), turned = permute(randn({4, 2, 3}, float64), {1, 2, 0});
  for (const Tensor& x :
       {plain, turned, slice(randn({2, 3, 8}, float64), 2, 0, 8, 2), expand(randn({3, 1}, float64), {2, 3, 4})}) {
    gradcheck(one([](const Tensor& t) { return reshape(t, {4, 6}); }), {x});
    gradcheck(one([](const Tensor& t) { return permute(t, {2, 0, 1}); }), {x});
    gradcheck(one([](const Tensor& t) { return transpose(t, 0, 2); }), {x});
    gradcheck(one([](const Tensor& t) { return slice(t, 2, 1, 4, 2); }), {x});
    gradcheck(one([](const Tensor& t) { return select(t, 1, -2); }), {x});
    gradcheck(one([](const Tensor& t) { return expand(unsqueeze(t, 2), {5, 2, 3, 2, 4}); }), {x});
    gradcheck(one([](const Tensor& t) { return squeeze(slice(t, 1, 2, 3), 1); }), {x});
    gradcheck(one([](const Tensor& t) { return flatten(t, 1, 2); }), {x});
    gradcheck(one([](const Tensor& t) { return unfold(t, 2, 3, 1); }), {x});
    gradcheck(one([](const Tensor& t) { return unfold(t, 1, 1, 2); }), {x});
    gradcheck(one([](const Tensor& t) { return unfold(flatten(t), 0, 2, 3); }), {x});
    gradcheck(one([](const Tensor& t) { return contiguous(t); }), {x});
    gradcheck(one([](const Tensor& t) { return clone(t); }), {x});
    gradcheck(one([](const Tensor& t) { return split(t, {1, 3}, 2)[1]; }), {x});
  }
  for (const Tensor& x : {zeros({2, 0, 4}, float64), zeros({0, 1, 4}, float64)}) {
    gradcheck(one([](const Tensor& t) { return reshape(t, {0, 3}); }), {x});
    gradcheck(one([](const Tensor& t) { return slice(transpose(t, 0, 2), 0, 1, 3); }), {x});
    gradcheck(one([](const Tensor& t) { return select(t, 2, 1); }), {x});
    gradcheck(one([](const Tensor& t) { return unfold(expand(unsqueeze(t, 0), {3, -1, -1, -1}), 0, 2, 1); }), {x});
  }
  gradcheck(one([](const Tensor& t) { return expand(t, {0, 3}); }), {randn({1, 3}, float64)});
  gradcheck(one([](const Tensor& t) { return expand(t, {2, 3}); }), {full({}, 2, float64)});
}
