// MESA: the distillation term and its gradient, and a training with it, against PyTorch.
#include <doctest/doctest.h>

#include "atlas/atlas.h"
#include "atlas/io/checkpoint.h"
#include "atlas/io/safetensors.h"
#include "atlas/train/observers.h"
#include "tests/compare.h"
#include "tests/data/data_test.h"
#include "tests/source_dir.h"

using namespace atlas;
using test::largest_difference;
using test::message_of;

namespace {

std::map<std::string, Tensor> golden() {
  return io::load_safetensors(test::source_dir() + "/tests/golden/recipes/mesa.safetensors").tensors;
}

/// All channels in one row, and a linear layer.
class FlatNet : public Module {
 public:
  FlatNet() : head(18, 5) { register_module("head", head); }
  Tensor forward(const Tensor& x) const override {
    if (training()) ++trained;
    return head(x.reshape({x.size(0), 18}));
  }
  Linear head;
  mutable int64_t trained = 0;
};

/// The loss of every epoch.
class Losses : public train::Observer {
 public:
  void on_epoch_end(train::Trainer&, const train::EpochResult& r) override { all.push_back(r.training.value("loss")); }
  std::vector<double> all;
};

const std::vector<std::string> kClasses = {"a", "b", "c", "d", "e"};

struct Bytes {
  Tensor operator()(const Tensor& image, data::Rng&) const { return data::to_float(image); }
};

}  // namespace

TEST_CASE("the distillation term and its gradient are PyTorch's") {
  const auto g = golden();
  const tasks::Classification task({"0", "1", "2", "3", "4", "5", "6", "7", "8"}, {}, {.weight = 0.5});
  for (const DType dtype : {float64, float32}) {
    const double tolerance = dtype == float64 ? 1e-12 : 2e-6;
    Tensor logits = g.at("loss/logits").to(dtype).clone();
    logits.set_requires_grad(true);
    data::Targets targets;
    targets.set(data::kLabel, {data::TargetKind::label, zeros({6}, int64)});
    targets.set(data::kSoftLabel, {data::TargetKind::soft_label, g.at("loss/target").to(dtype)});
    targets.set(tasks::kAverageProbability,
                {data::TargetKind::soft_label, softmax(g.at("loss/average").to(dtype) * (1.0 / 3), 1)});
    const tasks::Named parts = task.loss({{"logits", logits}}, targets);
    REQUIRE(parts.size() == 2);
    const double mesa = g.at("loss/mesa").item();
    CHECK(std::abs(tasks::at(parts, "cross_entropy").item() - g.at("loss/cross_entropy").item()) < tolerance * 10);
    CHECK(std::abs(tasks::at(parts, "mesa").item() - mesa) < tolerance * 50 * mesa);
    backward(tasks::total(parts));
    CHECK(largest_difference(logits.grad(), g.at("loss/gradient")) < tolerance * 10);
  }
}

TEST_CASE("a training with it goes as in PyTorch: it begins after a quarter of the epochs") {
  const auto g = golden();
  const Tensor labels = g.at("train/labels");
  const auto set = std::make_shared<data::TensorDataset>(
      "bytes", kClasses, g.at("train/images"),
      std::vector<int64_t>(labels.data<int64_t>(), labels.data<int64_t>() + labels.numel()));
  FlatNet model;
  {
    const NoGrad off;
    model.head.weight.copy_(g.at("train/weight"));
    model.head.bias.fill_(0);
  }
  const tasks::Classification task(kClasses, {.label_smoothing = 0.1}, {.weight = 0.5});
  SGD optimizer(decay_groups(model, 0), {.lr = 0.5});
  data::Loader loader(set, {.batch_size = 8, .collate = tasks::collate_for(task)}, Bytes{});
  data::Loader test_loader(set, {.batch_size = 8}, Bytes{});
  train::Trainer trainer(model, task, optimizer, {.epochs = 8});
  train::MovingAverage average(model, {.decay = 0.8});
  Losses losses;
  trainer.watch(average).watch(losses).fit(loader, test_loader);
  const Tensor wanted = g.at("train/losses");
  REQUIRE(std::ssize(losses.all) == wanted.numel());
  for (size_t i = 0; i < losses.all.size(); ++i) {
    CAPTURE(i);
    CHECK(losses.all[i] == doctest::Approx(wanted.data<double>()[i]).epsilon(3e-6));
  }
  CHECK(largest_difference(model.head.weight.detach(), g.at("train/final_weight")) < 1e-5);
  CHECK(largest_difference(average.average().state_dict().at("head.weight"), g.at("train/final_average")) < 1e-5);
  CHECK(model.trained == 8);  // the average is asked in evaluation mode
}

TEST_CASE("stopped and resumed, before it begins, as it begins and later, it ends with the same bits") {
  const auto g = golden();
  const Tensor labels = g.at("train/labels");
  const auto set = std::make_shared<data::TensorDataset>(
      "bytes", kClasses, g.at("train/images"),
      std::vector<int64_t>(labels.data<int64_t>(), labels.data<int64_t>() + labels.numel()));
  const atlas_test::Scratch scratch;
  constexpr int64_t kBatch = 2, kEpochs = 8;
  const int64_t per_epoch = set->size() / kBatch, begins = 3 * per_epoch;  // the first epoch e with e > 8 / 4
  REQUIRE(per_epoch >= 3);
  struct End {
    StateDict model, average;
  };
  /// Trains to the end, with a stop after `stop` updates (0: none) and everything made anew.
  const auto trained = [&](int64_t stop, double weight) {
    const tasks::Classification with(kClasses, {.mixup = 0.3, .label_smoothing = 0.1}, {.weight = weight});
    const std::string file = scratch / "last.ckpt";
    End end;
    for (const bool first : {true, false}) {
      if (first && stop == 0) continue;
      FlatNet model;
      {
        const NoGrad off;
        model.head.weight.copy_(g.at("train/weight"));
        model.head.bias.fill_(0);
      }
      AdamW optimizer(decay_groups(model, 0.1), {.lr = 0.05});
      data::Loader loader(set, {.batch_size = kBatch, .shuffle = true, .seed = 5, .collate = tasks::collate_for(with)},
                          Bytes{});
      data::Loader test_loader(set, {.batch_size = 8}, Bytes{});
      const train::Trainer* running = nullptr;
      train::Trainer trainer(model, with, optimizer,
                             {.epochs = kEpochs, .stop = [&] { return first && running->step() >= stop; }});
      running = &trainer;
      train::MovingAverage average(model, {.decay = 0.8});
      trainer.watch(average);
      if (!first && stop > 0) {
        const io::Checkpoint saved = io::load_checkpoint(file);
        REQUIRE(saved.step == stop);
        io::restore_model(model, saved, file, "flat");
        trainer.resume(saved, file);
      }
      const bool whole = trainer.fit(loader, test_loader);
      CHECK(whole != first);
      if (first) io::save_checkpoint(file, trainer.checkpoint());
      for (const auto& [name, t] : model.state_dict()) end.model[name] = t.clone();
      for (const auto& [name, t] : average.average().state_dict()) end.average[name] = t.clone();
    }
    return end;
  };
  const End alone = trained(0, 0.5);
  CHECK_FALSE(test::same_bits(alone.model, trained(0, 0).model));  // it is a part of the loss
  for (const int64_t stop : {begins - 1, begins + 1, begins + 2 * per_epoch - 1}) {
    CAPTURE(stop);
    const End resumed = trained(stop, 0.5);
    CHECK(test::same_bits(alone.model, resumed.model));
    CHECK(test::same_bits(alone.average, resumed.average));
  }
}

TEST_CASE("without a moving average, and with numbers out of range, it is refused") {
  const auto g = golden();
  const tasks::Classification task(kClasses, {}, {.weight = 0.5, .start = 0});
  FlatNet model;
  data::Targets targets;
  const Tensor images = zeros({2, 2, 3, 3});
  CHECK(message_of([&] { task.prepare(model, images, targets, {.epoch = 1, .epochs = 2}); }) ==
        "[classification] MESA needs a moving average of the weights (ema > 0)");
  task.prepare(model, images, targets, {.epoch = 0.9, .epochs = 2});  // not before epoch 1
  CHECK(targets.empty());
  CHECK(message_of([] {
          tasks::Classification({"a"}, {}, {.weight = -1});
        }).starts_with("[classification] MESA needs weight, start and scale >= 0"));
}
