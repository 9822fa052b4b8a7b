// cross_entropy: values of PyTorch (tools/reference/check_test_tables.py) for classes and probabilities, with and
// without label smoothing; gradients, errors.
#include "atlas/ops/loss.h"

#include <doctest/doctest.h>

#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/softmax.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
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

TEST_CASE("cross_entropy: ignored classes, class weights, reductions and pixels against the composite") {
  const Tensor x = random({2, 3, 2, 5}, 1), soft = softmax(random({2, 3, 2, 5}, 2));
  Tensor hard = from_vector<int64_t>({0, 1, 255, 3, 4, 255, 2, 2, 255, 0, 4, 1}, {2, 3, 2});
  const Tensor weight = abs(random({5}, 3)) + 0.1;
  for (double smoothing : {0.0, 0.2})
    for (Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum})
      for (const Tensor& w : {Tensor(), weight}) {
        CAPTURE(smoothing);
        CAPTURE(static_cast<int>(reduction));
        CAPTURE(w.defined());
        CrossEntropyOptions o{.label_smoothing = smoothing, .weight = w, .reduction = reduction};
        const auto ours = [&](const std::vector<Tensor>& in) { return cross_entropy(in[0], in[1], o); };
        const auto theirs = [&](const std::vector<Tensor>& in) { return cross_entropy_reference(in[0], in[1], o); };
        CHECK(op_difference(ours, theirs, {x, soft}) < 1e-12);
        gradcheck(ours, {scattered(x), soft});
        o.ignore_index = 255;
        CHECK(op_difference(ours, theirs, {x, hard}) < 1e-12);
        gradcheck(ours, {scattered(x), hard});
        CHECK(ours({x, hard}).shape() == (reduction == Reduction::none ? Shape{2, 3, 2} : Shape{}));
      }
  // One row without axes, and rows that are not there.
  CHECK(cross_entropy(x[0][0][0], full({}, 1, int64)).item() ==
        doctest::Approx(cross_entropy(x[0][0].slice(0, 0, 1), classes({1})).item()));
  gradcheck([](const std::vector<Tensor>& in) { return cross_entropy(in[0], in[1], {.reduction = Reduction::none}); },
            {random({0, 3}, 1), classes({})});
  gradcheck([](const std::vector<Tensor>& in) { return cross_entropy(in[0], in[1], {.reduction = Reduction::sum}); },
            {random({0, 2, 3}, 1), empty({0, 2}, int64)});
  // As in PyTorch: a mean over rows that are all ignored is 0 / 0; their sum is 0, and no row has a gradient.
  Tensor leaf = random({2, 3}, 1).set_requires_grad();
  CHECK(std::isnan(cross_entropy(leaf, classes({7, 7}), {.ignore_index = 7}).item()));
  const Tensor none = cross_entropy(leaf, classes({-100, -100}), {.ignore_index = -100, .reduction = Reduction::sum});
  none.backward();
  CHECK(none.item() == 0);
  CHECK(difference(leaf.grad(), zeros({2, 3})) == 0);
}

TEST_CASE("cross_entropy: values of PyTorch with weights, an ignored class and label smoothing") {
  const Tensor x = wave({4, 3}, 0.7, 0.3, 2), w = from_vector<double>({0.5, 2, 1});
  const auto loss = [&](Reduction reduction, double smoothing) {
    return cross_entropy(x, classes({2, 0, 1, 1}),
                         {.label_smoothing = smoothing, .ignore_index = 0, .weight = w, .reduction = reduction});
  };
  const auto item = [&](Reduction r, double e) { return loss(r, e).item(); };
  CHECK(item(Reduction::mean, 0) == doctest::Approx(1.13932021004).epsilon(1e-9));
  CHECK(item(Reduction::sum, 0) == doctest::Approx(5.69660105018).epsilon(1e-9));
  CHECK(difference(loss(Reduction::none, 0), from_vector<double>({0.687650536097, 0, 3.05182770994, 1.95712280414})) <
        1e-9);
  CHECK(item(Reduction::mean, 0.1) == doctest::Approx(1.10409040015).epsilon(1e-9));
  CHECK(item(Reduction::sum, 0.1) == doctest::Approx(5.52045200075).epsilon(1e-9));
  CHECK(difference(loss(Reduction::none, 0.1), from_vector<double>({0.742342041911, 0, 2.8938322047, 1.88427775414})) <
        1e-9);
  Tensor leaf = copy_of(x).set_requires_grad();
  cross_entropy(leaf, classes({2, 0, 1, 1}), {.label_smoothing = 0.1, .ignore_index = 0, .weight = w}).backward();
  CHECK(
      difference(leaf.grad(), table({0.0220706738529, 0.0623689619762, -0.0844396358291, 0, 0, 0, 0.0657173070375,
                                     -0.289988128444, 0.224270821407, 0.0457025830189, -0.229256959817, 0.183554376798},
                                    {4, 3})) < 1e-9);
}

TEST_CASE("losses of two tensors: gradients, reductions, shapes") {
  const Tensor x = random({2, 3, 4}, 1) * 2, y = random({2, 3, 4}, 2), t = sigmoid(random({2, 3, 4}, 3));
  const Tensor p = abs(random({4}, 4)), w = abs(random({3, 1}, 5));
  for (Reduction r : {Reduction::none, Reduction::mean, Reduction::sum}) {
    const std::pair<const char*, Op> losses[] = {
        {"mse", [&](const std::vector<Tensor>& in) { return mse_loss(in[0], in[1], r); }},
        {"l1", [&](const std::vector<Tensor>& in) { return l1_loss(in[0], in[1], r); }},
        {"smooth l1", [&](const std::vector<Tensor>& in) { return smooth_l1_loss(in[0], in[1], 0.7, r); }},
        {"smooth l1, beta 0", [&](const std::vector<Tensor>& in) { return smooth_l1_loss(in[0], in[1], 0, r); }},
        {"bce", [&](const std::vector<Tensor>& in) { return bce_with_logits(in[0], in[1], {.reduction = r}); }},
        {"bce, weights", [&](const std::vector<Tensor>& in) {
           return bce_with_logits(in[0], in[1], {.weight = w, .pos_weight = p, .reduction = r});
         }}};
    for (const auto& named : losses) {
      CAPTURE(named.first);
      const Op& op = named.second;
      const Tensor& second = std::string_view(named.first).starts_with("bce") ? t : y;
      CHECK(op({x, second}).shape() == (r == Reduction::none ? x.shape() : Shape{}));
      CHECK(gradcheck(op, {scattered(x), second}).checked == 48);
      if (r != Reduction::mean) gradcheck(op, {random({0, 3, 4}, 1), random({0, 3, 4}, 2)});
    }
  }
  CHECK(bce_with_logits(from_vector<float>({1e4f, -1e4f}), from_vector<float>({1, 0})).item() == 0);
  CHECK(bce_with_logits(from_vector<float>({1e4f, -1e4f}), from_vector<float>({0, 1})).item() == 1e4);
  Tensor d = from_vector<float>({-3, -0.5f, 0, 0.5f, 3}).set_requires_grad();
  const Tensor smooth = smooth_l1_loss(d, zeros({5}), 1, Reduction::none);
  CHECK(difference(smooth, from_vector<float>({2.5f, 0.125f, 0, 0.125f, 2.5f})) == 0);
  smooth.backward(ones({5}));
  CHECK(difference(d.grad(), from_vector<float>({-1, -0.5f, 0, 0.5f, 1})) == 0);
  CHECK(error_of([] {
          mse_loss(zeros({2}), zeros({2, 1}));
        }) ==
        "[mse_loss] needs two tensors of one shape and dtype, got float32[2] and float32[2,1] (losses do not "
        "broadcast: expand or reshape one)");
  CHECK(error_of([] { l1_loss(zeros({2}, int64), zeros({2}, int64)); }).find("[l1_loss] needs float32 or float64") ==
        0);
  CHECK(error_of([] { smooth_l1_loss(zeros({2}), zeros({2}), -1); }) ==
        "[smooth_l1_loss] beta is -1, needs at least 0");
  CHECK(error_of([] { mse_loss(zeros({0}), zeros({0})); }) ==
        "[mse_loss] the mean over nothing is undefined: float32[0]");
  CHECK(error_of([] { bce_with_logits(zeros({2}), zeros({2}), {.weight = ones({3})}); }).find("[bce_with_logits]") ==
        0);
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
        "[cross_entropy] target int64[1] does not fit logits float64[3]: needs int64[] (classes) or float64[3] "
        "(probabilities)");
  CHECK(error_of([&] { cross_entropy(full({}, 1), classes({0})); }) ==
        "[cross_entropy] logits need an axis of classes, [..., C], got float32[]");
  CHECK(error_of([&] {
          cross_entropy(x, classes({0, 255}), {.ignore_index = 254});
        }) == "[cross_entropy] target of row 1 is 255, needs a class in [0, 3) for logits float64[2,3]");
  CHECK(error_of([&] { cross_entropy(x, x, {.ignore_index = 1}); }) ==
        "[cross_entropy] ignore_index needs classes as target, got float64[2,3]");
  CHECK(error_of([&] {
          cross_entropy(x, classes({0, 1}), {.weight = ones({3})});
        }) == "[cross_entropy] the weights of the classes must be float64[3] for logits float64[2,3], got float32[3]");
}
