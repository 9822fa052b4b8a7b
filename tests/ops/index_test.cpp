// nonzero, masked_select, index_add, one_hot, flip: against plain loops, for every type, with nothing, on strided
// operands; gradients, threads, error texts.
#include "atlas/ops/index.h"

#include <doctest/doctest.h>

#include <cmath>

#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/join.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "random_input.h"

using namespace atlas;
using test::difference;
using test::error_of;
using test::random;
using test::same_bits;
using test::scattered;

namespace {

Tensor mask_of(const Shape& shape, uint64_t seed) { return random(shape, seed) > 0; }

}  // namespace

TEST_CASE("nonzero") {
  for (DType t : {float32, float64, int64, uint8, boolean}) {
    CAPTURE(name(t));
    const Tensor x = from_vector<int64_t>({0, 3, 0, 1, 0, 1}, {2, 3}).to(t);
    CHECK(same_bits(nonzero(x), from_vector<int64_t>({0, 1, 1, 0, 1, 2}, {3, 2})));
    CHECK(same_bits(nonzero(scattered(x)), nonzero(x)));
  }
  CHECK(same_bits(nonzero(from_vector<float>({NAN, 0, -0.0f})), from_vector<int64_t>({0}, {1, 1})));
  CHECK(nonzero(zeros({2, 3})).shape() == Shape{0, 2});
  CHECK(nonzero(zeros({0, 3})).shape() == Shape{0, 2});
  CHECK(nonzero(ones({})).shape() == Shape{1, 0});
  CHECK(nonzero(zeros({})).shape() == Shape{0, 0});
  // Long enough for several pieces of the work.
  const Shape shape{3, 211, 300};
  const Tensor x = mask_of(shape, 1);
  const auto mask = to_vector<bool>(x);
  std::vector<int64_t> want;
  for (int64_t i = 0; i < x.numel(); ++i)
    if (mask[static_cast<size_t>(i)]) want.insert(want.end(), {i / (211 * 300), i / 300 % 211, i % 300});
  CHECK(same_bits(nonzero(x), from_vector(want, {static_cast<int64_t>(want.size()) / 3, 3})));
}

TEST_CASE("masked_select") {
  const Tensor x = random({3, 4}, 1), mask = mask_of({3, 4}, 2);
  const auto values = to_vector<double>(x);
  const auto chosen = to_vector<bool>(mask);
  std::vector<double> want;
  for (size_t i = 0; i < values.size(); ++i)
    if (chosen[i]) want.push_back(values[i]);
  CHECK(same_bits(masked_select(x, mask), from_vector(want)));
  CHECK(same_bits(masked_select(scattered(x), scattered(mask)), from_vector(want)));
  CHECK(same_bits(masked_select(full({}, 3), from_vector<float>({1, 0, 1}) > 0), from_vector<float>({3, 3})));
  CHECK(masked_select(zeros({0, 2}), zeros({2}, boolean)).shape() == Shape{0});
  CHECK(masked_select(ones({2}), zeros({2}, boolean)).shape() == Shape{0});
  CHECK(masked_select(ones({2}, float16), ones({2}, boolean)).dtype() == float16);
  const auto op = [&](const Tensor& m) {
    return [m](const std::vector<Tensor>& in) { return masked_select(in[0], m); };
  };
  CHECK(gradcheck(op(mask), {x}).checked == 12);
  gradcheck(op(mask), {scattered(x)});
  gradcheck(op(mask_of({2, 3, 4}, 3)), {random({4}, 4)});
  gradcheck(op(mask_of({4}, 3)), {random({3, 1}, 4)});
  gradcheck(op(mask_of({0, 4}, 3)), {random({1, 4}, 4)});
  gradcheck(op(zeros({2}, boolean)), {random({2}, 4)});
  gradcheck(op(ones({}, boolean)), {random({}, 4)});
}

TEST_CASE("index_add") {
  for (DType t : {float32, float64, int64}) {
    const Tensor x = ones({2, 3}, t), src = from_vector<int64_t>({1, 2, 4, 8, 16, 32, 64, 128}, {2, 4}).to(t);
    const Tensor y = index_add(x, 1, from_vector<int64_t>({2, 0, 2, 2}), src);
    CHECK(same_bits(y, from_vector<int64_t>({3, 1, 14, 33, 1, 209}, {2, 3}).to(t)));
    CHECK(same_bits(index_add(scattered(x), -1, from_vector<int64_t>({2, 0, 2, 2}), scattered(src)), y));
    CHECK(difference(x, ones({2, 3})) == 0);
  }
  CHECK(same_bits(index_add(zeros({3}, int64), 0, from_vector<int64_t>({1, 1, 2}), ones({3}, int64)),
                  from_vector<int64_t>({0, 2, 1})));
  CHECK(index_add(zeros({0, 3}), 1, from_vector<int64_t>({1}), zeros({0, 1})).shape() == Shape{0, 3});
  const Tensor none = empty({0}, int64);
  CHECK(difference(index_add(ones({2}), 0, none, empty({0})), ones({2})) == 0);
  for (int axis : {0, 1, 2}) {
    Shape shape{2, 3, 4};
    const Tensor x = random(shape, 1);
    shape[axis] = 5;
    const Tensor index = from_vector<int64_t>({1, 0, 1, 1, 0});
    const auto op = [&](const std::vector<Tensor>& in) { return index_add(in[0], axis, index, in[1]); };
    CHECK(gradcheck(op, {x, scattered(random(shape, 2))}).checked == 24 + shape.numel());
  }
}

TEST_CASE("one_hot") {
  const Tensor x = from_vector<int64_t>({2, 0}, {1, 2});
  CHECK(same_bits(one_hot(x), from_vector<int64_t>({0, 0, 1, 1, 0, 0}, {1, 2, 3})));
  CHECK(one_hot(x, 4, float32).shape() == Shape{1, 2, 4});
  CHECK(one_hot(x, 4, float32).dtype() == float32);
  CHECK(same_bits(one_hot(full({}, 1, int64), 2), from_vector<int64_t>({0, 1})));
  CHECK(one_hot(empty({0, 2}, int64), 3).shape() == Shape{0, 2, 3});
}

TEST_CASE("flip") {
  const Tensor x = from_vector<int64_t>({1, 2, 3, 4, 5, 6}, {2, 3});
  for (DType t : {float32, float64, int64, uint8, boolean, float16}) {
    CHECK(same_bits(flip(x.to(t), 1), from_vector<int64_t>({3, 2, 1, 6, 5, 4}, {2, 3}).to(t)));
    CHECK(same_bits(flip(scattered(x.to(t)), {0, -1}), from_vector<int64_t>({6, 5, 4, 3, 2, 1}, {2, 3}).to(t)));
  }
  CHECK(flip(zeros({0, 3}), 0).shape() == Shape{0, 3});
  CHECK(same_bits(flip(x, Shape{}), x));
  for (const Shape& shape : {Shape{2, 3, 4}, Shape{1, 3}, Shape{3, 0}})
    gradcheck([](const std::vector<Tensor>& in) { return flip(in[0], {0, 1}); }, {scattered(random(shape, 1))});
}

TEST_CASE("results do not depend on the number of threads") {
  const Tensor x = random({100, 300, 7}, 1, float32), mask = x > 0.5;
  CHECK(test::same_for_any_threads([&] {
    return std::vector<Tensor>{nonzero(mask), masked_select(x, mask), flip(x, 1)};
  }));
}

TEST_CASE("errors") {
  const Tensor index = from_vector<int64_t>({0, 3});
  CHECK(error_of([&] { index_add(ones({3}), 0, index, ones({2})); }) == "[index_add] index 3 is outside [0, 3)");
  CHECK(error_of([&] {
          index_add(ones({4, 2}), 0, index, ones({2}));
        }) == "[index_add] float32[4,2] and 2 indices along axis 0 need src float32[2,2], got float32[2]");
  CHECK(error_of([&] { index_add(ones({2}, uint8), 0, index, ones({2}, uint8)); }) ==
        "[index_add] needs float32, float64 or int64, got uint8[2] (convert with .to(atlas::int64) or "
        ".to(atlas::float32))");
  CHECK(error_of([&] { index_add(ones({2}), 0, ones({2}), ones({2})); }) ==
        "[index_add] index must be int64 with one axis, got float32[2]");
  CHECK(error_of([&] { masked_select(ones({2}), ones({2})); }) ==
        "[masked_select] the mask must be bool, got float32[2] (compare to make one: ne(mask, 0))");
  CHECK(error_of([&] { masked_select(ones({2}), ones({3}, boolean)); }) ==
        "[masked_select] float32[2] and bool[3] do not broadcast: axis -1 has lengths 2 and 3");
  CHECK(error_of([&] { one_hot(index, 3); }) == "[one_hot] index 3 is outside [0, 3)");
  CHECK(error_of([&] { one_hot(ones({2})); }) == "[one_hot] needs int64, got float32[2]");
  CHECK(error_of([&] { one_hot(empty({0}, int64)); }) ==
        "[one_hot] int64[0] has no largest class: say how many there are");
  CHECK(error_of([&] { flip(ones({2}), 1); }) == "[flip] axis 1 is outside [-1, 1) of float32[2]");
  CHECK(error_of([&] { nonzero(ones({2}, float16)); }).find("[nonzero] needs float32, float64, int64, uint8 or bool") ==
        0);
}
