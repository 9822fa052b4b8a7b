// cat, stack, pad, repeat_interleave, gather, index_select: values, gradients, errors.
#include "atlas/ops/join.h"

#include <doctest/doctest.h>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/core/parallel.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

using namespace atlas;

namespace {
Tensor count(const Shape& shape) { return reshape(arange(shape.numel()), shape); }
std::vector<int64_t> values(const Tensor& t) { return to_vector<int64_t>(t); }
using Ints = std::vector<int64_t>;
using Inputs = std::vector<Tensor>;
}  // namespace

TEST_CASE("cat and stack") {
  const Tensor a = count({2, 2}), b = count({2, 1});
  CHECK(values(cat({a, b}, 1)) == Ints{0, 1, 0, 2, 3, 1});
  CHECK(values(cat({a, transpose(a, 0, 1)}, -2)) == Ints{0, 1, 2, 3, 0, 2, 1, 3});
  CHECK(cat({a, zeros({0, 2}, int64)}, 0).shape() == Shape{2, 2});
  CHECK(values(stack({a, a}, 2)) == Ints{0, 0, 1, 1, 2, 2, 3, 3});
  CHECK(stack({full({}, 1), full({}, 2)}).shape() == Shape{2});
  CHECK(values(cat({a, a})) == values(cat({a, a}, 0)));
  CHECK_THROWS_WITH_AS(stack({a, zeros({2, 2})}),
                       "[stack] tensor 1 is float32[2,2], tensor 0 is int64[2,2]: shape, dtype and device must agree",
                       Error);
  CHECK_THROWS_WITH_AS(cat({a, b}, 0),
                       "[cat] tensor 1 is int64[2,1], tensor 0 is int64[2,2]: axis 1 differs (joining along axis 0)",
                       Error);
  CHECK_THROWS_WITH_AS(
      cat({a, zeros({2, 2})}, 0),
      "[cat] tensor 1 is float32[2,2], tensor 0 is int64[2,2]: dtype, device and number of axes must agree", Error);
  CHECK_THROWS_WITH_AS(cat({}, 0), "[cat] needs at least one tensor", Error);
  CHECK_THROWS_AS(stack({}), Error);
  CHECK_THROWS_AS(stack({a, b}), Error);
}

TEST_CASE("pad") {
  CHECK(values(pad(count({1, 2}), {0, 1}, {1, 0}, 7)) == Ints{7, 0, 1, 7, 7, 7});
  CHECK(values(pad(zeros({0, 2}, int64), {1, 0}, {0, 0}, 3)) == Ints{3, 3});
  CHECK(pad(zeros({2}, boolean), {1}, {1}, 1)[0].item<bool>());
  CHECK_THROWS_WITH_AS(pad(count({2}), {-1}, {0}),
                       "[pad] cannot add -1 and 0 elements to axis 0 of int64[2] (use slice to cut)", Error);
  CHECK_THROWS_AS(pad(count({2}), {1, 1}, {0}), Error);
  CHECK_THROWS_WITH_AS(pad(count({2}), {1}, {0}, 0.5), doctest::Contains("[pad] int64[2] takes whole numbers, got 0.5"),
                       Error);
  CHECK_THROWS_AS(pad(count({2}), {INT64_MAX}, {0}), Error);
}

TEST_CASE("repeat_interleave") {
  CHECK(values(repeat_interleave(count({2, 2}), 2, 0)) == Ints{0, 1, 0, 1, 2, 3, 2, 3});
  CHECK(values(repeat_interleave(count({2, 2}), 2, 1)) == Ints{0, 0, 1, 1, 2, 2, 3, 3});
  CHECK(repeat_interleave(count({2, 2}), 0, 1).shape() == Shape{2, 0});
  CHECK(repeat_interleave(zeros({1, 1, 1, 1, 1, 1, 1, 2}), 3, -1).shape() == Shape{1, 1, 1, 1, 1, 1, 1, 6});
  CHECK_THROWS_AS(repeat_interleave(count({2}), -1, 0), Error);
  CHECK_THROWS_AS(repeat_interleave(count({2}), INT64_MAX, 0), Error);
}

TEST_CASE("gather and index_select") {
  const Tensor x = count({2, 3});
  CHECK(values(gather(x, 1, from_vector<int64_t>({2, 0, 1, 1}, {2, 2}))) == Ints{2, 0, 4, 4});
  CHECK(values(gather(x, 0, from_vector<int64_t>({1, 0}, {1, 2}))) == Ints{3, 1});
  CHECK(values(gather(transpose(x, 0, 1), 0, from_vector<int64_t>({2, 0}, {1, 2}))) == Ints{2, 3});
  CHECK(values(index_select(x, 1, from_vector<int64_t>({2, 2, 0}))) == Ints{2, 2, 0, 5, 5, 3});
  CHECK(values(index_select(x, 0, from_vector<int64_t>({1}))) == Ints{3, 4, 5});
  CHECK(index_select(x, 0, zeros({0}, int64)).shape() == Shape{0, 3});
  CHECK(index_select(ones({3}, uint8), 0, zeros({5}, int64)).dtype() == uint8);
  CHECK_THROWS_WITH_AS(index_select(x, 1, from_vector<int64_t>({0, 3})), "[index_select] index 3 is outside [0, 3)",
                       Error);
  CHECK_THROWS_WITH_AS(gather(x, 1, from_vector<int64_t>({-1}, {1, 1})), "[gather] index -1 is outside [0, 3)", Error);
  CHECK_THROWS_AS(index_select(x, 0, zeros({1})), Error);
  CHECK_THROWS_AS(index_select(zeros({0, 2}), 0, zeros({1}, int64)), Error);
  CHECK_THROWS_WITH_AS(gather(x, 1, zeros({3, 1}, int64)),
                       "[gather] index int64[3,1] is longer than x int64[2,3] on axis 0", Error);
}

TEST_CASE("gradients") {
  const Tensor a = randn({2, 3, 2}, float64), b = permute(randn({2, 2, 4}, float64), {0, 2, 1}),
               none = zeros({2, 0, 2}, float64);
  gradcheck([](const Inputs& v) { return cat({v[0], v[1], v[2], v[0]}, 1); }, {a, b, none});
  gradcheck([](const Inputs& v) { return stack({v[0], v[1], v[0]}, 1); }, {a, slice(b, 1, 0, 3)});
  gradcheck([](const Inputs& v) { return pad(v[0], {1, 0, 2}, {0, 3, 1}, 5); }, {b});
  gradcheck([](const Inputs& v) { return pad(v[0], {0, 2, 0}, {0, 1, 0}); }, {none});
  gradcheck([](const Inputs& v) { return repeat_interleave(v[0], 3, 1); }, {b});
  const Tensor index = from_vector<int64_t>({0, 2, 2, 1, 0, 0, 0, 0, 1, 2, 1, 2}, {2, 3, 2});
  gradcheck([](const Inputs& v) { return gather(v[0], 1, v[1]); }, {b, index});
  gradcheck([](const Inputs& v) { return gather(v[0], 2, v[1]); },
            {permute(randn({3, 3, 2}, float64), {2, 1, 0}), index});
  gradcheck([](const Inputs& v) { return index_select(v[0], 0, v[1]); }, {a, from_vector<int64_t>({1, 1, 0, 1})});
  gradcheck([](const Inputs& v) { return index_select(v[0], 2, v[1]); }, {b, from_vector<int64_t>({1, 1, 0})});
  gradcheck([](const Inputs& v) { return index_select(v[0], 1, v[1]); }, {a, zeros({0}, int64)});
}

TEST_CASE("the gradient of gather adds in a fixed order, whatever the threads") {
  const int before = num_threads();
  const Tensor index = to(uniform({5000}, 0, 7), int64), dy = randn({5000, 40});
  const auto gradient = [&](int threads) {
    set_num_threads(threads);
    Tensor x = zeros({7, 40});
    x.set_requires_grad();
    backward(index_select(x, 0, index), dy);
    return x.grad();
  };
  const Tensor one = gradient(1), four = gradient(4);
  set_num_threads(before);
  CHECK(to_vector<float>(one) == to_vector<float>(four));
}
