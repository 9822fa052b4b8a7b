// The moving average: its values, swapping in and out, its state.
#include "atlas/optim/ema.h"

#include <doctest/doctest.h>

#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"

using namespace atlas;
using doctest::Approx;

namespace {

struct Model {
  Model() {
    weight.fill_(1);
    mean.fill_(4);
    count.fill_(0);
  }
  NamedTensors named_parameters() { return {{"weight", weight}}; }
  NamedTensors named_buffers() { return {{"mean", mean}, {"count", count}}; }
  Tensor weight = empty({2, 3}), mean = empty({3}, float64), count = empty({}, int64);
};

float first(const Tensor& t) { return t[0][0].item<float>(); }

}  // namespace

TEST_CASE("weights and buffers are averaged, counters copied") {
  Model m;
  Ema ema(m, {.decay = 0.75});
  m.weight.fill_(2);
  m.mean.fill_(0);
  m.count.fill_(7);
  ema.update();
  auto s = ema.state_dict();
  CHECK(first(s.at("weight")) == Approx(0.75 * 1 + 0.25 * 2));
  CHECK(s.at("mean")[1].item<double>() == Approx(3));
  CHECK(s.at("count").item<int64_t>() == 7);
  ema.update();
  CHECK(first(ema.state_dict().at("weight")) == Approx(0.75 * 1.25 + 0.25 * 2));
  CHECK(ema.updates() == 2);
}

TEST_CASE("the ramp starts with a short memory") {
  Model m;
  Ema ema(m, {.decay = 0.9, .ramp = true});
  m.weight.fill_(2);
  ema.update();  // decay (1 + 1) / (10 + 1)
  CHECK(first(ema.state_dict().at("weight")) == Approx(2.0 / 11 + 2 * 9.0 / 11));
}

TEST_CASE("swap lends the averages to the model and takes them back") {
  Model m;
  Ema ema(m, {.decay = 0.5});
  m.weight.fill_(3);
  ema.update();
  const uint64_t version = m.weight.impl().storage->version();
  {
    const auto guard = ema.swap();
    CHECK(first(m.weight) == 2);
    CHECK(m.weight.impl().storage->version() > version);
  }
  CHECK(first(m.weight) == 3);
  CHECK(first(ema.state_dict().at("weight")) == 2);
  ema.apply();
  CHECK(first(m.weight) == 2);
}

TEST_CASE("the state saves and loads, and says when it does not fit") {
  Model a, b;
  Ema ema(a, {.decay = 0.5}), other(b, {.decay = 0.5});
  a.weight.fill_(3);
  ema.update();
  other.load_state_dict(ema.state_dict());
  CHECK(other.updates() == 1);
  CHECK(first(other.state_dict().at("weight")) == 2);
  auto state = ema.state_dict();
  state.erase("mean");
  state["head"] = empty({2});
  CHECK_THROWS_WITH_AS(
      other.load_state_dict(state),
      "[Ema] the saved state does not fit (was it saved for another model?): 1 missing: mean; 1 unexpected: head",
      Error);
  CHECK_THROWS_WITH_AS(Ema(a, {.decay = 1}), "[Ema] decay must be in [0, 1), got 1", Error);
}
