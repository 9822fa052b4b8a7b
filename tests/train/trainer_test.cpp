// The training loop: results do not depend on threads and workers, accumulation equals a larger batch, files are
// complete.
#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "atlas/core/parallel.h"
#include "atlas/data/image.h"
#include "atlas/data/text.h"
#include "atlas/io/checkpoint.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"
#include "atlas/train/run.h"
#include "atlas/train/setup.h"
#include "atlas/train/trained_model.h"
#include "tests/compare.h"

using namespace atlas;
using namespace atlas::train;
using test::same_bits;
namespace fs = std::filesystem;

namespace {

/// A scratch folder, removed at the end. What runs print goes to a file in it.
struct Scratch {
  std::string path = (fs::temp_directory_path() / fmt::format("atlas-trainer-{}", getpid())).string();
  Scratch() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Scratch() { fs::remove_all(path); }

  /// Trains into `name` and gives the last checkpoint.
  io::Checkpoint train(const std::string& name, const TrainConfig& c, RunOptions options = {}) const {
    std::fflush(stdout);
    const int screen = dup(1);
    REQUIRE(std::freopen((path + "/" + name + ".txt").c_str(), "w", stdout) != nullptr);
    options.out = path + "/" + name;
    const int status = run_training(c, options);
    std::fflush(stdout);
    dup2(screen, 1);
    close(screen);
    CHECK(status == 0);
    return io::load_checkpoint(path + "/" + name + "/last.ckpt");
  }
};

TrainConfig small() {
  TrainConfig c;
  c.data.name = "shapes:32";
  c.model.name = "atlas-toy";
  c.data.limit_train = 64;
  c.data.limit_test = 32;
  c.optimization.batch_size = 16;
  c.optimization.epochs = 2;
  c.model.drop_path = 0.2;
  c.augmentation.mixup = 0.2;
  c.augmentation.erase = 0.25;
  c.data.workers = 0;
  c.compute.threads = 1;
  return c;
}

}  // namespace

TEST_CASE("weights are bit-identical for any number of threads and workers") {
  const Scratch scratch;
  for (const char* model : {"atlas-toy", "mambavision-toy"}) {
    TrainConfig c = small();
    c.model.name = model;
    const io::Checkpoint one = scratch.train(std::string(model) + "-1", c);
    c.compute.threads = 2;
    c.data.workers = 3;
    const io::Checkpoint two = scratch.train(std::string(model) + "-2", c);
    CHECK(same_bits(one.model, two.model));
    c.compute.seed = 1;
    CHECK_FALSE(same_bits(one.model, scratch.train(std::string(model) + "-seed", c).model));
  }
  set_num_threads(1);
}

TEST_CASE("a run leaves every file, and its checkpoint classifies") {
  const Scratch scratch;
  TrainConfig c = small();
  c.optimization.ema = 0.5;
  const io::Checkpoint last = scratch.train("run", c);
  const std::string out = scratch.path + "/run/";
  for (const char* file : {"config.json", "last.ckpt", "best.ckpt", "log.csv", "log.jsonl", "confusion.csv"})
    CHECK(fs::file_size(out + file) > 0);
  CHECK(data::read_image(out + "curves.png").size(1) >= 400);
  CHECK(data::read_image(out + "predictions.png").size(1) >= 400);
  CHECK(last.epoch == 2);
  CHECK(last.step == 8);
  CHECK_FALSE(last.ema.empty());
  std::ifstream log(out + "log.csv");
  std::string line;
  int lines = 0;
  while (std::getline(log, line)) ++lines;
  CHECK(lines == 3);  // the header and two epochs

  const TrainedModel trained = load_trained_model(out + "best.ckpt");
  CHECK(trained.classes == std::vector<std::string>{"circle", "square", "triangle", "cross"});
  const data::DataPair sets = open_data(c);
  const Tensor p = trained.classify(sets.test->get(0).image);
  CHECK(p.shape() == Shape{4});
  CHECK(p.sum().item() == doctest::Approx(1));

  CHECK_THROWS_AS(run_training(c, {.out = scratch.path + "/run"}), Error);  // a run is not overwritten
}

TEST_CASE("a run from when limits chose other images says so where it goes on, and once alone") {
  const Scratch scratch;
  TrainConfig c = small();
  c.optimization.epochs = 1;
  io::Checkpoint last = scratch.train("run", c);
  const std::string out = scratch.path + "/run/", said = scratch.path + "/run.txt";
  const auto has_note = [&](const std::string& limits) {
    return data::read_text(said).find(limits + "was written when limits chose other images") != std::string::npos;
  };
  scratch.train("run", c, {.eval_only = true});
  CHECK_FALSE(has_note(""));
  last.extra = {{"epoch_so_far", zeros({4}, float64, Device{})}};
  io::save_checkpoint(out + "best.ckpt", last);
  io::save_checkpoint(out + "last.ckpt", last);
  scratch.train("run", c, {.eval_only = true});
  CHECK(has_note("limit_test = 32: " + out + "best.ckpt "));
  CHECK_FALSE(has_note(", limit_test = 32: " + out + "best.ckpt "));
  c.optimization.epochs = 2;
  scratch.train("run", c, {.resume = true});
  CHECK(has_note("limit_train = 64, limit_test = 32: " + out + "last.ckpt "));
  c.optimization.epochs = 3;
  scratch.train("run", c, {.resume = true});
  CHECK_FALSE(has_note(""));
  c.data.limit_test = 0;
  scratch.train("run", c, {.eval_only = true});
  CHECK_FALSE(has_note(""));
}

TEST_CASE("the augmentation pipeline gives images of the asked size") {
  TrainConfig c = small();
  data::Rng rng(0, data::Purpose::sample, 0, 0);
  const Tensor tall = full({40, 20, 3}, 128, uint8);
  for (const char* crop : {"pad", "random-resized", "none"}) {
    c.augmentation.crop = crop;
    c.augmentation.color_jitter = 0.4;
    CHECK(pipeline_of(c).train(tall, rng).shape() == Shape{32, 32, 3});
    CHECK(pipeline_of(c).test(tall, rng).shape() == Shape{32, 32, 3});
  }
  // A small image is padded with black when training pads, not resized.
  const Tensor white = full({28, 28, 3}, 255, uint8);
  c.augmentation.crop = "pad";
  const Tensor fitted = pipeline_of(c).test(white, rng);
  CHECK(fitted.at<float>({0, 0, 0}) == doctest::Approx(-2));   // (0 - 0.5) / 0.25
  CHECK(fitted.at<float>({16, 16, 0}) == doctest::Approx(2));  // (1 - 0.5) / 0.25
}

TEST_CASE("limits keep all classes of a sorted set") {
  const auto labels = [] {
    std::vector<int64_t> all;
    for (int64_t i = 0; i < 100; ++i) all.push_back(i / 25);
    return all;
  }();
  const auto set = std::make_shared<data::TensorDataset>("sorted", std::vector<std::string>{"a", "b", "c", "d"},
                                                         zeros({100, 2, 2}, uint8), labels);
  const data::DatasetPtr some = data::some_of_each_class(set, 8);
  CHECK(some->size() == 8);
  std::vector<int64_t> seen(4, 0);
  for (int64_t i = 0; i < 8; ++i) ++seen[static_cast<size_t>(label_of(some->get(i)))];
  CHECK(seen == std::vector<int64_t>{2, 2, 2, 2});
}
