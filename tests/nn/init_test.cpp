#include "atlas/nn/init.h"

#include <doctest/doctest.h>

#include <cmath>

#include "atlas/core/rng.h"
#include "atlas/nn/conv.h"
#include "atlas/nn/linear.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/memory.h"

using namespace atlas;

namespace {

struct Moments {
  double mean = 0, std = 0, least = 0, most = 0;
};
Moments moments(const Tensor& t) {
  Moments m;
  const std::vector<float> x = to_vector<float>(t);
  const auto n = static_cast<double>(t.numel());
  for (size_t i = 0; i < x.size(); ++i) {
    m.mean += x[i] / n;
    m.std += static_cast<double>(x[i]) * x[i] / n;
    m.least = std::min<double>(m.least, x[i]);
    m.most = std::max<double>(m.most, x[i]);
  }
  m.std = std::sqrt(m.std - m.mean * m.mean);
  return m;
}

}  // namespace

TEST_CASE("fans follow the published shape") {
  CHECK(compute_fans(empty({5, 3})).in == 3);
  CHECK(compute_fans(empty({5, 3})).out == 5);
  const Fans conv = compute_fans(empty({8, 3, 3, 4}), Layout::conv2d);  // [O, KH, KW, I]
  CHECK(conv.in == 4 * 9);
  CHECK(conv.out == 8 * 9);
  const Fans depthwise = compute_fans(empty({3, 16}), Layout::conv1d_depthwise);  // [K, C]
  CHECK(depthwise.in == 3);
  CHECK(depthwise.out == 48);
  CHECK_THROWS_AS(compute_fans(empty({5})), Error);
}

TEST_CASE("initializers have the spread they promise") {
  manual_seed(3);
  Tensor t = empty({200, 100});
  kaiming_uniform_(t, std::sqrt(5.0));
  Moments m = moments(t);
  CHECK(m.most <= 0.1);
  CHECK(m.most > 0.0999);
  CHECK(m.least >= -0.1);
  CHECK(std::abs(m.mean) < 0.002);
  kaiming_normal_(t);
  CHECK(moments(t).std == doctest::Approx(std::sqrt(2.0 / 100)).epsilon(0.02));
  kaiming_normal_(t, 0, Layout::plain, true);
  CHECK(moments(t).std == doctest::Approx(std::sqrt(2.0 / 200)).epsilon(0.02));
  xavier_uniform_(t);
  CHECK(moments(t).most == doctest::Approx(std::sqrt(6.0 / 300)).epsilon(0.01));
  xavier_normal_(t, 2);
  CHECK(moments(t).std == doctest::Approx(2 * std::sqrt(2.0 / 300)).epsilon(0.02));
  trunc_normal_(t, 0.02);
  m = moments(t);
  CHECK(m.std == doctest::Approx(0.02).epsilon(0.02));
  trunc_normal_(t, 1, -0.5, 0.25);
  m = moments(t);
  CHECK(m.least >= -0.5);
  CHECK(m.most <= 0.25);
  normal_(t, 3, 0.1);
  CHECK(moments(t).mean == doctest::Approx(3).epsilon(0.01));
  CHECK(moments(t).std == doctest::Approx(0.1).epsilon(0.02));
  constant_(t, 4);
  CHECK(moments(t).mean == doctest::Approx(4));
}

TEST_CASE("a seed gives the same layer, whatever was built with another") {
  manual_seed(11);
  const Linear a(20, 10);
  manual_seed(11);
  const Linear b(20, 10);
  const Linear c(20, 10);
  CHECK(to_vector<float>(a.weight) == to_vector<float>(b.weight));
  CHECK(to_vector<float>(a.weight)[0] != to_vector<float>(c.weight)[0]);
}

TEST_CASE("layers start as promised") {
  manual_seed(5);
  const Conv2d conv(16, 32, 3);  // fan in 144
  CHECK(moments(conv.weight).most == doctest::Approx(1.0 / 12).epsilon(0.01));
  CHECK(moments(conv.bias).most <= 1.0 / 12);
  const DepthwiseConv1d depthwise(64, 4);
  CHECK(moments(depthwise.weight).most == doctest::Approx(0.5).epsilon(0.05));
}

TEST_CASE("SkipInit leaves memory alone and ends with its scope") {
  Tensor t = empty({4});
  constant_(t, 9);
  {
    const SkipInit skip;
    uniform_(t, 0, 1);
    trunc_normal_(t);
    normal_(t);
    CHECK(t[3].item<float>() == 9);
  }
  uniform_(t, 0, 1);
  CHECK(t[3].item<float>() < 1);
}
