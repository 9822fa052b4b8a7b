// cross_entropy: values of PyTorch for classes and probabilities, with and without label smoothing; gradients, errors.
#include "atlas/ops/loss.h"

#include <doctest/doctest.h>

#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/shape.h"
#include "tests/ops/formula_input.h"

using namespace atlas;
using namespace test;

namespace {

Op entropy(double smoothing) {
  return [=](const std::vector<Tensor>& in) { return cross_entropy(in[0], in[1], smoothing); };
}
Op reference(double smoothing) {
  return [=](const std::vector<Tensor>& in) { return cross_entropy_reference(in[0], in[1], smoothing); };
}
Tensor classes(const std::vector<int64_t>& values) {
  return from_vector<int64_t>(values, {static_cast<int64_t>(values.size())});
}

/// Loss and gradients for a seed of 1.
std::vector<Tensor> loss_and_gradients(const Op& op, std::vector<Tensor> in) {
  std::vector<Tensor> leaves;
  for (Tensor& t : in)
    if (is_floating(t.dtype())) leaves.push_back(t.set_requires_grad());
  const Tensor loss = op(in);
  std::vector<Tensor> result = grad({loss}, leaves);
  result.insert(result.begin(), loss.detach());
  return result;
}

}  // namespace

TEST_CASE("cross_entropy: values and gradients of PyTorch") {
  const Shape s{3, 4};
  const Tensor x = wave(s, 0.7, 0.3, 2), t = classes({2, 0, 3});
  Tensor soft = copy_of(softmax(wave(s, 1.1, 0.4)));
  soft.mul_(1.25);  // rows need not sum to one

  auto r = loss_and_gradients(entropy(0), {copy_of(x), t});
  CHECK(r[0].shape() == Shape{});
  CHECK(r[0].item() == doctest::Approx(0.7001924218).epsilon(1e-9));
  CHECK(
      difference(r[1], table({0.03286656576, 0.0979402363, -0.2010765832, 0.07026978113, -0.1194044518, 0.05790284523,
                              0.02786641138, 0.03363519518, 0.01048549781, 0.04129862467, 0.1213428139, -0.1731269364},
                             s)) < 1e-9);
  r = loss_and_gradients(entropy(0.1), {copy_of(x), t});
  CHECK(r[0].item() == doctest::Approx(0.7991940573).epsilon(1e-9));
  CHECK(
      difference(r[1], table({0.02453323242, 0.08960690297, -0.1760765832, 0.06193644779, -0.09440445179, 0.0495695119,
                              0.01953307805, 0.02530186184, 0.002152164479, 0.03296529134, 0.1130094806, -0.1481269364},
                             s)) < 1e-9);
  r = loss_and_gradients(entropy(0), {copy_of(x), copy_of(soft)});
  CHECK(r[0].item() == doctest::Approx(2.370940283).epsilon(1e-9));
  CHECK(difference(r[1],
                   table({-0.0542619448, -0.05271373727, 0.05716365207, 0.04981203, 0.2400510928, 0.02140176968,
                          -0.1080796399, -0.1533732226, -0.1577052888, -0.01181000618, 0.09717059592, 0.07234469906},
                         s)) < 1e-9);
  CHECK(difference(r[2], table({0.7722290292, 0.4082618438, 0.3081326267, 0.5189337133, 0.1478331199, 0.5834588222,
                                0.8272403066, 0.764523332, 1.15304995, 0.6961045973, 0.3368410925, 0.2442266752},
                               s)) < 1e-9);
  r = loss_and_gradients(entropy(0.1), {copy_of(x), copy_of(soft)});
  CHECK(r[0].item() == doctest::Approx(2.302867133).epsilon(1e-9));
  CHECK(difference(r[1],
                   table({-0.05388242708, -0.04598167325, 0.05633962854, 0.04352447178, 0.2291055384, 0.0167185439,
                          -0.1028183681, -0.1430057142, -0.1492195435, -0.01483247643, 0.09125448438, 0.07279753551},
                         s)) < 1e-9);
  CHECK(difference(r[2], table({0.6950061263, 0.3674356594, 0.277319364, 0.467040342, 0.1330498079, 0.52511294,
                                0.744516276, 0.6880709988, 1.037744955, 0.6264941376, 0.3031569833, 0.2198040077},
                               s)) < 1e-9);
}

TEST_CASE("cross_entropy: gradient check and composite") {
  for (double smoothing : {0.0, 0.1, 1.0}) {
    CAPTURE(smoothing);
    for (int64_t c : {1, 2, 5, 40}) {
      const Tensor x = random({3, c}, 1), soft = random({3, c}, 2), hard = classes({c - 1, 0, c / 2});
      CHECK(gradcheck(entropy(smoothing), {x, hard}).checked > 0);
      CHECK(gradcheck(entropy(smoothing), {x, soft}).checked > 0);
      CHECK(op_difference(entropy(smoothing), reference(smoothing), {x, hard}) < 1e-13);
      CHECK(op_difference(entropy(smoothing), reference(smoothing), {x, soft}) < 1e-13);
      CHECK(op_difference(entropy(smoothing), reference(smoothing), {x.to(float32), soft.to(float32)}) < 1e-5);
    }
  }
}

TEST_CASE("cross_entropy: large logits, thread count") {
  CHECK(cross_entropy(table({1e4, 0, 0, 1e4}, {2, 2}).to(float32), classes({0, 0})).item() == doctest::Approx(5000));
  CHECK(cross_entropy(table({0, -INFINITY}, {1, 2}), classes({0})).item() == 0);
  const Tensor x = random({500, 100}, 1, float32);
  std::vector<int64_t> t;
  for (int64_t i = 0; i < 500; ++i) t.push_back(i * 7 % 100);
  CHECK(same_for_any_threads([&] { return loss_and_gradients(entropy(0.1), {x.detach(), classes(t)}); }));
}

TEST_CASE("cross_entropy: errors") {
  const Tensor x = random({2, 3}, 1);
  CHECK(error_of([&] {
          cross_entropy(x, classes({0, 3}));
        }) == "[cross_entropy] target of row 1 is 3, needs a class in [0, 3) for logits float64[2,3]");
  CHECK(error_of([&] {
          cross_entropy(x, classes({-100, 0}));
        }) == "[cross_entropy] target of row 0 is -100, needs a class in [0, 3) for logits float64[2,3]");
  CHECK(error_of([&] {
          cross_entropy(random({0, 3}, 1), classes({}));
        }) == "[cross_entropy] the mean over an empty batch is undefined: logits float64[0,3] axis 0 = 0");
  CHECK(error_of([&] {
          cross_entropy(random({2, 0}, 1), classes({0, 0}));
        }) == "[cross_entropy] needs at least one class: logits float64[2,0] axis 1 = 0");
  CHECK(error_of([&] {
          cross_entropy(x, classes({0, 1, 2}));
        }) ==
        "[cross_entropy] target int64[3] does not fit logits float64[2,3]: needs int64[2] (classes) or float64[2,3] "
        "(probabilities)");
  CHECK(error_of([&] {
          cross_entropy(x, random({2, 3}, 1, float32));
        }) ==
        "[cross_entropy] target float32[2,3] does not fit logits float64[2,3]: needs int64[2] (classes) or "
        "float64[2,3] (probabilities)");
  CHECK(error_of([&] {
          cross_entropy(x, classes({0, 1}), 1.5);
        }) == "[cross_entropy] label_smoothing is 1.5, needs [0, 1]");
  CHECK(error_of([&] { cross_entropy(random({3}, 1), classes({0})); }) ==
        "[cross_entropy] logits need two axes [B, C], got float64[3]");
}
