// dropout and drop_path: masks from Philox, scaling, gradients, eval mode, reproducibility.
#include "atlas/ops/dropout.h"

#include <doctest/doctest.h>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/checkpoint.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/core/rng.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/batch_share.h"
#include "atlas/ops/join.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/ops/formula_input.h"

using namespace atlas;
using namespace test;

namespace {

/// The mask as documented: word i % 4 of Philox(seed, stream, i / 4).
Tensor mask(const Shape& shape, double p, uint64_t seed, uint64_t stream, bool per_row) {
  Tensor m = empty(shape, float64, Device{});
  const int64_t length = per_row ? m.numel() / shape[0] : 1;
  for (int64_t i = 0; i < m.numel(); ++i) {
    const int64_t k = i / length;
    m.data<double>()[i] =
        static_cast<double>(Philox(seed, stream, static_cast<uint64_t>(k / 4)).uniform(static_cast<int>(k % 4))) >= p
            ? 1
            : 0;
  }
  return on_device(m);
}

}  // namespace

TEST_CASE("dropout: agrees with its composite, values and gradients") {
  for (DType dtype : {float64, float32}) {
    for (bool per_row : {false, true}) {
      const Shape s{7, 3, 5};
      const Op fused = [=](const std::vector<Tensor>& in) {
        Generator g{42, 3};
        return per_row ? drop_path(in[0], 0.3, true, g) : dropout(in[0], 0.3, true, g);
      };
      const Op reference = [=](const std::vector<Tensor>& in) {
        return dropout_reference(in[0], mask(s, 0.3, 42, 3, per_row).to(dtype), 0.3);
      };
      CHECK(op_difference(fused, reference, {random(s, 1, dtype)}) < 1e-6);
      if (dtype == float64) CHECK(gradcheck(fused, {random(s, 1)}).checked > 0);
    }
  }
}

TEST_CASE("dropout: keeps about 1 - p, drop_path whole rows") {
  Generator g{7, 0};
  const Tensor y = dropout(wave({10000}, 0, 1, 2), 0.25, true, g);
  int64_t kept = 0;
  for (const double v : to_vector<double>(y)) kept += v != 0;
  CHECK(std::abs(static_cast<double>(kept) - 7500) < 200);
  const Tensor x = wave({1000, 6}, 0, 1), rows = on_cpu(drop_path(x, 0.5, true, g));
  const Tensor before = on_cpu(x);
  int64_t kept_rows = 0;
  for (int64_t r = 0; r < 1000; ++r) {
    int64_t in_row = 0;
    for (int64_t c = 0; c < 6; ++c) in_row += rows.at<double>({r, c}) == 2 * before.at<double>({r, c});
    CHECK((in_row == 0 || in_row == 6));
    kept_rows += in_row == 6;
  }
  CHECK(std::abs(static_cast<double>(kept_rows) - 500) < 80);
  CHECK(g.stream == 2);
}

TEST_CASE("dropout: eval mode and p = 0 are the identity, p = 1 gives zeros") {
  const Tensor x = random({3, 4}, 1);
  Generator g{1, 5};
  CHECK(dropout(x, 0.5, false, g).is(x));
  CHECK(drop_path(x, 0.5, false, g).is(x));
  CHECK(dropout(x, 0, true, g).is(x));
  CHECK(drop_path(x, 0, true, g).is(x));
  CHECK(g.stream == 5);
  const Tensor zero = wave({3, 4}, 0);
  const Tensor bad = table({INFINITY, NAN}, {2, 1});
  for (const auto& r : {with_gradients([](const std::vector<Tensor>& in) { return dropout(in[0], 1, true); }, {x}),
                        with_gradients([](const std::vector<Tensor>& in) { return drop_path(in[0], 1, true); }, {x})}) {
    CHECK(same_bits(r[0], zero));
    CHECK(same_bits(r[1], zero));
  }
  CHECK(same_bits(dropout(bad, 1, true), wave({2, 1}, 0)));
  CHECK(dropout(empty({0, 3}), 0.5, true).shape() == Shape{0, 3});
  CHECK(drop_path(empty({0, 3}), 0.5, true).shape() == Shape{0, 3});
}

TEST_CASE("dropout: same seed, same mask; each call another; threads and recomputation do not matter") {
  manual_seed(11);
  const Tensor x = random({100, 400}, 1), a = dropout(x, 0.5, true), b = dropout(x, 0.5, true);
  manual_seed(11);
  CHECK(same_bits(dropout(x, 0.5, true), a));
  CHECK_FALSE(same_bits(a, b));
  CHECK(same_for_any_threads([&] {
    manual_seed(3);
    return std::vector<Tensor>{dropout(x, 0.3, true), drop_path(x, 0.3, true)};
  }));
  Tensor leaf = copy_of(x).set_requires_grad();
  manual_seed(5);
  backward(checkpoint([](const Tensor& t) { return dropout(t, 0.5, true); }, leaf), x);
  Tensor direct = copy_of(x).set_requires_grad();
  manual_seed(5);
  backward(dropout(direct, 0.5, true), x);
  CHECK(same_bits(leaf.grad(), direct.grad()));
}

TEST_CASE("dropout: parts of a batch drop what the whole batch drops") {
  Generator values{1};
  const Tensor x = randn({6, 3, 5}, float32, values), dy = randn({6, 3, 5}, float32, values);
  for (const bool rows : {false, true}) {
    const auto drop = [&](const Tensor& in, const Tensor& up, Tensor& dx) {
      Generator g{17, 3};
      Tensor leaf = copy_of(in);
      leaf.set_requires_grad();
      const Tensor y = rows ? drop_path(leaf, 0.5, true, g) : dropout(leaf, 0.5, true, g);
      y.backward(up);
      CHECK(g.stream == 4);
      dx = leaf.grad();
      return y.detach();
    };
    Tensor whole_dx, part_dx;
    const Tensor whole = drop(x, dy, whole_dx);
    for (const std::vector<int64_t>& places : {std::vector<int64_t>{0, 1, 5}, {2, 3, 4}, {3}, {5, 4}}) {
      const BatchShare share{1, places, 6};
      const BatchShareScope part(share);
      const auto of = [&](const Tensor& t) {
        std::vector<Tensor> images;
        for (const int64_t place : places) images.push_back(t.slice(0, place, place + 1));
        return cat(images, 0);
      };
      CHECK(largest_difference(drop(of(x), of(dy), part_dx), of(whole)) == 0);  // but for the signs of zeros
      CHECK(largest_difference(part_dx, of(whole_dx)) == 0);
    }
  }
  // What is not made of the images' rows is drawn by every process for itself.
  const BatchShare share{1, {0, 1}, 4}, first{0, {0, 1}, 4};
  const auto odd = [](const BatchShare& s) {
    const BatchShareScope part(s);
    Generator g{17, 3};
    return dropout(ones({3, 50}), 0.5, true, g);
  };
  CHECK_FALSE(same_bits(odd(share), odd(first)));
}

TEST_CASE("dropout: errors") {
  CHECK(error_of([] { dropout(random({2}, 1), 1.5, true); }) == "[dropout] p is 1.5, needs a probability in [0, 1]");
  CHECK(error_of([] { drop_path(random({2}, 1), -0.1, false); }) ==
        "[drop_path] p is -0.1, needs a probability in [0, 1]");
  CHECK(error_of([] { dropout(random({2}, 1), NAN, true); }) == "[dropout] p is nan, needs a probability in [0, 1]");
  CHECK(error_of([] { drop_path(random({}, 1), 0.5, true); }) ==
        "[drop_path] x needs at least one axis (the samples), got float64[]");
  CHECK(error_of([] { dropout(empty({2}, int64), 0.5, true); }) ==
        "[dropout] needs float32 or float64, got int64[2] (convert with .to(atlas::float32))");
}
