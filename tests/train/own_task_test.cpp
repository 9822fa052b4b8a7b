// A kind of task, a source of data and a family of models that a program brings along, each by one registration: the
// class of every pixel. run_training() trains it from a configuration, and knows none of them.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "atlas/core/rng.h"
#include "atlas/data/augment.h"
#include "atlas/data/file.h"
#include "atlas/data/open.h"
#include "atlas/data/text.h"
#include "atlas/models/registry.h"
#include "atlas/nn/conv.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/order.h"
#include "atlas/ops/reduce.h"
#include "atlas/tasks/registry.h"
#include "atlas/tensor/create.h"
#include "atlas/train/run.h"
#include "atlas/train/setup.h"
#include "tests/data/data_test.h"

using namespace atlas;
using atlas_test::message_of;
using atlas_test::Scratch;

namespace {

/// Black images with a white square somewhere: a mask of where it is, and boxes of it, one or two.
class Painted : public data::Dataset {
 public:
  Painted(int64_t count, int64_t side) : Dataset("painted", {"ground", "square"}), count_(count), side_(side) {}
  int64_t size() const override { return count_; }
  data::Sample get(int64_t index) const override {
    const int64_t half = side_ / 2, top = index % half, left = index / 3 % half;
    Tensor image = zeros({side_, side_, 3}, uint8), mask = zeros({side_, side_}, uint8);
    for (int64_t y = top; y < top + half; ++y)
      for (int64_t x = left; x < left + half; ++x) {
        mask.data<uint8_t>()[y * side_ + x] = 1;
        std::fill_n(image.data<uint8_t>() + (y * side_ + x) * 3, 3, uint8_t{255});
      }
    const int64_t objects = 1 + index % 2;
    Tensor boxes = empty({objects, 4}, float32, Device{});
    for (int64_t i = 0; i < objects; ++i) {
      float* box = boxes.data<float>() + 4 * i;
      box[0] = static_cast<float>(left), box[1] = static_cast<float>(top);
      box[2] = static_cast<float>(left + half), box[3] = static_cast<float>(top + half);
    }
    data::Sample s{image};
    s.targets.set("mask", {data::TargetKind::mask, mask});
    s.targets.set("boxes", {data::TargetKind::boxes, boxes});
    return s;
  }

 private:
  int64_t count_, side_;
};

/// Counts pixels.
class PixelMeter : public tasks::Meter {
 public:
  void add(const tasks::Named& outputs, const data::Targets& targets, const tasks::Named& losses,
           const std::vector<int64_t>& indices) override {
    const Tensor best = argmax(tasks::at(outputs, "logits"), 3), mask = targets["mask"].to(int64);
    for (int64_t i = 0; i < mask.numel(); ++i) wrong_ += best.data<int64_t>()[i] == mask.data<int64_t>()[i] ? 0 : 1;
    pixels_ += static_cast<double>(mask.numel());
    if (!losses.empty()) loss_ += tasks::total(losses).item() * static_cast<double>(indices.size());
    images_ += static_cast<double>(indices.size());
    boxes_ += static_cast<double>(targets["boxes"].size(0));
  }
  void merge(const Meter&) override { fail("pixels", "are not merged in this test"); }
  std::vector<tasks::Value> values() const override {
    return {{"loss", loss_ / images_}, {"error", wrong_ / pixels_, true}, {"boxes", boxes_}};
  }
  int64_t images() const override { return static_cast<int64_t>(images_); }
  StateDict state() const override {
    StateDict all;
    for (const auto& [name, value] :
         {std::pair{"wrong", wrong_}, {"pixels", pixels_}, {"loss", loss_}, {"images", images_}, {"boxes", boxes_}})
      all[name] = full({}, value, float64);
    return all;
  }
  void load_state(const StateDict& s) override {
    wrong_ = s.at("wrong").item(), pixels_ = s.at("pixels").item(), loss_ = s.at("loss").item();
    images_ = s.at("images").item(), boxes_ = s.at("boxes").item();
  }

 private:
  double wrong_ = 0, pixels_ = 0, loss_ = 0, images_ = 0, boxes_ = 0;
};

struct PixelOptions {
  static constexpr std::string_view kTitle = "pixels";
  double weight = 1;
  template <class Self, class Visitor>
  static void fields(Self& c, Visitor&& visit) {
    visit("weight", c.weight, "of the loss", models::positive());
  }
};

/// The class of every pixel; better is a lower share of wrong ones.
class Pixels : public tasks::Task {
 public:
  explicit Pixels(double weight) : weight_(weight) {}
  void arrange(data::Batch& batch) const override {
    batch.targets.set("count", {data::TargetKind::number, full({batch.images.size(0)}, 1, int64)});
  }
  void prepare(const Module&, const Tensor& images, data::Targets& targets, const tasks::Moment& now) const override {
    CHECK(now.epoch <= now.epochs);
    targets.set("brightness", {data::TargetKind::number, mean(images, {1, 2, 3})});
  }
  tasks::Named loss(const tasks::Named& outputs, const data::Targets& targets) const override {
    const Tensor logits = tasks::at(outputs, "logits"), mask = targets["mask"].to(int64);
    CHECK(targets.contains("brightness"));
    CHECK(targets.contains("count"));
    return {{"pixel", cross_entropy(logits.reshape({-1, 2}), mask.reshape({-1})) * weight_}};
  }
  tasks::Named test_loss(const tasks::Named&, const data::Targets&) const override { return {}; }
  std::unique_ptr<tasks::Meter> meter(bool) const override { return std::make_unique<PixelMeter>(); }
  tasks::Goal goal() const override { return {"error", "err", "% wrong", false, true}; }
  tasks::Report report(const data::Dataset& set, const tasks::Meter& test,
                       const tasks::ReportOptions& o) const override {
    const std::string text = fmt::format("{} of {}", test.value("error"), set.size()), file = o.folder + "/wrong.txt";
    data::write_file(file, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    return {"", "pixels: " + text, {{"wrong", file}}};
  }

 private:
  double weight_;
};

struct PixelConfig {
  static constexpr std::string_view kFamily = "pixel-net", kTitle = "PixelNet";
  int64_t dim = 4, num_classes = 2, resolution = 8;
  int64_t& image_size() { return resolution; }
  int64_t image_size() const { return resolution; }
  template <class Self, class Visitor>
  static void fields(Self& c, Visitor&& visit) {
    visit("dim", c.dim, "channels", models::at_least(1));
    visit("num_classes", c.num_classes, "classes", models::at_least(1));
    visit("resolution", c.resolution, "side of the images", models::at_least(1));
  }
};

class PixelBackbone : public models::Backbone {
 public:
  explicit PixelBackbone(int64_t dim) : conv(3, dim, 3, {.padding = {1, 1}}) { register_module("conv", conv); }
  std::vector<Tensor> maps(const Tensor& images) const override { return {conv(images)}; }
  std::vector<int64_t> strides() const override { return {1}; }
  std::vector<int64_t> channels() const override { return {conv.weight.size(0)}; }
  std::vector<std::pair<std::string, std::string>> parts() const override { return {{"stem", "backbone.conv"}}; }
  Conv2d conv;
};

class PixelNet : public models::Model {
 public:
  using Config = PixelConfig;
  static constexpr const char* kTask = "pixels";
  explicit PixelNet(const Config& c) : config_(c), backbone_(c.dim), head_(c.dim, c.num_classes) {
    register_modules({{"backbone", backbone_}, {"head", head_}});
  }
  Tensor forward(const Tensor& images) const override { return head_(backbone_.maps(images)[0]); }
  models::Backbone& backbone() override { return backbone_; }
  const models::Backbone& backbone() const override { return backbone_; }
  std::string task() const override { return kTask; }
  std::string family() const override { return std::string(Config::kFamily); }
  std::string config_json() const override { return models::config_to_json(config_); }
  std::vector<std::string> heads() const override { return {"head"}; }
  int64_t num_classes() const override { return config_.num_classes; }
  int64_t image_size() const override { return config_.resolution; }

 private:
  Config config_;
  PixelBackbone backbone_;
  Linear head_;
};

void register_all() {
  static const bool once = [] {
    data::register_source({"painted[:SIZE]", [](const std::string&, const data::FolderOptions&) {
                             return data::DataPair{std::make_shared<Painted>(48, 8), std::make_shared<Painted>(16, 8)};
                           }});
    tasks::register_task({"pixels",
                          [](const data::Dataset&, const tasks::TaskSettings& s) -> std::unique_ptr<tasks::Task> {
                            return std::make_unique<Pixels>(tasks::read_options<PixelOptions>(s).weight);
                          },
                          [](const tasks::TaskSettings& s) {
                            return tasks::Pipeline{.train = data::Compose{{data::RandomFlip{0.5}, s.normalize}},
                                                   .test = s.normalize,
                                                   .train_pad = 4,
                                                   .test_batch = 5};
                          }});
    models::register_family<PixelNet>({{.name = "pixel-toy"}});
    return true;
  }();
  static_cast<void>(once);
}

train::TrainConfig settings() {
  train::TrainConfig c;
  c.model.name = "pixel-toy";
  c.data.name = "painted";
  c.data.image_size = 8;
  c.data.limit_train = 40;
  c.data.workers = 2;
  c.optimization.batch_size = 8;
  c.optimization.epochs = 4;
  c.optimization.lr = 0.1;
  c.optimization.ema = 0.5;
  return c;
}

/// What a run prints goes to a file.
int quietly(const std::string& file, const train::TrainConfig& c, const train::RunOptions& o) {
  std::fflush(stdout);
  const int screen = dup(1);
  REQUIRE(std::freopen(file.c_str(), "w", stdout) != nullptr);
  const int status = train::run_training(c, o);
  std::fflush(stdout);
  dup2(screen, 1);
  close(screen);
  return status;
}

}  // namespace

TEST_CASE("a task, a source and a family that a program brings along train like those of the house") {
  register_all();
  const Scratch scratch;
  const std::string out = scratch / "run";
  CHECK(quietly(scratch / "log.txt", settings(), {.out = out}) == 0);
  const std::string log = data::read_text(out + "/log.csv");
  CHECK(log.starts_with("epoch,updates,lr,train_loss,train_error,train_boxes,test_loss,test_error,test_boxes,"));
  const io::Checkpoint best = io::load_checkpoint(out + "/best.ckpt");
  CHECK(best.best_metric < 0.05);  // lower is better
  CHECK(best.best_metric >= 0);
  CHECK(best.extra.contains("meter.boxes"));
  CHECK(data::read_text(out + "/wrong.txt").ends_with(" of 16"));
  const std::string said = data::read_text(scratch / "log.txt");
  CHECK(said.find("err ") != std::string::npos);
  CHECK(said.find("pixels: ") != std::string::npos);
  CHECK(std::filesystem::exists(out + "/curves.png"));

  CHECK(quietly(scratch / "log.txt", settings(), {.out = out, .eval_only = true}) == 0);
  CHECK(data::read_text(scratch / "log.txt").find("checkpoint " + out + "/best.ckpt") != std::string::npos);
  train::TrainConfig more = settings();
  more.optimization.epochs = 5;
  CHECK(quietly(scratch / "log.txt", more, {.out = out, .resume = true}) == 0);
  CHECK(io::load_checkpoint(out + "/last.ckpt").epoch == 5);
}

TEST_CASE("tasks that a model cannot serve, and their options, are refused in one line") {
  register_all();
  train::TrainConfig c = settings();
  c.task.name = "classification";
  const std::string message = message_of([&] { train::run_training(c, {}); });
  CHECK(
      message.starts_with("[task] pixel-toy is a model for pixels, which cannot serve classification; models that do: "
                          "atlas-s"));
  c.task.name = "pixel";
  CHECK(message_of([&] { train::run_training(c, {}); }).starts_with("[task] there is no task 'pixel'; "));
  c.task.name = "pixels";
  c.task.options = R"({"weight": -1})";
  CHECK(message_of([&] { train::run_training(c, {}); }).find("weight must be positive, got -1") != std::string::npos);
  c.task.options = R"({"wait": 1})";
  CHECK(message_of([&] { train::run_training(c, {}); }).find("'wait'") != std::string::npos);
  c = settings();
  c.model.name = "atlas-toy";
  c.data.image_size = 32;
  c.task.options = R"({"weight": 1})";
  CHECK(message_of([&] { train::run_training(c, {}); }).find("has no options of its own") != std::string::npos);
  CHECK(message_of([&] {
          data::register_source({"painted:FOLDER", nullptr});
        }).find("needs a name and a way") != std::string::npos);
  CHECK(message_of([&] { models::make_model("pixel-toy"); }) ==
        "[make_model] pixel-toy is made for pixels, and classification is asked for");
  c = settings();
  c.model.name = "atlas-toy";
  CHECK(message_of([&] { train::run_training(c, {}); }) ==
        "[classification] needs one class for each image (the target 'label'), but painted has: mask, boxes");
}
