// Ten updates of both published recipes, made from their settings and trained by the Trainer, against PyTorch in
// float64 (tools/reference/make_trajectories.py): order and mixing of images, flip, erasing, drop path, accumulation,
// clipping, AdamW and LAMB, schedule, moving average and MESA, all with the same random numbers.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "atlas/core/rng.h"
#include "atlas/data/dataset.h"
#include "atlas/io/formula.h"
#include "atlas/io/safetensors.h"
#include "atlas/models/model.h"
#include "atlas/optim/clip.h"
#include "atlas/optim/ema.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "atlas/train/observers.h"
#include "atlas/train/setup.h"
#include "tests/compare.h"
#include "tests/source_dir.h"

using namespace atlas;

namespace {

constexpr int64_t kImages = 16, kTests = 6, kSide = 64, kClasses = 5, kKept = 8;

/// One recipe at toy size.
struct Course {
  const char *name, *recipe, *model;
  bool all = false;  ///< with clipping, moving average and MESA where the recipe has none
};

constexpr Course kCourses[] = {{"mambavision", "mambavision-t", "mambavision-toy"},
                               {"atlas", "atlas-b-1024", "atlas-toy"},
                               {"atlas_all", "atlas-b-1024", "atlas-toy", true}};

/// Settings of the recipe, but for sizes and lengths, and for what is done to pictures before they are flipped.
train::TrainConfig settings(const Course& course, const std::string& model_options) {
  train::TrainConfig c;
  train::apply_recipe(c, course.recipe, course.model);
  c.model.options = model_options;
  c.data.image_size = kSide;
  c.data.workers = 2;
  c.optimization.epochs = 5;
  c.optimization.batch_size = 4;
  c.optimization.accumulate = 2;
  c.optimization.warmup_epochs = 1;
  c.optimization.cooldown_epochs = std::min(c.optimization.cooldown_epochs, 1.0);
  if (c.optimization.ema > 0) c.optimization.ema = 0.9;  // ten updates are no time for the published 0.9998
  c.augmentation.crop = "none";
  c.augmentation.rand_augment = "";
  c.augmentation.color_jitter = 0;  // RandAugment takes its place
  if (course.all) {
    c.optimization.clip_norm = 1;
    c.optimization.ema = 0.9;
    c.optimization.ema_ramp = 1;
    c.augmentation.mesa = 0.5;
  }
  train::validate(c);
  return c;
}

data::DatasetPtr pictures(int64_t first, int64_t count) {
  Tensor images = empty({count, kSide, kSide, 3}, uint8);
  std::vector<int64_t> labels;
  for (int64_t k = 0; k < count; ++k) {
    const uint64_t hash = fnv1a64("picture" + std::to_string(first + k));
    const int64_t n = kSide * kSide * 3;
    for (int64_t i = 0; i < n; ++i)
      images.data<uint8_t>()[k * n + i] = static_cast<uint8_t>((io::formula_uniform(hash, i) + 1) * 128);
    labels.push_back((first + k) * 3 % kClasses);
  }
  const std::vector<std::string> classes = {"a", "b", "c", "d", "e"};
  return std::make_shared<data::TensorDataset>("pictures", classes, images, labels);
}

/// Loaders make float32; what a task made of it is trained in `dtype`.
data::Collate collate(const tasks::Task& task, bool training, DType dtype) {
  return [own = tasks::collate_for(task, training), dtype](data::Batch& batch, data::Rng& rng) {
    own(batch, rng);
    batch.images = batch.images.to(dtype);
    if (data::Target* soft = batch.targets.find(data::kSoftLabel)) soft->value = soft->value.to(dtype);
  };
}

/// Whether it is the bias of a convolution that a batch norm follows. Its gradient is zero but for rounding. In float32
/// Adam and LAMB make whole steps of that, in PyTorch as here, and tests see them where running statistics lag behind.
/// In float64 it stays far below eps.
bool bias_before_norm(const std::string& name) {
  return name.ends_with("conv1.bias") || name.ends_with("conv2.bias") || name.ends_with("conv_block1.0.bias") ||
         name.ends_with("conv_block2.0.bias");
}

/// What the golden files hold.
struct Recorded {
  std::map<std::string, std::vector<double>> numbers;
  std::vector<std::string> names;  ///< of the tensors of the model, in the order of their numbers
};

/// Makes it, of a training that is watched.
class Record : public train::Observer {
 public:
  Record(const models::Model& model, const train::MovingAverage* average) : model_(model), average_(average) {}
  void on_epoch_start(train::Trainer&) override { sum_ = 0; }
  void on_batch(train::Trainer& t, const data::Batch& batch) override {
    const double sum = t.meter().value("loss") * static_cast<double>(t.meter().images());
    all.numbers["losses"].push_back((sum - sum_) / static_cast<double>(batch.images.size(0)));
    sum_ = sum;
    if (batch.number % t.options().accumulate + 1 == t.options().accumulate)
      all.numbers["gradient_norms"].push_back(grad_norm(t.optimizer().parameters()));
  }
  void on_step(train::Trainer& t) override {
    all.numbers["rates"].push_back(t.optimizer().lr());
    if (t.step() != 1 && t.step() != 5 && t.step() != 10) return;
    const std::string number = "." + std::to_string(t.step());
    keep("model" + number, model_.state_dict());
    if (average_ == nullptr) return;
    StateDict average = average_->average().state_dict(), published;
    for (const StateEntry& e : model_.state_entries())
      published.emplace(e.name, published_view(average.at(e.name), e.layout));
    keep("average" + number, published);
  }
  void on_epoch_end(train::Trainer&, const train::EpochResult& r) override {
    all.numbers["test_losses"].push_back(r.test.value("loss"));
  }

  Recorded all;

 private:
  /// The norm and some elements of every tensor, in the order of the names.
  void keep(const std::string& name, const StateDict& state) {
    all.names.clear();
    for (const auto& [key, tensor] : state) {
      if (!is_floating(tensor.dtype())) continue;
      all.names.push_back(key);
      const std::vector<double> v = to_vector<double>(tensor.contiguous().to(float64));
      const int64_t n = std::ssize(v);
      double squares = 0;
      for (const double x : v) squares += x * x;
      all.numbers[name + ".norms"].push_back(std::sqrt(squares));
      for (int64_t i = 0; i < kKept; ++i)
        all.numbers[name + ".elements"].push_back(v[static_cast<size_t>(i * n / kKept)]);
    }
  }
  const models::Model& model_;
  const train::MovingAverage* average_;
  double sum_ = 0;
};

Recorded trained(const Course& course, const std::string& model_options, DType dtype) {
  const train::TrainConfig c = settings(course, model_options);
  const data::DatasetPtr training = pictures(0, kImages), test = pictures(kImages, kTests);
  const auto model = train::make_model(c, kClasses);
  model->to(dtype);
  io::formula_fill(*model);
  if (dtype == float32)
    for (const StateEntry& e : model->state_entries())
      if (bias_before_norm(e.name)) Tensor(e.tensor).set_requires_grad(false);
  const auto task = train::make_task(c, *training);
  const tasks::Pipeline pipeline = train::pipeline_of(c);
  data::LoaderOptions training_options = train::train_loader_options(c), test_options = train::test_loader_options(c);
  training_options.collate = collate(*task, true, dtype);
  test_options.collate = collate(*task, false, dtype);
  data::Loader loader(training, training_options, pipeline.train), test_loader(test, test_options, pipeline.test);
  const auto optimizer = train::make_optimizer(c, *model);
  const train::OptimizationSettings& o = c.optimization;
  train::Trainer trainer(
      *model, *task, *optimizer,
      {.epochs = o.epochs, .accumulate = o.accumulate, .clip_norm = o.clip_norm, .schedule = train::make_schedule(c)});
  std::unique_ptr<train::MovingAverage> average;
  if (o.ema > 0) {
    average = std::make_unique<train::MovingAverage>(*model, EmaOptions{.decay = o.ema, .ramp = o.ema_ramp == 1});
    trainer.watch(*average);
  }
  Record record(*model, average.get());
  manual_seed(static_cast<uint64_t>(c.compute.seed));
  trainer.watch(record).fit(loader, test_loader);
  return record.all;
}

/// |a - b| / |b| of `count` numbers.
double difference(const double* a, const double* b, int64_t count) {
  double d = 0, norm = 0;
  for (int64_t i = 0; i < count; ++i) {
    d += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return norm > 0 ? std::sqrt(d / norm) : std::sqrt(d);
}

/// Trains a recipe and compares all that is recorded, tensor by tensor. In float32 without biases of keys: attention
/// does not see what all keys have in common, and so rounding alone moves a part of them.
void compare(const Course& course, DType dtype, double tolerance) {
  CAPTURE(course.name);
  const io::SafetensorsFile golden =
      io::load_safetensors(test::source_dir() + "/tests/golden/recipes/trajectory_" + course.name + ".safetensors");
  const Recorded found = trained(course, golden.metadata.at("config"), dtype);
  CHECK(found.numbers.size() == golden.tensors.size());
  for (const auto& entry : golden.tensors) {
    const std::string& name = entry.first;
    const Tensor& wanted = entry.second;
    CAPTURE(name);
    const std::vector<double>& numbers = found.numbers.at(name);
    REQUIRE(std::ssize(numbers) == wanted.numel());
    const int64_t each = wanted.dim() == 2 ? kKept : 1;
    for (int64_t row = 0; row < wanted.size(0); ++row) {
      CAPTURE(row);
      const bool of_tensors = wanted.size(0) == std::ssize(found.names);
      const std::string tensor = of_tensors ? found.names[static_cast<size_t>(row)] : "";
      CAPTURE(tensor);
      if (dtype == float32 && tensor.ends_with("kv.bias")) continue;
      const double d = difference(numbers.data() + row * each, wanted.data<double>() + row * each, each);
      CHECK(d < tolerance);
    }
  }
}

}  // namespace

TEST_CASE("in float64, ten updates of both recipes are PyTorch's") {
  for (const Course& course : kCourses) compare(course, float64, 1e-6);
}

TEST_CASE("in float32, too, to 1e-4, where rounding does not decide") {
  for (const Course& course : kCourses) compare(course, float32, 1e-4);
}
