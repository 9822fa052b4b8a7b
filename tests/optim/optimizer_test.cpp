// Five steps of every optimizer against PyTorch 2 in float64 (LAMB: against the class in the golden data's script),
// state that continues bit for bit, groups, and bad input.
#include "atlas/optim/optimizer.h"

#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <memory>

#include "atlas/core/parallel.h"
#include "atlas/kernels/optim.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/shape.h"
#include "atlas/optim/adam.h"
#include "atlas/optim/clip.h"
#include "atlas/optim/lamb.h"
#include "atlas/optim/sgd.h"
#include "atlas/tensor/memory.h"
#include "tests/compare.h"

using namespace atlas;
using test::same_bits;

namespace {

template <class F>
Tensor made(const Shape& shape, DType dtype, F value) {
  Tensor t = empty(shape, float64, Device{});
  for (int64_t i = 0; i < t.numel(); ++i) t.data<double>()[i] = value(static_cast<int>(i));
  Tensor out = empty(shape, dtype);
  out.copy_(t);
  return out;
}

// A weight that decays and a bias that does not, with gradients that change from step to step.
struct Problem {
  explicit Problem(DType dtype = float64)
      : w(made({3, 4}, dtype, [](int i) { return ((i * 5) % 7 - 3) / 4.0; })),
        b(made({4}, dtype, [](int i) { return ((i * 3) % 5 - 1) / 8.0; })) {}
  NamedTensors named() const { return {{"layer.weight", w}, {"layer.bias", b}}; }
  std::vector<ParameterGroup> groups() const { return decay_groups(named(), 0.05); }
  void set_gradients(int t) {
    w.set_grad(made({3, 4}, w.dtype(), [t](int i) { return ((i * 5 + t * 3) % 11 - 5) / 8.0; }));
    b.set_grad(made({4}, b.dtype(), [t](int i) { return ((i * 7 + t * 2) % 9 - 4) / 16.0; }));
  }
  void run(Optimizer& o, double lr, int from, int to) {
    for (int t = from; t < to; ++t) {
      o.set_lr(lr * (t + 1) / 5);
      set_gradients(t);
      o.step();
    }
  }
  Tensor w, b;
};

using Make = std::function<std::unique_ptr<Optimizer>(std::vector<ParameterGroup>)>;

struct Case {
  const char* name;
  double lr;
  Make make;
  std::vector<double> expected;  // w, then b, after five steps
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"SGD",
       0.1,
       [](auto g) { return std::make_unique<SGD>(g); },
       {-0.71383987647891, 0.52228493353694, 0.0351448185235, -0.5072709299216399, 0.6737464617942099,
        0.26883071334906994, -0.27405025166436997, -0.67896600010951, 0.44770880990634004, -0.012314356838800007,
        -0.50008790355224, 0.7637872864319101, -0.15, 0.25125, 0.01625, 0.395}},
      {"SGD with momentum",
       0.1,
       [](auto g) { return std::make_unique<SGD>(g, SgdOptions{.momentum = 0.9}); },
       {-0.57746203357266, 0.5527344934744399, -0.056221530538999996, -0.5745370570466399, 0.63827664420046,
        0.25746111769282, -0.19772700632061996, -0.5785425328282601, 0.31845399421883996, 0.020255641911200016,
        -0.5175496563022399, 0.8522538166506599, -0.085155, 0.27920062500000004, 0.016773125000000007, 0.389864375}},
      {"SGD with Nesterov momentum",
       0.1,
       [](auto g) { return std::make_unique<SGD>(g, SgdOptions{.momentum = 0.9, .nesterov = true}); },
       {-0.559763698884971, 0.5695113275579508, -0.01482725640802025, -0.5736126482429749, 0.5733293081165168,
        0.27579391628156247, -0.22785756283440853, -0.525392954669363, 0.2854925717735587, 0.005624109855174187,
        -0.5156942991773669, 0.8550306743797116, -0.11413949999999999, 0.27753056249999997, 0.03134581250000001,
        0.4083779375}},
      {"Adam",
       0.05,
       [](auto g) { return std::make_unique<Adam>(g, AdamOptions{.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6}); },
       {-0.6883393464775903, 0.50571744901979, -0.022395511049196695, -0.5268105188499926, 0.7105076427875527,
        0.25854248772136534, -0.23500520001031752, -0.6792160255666655, 0.4269654268311234, 0.01626915664393011,
        -0.5194777733619653, 0.792094306122276, -0.08428926421856331, 0.27206893757788153, 0.0024089809841913307,
        0.38901859592987265}},
      {"AdamW",
       0.05,
       [](auto g) { return std::make_unique<AdamW>(g); },
       {-0.68343010136256, 0.515953544816173, -0.02908390647356113, -0.5327640066006006, 0.7173085096520494,
        0.26229883469803755, -0.23562618658964235, -0.6837887537691625, 0.4254016920722365, 0.025702721689383656,
        -0.5289667626395623, 0.8053517314756221, -0.07010649282019032, 0.27018556421163964, -0.005195749794074823,
        0.38672628288004496}},
      {"LAMB",
       0.05,
       [](auto g) { return std::make_unique<LAMB>(g); },
       {-0.668759188228663, 0.5473062354108166, -0.03424710701170849, -0.5635285068699905, 0.7046880628648053,
        0.2567129127540211, -0.2148927935464782, -0.6540095442199066, 0.39982794030663943, 0.0062638973687996514,
        -0.5193849164273096, 0.8131451102188666, -0.06979906750876196, 0.2742492556899418, -0.0043932754292548525,
        0.38324816320691696}},
  };
  return all;
}

double largest_difference(const Problem& p, const std::vector<double>& expected) {
  double worst = 0;
  for (size_t i = 0; i < 16; ++i) {
    const Tensor& t = i < 12 ? p.w : p.b;
    const double x = to_vector<double>(t.to(float64))[i < 12 ? i : i - 12];
    worst = std::max(worst, std::abs(x - expected[i]));
  }
  return worst;
}

}  // namespace

// The numbers: tools/reference/check_test_tables.py.
TEST_CASE("every optimizer agrees with PyTorch") {
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    Problem exact(float64), single(float32);
    const auto a = c.make(exact.groups()), b = c.make(single.groups());
    exact.run(*a, c.lr, 0, 5);
    single.run(*b, c.lr, 0, 5);
    CHECK(largest_difference(exact, c.expected) < 1e-14);
    CHECK(largest_difference(single, c.expected) < 3e-7);
    CHECK(exact.w.impl().storage->version() > 5);  // packed copies of the weight notice
  }
}

TEST_CASE("a saved state continues bit for bit") {
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    Problem whole(float32), first(float32), second(float32);
    const auto a = c.make(whole.groups()), b = c.make(first.groups()), d = c.make(second.groups());
    whole.run(*a, c.lr, 0, 5);
    first.run(*b, c.lr, 0, 3);
    second.w.copy_(first.w);
    second.b.copy_(first.b);
    d->load_state_dict(b->state_dict());
    CHECK(d->lr() == b->lr());
    second.run(*d, c.lr, 3, 5);
    CHECK(same_bits(whole.w, second.w));
    CHECK(same_bits(whole.b, second.b));
    const auto ours = a->state_dict(), theirs = d->state_dict();
    REQUIRE(ours.size() == theirs.size());
    for (const auto& entry : ours)  // no structured binding: clang below 16 cannot capture one
      CHECK_MESSAGE(same_bits(entry.second, theirs.at(entry.first)), entry.first);
  }
}

TEST_CASE("a large parameter does not depend on the number of threads") {
  const int before = num_threads();
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    std::vector<Tensor> results;
    for (int threads : {1, 2}) {
      set_num_threads(threads);
      Tensor w = made({100, 501}, float32, [](int i) { return ((i * 37) % 101 - 50) / 40.0; });
      const auto o = c.make(single_group(NamedTensors{{"w", w}}, 0.05));
      for (int t = 0; t < 3; ++t) {
        w.set_grad(made({100, 501}, float32, [t](int i) { return ((i * 53 + t) % 97 - 48) / 70.0; }));
        clip_grad_norm(*o, 5.0);
        o->step();
      }
      results.push_back(w);
    }
    CHECK(same_bits(results[0], results[1]));
  }
  set_num_threads(before);
}

TEST_CASE("a LAMB step of a long tensor is lr times its norm") {
  // With decay, the step's length is lr ‖p‖ by the definition of the trust ratio; 40,000 elements make several pieces.
  Tensor w = made({200, 200}, float64, [](int i) { return ((i * 37) % 101 - 50) / 40.0; }), before = copy_of(w);
  LAMB o(single_group(NamedTensors{{"w", w}}, 0.05), {.lr = 0.01, .max_grad_norm = 0});
  w.set_grad(made({200, 200}, float64, [](int i) { return ((i * 53) % 97 - 48) / 7.0; }));
  o.step();
  Tensor moved = copy_of(w);
  moved.add_(before, -1);
  CHECK(std::sqrt(kernels::sum_of_squares(moved)) ==
        doctest::Approx(0.01 * std::sqrt(kernels::sum_of_squares(before))).epsilon(1e-12));
}

TEST_CASE("a parameter without gradient stays, a group scales its learning rate") {
  Problem p;
  auto groups = p.groups();
  groups[0].weight_decay = 0;
  groups[0].lr_scale = 0.5;
  SGD o(groups, {.lr = 0.1});
  const Tensor b = copy_of(p.b), w = copy_of(p.w);
  p.set_gradients(0);
  p.b.zero_grad();
  o.step();
  CHECK(same_bits(p.b, b));
  CHECK(p.w[0][0].item<double>() == doctest::Approx(w[0][0].item<double>() - 0.05 * p.w.grad()[0][0].item<double>()));
  CHECK(o.state_dict().at("layer.bias.step").item<int64_t>() == 0);
  CHECK(o.state_dict().at("layer.weight.step").item<int64_t>() == 1);
  o.zero_grad();
  CHECK(!p.w.grad().defined());
}

TEST_CASE("decay goes to tensors of two or more axes") {
  const NamedTensors named{
      {"w", empty({2, 3})}, {"b", empty({2})}, {"scale", empty({})}, {"conv", empty({4, 3, 3, 3})}};
  const auto groups = decay_groups(named, 0.1);
  REQUIRE(groups.size() == 2);
  REQUIRE(groups[0].parameters.size() == 2);
  CHECK(groups[0].parameters[0].name == "w");
  CHECK(groups[0].parameters[1].name == "conv");
  CHECK(groups[0].weight_decay == 0.1);
  CHECK(groups[1].weight_decay == 0);
  CHECK(groups[1].parameters[1].name == "scale");
}

TEST_CASE("clipping by the global norm") {
  Problem p;
  p.set_gradients(0);
  CHECK(clip_grad_norm({p.w, p.b}, 0.5) == doctest::Approx(1.4882351124738322).epsilon(1e-15));
  CHECK(p.w.grad()[0][0].item<double>() == doctest::Approx(-0.2099801216895244).epsilon(1e-14));
  CHECK(p.b.grad()[1].item<double>() == doctest::Approx(0.06299403650685731).epsilon(1e-14));
  CHECK(grad_norm({p.w, p.b}) == doctest::Approx(0.5).epsilon(1e-5));
  // Below the limit nothing changes, not even by rounding.
  const Tensor before = copy_of(p.w.grad());
  clip_grad_norm({p.w, p.b}, 10.0);
  CHECK(same_bits(before, p.w.grad()));
  // A gradient that is not a number is reported by the norm.
  p.b.grad().fill_(std::nan(""));
  CHECK(std::isnan(clip_grad_norm({p.w, p.b}, 1.0)));
  CHECK(clip_grad_norm(std::vector<Tensor>{empty({3})}, 1.0) == 0);
  CHECK_THROWS_WITH_AS(clip_grad_norm({p.w}, 0.0), "[clip_grad_norm] max_norm must be above 0, got 0", Error);
}

TEST_CASE("bad input gets a clear error") {
  Problem p;
  CHECK_THROWS_WITH_AS(SGD(p.groups(), {.lr = -1}), "[SGD] the learning rate must be a number >= 0, got -1", Error);
  CHECK_THROWS_WITH_AS(SGD(p.groups(), {.nesterov = true}), "[SGD] Nesterov's variant needs a momentum above 0", Error);
  CHECK_THROWS_WITH_AS(AdamW(p.groups(), {.beta2 = 1}), "[AdamW] betas must be in [0, 1), got 0.9 and 1", Error);
  CHECK_THROWS_WITH_AS(Adam({}), "[Adam] there is no parameter to optimize", Error);
  auto twice = p.groups();
  twice.push_back(twice[0]);
  CHECK_THROWS_WITH_AS(Adam{twice},
                       "[Adam] two parameters are called 'layer.weight' (each parameter belongs to one group)", Error);
  CHECK_THROWS_WITH_AS(SGD(single_group(NamedTensors{{"i", empty({2}, int64)}})),
                       "[SGD] parameter 'i' must be a contiguous float32 or float64 tensor, got int64[2]", Error);

  AdamW adam(p.groups());
  p.b.set_grad(empty({5}, float64));
  CHECK_THROWS_WITH_AS(adam.step(), "[AdamW] parameter 'layer.bias' is float64[4], its gradient float64[5]", Error);

  // Of another kind, of another model, of another shape: listed, and nothing is taken over.
  SGD sgd(p.groups(), {.lr = 0.5, .momentum = 0.9});
  CHECK_THROWS_WITH_AS(
      sgd.load_state_dict(adam.state_dict()),
      "[SGD] the saved state does not fit (was it saved by another kind of optimizer, or for another model?): "
      "2 missing: layer.bias.momentum, layer.weight.momentum; 4 unexpected: layer.bias.exp_avg, "
      "layer.bias.exp_avg_sq, layer.weight.exp_avg, layer.weight.exp_avg_sq",
      Error);
  auto state = sgd.state_dict();
  state["lr"] = detail::scalar(float64, 7);
  state["layer.bias.momentum"] = empty({3}, float64);
  CHECK_THROWS_WITH_AS(
      sgd.load_state_dict(state),
      "[SGD] the saved state does not fit (was it saved by another kind of optimizer, or for another model?): 1 of "
      "another shape or kind: layer.bias.momentum: expected float64[4], got float64[3]",
      Error);
  CHECK(sgd.lr() == 0.5);
}
