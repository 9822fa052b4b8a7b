// Element-wise functions: values in both precisions and odd layouts, gradients, special values, error texts.
#include "atlas/ops/unary.h"

#include <doctest/doctest.h>

#include <cmath>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "random_input.h"

using namespace atlas;
using test::difference;
using test::error_of;
using test::scattered;

namespace {

struct Function {
  const char* name;
  Tensor (*op)(const Tensor&);
  double (*reference)(double);
  double lo = -4, hi = 4;  // where inputs are drawn from
};

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

const Function kFunctions[] = {
    {"exp", exp, [](double x) { return std::exp(x); }},
    {"log", log, [](double x) { return std::log(x); }, 0.1, 5},
    {"sqrt", sqrt, [](double x) { return std::sqrt(x); }, 0.1, 5},
    {"rsqrt", rsqrt, [](double x) { return 1 / std::sqrt(x); }, 0.1, 5},
    {"abs", abs, [](double x) { return std::abs(x); }},
    {"neg", neg, [](double x) { return -x; }},
    {"square", square, [](double x) { return x * x; }},
    {"erf", erf, [](double x) { return std::erf(x); }},
    {"tanh", tanh, [](double x) { return std::tanh(x); }},
    {"sigmoid", sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"relu", relu, [](double x) { return std::max(x, 0.0); }},
    {"gelu", gelu, [](double x) { return x * normal_cdf(x); }},
    {"gelu_tanh", gelu_tanh,
     [](double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979) * (x + 0.044715 * x * x * x))); }},
    {"silu", silu, [](double x) { return x / (1 + std::exp(-x)); }},
    {"softplus", softplus, [](double x) { return std::log1p(std::exp(x)); }},
    {"clamp", [](const Tensor& x) { return clamp(x, -1.5, 2); },
     [](double x) { return std::min(std::max(x, -1.5), 2.0); }},
    {"sin", sin, [](double x) { return std::sin(x); }},
    {"cos", cos, [](double x) { return std::cos(x); }},
    {"floor", floor, [](double x) { return std::floor(x); }},
    {"ceil", ceil, [](double x) { return std::ceil(x); }},
    {"round", round, [](double x) { return std::nearbyint(x); }},
    {"sign", sign, [](double x) { return x > 0 ? 1.0 : -1.0; }},
    {"clamp, lo above hi", [](const Tensor& x) { return clamp(x, 2, -1.5); }, [](double) { return -1.5; }},
    {"pow 3", [](const Tensor& x) { return pow(x, 3); }, [](double x) { return x * x * x; }},
    {"pow 2", [](const Tensor& x) { return pow(x, 2); }, [](double x) { return x * x; }},
    {"pow 1.7", [](const Tensor& x) { return pow(x, 1.7); }, [](double x) { return std::pow(x, 1.7); }, 0.1, 5},
    {"pow 0.5", [](const Tensor& x) { return pow(x, 0.5); }, [](double x) { return std::sqrt(x); }, 0.1, 5},
    {"pow -0.5", [](const Tensor& x) { return pow(x, -0.5); }, [](double x) { return 1 / std::sqrt(x); }, 0.1, 5},
    {"pow -1", [](const Tensor& x) { return pow(x, -1); }, [](double x) { return 1 / x; }, 0.1, 5},
    {"pow 0", [](const Tensor& x) { return pow(x, 0); }, [](double) { return 1.0; }},
};

Tensor inputs(const Function& f, const Shape& shape, DType dtype) {
  Generator g{7, 0};
  return uniform(shape, f.lo, f.hi, dtype, g);
}

Tensor reference(const Function& f, const Tensor& x) {
  Tensor y = empty(x.shape(), float64, Device{});
  copy_elements(y, x);
  for (int64_t i = 0; i < y.numel(); ++i) y.data<double>()[i] = f.reference(y.data<double>()[i]);
  return test::on_device(y);
}

}  // namespace

TEST_CASE("values, float32 and float64, contiguous and not") {
  for (const Function& f : kFunctions) {
    CAPTURE(f.name);
    for (const Shape& shape : {Shape{7, 5, 3}, Shape{1000}, Shape{}, Shape{1, 1}, Shape{0, 3}, Shape{2, 0}}) {
      const Tensor x = inputs(f, shape, float64), x32 = inputs(f, shape, float32);
      CHECK(difference(f.op(x), reference(f, x)) < 1e-13);
      CHECK(difference(f.op(scattered(x)), reference(f, x)) < 1e-13);
      const Tensor y = f.op(x32);
      CHECK(y.dtype() == float32);
      CHECK(y.is_contiguous());
      CHECK(difference(y, reference(f, x32)) < 1e-6);
      CHECK(test::same_bits(f.op(scattered(x32)), y));
    }
  }
}

TEST_CASE("gradients") {
  for (const Function& f : kFunctions) {
    CAPTURE(f.name);
    for (const Shape& shape : {Shape{3, 4}, Shape{5}, Shape{}, Shape{1, 2}, Shape{0, 3}}) {
      const auto fn = [&](const std::vector<Tensor>& in) { return f.op(in[0]); };
      const Tensor x = inputs(f, shape, float64);
      CHECK(gradcheck(fn, {x}).checked == x.numel());
      CHECK(gradcheck(fn, {scattered(x)}).checked == x.numel());
    }
  }
}

TEST_CASE("float32 gradients agree with float64") {
  for (const Function& f : kFunctions) {
    CAPTURE(f.name);
    Tensor a = inputs(f, {100}, float32), b = empty({100}, float64);
    copy_elements(b, a);
    a.set_requires_grad();
    b.set_requires_grad();
    backward(f.op(a), ones({100}));
    backward(f.op(b), ones({100}, float64));
    CHECK(difference(a.grad(), b.grad()) < 2e-6);
  }
}

TEST_CASE("derivatives at the kinks") {
  Tensor x = from_vector<float>({-1, 0, 1});
  x.set_requires_grad();
  const auto derivative = [&](const Tensor& y) { return grad({y}, {x}, {ones({3})})[0]; };
  CHECK(difference(derivative(abs(x)), from_vector<float>({-1, 0, 1})) == 0);
  CHECK(difference(derivative(relu(x)), from_vector<float>({0, 0, 1})) == 0);
  CHECK(difference(derivative(clamp(x, -1, 0)), from_vector<float>({1, 1, 0})) == 0);
  for (auto op : {floor, ceil, round, sign}) CHECK(difference(derivative(op(x)), zeros({3})) == 0);
}

TEST_CASE("integers") {
  const Tensor x = from_vector<int64_t>({-3, 0, 4});
  CHECK(test::same_bits(abs(x), from_vector<int64_t>({3, 0, 4})));
  CHECK(test::same_bits(neg(x), from_vector<int64_t>({3, 0, -4})));
  CHECK(test::same_bits(square(x), from_vector<int64_t>({9, 0, 16})));
  CHECK(test::same_bits(relu(x), from_vector<int64_t>({0, 0, 4})));
  CHECK(test::same_bits(neg(from_vector<uint8_t>({1, 0})), from_vector<uint8_t>({255, 0})));
  using Plain = Tensor (*)(const Tensor&);
  for (Plain op : {Plain(floor), Plain(ceil), Plain(round)}) CHECK(test::same_bits(op(x), x));
  CHECK(test::same_bits(sign(x), from_vector<int64_t>({-1, 0, 1})));
  CHECK(test::same_bits(pow(x, 3), from_vector<int64_t>({-27, 0, 64})));
  CHECK(test::same_bits(pow(x, 0), from_vector<int64_t>({1, 1, 1})));
  CHECK(test::same_bits(pow(x, 2), square(x)));
  const Tensor small = from_vector<int64_t>({-1, 0, 1, 2});
  CHECK(test::same_bits(pow(small, 301), from_vector<int64_t>({-1, 0, 1, 0})));  // 2^301 wraps
  CHECK(test::same_bits(pow(from_vector<uint8_t>({3, 2}), 5), from_vector<uint8_t>({243, 32})));
  CHECK(test::same_bits(clamp(x, -1, 2), from_vector<int64_t>({-1, 0, 2})));
  CHECK(test::same_bits(clamp(x, 2, -1), from_vector<int64_t>({-1, -1, -1})));
  CHECK(test::same_bits(clamp(x, -INFINITY, 1), from_vector<int64_t>({-3, 0, 1})));
  const int64_t big = (int64_t{1} << 62) + 1;
  CHECK(clamp(full({}, 0, int64) + 1, -0x1p53, 0x1p53).item<int64_t>() == 1);
  CHECK(test::same_bits(clamp(from_vector<int64_t>({big}), 0, INFINITY), from_vector<int64_t>({big})));
  CHECK(test::same_bits(clamp(from_vector<uint8_t>({3, 200}), -5, 100), from_vector<uint8_t>({3, 100})));
}

TEST_CASE("NaN and infinity pass through") {
  const Tensor x = from_vector<float>({NAN, INFINITY, -INFINITY});
  for (auto op : {exp, sqrt, abs, neg, square, erf, tanh, sigmoid, relu, gelu, silu, softplus})
    CHECK(std::isnan(op(x)[0].item<float>()));
  CHECK(std::isnan(clamp(x, 0, 1)[0].item<float>()));
  CHECK(clamp(x, -INFINITY, 1)[2].item<float>() == -INFINITY);
  CHECK(relu(x)[1].item<float>() == INFINITY);
  CHECK(relu(x)[2].item<float>() == 0);
  CHECK(exp(x)[2].item<float>() == 0);
}

TEST_CASE("halves round to the even number, and the sign of NaN is 0") {
  const Tensor x = from_vector<float>({0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 1e9f, NAN, -INFINITY});
  CHECK(difference(round(x).slice(0, 0, 6), from_vector<float>({0, 2, 2, 0, -2, 1e9f})) == 0);
  CHECK(std::isnan(round(x)[6].item()));
  CHECK(floor(x)[7].item() == -INFINITY);
  CHECK(difference(sign(x), from_vector<float>({1, 1, 1, -1, -1, 1, 0, -1})) == 0);
}

TEST_CASE("long rows in parallel give the same bits") {
  const Tensor x = test::random({300, 257}, 1, float32);
  CHECK(test::same_for_any_threads([&] { return std::vector<Tensor>{gelu(x), silu(scattered(x))}; }));
}

TEST_CASE("errors") {
  CHECK(error_of([] { exp(zeros({2}, int64)); }) ==
        "[exp] needs float32 or float64, got int64[2] (convert with .to(atlas::float32))");
  CHECK(error_of([] { abs(zeros({2}, float16)); }) ==
        "[abs] needs float32, float64, int64 or uint8, got float16[2] (convert with .to(atlas::float32))");
  CHECK(error_of([] { clamp(zeros({2}), NAN, 1); }) == "[clamp] NaN is no bound");
  CHECK(error_of([] { clamp(zeros({2}, int64), 0.5, 1); }) ==
        "[clamp] int64[2] takes whole numbers, got the bounds 0.5 and 1 (convert the tensor with .to(atlas::float32))");
  CHECK(error_of([] { clamp(zeros({2}, uint8), 300, 400); }) == "[clamp] no uint8 is within the bounds 300 and 400");
  CHECK(error_of([] { clamp(zeros({2}, boolean), 0, 1); }) ==
        "[clamp] needs float32, float64, int64 or uint8, got bool[2] (convert with .to(atlas::int64) or "
        ".to(atlas::float32))");
  CHECK(error_of([] { silu(Tensor()); }) == "[silu] the operand is undefined");
  CHECK(error_of([] { pow(zeros({3}, int64), -2); }) ==
        "[pow] int64[3] takes whole exponents from 0 to 2^53, got -2 (floats take any: .to(atlas::float32))");
  CHECK(error_of([] { pow(zeros({3}, uint8), 300); }).find("[pow] uint8[3] takes whole exponents from 0 to 255, got") ==
        0);
  for (double p : {0.5, -0.5, -1.0, 1.5, double{NAN}, double{INFINITY}})
    CHECK(error_of([&] { pow(zeros({3}, int64), p); }).find("[pow] int64[3] takes whole exponents") == 0);
  for (double p : {0.0, 0.5, -0.5, -1.0, 2.0, 3.0}) {
    CHECK(error_of([&] { pow(zeros({3}, boolean), p); }).find("[pow] needs float32, float64, int64 or uint8") == 0);
    CHECK(error_of([&] { pow(Tensor(), p); }) == "[pow] the operand is undefined");
  }
  for (double p : {2.0, 3.0}) {
    Tensor base = ones({2});
    base.set_requires_grad();
    const Tensor power = pow(base, p);
    base.detach().fill_(3);
    CHECK(error_of([&] { backward(power, ones({2})); }).find("[pow] a tensor needed for its gradient") == 0);
  }
  Tensor x = ones({2});
  x.set_requires_grad();
  const Tensor y = silu(x);
  x.detach().fill_(3);
  CHECK(error_of([&] { backward(y, ones({2})); }).find("[silu] a tensor needed for its gradient") == 0);
}

TEST_CASE("activations work in the memory of a tensor that is given up, when nothing is recorded") {
  using Activation = Tensor (*)(Tensor &&);
  using Plain = Tensor (*)(const Tensor&);
  const std::pair<Activation, Plain> both[] = {{relu, relu}, {gelu, gelu}, {gelu_tanh, gelu_tanh}, {silu, silu}};
  for (const auto& [owned_, plain] : both)
    for (const DType dtype : {float32, float64}) {
      const auto& owned = owned_;  // clang below 16 captures no structured binding
      const Tensor x = test::random({3, 37}, 1, dtype), want = plain(x);
      const auto in_place = [&](Tensor t) {
        const void* memory = t.raw();
        const uint64_t version = t.impl().storage->version();
        const Tensor y = owned(std::move(t));
        CHECK(y.requires_grad() == false);
        CHECK(difference(y, want) < 1e-6);  // other loops may round differently
        return y.raw() == memory && y.impl().storage->version() > version;
      };
      CHECK_FALSE(in_place(x.clone()));
      const NoGrad off;
      CHECK(in_place(x.clone()));
      CHECK_FALSE(in_place(x));
      CHECK_FALSE(in_place(x.reshape({37 * 3}).reshape({3, 37})));
      CHECK_FALSE(in_place(x.clone().transpose(0, 1).contiguous().transpose(0, 1)));
    }
}
