// Trainer in a program of one's own, with images in memory; and a kind of task, a source of data and a family of models
// that the program brings along: nothing in atlas/train/ knows any of them.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "atlas/atlas.h"
#include "atlas/core/rng.h"
#include "atlas/data/open.h"
#include "atlas/nn/conv.h"
#include "atlas/train/observers.h"
#include "atlas/train/run.h"
#include "atlas/train/setup.h"
#include "tests/compare.h"
#include "tests/data/data_test.h"

using namespace atlas;
using atlas_test::message_of;
using atlas_test::Scratch;
using test::same_bits;

namespace {

/// Dark images and light ones.
data::DatasetPtr dark_and_light(int64_t count) {
  std::vector<int64_t> labels;
  Tensor images = empty({count, 8, 8}, uint8, Device{});
  for (int64_t i = 0; i < count; ++i) {
    labels.push_back(i % 2);
    std::fill_n(images.data<uint8_t>() + i * 64, 64, static_cast<uint8_t>(i % 2 == 0 ? 40 + i % 7 : 200 - i % 5));
  }
  return std::make_shared<data::TensorDataset>("light", std::vector<std::string>{"dark", "light"}, images, labels);
}

/// The mean of the channels, and a linear layer.
class MeanNet : public Module {
 public:
  MeanNet() : head(3, 2) { register_module("head", head); }
  Tensor forward(const Tensor& x) const override { return head(mean(x, {1, 2})); }
  Linear head;
};

}  // namespace

TEST_CASE("ten lines train a model of one's own on images in memory") {
  manual_seed(1);
  const auto test_set = dark_and_light(20);
  // [ten lines]
  MeanNet model;
  const tasks::Classification task({"dark", "light"});
  AdamW optimizer(decay_groups(model, 0.01), {.lr = 0.05});
  data::Loader train_loader(dark_and_light(64), {.batch_size = 8, .shuffle = true}, data::Normalize{});
  data::Loader test_loader(test_set, {.batch_size = 8}, data::Normalize{});
  train::Trainer trainer(model, task, optimizer, {.epochs = 4, .clip_norm = 1});
  trainer.fit(train_loader, test_loader);
  const double accuracy = trainer.last_test()->value("accuracy");
  // [ten lines]
  CHECK(accuracy == 1);
  CHECK(trainer.best() == 1);
  CHECK(trainer.epoch() == 4);
  CHECK(trainer.step() == 32);
  CHECK(trainer.evaluate(test_loader)->images() == 20);
}

namespace {

/// Writes down what it is told.
class Diary : public train::Observer {
 public:
  void on_start(train::Trainer&) override { text += "start "; }
  void on_epoch_start(train::Trainer&) override { text += "epoch "; }
  void on_batch(train::Trainer&, const data::Batch&) override { text += "b"; }
  void on_step(train::Trainer& t) override {
    text += "s";
    ++steps;
    stop_now = t.step() == stop_at;
  }
  void on_test_start(train::Trainer&, int64_t batches) override { text += fmt::format(" test{} ", batches); }
  void on_test_end(train::Trainer&) override { text += "tested "; }
  void on_epoch_end(train::Trainer&, const train::EpochResult& e) override {
    text += fmt::format("end{}{} ", e.epoch, e.best ? "!" : "");
  }
  void on_stop(train::Trainer& t) override {
    text += " stop";
    saved = t.checkpoint();
    // Tensors share memory with the model: they are copied where it goes on.
    for (auto* part : {&saved.model, &saved.optimizer, &saved.extra})
      for (auto& [name, tensor] : *part) tensor = copy_of(tensor);
  }
  void on_note(train::Trainer&, const std::string& note) override { text += "note: " + note + " "; }
  std::string name() const override { return "diary"; }
  StateDict state() const override { return {{"steps", full({}, static_cast<double>(steps), int64)}}; }
  void load_state(const StateDict& state, const std::string&) override { steps = state.at("steps").item<int64_t>(); }

  std::string text;
  int64_t steps = 0, stop_at = -1;
  bool stop_now = false;
  io::Checkpoint saved;
};

/// One training with all parts of its own.
struct Small {
  explicit Small(int64_t batch = 8, int64_t accumulate = 2, uint64_t seed = 3)
      : train_loader(dark_and_light(40),
                     {.batch_size = batch, .shuffle = true, .seed = seed, .collate = tasks::collate_for(task)},
                     data::Normalize{}),
        test_loader(dark_and_light(10), {.batch_size = 4}, data::Normalize{}),
        trainer(model, task, optimizer,
                {.epochs = 2,
                 .accumulate = accumulate,
                 .schedule = Schedule{.peak = 0.1, .epochs = 2, .warmup = 0.5},
                 .stop = [this] { return diary.stop_now; }}) {
    trainer.watch(diary);
  }
  bool operator()() { return trainer.fit(train_loader, test_loader); }

  MeanNet model{};
  tasks::Classification task{{"dark", "light"}, {.mixup = 0.3}};
  AdamW optimizer{decay_groups(model, 0.01)};
  data::Loader train_loader, test_loader;
  Diary diary{};
  train::Trainer trainer;
};

}  // namespace

TEST_CASE("observers see every part of a training, in order") {
  manual_seed(2);
  Small small;
  CHECK(small());
  CHECK(small.diary.text == "start epoch bbsbbs test3 tested end1! epoch bbsbbs test3 tested end2 ");
}

TEST_CASE("a training goes on where it stopped, bit for bit, and its observers with it") {
  manual_seed(2);
  Small whole;
  CHECK(whole());
  const io::Checkpoint wanted = whole.trainer.checkpoint();
  for (const int64_t at : {1, 2, 3}) {
    manual_seed(2);
    Small first;
    first.diary.stop_at = at;
    CHECK_FALSE(first());
    CHECK(first.diary.text.ends_with("stop"));

    manual_seed(77);  // all randomness comes from the checkpoint
    Small second;
    io::restore_model(second.model, first.diary.saved, "a.ckpt", "mean");
    second.trainer.resume(first.diary.saved, "a.ckpt");
    CHECK(second());
    const io::Checkpoint got = second.trainer.checkpoint();
    CHECK(same_bits(got.model, wanted.model));
    CHECK(same_bits(got.optimizer, wanted.optimizer));
    CHECK(same_bits(got.extra, wanted.extra));
    CHECK(second.diary.steps == 4);
    CHECK(got.step == wanted.step);
  }
}

TEST_CASE("a test that fails costs no training: the checkpoint before it goes on with that test") {
  class Broken : public data::TensorDataset {
   public:
    using TensorDataset::TensorDataset;
    data::Sample get(int64_t index) const override {
      check(index != 5, "mask", "of image 5 is bad");
      return TensorDataset::get(index);
    }
  };
  const Scratch scratch;
  manual_seed(2);
  Small whole;
  CHECK(whole());
  const io::Checkpoint wanted = whole.trainer.checkpoint();
  manual_seed(2);
  Small first;
  train::Checkpoints files(scratch.path(), "mean", "{}");
  first.trainer.watch(files);
  const auto light = dark_and_light(10);
  const auto& all = dynamic_cast<const data::TensorDataset&>(*light);
  data::Loader bad(std::make_shared<Broken>("broken", all.classes(), all.images(), all.labels()), {.batch_size = 4},
                   data::Normalize{});
  CHECK(message_of([&] { first.trainer.fit(first.train_loader, bad); }).find("of image 5 is bad") != std::string::npos);
  const io::Checkpoint saved = io::load_checkpoint(files.last());
  CHECK(saved.step == 2);  // all updates of the first epoch
  manual_seed(77);
  Small second;
  io::restore_model(second.model, saved, "last.ckpt", "mean");
  second.trainer.resume(saved, "last.ckpt");
  CHECK(second());
  CHECK(second.diary.text == "start epoch  test3 tested end1! epoch bbsbbs test3 tested end2 ");
  const io::Checkpoint got = second.trainer.checkpoint();
  CHECK(same_bits(got.model, wanted.model));
  CHECK(same_bits(got.optimizer, wanted.optimizer));
}

TEST_CASE("a batch of which one image alone can be read is left out: it has no statistics for batch norm") {
  class OneUnread : public data::TensorDataset {
   public:
    using TensorDataset::TensorDataset;
    data::Sample get(int64_t index) const override { return index == 5 ? data::Sample() : TensorDataset::get(index); }
  };
  struct Normed : MeanNet {
    Normed() { register_module("norm", norm); }
    Tensor forward(const Tensor& x) const override {
      return MeanNet::forward(norm(mean(x, {1, 2}).reshape({x.size(0), 1, 1, 3})));
    }
    BatchNorm2d norm{3};
  };
  manual_seed(1);
  const auto light = dark_and_light(8);
  const auto& all = dynamic_cast<const data::TensorDataset&>(*light);
  Normed model;
  const tasks::Classification task({"dark", "light"});
  AdamW optimizer(decay_groups(model, 0.01), {.lr = 0.05});
  data::Loader training(std::make_shared<OneUnread>("light", all.classes(), all.images(), all.labels()),
                        {.batch_size = 2, .shuffle = true}, data::Normalize{});
  data::Loader test(light, {.batch_size = 4}, data::Normalize{});
  train::Trainer trainer(model, task, optimizer, {.epochs = 2});
  Diary diary;
  trainer.watch(diary);
  CHECK(trainer.fit(training, test));
  CHECK(trainer.step() == 6);  // of 8: the batch with the image that is missing makes none, in either epoch
  CHECK(diary.text == "start epoch bsbsbs test2 tested end1! epoch bsbsbs test2 tested end2 ");
}

TEST_CASE("runs of earlier versions: positions in batches, positions as one tensor, sums instead of a meter") {
  manual_seed(2);
  Small whole;
  CHECK(whole());
  const io::Checkpoint wanted = whole.trainer.checkpoint();
  manual_seed(2);
  Small first;
  first.diary.stop_at = 3;  // one update, of 16 images, into the second epoch
  CHECK_FALSE(first());
  const io::Checkpoint& saved = first.diary.saved;
  const StateDict meter = train::entries_of(saved.extra, "meter");
  const auto numbers = [](const std::vector<double>& values, DType dtype) {
    Tensor t = empty({std::ssize(values)}, float64, Device{});
    std::copy(values.begin(), values.end(), t.data<double>());
    return t.to(dtype);
  };
  const auto sum = [&](const char* name) { return meter.at(name).item(); };
  const Tensor place = numbers({16, 40, 3}, int64);
  const Tensor sums = numbers({sum("loss_sum"), sum("right"), sum("images")}, float64);
  const Tensor batches = numbers({2, sum("loss_sum"), sum("right"), sum("images")}, float64);
  std::vector<std::pair<const char*, StateDict>> versions = {
      {"one tensor, with a meter", {{"epoch_position", place}}},
      {"one tensor, with sums", {{"epoch_position", place}, {"epoch_sums", sums}}},
      {"batches", {{"epoch_so_far", batches}}}};
  train::add_entries(versions[0].second, "meter", meter);
  for (auto& version : versions) {
    const std::string what = version.first;
    StateDict& extra = version.second;
    CAPTURE(what);
    io::Checkpoint old = saved;
    old.extra = extra;
    train::add_entries(old.extra, "diary", train::entries_of(saved.extra, "diary"));
    train::upgrade(old, "old.ckpt", 8);
    manual_seed(77);
    Small second;
    io::restore_model(second.model, old, "old.ckpt", "mean");
    second.trainer.resume(old, "old.ckpt");
    CHECK(second.trainer.position().images == 16);
    CHECK(second.trainer.meter().value("accuracy") == first.trainer.meter().value("accuracy"));
    CHECK(second.trainer.meter().value("loss") == first.trainer.meter().value("loss"));
    CHECK(second());
    CHECK(same_bits(second.trainer.checkpoint().model, wanted.model));
    CHECK(second.trainer.best() == whole.trainer.best());
  }
  io::Checkpoint none = saved;
  none.extra.clear();
  CHECK(message_of([&] { train::upgrade(none, "old.ckpt", 8); }) ==
        "[checkpoint] old.ckpt does not say how far its epoch was");
  io::Checkpoint later = saved;
  later.extra["state.version"] = numbers({3}, int64).reshape({});
  CHECK(message_of([&] { train::upgrade(later, "new.ckpt", 8); }).find("this program reads version 2") !=
        std::string::npos);
  io::Checkpoint before_any = saved;
  before_any.extra = versions[0].second;
  before_any.best_metric = -1;  // there: no epoch yet
  train::upgrade(before_any, "old.ckpt", 8);
  CHECK(std::isnan(before_any.best_metric));
}

TEST_CASE("another batch size goes on at the same image, another order begins the epoch anew") {
  manual_seed(2);
  Small first;
  first.diary.stop_at = 1;
  CHECK_FALSE(first());
  Small other(4, 1);
  other.trainer.resume(first.diary.saved, "a.ckpt");
  CHECK(other());
  CHECK(other.trainer.step() == 1 + 6 + 10);  // 24 images are left of the first epoch
  Small order(8, 2, 5);
  order.trainer.resume(first.diary.saved, "a.ckpt");
  CHECK(order());
  CHECK(
      order.diary.text.starts_with("note: it stopped in the middle of an epoch of 40 images in the order of seed 3; "
                                   "now there are 40 and seed 5: epoch 1 begins anew"));
  CHECK(order.trainer.step() == 1 + 4);
}

TEST_CASE("what does not go together is refused before anything is trained") {
  MeanNet model;
  const tasks::Classification task({"dark", "light"});
  AdamW optimizer(decay_groups(model, 0.01));
  CHECK(message_of([&] {
          train::Trainer(model, task, optimizer, {.accumulate = 0});
        }).find("needs epochs >= 0, accumulate >= 1") != std::string::npos);
  data::Loader small(dark_and_light(6), {.batch_size = 8, .shuffle = true}, data::Normalize{});
  CHECK(message_of([&] { train::Trainer(model, task, optimizer).fit(small, small); }) ==
        "[trainer] light has 6 images, fewer than an update of 1 batches of 8");
  // A loss that is not finite says where.
  {
    const NoGrad off;
    model.head.weight.fill_(std::nan(""));
  }
  data::Loader loader(dark_and_light(16), {.batch_size = 8, .shuffle = true}, data::Normalize{});
  try {
    train::Trainer(model, task, optimizer, {.advice = "Try less."}).fit(loader, loader);
    CHECK(false);
  } catch (const train::TrainingStopped& e) {
    CHECK(
        std::string(e.what()).starts_with("[train] the loss became NaN at update 1 (epoch 1, learning rate 0.001). "
                                          "Try less. The first output that is not finite is that of module 'head'"));
  }
}
