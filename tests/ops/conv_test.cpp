// conv2d and conv1d_depthwise against the plain loops of atlas/reference/ over all options, gradients, thread counts
// and error texts.
#include "atlas/ops/conv.h"

#include <doctest/doctest.h>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/reference/convolution.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "random_input.h"

using namespace atlas;
using test::difference;
using test::error_of;
using test::on_cpu;
using test::random;
using test::scattered;

namespace {

Conv2dShape shape_of(const Tensor& x, const Tensor& w, const Conv2dOptions& o) {
  Conv2dShape s{.batch = x.size(0), .in_channels = x.size(3), .out_channels = w.size(0), .groups = o.groups};
  s.stride = o.stride;
  s.padding = o.padding;
  s.dilation = o.dilation;
  for (size_t i = 0; i < 2; ++i) {
    const int axis = static_cast<int>(i) + 1;
    s.in[i] = x.size(axis);
    s.kernel[i] = w.size(axis);
    s.out[i] = (s.in[i] + 2 * o.padding[i] - o.dilation[i] * (s.kernel[i] - 1) - 1) / o.stride[i] + 1;
  }
  return s;
}

/// The convolution by its definition, in float64, on the CPU.
Tensor by_definition(const Tensor& input, const Tensor& filters, const Tensor& bias_or_none, const Conv2dOptions& o) {
  const Tensor x = on_cpu(input), w = on_cpu(filters), bias = bias_or_none.defined() ? on_cpu(bias_or_none) : Tensor();
  const Conv2dShape s = shape_of(x, w, o);
  Tensor y = empty({s.batch, s.out[0], s.out[1], s.out_channels}, float64, Device{});
  cpu::reference::conv2d(x.data<double>(), w.data<double>(), bias.defined() ? bias.data<double>() : nullptr,
                         y.data<double>(), s);
  return y;
}

/// Its gradients with respect to x, w and the bias.
std::vector<Tensor> gradients_by_definition(const Tensor& input, const Tensor& filters, const Tensor& seed,
                                            const Conv2dOptions& o) {
  const Tensor x = on_cpu(input), w = on_cpu(filters), dy = on_cpu(seed);
  const Conv2dShape s = shape_of(x, w, o);
  std::vector<Tensor> d = {empty(x.shape(), float64, Device{}), empty(w.shape(), float64, Device{}),
                           empty({w.size(0)}, float64, Device{})};
  cpu::reference::conv2d_backward_input(dy.data<double>(), w.data<double>(), d[0].data<double>(), s);
  cpu::reference::conv2d_backward_weight(x.data<double>(), dy.data<double>(), d[1].data<double>(), s);
  cpu::reference::bias_backward(s.out_pixels(), s.out_channels, dy.data<double>(), d[2].data<double>());
  return d;
}

Tensor to_float(const Tensor& t) {
  Tensor y = empty(t.shape(), float32);
  copy_elements(y, t);
  return y;
}

/// Values in both precisions and layouts, and the three gradients, against the definition.
void check_against_definition(int64_t B, int64_t H, int64_t W, int64_t I, int64_t O, int64_t KH, int64_t KW,
                              const Conv2dOptions& o) {
  const Tensor x = random({B, H, W, I}, 1), w = random({O, KH, KW, I / o.groups}, 2), b = random({O}, 3);
  const Tensor want = by_definition(x, w, b, o);
  CHECK(difference(conv2d(x, w, b, o), want) < 1e-12);
  CHECK(difference(conv2d(to_float(x), to_float(w), to_float(b), o), want) < 1e-4);
  CHECK(difference(conv2d(scattered(x), scattered(w), scattered(b), o), want) < 1e-12);
  CHECK(difference(conv2d(x, w, {}, o), by_definition(x, w, {}, o)) < 1e-12);

  Tensor px = x.detach(), pw = w.detach(), pb = b.detach();
  for (Tensor* t : {&px, &pw, &pb}) t->set_requires_grad();
  const Tensor dy = random(want.shape(), 4);
  const auto grads = grad({conv2d(px, pw, pb, o)}, {px, pw, pb}, {dy});
  const auto expected = gradients_by_definition(x, w, dy, o);
  for (size_t i = 0; i < 3; ++i) {
    CAPTURE(i);
    CHECK(difference(grads[i], expected[i]) < 1e-11);
  }
}

}  // namespace

TEST_CASE("conv2d and its gradients equal the definition for every combination of options") {
  for (int64_t kernel : {1, 2, 3})
    for (int64_t stride : {1, 2, 3})
      for (int64_t padding : {0, 1, 2})
        for (int64_t dilation : {1, 2})
          for (int64_t groups : {1, 2, 4}) {
            if (dilation * (kernel - 1) + 1 > 7 + 2 * padding) continue;
            CAPTURE(kernel);
            CAPTURE(stride);
            CAPTURE(padding);
            CAPTURE(dilation);
            CAPTURE(groups);
            check_against_definition(2, 7, 8, 4, 4, kernel, kernel,
                                     {{stride, stride}, {padding, padding}, {dilation, dilation}, groups});
          }
}

TEST_CASE("conv2d with unequal axes, odd channels and several blocks of pixels") {
  check_against_definition(1, 9, 5, 3, 5, 3, 1, {{2, 1}, {1, 0}, {1, 1}, 1});
  check_against_definition(3, 1, 1, 1, 1, 1, 1, {});
  check_against_definition(1, 4, 9, 5, 2, 2, 4, {{1, 3}, {0, 3}, {2, 2}, 1});
  check_against_definition(2, 23, 19, 3, 17, 3, 3, {{1, 1}, {1, 1}, {1, 1}, 1});
  check_against_definition(2, 23, 19, 3, 8, 3, 3, {{2, 2}, {1, 1}, {1, 1}, 1});
  check_against_definition(2, 6, 6, 6, 12, 3, 3, {{1, 1}, {1, 1}, {1, 1}, 6});  // two filters per channel
  check_against_definition(1, 3, 3, 2, 2, 1, 1, {{5, 4}, {0, 0}, {1, 1}, 1});   // pixels that no output reads
  check_against_definition(1, 5, 5, 40, 8, 5, 5, {{1, 1}, {2, 2}, {1, 1}, 1});
  check_against_definition(1, 3, 3, 300, 3, 1, 2,
                           {{2, 1}, {0, 0}, {1, 1}, 1});  // small images: channels are cut into pieces
  check_against_definition(1, 3, 3, 3, 300, 1, 2, {});
  check_against_definition(1, 2, 2, 520, 520, 2, 1, {{1, 1}, {0, 0}, {1, 1}, 2});
  check_against_definition(1, 12, 12, 1, 33, 4, 4, {{4, 4}, {0, 0}, {1, 1}, 1});
}

TEST_CASE("conv2d of empty tensors") {
  CHECK(conv2d(empty({0, 5, 5, 3}), empty({4, 3, 3, 3})).shape() == Shape({0, 3, 3, 4}));
  CHECK(conv2d(empty({1, 5, 5, 3}), empty({0, 3, 3, 3})).shape() == Shape({1, 3, 3, 0}));
  const Tensor b = random({4}, 1, float32);
  const Tensor y = conv2d(empty({1, 2, 2, 0}), empty({4, 1, 1, 0}), b);
  for (int64_t i = 0; i < 4; ++i) CHECK(y[0][1][1][i].item() == b[i].item());
  Tensor x = empty({0, 5, 5, 3}), w = random({4, 3, 3, 3}, 2, float32);
  w.set_requires_grad();
  const auto grads = grad({conv2d(x, w)}, {w});
  CHECK(difference(grads[0], copy_of(w).mul_(0)) == 0);
}

TEST_CASE("conv2d gradients by finite differences") {
  const auto with = [](const Conv2dOptions& o) {
    return [o](const std::vector<Tensor>& in) { return conv2d(in[0], in[1], in.size() > 2 ? in[2] : Tensor(), o); };
  };
  CHECK_NOTHROW(
      gradcheck(with({{2, 1}, {1, 2}, {1, 2}, 1}), {random({1, 4, 5, 2}, 1), random({3, 3, 2, 2}, 2), random({3}, 3)}));
  CHECK_NOTHROW(gradcheck(with({{1, 1}, {1, 1}, {1, 1}, 2}),
                          {scattered(random({2, 3, 3, 4}, 1)), scattered(random({2, 3, 3, 2}, 2))}));
  CHECK_NOTHROW(
      gradcheck(with({{1, 1}, {1, 1}, {1, 1}, 3}), {random({1, 3, 4, 3}, 1), random({3, 3, 3, 1}, 2), random({3}, 3)}));
  CHECK_NOTHROW(gradcheck(with({}), {random({1, 2, 3, 2}, 1), random({3, 1, 1, 2}, 2), random({3}, 3)}));
}

TEST_CASE("conv1d_depthwise equals the definition, with gradients") {
  for (int64_t K : {1, 2, 3, 4, 7})
    for (int64_t L : {1, 2, 5, 40}) {
      const Tensor x = random({2, L, 19}, 1), w = random({K, 19}, 2), b = random({19}, 3);
      const Tensor image = on_cpu(x).reshape({2, 1, L, 19}),
                   filters = on_cpu(permute(w, {1, 0})).reshape({19, 1, K, 1});
      // "same": K - 1 zeros in all, the smaller half of them in front; where they differ, a first pixel too many is cut
      // off.
      const Tensor wide = by_definition(image, filters, b, {{1, 1}, {0, K / 2}, {1, 1}, 19});
      const Tensor want = copy_of(wide.reshape({2, wide.size(2), 19}).slice(1, (K - 1) % 2, (K - 1) % 2 + L));
      CHECK(difference(conv1d_depthwise(x, w, b), want) < 1e-12);
      CHECK(difference(conv1d_depthwise(scattered(x), scattered(w), scattered(b)), want) < 1e-12);
      CHECK(difference(conv1d_depthwise(to_float(x), to_float(w), to_float(b)), want) < 1e-5);
    }
  const auto f = [](const std::vector<Tensor>& in) {
    return conv1d_depthwise(in[0], in[1], in.size() > 2 ? in[2] : Tensor());
  };
  CHECK_NOTHROW(gradcheck(f, {random({2, 5, 3}, 1), random({4, 3}, 2), random({3}, 3)}));
  CHECK_NOTHROW(gradcheck(f, {scattered(random({2, 3, 3}, 1)), scattered(random({5, 3}, 2))}));
  CHECK_NOTHROW(gradcheck(f, {random({1, 1, 1}, 1), random({1, 1}, 2), random({1}, 3)}));
  CHECK(conv1d_depthwise(empty({0, 4, 3}), empty({3, 3})).shape() == Shape({0, 4, 3}));
  CHECK(conv1d_depthwise(empty({2, 0, 3}), empty({3, 3})).shape() == Shape({2, 0, 3}));
  CHECK(conv1d_depthwise(empty({2, 4, 0}), empty({3, 0})).shape() == Shape({2, 4, 0}));
}

TEST_CASE("convolutions do not depend on the number of threads") {
  const auto run = [](const Shape& xs, const Shape& ws, const Conv2dOptions& o) {
    Tensor x = random(xs, 1, float32), w = random(ws, 2, float32), b = random({ws[0]}, 3, float32);
    for (Tensor* t : {&x, &w, &b}) t->set_requires_grad();
    return test::same_for_any_threads([&] {
      const Tensor y = conv2d(x, w, b, o);
      auto all = grad({y}, {x, w, b}, {random(y.shape(), 4, float32)});
      all.push_back(y.detach());
      return all;
    });
  };
  CHECK(run({2, 30, 30, 3}, {8, 3, 3, 3}, {{1, 1}, {1, 1}, {1, 1}, 1}));
  CHECK(run({2, 31, 30, 5}, {8, 3, 3, 5}, {{2, 2}, {1, 1}, {1, 1}, 1}));
  CHECK(run({2, 30, 30, 24}, {24, 3, 3, 1}, {{1, 1}, {1, 1}, {1, 1}, 24}));
  CHECK(run({2, 30, 30, 6}, {9, 1, 1, 6}, {}));
  Tensor x = random({3, 700, 20}, 1, float32), w = random({3, 20}, 2, float32);
  for (Tensor* t : {&x, &w}) t->set_requires_grad();
  CHECK(test::same_for_any_threads([&] {
    const Tensor y = conv1d_depthwise(x, w);
    auto all = grad({y}, {x, w}, {random(y.shape(), 4, float32)});
    all.push_back(y.detach());
    return all;
  }));
}

TEST_CASE("conv2d gives an image that needs no gradient none") {
  Tensor x = random({1, 4, 4, 2}, 1), w = random({3, 3, 3, 2}, 2);
  w.set_requires_grad();
  backward(conv2d(x, w), random({1, 2, 2, 3}, 3));
  CHECK_FALSE(x.grad().defined());
  CHECK(w.grad().shape() == w.shape());
}

TEST_CASE("errors of the convolutions name the operands, the axis and a remedy") {
  const auto text = [](const Shape& x, const Shape& w, const Conv2dOptions& o = {}) {
    return error_of([&] { conv2d(empty(x), empty(w), {}, o); });
  };
  CHECK(text({1, 8, 8, 4}, {6, 3, 3, 5}) ==
        "[conv2d] input channels differ: x float32[1,8,8,4] axis 3 = 4, weight float32[6,3,3,5] axis 3 = 5 times 1 "
        "groups = 5");
  CHECK(text({1, 5, 8, 4}, {6, 3, 3, 5}).ends_with("(x must be channels-last: [B,H,W,I])"));
  CHECK(text({8, 8, 4}, {6, 3, 3, 4}) == "[conv2d] needs x[B,H,W,I], got float32[8,8,4]");
  CHECK(text({1, 8, 8, 4}, {6, 3, 4}) == "[conv2d] needs weight[O,KH,KW,I/groups], got float32[6,3,4]");
  CHECK(text({1, 2, 8, 4}, {6, 3, 3, 4}).starts_with("[conv2d] the kernel is larger than the input along axis 1"));
  CHECK(text({1, 8, 8, 4}, {6, 3, 3, 4}, {{0, 1}, {0, 0}, {1, 1}, 1}).find("needs stride >= 1") != std::string::npos);
  CHECK(text({1, 8, 8, 4}, {6, 3, 3, 4}, {{1, 1}, {0, -1}, {1, 1}, 1}).find("padding -1 along axis 2") !=
        std::string::npos);
  CHECK(text({1, 8, 8, 4}, {6, 3, 3, 4}, {{1, 1}, {INT64_MAX, 0}, {1, 1}, 1}).find("overflows 64 bits") !=
        std::string::npos);
  CHECK(text({1, 8, 8, 4}, {5, 3, 3, 2}, {{1, 1}, {0, 0}, {1, 1}, 2}) ==
        "[conv2d] 5 output channels (weight float32[5,3,3,2] axis 0) do not divide into 2 groups");
  CHECK(text({1, 8, 8, 4}, {5, 3, 3, 2}, {{1, 1}, {0, 0}, {1, 1}, 0}).find("groups must be at least 1") !=
        std::string::npos);
  CHECK(error_of([] {
          conv2d(empty({1, 8, 8, 4}), empty({6, 3, 3, 4}), empty({4}));
        }) == "[conv2d] bias float32[4] does not fit 6 output channels (needs [6])");
  CHECK(error_of([] {
          conv1d_depthwise(empty({1, 8, 4}), empty({4, 3}));
        }) ==
        "[conv1d_depthwise] channels differ: x float32[1,8,4] axis 2 = 4, weight float32[4,3] axis 1 = 3 (weight is "
        "[K,C]: transpose it?)");
}

TEST_CASE("one number is both numbers of a pair") {
  const Tensor x = ones({1, 8, 8, 2}), w = ones({3, 3, 3, 2});
  CHECK(conv2d(x, w, {}, {.padding = 1}).shape() == Shape{1, 8, 8, 3});
  CHECK(conv2d(x, w, {}, {.stride = 2, .padding = {1, 0}}).shape() == Shape{1, 4, 3, 3});
}
