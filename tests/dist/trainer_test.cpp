// Training with several processes: the same numbers as with one, and the same decisions on all of them.
#include "atlas/train/trainer.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "atlas/data/shapes.h"
#include "atlas/data/transform.h"
#include "atlas/models/presets.h"
#include "atlas/optim/sgd.h"
#include "atlas/tasks/classification.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "atlas/train/observers.h"
#include "atlas/train/run_checks-inl.h"
#include "tests/compare.h"
#include "tests/dist/last_rank.h"

using namespace atlas;
using dist::Group;

namespace {

constexpr int64_t kTogether = 16;  // images in a batch of all processes

/// Classification in any precision, which writes down the losses of training.
class Exact : public tasks::Classification {
 public:
  Exact(std::vector<std::string> classes, DType dtype)
      : Classification(std::move(classes), {.mixup = 0.8, .cutmix = 1, .label_smoothing = 0.1}), dtype_(dtype) {}
  tasks::Named outputs(const Module& model, const Tensor& images, const data::Targets&) const override {
    return {{"logits", model(images.to(dtype_))}};
  }
  tasks::Named loss(const tasks::Named& outputs, const data::Targets& targets) const override {
    data::Targets exact = targets;
    for (auto& [name, target] : exact)
      if (is_floating(target.value.dtype())) target.value = target.value.to(dtype_);
    tasks::Named parts = Classification::loss(outputs, exact);
    if (grad_enabled()) {
      if (std::ssize(losses) == bad_at) parts[0].second = parts[0].second * std::numeric_limits<double>::quiet_NaN();
      losses.push_back(tasks::total(parts).item());
    }
    return parts;
  }
  mutable std::vector<double> losses;
  int64_t bad_at = -1;  // the batch whose loss is NaN

 private:
  DType dtype_;
};

struct Setting {
  DType dtype = float32;
  std::string model = "mambavision-toy";
  int64_t accumulate = 2, updates = 20, stop_at = -1;
  bool sync = true;
  int64_t images = 0;  // 0: as many as one epoch of `updates` needs
  uint64_t seed = 3;   // of the weights
};

/// All that one training is made of.
struct Training : train::Observer {
  Training(const Group& group, const Setting& s)
      : setting(s),
        rank(group),
        set(std::make_shared<data::Shapes>(s.images > 0 ? s.images : kTogether * s.accumulate * s.updates, 32, 4, 1)),
        test_set(std::make_shared<data::Shapes>(37, 32, 4, 2)),
        task(set->classes(), s.dtype) {
    manual_seed(s.seed);
    model = models::make_any_model(
        s.model, {.image_size = 32, .num_classes = set->num_classes(), .overrides = R"({"drop_path_rate": 0.3})"});
    model->to(s.dtype);
    // Adam would make the sign of a gradient that is nothing but rounding a whole step.
    optimizer.emplace(decay_groups(*model, 0.05), SgdOptions{.lr = 0.02, .momentum = 0.9});
    data::LoaderOptions options{.batch_size = kTogether / group.size(),
                                .rank = group.rank(),
                                .ranks = group.size(),
                                .shuffle = true,
                                .drop_last = true,
                                .seed = 5};
    options.collate = tasks::collate_for(task);
    const data::Normalize normalize{{0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}};
    loader.emplace(set, options, normalize);
    tests.emplace(test_set, data::LoaderOptions{.batch_size = 4, .rank = group.rank(), .ranks = group.size()},
                  normalize);
    trainer.emplace(*model, task, *optimizer,
                    train::TrainerOptions{.accumulate = s.accumulate,
                                          .clip_norm = 1,
                                          .stop = [this] { return batches == setting.stop_at * setting.accumulate; },
                                          .group = group,
                                          .sync_batch_norm = s.sync});
    average.emplace(*model, EmaOptions{.decay = 0.9});
    trainer->watch(*average).watch(*this);
  }
  bool fit() { return trainer->fit(*loader, *tests); }
  void on_batch(train::Trainer& t, const data::Batch& batch) override {
    ++batches;
    if (batch.end / kTogether % t.options().accumulate != 0 || !rank.first()) return;
    gradients.emplace_back();
    for (const Tensor& p : model->parameters()) gradients.back().push_back(copy_of(p.grad()));
  }
  /// The loss of each batch of all ranks.
  std::vector<double> losses() const {
    Tensor all = empty({std::ssize(task.losses)}, float64);
    std::copy(task.losses.begin(), task.losses.end(), all.data<double>());
    rank.all_reduce(all);
    std::vector<double> means(all.data<double>(), all.data<double>() + all.numel());
    for (double& m : means) m /= rank.size();
    return means;
  }

  Setting setting;
  Group rank;
  std::shared_ptr<data::Shapes> set, test_set;
  Exact task;
  std::unique_ptr<models::Model> model;
  std::optional<SGD> optimizer;
  std::optional<data::Loader> loader, tests;
  std::optional<train::Trainer> trainer;
  std::optional<train::MovingAverage> average;
  int64_t batches = 0;                         // behind
  std::vector<std::vector<Tensor>> gradients;  // of every update, of rank 0
};

double largest(const std::vector<Tensor>& tensors) {
  double found = 0;
  for (const Tensor& t : tensors) found = std::max(found, test::largest_difference(t, zeros_like(t)));
  return found;
}

double difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  REQUIRE(a.size() == b.size());
  double found = 0;
  for (size_t i = 0; i < a.size(); ++i) found = std::max(found, test::largest_difference(a[i], b[i]));
  return found / largest(b);
}

bool shares_evenly(const Group& group) { return kTogether % (2 * group.size()) == 0; }

}  // namespace

TEST_CASE("20 updates with everything on have the losses and gradients of one process") {
  const Group group = Group::world();
  if (!shares_evenly(group)) {
    MESSAGE("the batch does not divide among ", group.size(), " processes: not tried");
    return;
  }
  // In float32, rounding may move an input of relu over its kink, where the gradient jumps, and later updates make more
  // of it. With the weights of this seed none is that near, with 2 or 4 processes, with AVX2 or AVX-512.
  for (const Setting& s : {Setting{.dtype = float64, .model = "mambavision-toy"},
                           Setting{.dtype = float64, .model = "atlas-toy"}, Setting{.model = "atlas-toy", .seed = 6}}) {
    CAPTURE(s.model);
    CAPTURE(name(s.dtype));
    const bool exact = s.dtype == float64;
    Training together(group, s);
    REQUIRE(together.fit());
    const std::vector<double> losses = together.losses();
    REQUIRE(losses.size() == 40);
    const auto tested = together.trainer->last_test()->values();
    CHECK(together.trainer->last_test()->images() == 37);
    if (!group.first()) continue;
    Training alone(Group(), s);
    REQUIRE(alone.fit());
    double worst = 0;
    for (size_t i = 0; i < losses.size(); ++i)
      worst = std::max(worst, std::abs(losses[i] - alone.task.losses[i]) / alone.task.losses[i]);
    CHECK(worst <= (exact ? 1e-10 : 1e-5));
    REQUIRE(together.gradients.size() == 20);
    REQUIRE(alone.gradients.size() == 20);
    std::vector<double> gradients;
    for (size_t i = 0; i < 20; ++i) gradients.push_back(difference(together.gradients[i], alone.gradients[i]));
    CHECK(gradients[0] <= (exact ? 1e-12 : 1e-5));
    // In float32, rounding may move an input of relu over its kink, where the gradient jumps.
    std::sort(gradients.begin(), gradients.end());
    CHECK(gradients[exact ? 19 : 15] <= (exact ? 1e-10 : 1e-5));
    CHECK(tested[0].value == doctest::Approx(alone.trainer->last_test()->values()[0].value).epsilon(1e-4));
    std::vector<Tensor> ours, theirs;
    for (const auto& [key, value] : together.average->state())
      if (is_floating(value.dtype())) ours.push_back(value);
    for (const auto& [key, value] : alone.average->state())
      if (is_floating(value.dtype())) theirs.push_back(value);
    CHECK(difference(ours, theirs) <= (exact ? 1e-10 : 1e-5));
  }
}

TEST_CASE("a stop that one rank is asked for stops all, and what goes on is bit-identical") {
  const Group group = Group::world();
  if (!shares_evenly(group)) {
    MESSAGE("the batch does not divide among ", group.size(), " processes: not tried");
    return;
  }
  for (const bool sync : {true, false}) {
    CAPTURE(sync);
    Setting s{.updates = 4, .sync = sync};
    Training through(group, s);
    REQUIRE(through.fit());
    if (group.rank() == group.size() - 1) s.stop_at = 2;
    Training stopped(group, s);
    CHECK_FALSE(stopped.fit());
    CHECK(stopped.trainer->step() == 2);
    const io::Checkpoint saved = stopped.trainer->checkpoint();
    s.stop_at = -1;
    Training again(group, s);
    io::restore_model(*again.model, saved, "memory", "m");
    again.trainer->resume(saved, "memory");
    REQUIRE(again.fit());
    CHECK(again.trainer->step() == 4);
    CHECK(test::same_bits(through.model->state_dict(), again.model->state_dict()));
    CHECK(test::same_bits(through.average->state(), again.average->state()));
    CHECK(test::same_bits(through.trainer->checkpoint().extra, again.trainer->checkpoint().extra));
  }
}

TEST_CASE("a loss that is not finite on one rank ends all with the same words") {
  const Group group = Group::world();
  if (!shares_evenly(group)) {
    MESSAGE("the batch does not divide among ", group.size(), " processes: not tried");
    return;
  }
  Training t(group, {.updates = 4});
  if (group.rank() == group.size() - 1) t.task.bad_at = 3;
  const std::string message = test::message_of([&] { t.fit(); });
  const std::string who = group.size() > 1 ? " of rank " + std::to_string(group.size() - 1) : "";
  CHECK(message.find("[train] the loss" + who + " became NaN at update 2 ") == 0);
}

namespace {
/// Shapes, some of which cannot be read.
class Damaged : public data::Shapes {
 public:
  using Shapes::Shapes;
  data::Sample get(int64_t index) const override { return index % 5 < 3 ? data::Sample{} : data::Shapes::get(index); }
};
}  // namespace

TEST_CASE("unequal parts, and ranks without an image that can be read") {
  const Group group = Group::world();
  if (!shares_evenly(group)) {
    MESSAGE("the batch does not divide among ", group.size(), " processes: not tried");
    return;
  }
  Training t(group, {.accumulate = 1, .updates = 6});
  const data::LoaderOptions options = t.loader->options();  // emplace() destroys the loader first
  t.loader.emplace(std::make_shared<Damaged>(kTogether * 6, 32, 4, 1), options,
                   data::Normalize{{0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}});
  REQUIRE(t.fit());
  CHECK(t.trainer->step() >= 1);
  for (const Tensor& p : t.model->parameters()) {
    Tensor first = copy_of(p.detach());
    group.broadcast(first);
    CHECK(test::same_bits(first, p.detach()));
  }
}

namespace {
/// Shapes, of which every second batch cannot be read.
class HalfDamaged : public data::Shapes {
 public:
  using Shapes::Shapes;
  data::Sample get(int64_t index) const override {
    return index / kTogether % 2 == 1 ? data::Sample{} : data::Shapes::get(index);
  }
};
}  // namespace

TEST_CASE("an update whose last batch cannot be read is made of the others, and nothing goes over to the next") {
  const Group group = Group::world();
  if (!shares_evenly(group)) {
    MESSAGE("the batch does not divide among ", group.size(), " processes: not tried");
    return;
  }
  const auto trained = [](const Group& who) {
    auto t = std::make_unique<Training>(who, Setting{.dtype = float64, .updates = 4});
    data::LoaderOptions options = t->loader->options();
    options.shuffle = false;
    t->loader.emplace(std::make_shared<HalfDamaged>(kTogether * 8, 32, 4, 1), options,
                      data::Normalize{{0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}});
    REQUIRE(t->fit());
    CHECK(t->trainer->step() == 4);
    CHECK(t->batches == 4);
    return t;
  };
  const auto together = trained(group), alone = trained(Group());
  const std::vector<Tensor> ours = together->model->parameters(), theirs = alone->model->parameters();
  for (size_t i = 0; i < ours.size(); ++i) CHECK(test::largest_difference(ours[i].detach(), theirs[i].detach()) < 1e-9);
}

TEST_CASE("a loader of another rank is refused") {
  const Group group = Group::world();
  if (group.size() == 1) {
    MESSAGE("one process has nobody to compare with: not tried");
    return;
  }
  Training t(group, {.updates = 1});
  data::LoaderOptions options = t.loader->options();
  options.ranks = 1;
  options.rank = 0;
  data::Loader other(t.set, options);
  CHECK(test::message_of([&] { t.trainer->fit(other, *t.tests); }) ==
        "[trainer] is rank " + std::to_string(group.rank()) + " of " + std::to_string(group.size()) +
            ", but the loader of training images is rank 0 of 1");
}

TEST_CASE("options that differ between ranks are refused, and named") {
  const Group group = Group::world();
  if (group.size() == 1) {
    MESSAGE("one process has nobody to compare with: not tried");
    return;
  }
  const bool last = group.rank() == group.size() - 1;
  const std::string who = test::last_differs(group, "start");
  const auto message = [&](const train::RunOptions& options) {
    return test::message_of([&] { train::detail::check_same_settings({}, options, group, Device{}); });
  };
  CHECK(message({}) == "no error");
  CHECK(message({.cuda_graph = last}) == who + "'--cuda-graph' is on, but off on rank 0");
  CHECK(message({.any_memory = last}) == who + "'--any-memory' is on, but off on rank 0");
  CHECK(message({.augment = last ? "host" : "auto"}) == who + "'--augment' is host, but auto on rank 0");
}

namespace {
/// Works alone for long, within an epoch and after it.
class Works : public train::Observer {
 public:
  explicit Works(void (*how)()) : how_(how) {}
  void on_step(train::Trainer& t) override {
    if (t.step() == 2) how_();
  }
  void on_epoch_end(train::Trainer&, const train::EpochResult&) override { how_(); }

 private:
  void (*how_)();
};
/// A training of which rank 0 has such an observer, that knows nothing of other ranks.
void train_beside(void (*how)()) {
  const Group group = Group::world();
  Training t(group, {.accumulate = 1, .updates = 4});
  Works works(how);
  if (group.first()) t.trainer->watch(works);
  CHECK(t.fit());
}
}  // namespace

// Run by processes_test.sh, with two processes.
TEST_CASE("hidden: an observer of rank 0 works for long" * doctest::skip()) {
  train_beside([] { sleep(11); });
}
TEST_CASE("hidden: an observer of rank 0 is stopped" * doctest::skip()) {
  train_beside([] { raise(SIGSTOP); });
}
TEST_CASE("hidden: an observer of rank 0 hangs" * doctest::skip()) {
  train_beside([] { pause(); });
}
