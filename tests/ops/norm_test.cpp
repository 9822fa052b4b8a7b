// layer_norm and batch_norm: values of PyTorch (tools/reference/check_test_tables.py), gradients, composites, running
// statistics, errors, threads.
#include "atlas/ops/norm.h"

#include <doctest/doctest.h>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/checkpoint.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/ops/formula_input.h"

using namespace atlas;
using namespace test;

namespace {

Tensor layer(const std::vector<Tensor>& in) { return layer_norm(in[0], in[1], in[2]); }
Tensor batch(const std::vector<Tensor>& in) { return batch_norm(in[0], in[1], in[2], {}, {}, true); }

}  // namespace

TEST_CASE("layer_norm: values and gradients of PyTorch") {
  const auto r = with_gradients(layer, {wave({3, 5}, 0.7, 0.3, 2), wave({5}, 0.9, 1), wave({5}, 1.3, 0.2)});
  CHECK(difference(r[0], table({-0.4566611346, 1.730994344, 0.7378493516, -0.9786176786, 0.7193302482, 0.007267988758,
                                0.03136488982, 0.06136476538, -0.9713731758, -2.537838945, 0.8560885697, 1.955367552,
                                0.4923025157, -0.5049441604, 0.8884261665},
                               {3, 5})) < 1e-9);
  CHECK(difference(r[1], table({-0.4653898656, 0.7288461529, -0.2814560179, -0.3114401339, 0.3294398646, -0.5940906973,
                                0.5065648495, 0.1627276443, -0.436050945, 0.3608491484, -0.4379243101, 0.169089451,
                                0.422571412, -0.2633126247, 0.1095760718},
                               {3, 5})) < 1e-9);
  CHECK(difference(r[2], table({-0.9364808555, 0.03529480779, 0.2312006108, -0.5960918567, 0.2858274394}, {5})) < 1e-9);
  CHECK(difference(r[3], table({-0.9037868482, 1.588159688, 2.344552998, 0.5388006043, -1.855757269}, {5})) < 1e-9);
}

TEST_CASE("layer_norm: gradient check, composite, shapes") {
  for (const Shape& s : {Shape{5}, Shape{2, 3, 7}, Shape{4, 1}, Shape{1, 70}, Shape{3, 33}}) {
    const int64_t c = s.back();
    CAPTURE(s.str());
    CHECK(gradcheck(layer, {random(s, 1), random({c}, 2), random({c}, 3)}).checked > 0);
    const Op reference = [](const std::vector<Tensor>& in) { return layer_norm_reference(in[0], in[1], in[2]); };
    CHECK(op_difference(layer, reference, {random(s, 1), random({c}, 2), random({c}, 3)}) < 1e-12);
    if (c > 1)
      CHECK(op_difference(layer, reference, {random(s, 1, float32), random({c}, 2, float32), random({c}, 3, float32)}) <
            2e-5);
  }
  const Op plain = [](const std::vector<Tensor>& in) { return layer_norm(in[0], {}, {}); };
  const Op plain_reference = [](const std::vector<Tensor>& in) { return layer_norm_reference(in[0], {}, {}); };
  CHECK(op_difference(plain, plain_reference, {random({4, 6}, 1)}) < 1e-12);
  for (const Shape& s : {Shape{0, 4}, Shape{3, 0}}) {
    const auto r = with_gradients(layer, {random(s, 1), random({s.back()}, 2), random({s.back()}, 3)});
    CHECK(r[0].shape() == s);
    CHECK(r[1].shape() == s);
    CHECK(same_bits(r[2], wave({s.back()}, 0, 0, 0)));
  }
}

TEST_CASE("layer_norm: its gradient joins the one that is there already") {
  // x has two more uses: their gradients come first, since they were recorded later.
  const Op residual = [](const std::vector<Tensor>& in) {
    const Tensor x = in[0] + in[0];
    return square(layer_norm(x, in[1], in[2])) + square(x) + x;
  };
  CHECK(gradcheck(residual, {random({4, 6}, 1), random({6}, 2), random({6}, 3)}).checked > 0);
  CHECK(gradcheck([](const std::vector<Tensor>& in) { return layer_norm(in[0], in[1], in[2]) * in[0]; },
                  {random({4, 6}, 1), random({6}, 2), random({6}, 3)})
            .checked > 0);
  // What somebody else holds stays as it was: the seed is the gradient of both terms of the sum.
  const Tensor x = copy_of(random({4, 6}, 1)).set_requires_grad(), w = random({6}, 2), b = random({6}, 3);
  const Tensor twice = x * 2.0, seed = random({4, 6}, 4), before = copy_of(seed);
  const auto g = grad({twice + layer_norm(twice, w, b)}, {x, twice}, {seed});
  CHECK(same_bits(seed, before));
  CHECK(difference(g[1] * 2.0, g[0]) < 1e-12);
}

TEST_CASE("layer_norm: large means lose no accuracy, threads do not matter") {
  Tensor x = random({50, 200}, 1), w = random({200}, 2), b = random({200}, 3);
  Tensor shifted = copy_of(x);
  shifted.add_(full({}, 1000, float64));
  CHECK(difference(layer_norm(shifted.to(float32), w.to(float32), b.to(float32)), layer_norm(x, w, b)) < 1e-3);
  CHECK(same_for_any_threads([] {
    return with_gradients(layer, {random({700, 96}, 1, float32), random({96}, 2, float32), random({96}, 3, float32)});
  }));
}

TEST_CASE("batch_norm: values, gradients and running statistics of PyTorch") {
  const Tensor x = wave({2, 2, 2, 3}, 0.7, 0.3, 2), w = wave({3}, 0.9, 1), b = wave({3}, 1.3, 0.2);
  Tensor mean = wave({3}, 0.5, 0.1), var = wave({3}, 0.4, 0.2);
  var.add_(full({}, 1.5, float64));
  const Op infer = [m = mean, v = var](const std::vector<Tensor>& in) {
    return batch_norm(in[0], in[1], in[2], m, v, false);
  };
  const auto e = with_gradients(infer, {x, w, b});
  CHECK(
      difference(e[0], table({0.5158071157, 1.733979348,   0.574074833,    1.006411989,  0.6804034228,  -0.1280094249,
                              -1.12803087,  -0.5380072936, -0.02381203971, 0.5364945824, 1.745788439,   0.5730649301,
                              0.9902790598, 0.6582683968,  -0.1337944813,  -1.132429044, -0.5274668219, -0.01696101042,
                              0.5570683134, 1.757280833,   0.5719325557,   0.973904098,  0.6361241446,  -0.139502161},
                             {2, 2, 2, 3})) < 1e-9);
  CHECK(
      difference(e[1], table({0.251420015,  0.6569255019, 0.1128532193,   -0.3420779045, -0.656049348,  -0.08184883211,
                              0.4241700058, 0.6387454166, 0.04879491253,  -0.4956406949, -0.605447006,  -0.01451914589,
                              0.554700313,  0.5569879237, -0.02012018685, -0.59986998,   -0.4945816076, 0.05425570085,
                              0.6300186266, 0.4197907403, -0.08703262713, -0.6443913169, -0.3344881198, 0.1176302164},
                             {2, 2, 2, 3})) < 1e-9);
  const Op train = [m = mean, v = var](const std::vector<Tensor>& in) {
    return batch_norm(in[0], in[1], in[2], m, v, true);
  };
  const auto r = with_gradients(train, {x, w, b});
  CHECK(difference(r[0], table({0.4240613686, 2.028169225,   0.7645104624,  0.9136303294, 0.9036868432,  0.03689468966,
                                -1.216305653, -0.3967238366, 0.1448812455,  0.4447051537, 2.040773077,   0.7634638341,
                                0.8975314651, 0.8800621131,  0.03089925781, -1.22069454,  -0.3854739831, 0.1519814146,
                                0.4652354433, 2.053038918,   0.7622902805,  0.881191079,  0.856427536,   0.0249840166},
                               {2, 2, 2, 3})) < 1e-9);
  CHECK(
      difference(r[1], table({0.2762689835, 0.6269214512, 0.1100769577,   -0.3209075055, -0.7199212442, -0.1085819997,
                              0.4651786762, 0.7250366452, 0.02931731338,  -0.4694222656, -0.7210205086, -0.02195161932,
                              0.5741393388, 0.5758992911, -0.04474763239, -0.556654837,  -0.4851093527, 0.0351413681,
                              0.6536534114, 0.3726220683, -0.09712929581, -0.6222558019, -0.3744283503, 0.09787490799},
                             {2, 2, 2, 3})) < 1e-9);
  CHECK(difference(r[2], table({0.1052567628, 0.5219650864, -0.2739698897}, {3})) < 1e-9);
  CHECK(difference(r[3], table({-0.3433407177, 0.2761772531, 0.5938865794}, {3})) < 1e-9);
  CHECK(difference(mean, table({0.1139698228, 0.5298402726, 0.8111029704}, {3})) < 1e-9);
  CHECK(difference(var, table({1.723758471, 2.065317704, 2.356470421}, {3})) < 1e-9);
}

TEST_CASE("batch_norm: gradient check, composite, shapes") {
  const Op reference = [](const std::vector<Tensor>& in) { return batch_norm_reference(in[0], in[1], in[2]); };
  for (const Shape& s : {Shape{5, 3}, Shape{2, 3, 2, 4}, Shape{2, 1}, Shape{40, 17}, Shape{1, 2, 3, 1}}) {
    const int64_t c = s.back();
    CAPTURE(s.str());
    CHECK(gradcheck(batch, {random(s, 1), random({c}, 2), random({c}, 3)}).checked > 0);
    CHECK(op_difference(batch, reference, {random(s, 1), random({c}, 2), random({c}, 3)}) < 1e-11);
    CHECK(gradcheck([m = random({c}, 4), v = wave({c}, 0, 1)](
                        const std::vector<Tensor>& in) { return batch_norm(in[0], in[1], in[2], m, v, false); },
                    {random(s, 1), random({c}, 2), random({c}, 3)})
              .checked > 0);
  }
  CHECK(op_difference([](const std::vector<Tensor>& in) { return batch_norm(in[0], {}, {}, {}, {}, false); },
                      [](const std::vector<Tensor>& in) { return batch_norm_reference(in[0], {}, {}); },
                      {random({6, 4}, 1)}) < 1e-11);
  // Several blocks and pieces: 3000 rows.
  CHECK(op_difference(batch, reference, {random({3000, 5}, 1), random({5}, 2), random({5}, 3)}) < 1e-11);
  CHECK(op_difference(batch, reference,
                      {random({3000, 5}, 1, float32), random({5}, 2, float32), random({5}, 3, float32)}) < 2e-4);
}

TEST_CASE("batch_norm with an activation: gradient check, composite, threads, computed again for large maps") {
  for (Activation f : {Activation::relu, Activation::gelu, Activation::gelu_tanh, Activation::silu}) {
    CAPTURE(static_cast<int>(f));
    const Op fused = [f](const std::vector<Tensor>& in) {
      return batch_norm(in[0], in[1], in[2], {}, {}, true, 0.1, 1e-5, f);
    };
    const Op reference = [f](const std::vector<Tensor>& in) {
      return activate(batch_norm_reference(in[0], in[1], in[2]), f);
    };
    const Op constant = [f, m = random({5}, 4), v = wave({5}, 0, 1)](const std::vector<Tensor>& in) {
      return batch_norm(in[0], in[1], in[2], m, v, false, 0.1, 1e-5, f);
    };
    for (const Shape& s : {Shape{7, 5}, Shape{2, 3, 4, 5}, Shape{900, 5}}) {
      CAPTURE(s.str());
      if (s.numel() < 1000) {
        CHECK(gradcheck(fused, {random(s, 1), random({5}, 2), random({5}, 3)}).checked > 0);
        CHECK(gradcheck(constant, {random(s, 1), random({5}, 2), random({5}, 3)}).checked > 0);
      }
      CHECK(op_difference(fused, reference, {random(s, 1), random({5}, 2), random({5}, 3)}) < 1e-11);
      CHECK(op_difference(fused, reference, {random(s, 1, float32), random({5}, 2, float32), random({5}, 3, float32)}) <
            2e-4);
    }
    CHECK(same_for_any_threads([&] {
      return with_gradients(fused, {random({900, 70}, 1, float32), random({70}, 2, float32), random({70}, 3, float32)});
    }));
  }
  // The square saves its operand, which is computed again: from the map, its statistics, and the activation.
  const Tensor x = random({8192, 256}, 1, float32), w = random({256}, 2, float32), b = random({256}, 3, float32);
  const auto squared = [](bool fused) -> Op {
    return [fused](const std::vector<Tensor>& in) {
      if (!fused) return square(gelu(batch_norm(in[0], in[1], in[2], {}, {}, true)));
      return square(batch_norm(in[0], in[1], in[2], {}, {}, true, 0.1, 1e-5, Activation::gelu));
    };
  };
  CHECK(op_difference(squared(true), squared(false), {x, w, b}) < 2e-4);
  const Tensor leaf = copy_of(x).set_requires_grad();
  const int64_t before = memory_stats().current;
  const Tensor y = square(batch_norm(leaf, w, b, {}, {}, true, 0.1, 1e-5, Activation::gelu));
  CHECK(memory_stats().current < before + x.numel() * 4 + (1 << 20));
}

TEST_CASE("layer_norm and gelu of large tensors are computed again in backward") {
  const Tensor w = random({512}, 2, float32), b = random({512}, 3, float32);
  const Tensor x = copy_of(random({4096, 512}, 1, float32)).set_requires_grad();
  const auto gradient = [&](auto&& f) {
    const int64_t before = memory_stats().current;
    const Tensor y = square(f(x));
    CHECK(memory_stats().current < before + x.numel() * 4 + (1 << 20));
    return grad({y}, {x})[0];
  };
  const Tensor part = copy_of(slice(x.detach(), 0, 0, 8)).set_requires_grad();  // small: all is kept
  CHECK(same_bits(slice(gradient([&](const Tensor& t) { return layer_norm(t, w, b); }), 0, 0, 8).contiguous(),
                  grad({square(layer_norm(part, w, b))}, {part})[0]));
  CHECK(same_bits(slice(gradient([&](const Tensor& t) { return gelu(t); }), 0, 0, 8).contiguous(),
                  grad({square(gelu(part))}, {part})[0]));
}

TEST_CASE("batch_norm: empty input leaves the running statistics alone") {
  Tensor mean = wave({3}, 1), var = wave({3}, 0, 1);
  const Tensor before = copy_of(mean);
  const auto r =
      with_gradients([&](const std::vector<Tensor>& in) { return batch_norm(in[0], in[1], in[2], mean, var, true); },
                     {random({0, 4, 3}, 1), random({3}, 2), random({3}, 3)});
  CHECK(r[0].shape() == Shape{0, 4, 3});
  CHECK(same_bits(r[2], wave({3}, 0, 0, 0)));
  CHECK(same_bits(mean, before));
}

TEST_CASE("batch_norm: variance is accurate for large means") {
  // 20,000 values of 1000 + z: squares of float32 sums would lose the variance altogether.
  const Tensor z = random({20000, 2}, 1);
  Tensor x = empty(z.shape(), float32), same = empty(z.shape(), float64);
  same.copy_(z).add_(full({}, 1000, float64));
  x.copy_(same);
  same.copy_(x);
  Tensor mean = wave({2}, 0, 0, 0, float32), var = copy_of(mean), mean64 = wave({2}, 0, 0, 0), var64 = copy_of(mean64);
  batch_norm(x, {}, {}, mean, var, true, 1.0);
  batch_norm(same, {}, {}, mean64, var64, true, 1.0);
  CHECK(difference(mean, mean64) < 1e-7);
  CHECK(difference(var, var64) < 1e-5);
}

TEST_CASE("batch_norm: recomputation updates the running statistics once; later updates do not disturb a graph") {
  Tensor mean = wave({3}, 0, 0, 0), var = wave({3}, 0, 1), once = copy_of(mean), once_var = copy_of(var);
  const Tensor x = random({4, 3}, 1);
  batch_norm(x, {}, {}, once, once_var, true);
  Tensor leaf = copy_of(x).set_requires_grad();
  const Tensor y = checkpoint([&](const Tensor& t) { return batch_norm(t, {}, {}, mean, var, true); }, leaf);
  backward(y, random({4, 3}, 2));
  CHECK(same_bits(mean, once));
  CHECK(same_bits(var, once_var));
  const Tensor inferred = batch_norm(leaf, {}, {}, mean, var, false);
  batch_norm(x, {}, {}, mean, var, true);
  CHECK_NOTHROW(backward(inferred, random({4, 3}, 2)));
}

TEST_CASE("batch_norm: threads do not matter") {
  CHECK(same_for_any_threads([] {
    Tensor mean = wave({24}, 1, 0, 1, float32), var = wave({24}, 0, 1, 1, float32);
    auto r =
        with_gradients([&](const std::vector<Tensor>& in) { return batch_norm(in[0], in[1], in[2], mean, var, true); },
                       {random({3, 40, 41, 24}, 1, float32), random({24}, 2, float32), random({24}, 3, float32)});
    r.push_back(mean);
    r.push_back(var);
    return r;
  }));
}

TEST_CASE("norm: errors") {
  CHECK(error_of([] {
          layer_norm(random({2, 3}, 1), random({4}, 1), {});
        }) == "[layer_norm] weight float64[4] does not fit x float64[2,3]: needs float64[3], the last axis of x");
  CHECK(error_of([] {
          layer_norm(random({2, 3}, 1), {}, random({3}, 1, float32));
        }) == "[layer_norm] bias float32[3] does not fit x float64[2,3]: needs float64[3], the last axis of x");
  CHECK(error_of([] { layer_norm(random({}, 1), {}, {}); }) ==
        "[layer_norm] x needs at least one axis (channels last), got float64[]");
  CHECK(error_of([] {
          layer_norm(empty({2, 3}, int64), {}, {});
        }) == "[layer_norm] needs float32 or float64, got int64[2,3] (convert with .to(atlas::float32))");
  CHECK(error_of([] {
          batch_norm(random({1, 3}, 1), {}, {}, {}, {}, true);
        }) ==
        "[batch_norm] expected more than 1 value per channel when training, got float64[1,3] (use a larger batch or "
        "image, or "
        "eval())");
  CHECK(error_of([] {
          batch_norm(random({2, 3}, 1), {}, {}, random({3}, 1), {}, true);
        }) == "[batch_norm] give both running statistics or none: mean float64[3], var undefined");
  CHECK(error_of([] {
          batch_norm(random({2, 3}, 1), {}, {}, random({2}, 1), random({3}, 1), true);
        }) == "[batch_norm] running_mean float64[2] does not fit x float64[2,3]: needs float64[3], the last axis of x");
}
