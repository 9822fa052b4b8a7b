// Settings: JSON round trip, recipes, and the texts of errors.
#include "atlas/train/config.h"

#include <doctest/doctest.h>

#include "atlas/io/checkpoint.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/train/stored_settings.h"
#include "tests/compare.h"

using namespace atlas;
using namespace atlas::train;

TEST_CASE("every setting survives JSON") {
  TrainConfig c;
  apply_recipe(c, "mambavision", "");
  c.optimization.milestones = {1.5, 3};
  c.data.strict = true;
  c.data.exact_decode = true;
  c.model.options = R"({"dim": 32})";
  TrainConfig back;
  merge_json(back, to_json(c), "test");
  CHECK(to_json(back) == to_json(c));
  CHECK(back.optimization.optimizer == "lamb");
  CHECK(back.optimization.milestones == std::vector<double>{1.5, 3});
  CHECK(back.data.strict);
  CHECK(back.data.exact_decode);
  merge_json(back, R"({"model_options": {"dim": 48}})", "test");  // the object itself is as good as its text
  CHECK(back.model.options == R"({"dim":48})");
}

TEST_CASE("keys as earlier versions wrote them are read") {
  TrainConfig c;
  merge_json(c, R"({"normalisation": "cifar"})", "config.json");
  CHECK(c.data.normalization == "cifar");
  CHECK(to_json(c).find("normalisation") == std::string::npos);
}

TEST_CASE("class weights as earlier runs wrote them, a text, are read") {
  io::Checkpoint saved;
  saved.config_json = R"({"task_options": "{\"class_weights\": \"1,2.5,4\", \"pictures\": 3}"})";
  TrainConfig c;
  merge_settings(c, saved, "last.ckpt");
  CHECK(c.task.options == R"({"class_weights":[1,2.5,4],"pictures":3})");
  for (const char* same : {R"({"class_weights":[1,4]})", "", R"({"class_weights":"heavy"})"}) {  // the last is no list
    TrainConfig as_is, read;
    as_is.task.options = same;
    saved.config_json = to_json(as_is);
    merge_settings(read, saved, "last.ckpt");
    CHECK(read.task.options == same);
  }
}

TEST_CASE("recipes set the published values and keep the model that was asked for") {
  TrainConfig c;
  apply_recipe(c, "atlas", "");
  CHECK(c.model.name == "atlas-b");
  CHECK(c.optimization.epochs == 320);
  CHECK(c.optimization.weight_decay == doctest::Approx(0.24));
  CHECK(c.optimization.batch_size * c.optimization.accumulate == 2048);
  validate(c);
  apply_recipe(c, "mambavision", "mambavision-s");
  CHECK(c.model.name == "mambavision-s");
  CHECK(c.optimization.batch_size * c.optimization.accumulate == 4096);
  CHECK(c.optimization.ema == doctest::Approx(0.9998));
  validate(c);
  apply_recipe(c, "toy", "mambavision-toy");
  CHECK(c.model.name == "mambavision-toy");
  validate(c);
  CHECK_THROWS_WITH_AS(
      apply_recipe(c, "best", ""),
      "[recipe] 'best' is no recipe; there are toy, atlas, atlas-b-1024, mambavision, mambavision-t, "
      "mambavision-t2, mambavision-s, mambavision-b, mambavision-l, mambavision-l2, mambavision-l3, "
      "fine-tune, segmentation, segmentation-s, segmentation-b, segmentation-l3-512, segmentation-toy, "
      "detection, detection-s, detection-b, detection-toy",
      Error);
  const std::string near = test::message_of([&] { apply_recipe(c, "segmentaton", ""); });
  CHECK(near.ends_with("; did you mean segmentation or segmentation-s or segmentation-b?"));
}

TEST_CASE("a bad file names itself, the key and what is wrong") {
  TrainConfig c;
  CHECK_THROWS_WITH_AS(merge_json(c, R"({"lr": "fast"})", "a.json"),
                       "[config] a.json: 'lr' must be a number, got \"fast\"", Error);
  CHECK_THROWS_WITH_AS(merge_json(c, R"({"epochs": 1.5})", "a.json"),
                       "[config] a.json: 'epochs' must be a whole number, got 1.5", Error);
  CHECK_THROWS_WITH_AS(merge_json(c, R"({"lrr": 1})", "a.json"),
                       "[config] a.json: 'lrr' is no setting; did you mean lr? (see --help for the names)", Error);
  CHECK_THROWS_WITH_AS(merge_json(c, "[1]", "a.json"), "[config] a.json must hold a JSON object, got array", Error);
  CHECK_THROWS_AS(merge_json(c, "{", "a.json"), Error);
  CHECK_THROWS_WITH_AS(merge_json(c, std::string("{}\0x", 4), "a.json"),
                       "[config] a.json is not valid JSON: it has a NUL byte", Error);
  CHECK_THROWS_AS(merge_json(c, R"({"milestones": [1, "x"]})", "a.json"), Error);
}

TEST_CASE("policies of RandAugment are read before training") {
  TrainConfig c;
  c.augmentation.rand_augment = "rand-m9-mstd0.5-inc1";
  validate(c);
  c.augmentation.rand_augment = "rand-m9-q1";
  CHECK_THROWS_WITH_AS(validate(c), doctest::Contains("'rand-m9-q1', character 9, 'q1': there are m"), Error);
  c.augmentation.rand_augment = "rand-m40";
  CHECK_THROWS_WITH_AS(validate(c), doctest::Contains("'m40': m needs a number in 0..30"), Error);
  c.augmentation.rand_augment.clear();
  c.augmentation.interpolation = "nearest";
  CHECK_THROWS_WITH_AS(validate(c), doctest::Contains("interpolation = 'nearest' is unknown"), Error);
}

TEST_CASE("settings out of range are refused by name") {
  const auto refused = [](const char* json) {
    TrainConfig c;
    merge_json(c, json, "test");
    CHECK_THROWS_AS_MESSAGE(validate(c), Error, json);
  };
  refused(R"({"epochs": 0})");
  refused(R"({"batch_size": 0})");
  refused(R"({"batch_size": -4})");
  refused(R"({"accumulate": 0})");
  refused(R"({"lr": 0})");
  refused(R"({"lr": -1})");
  refused(R"({"momentum": 1})");
  refused(R"({"label_smoothing": 1})");
  refused(R"({"flip": 1.5})");
  refused(R"({"optimizer": "adamm"})");
  refused(R"({"schedule": "linear"})");
  refused(R"({"crop": "middle"})");
  refused(R"({"eval_crop": 0})");
  refused(R"({"warmup_epochs": 3, "epochs": 2})");
  refused(R"({"image_size": 2})");
  refused(R"({"crop_padding": 33})");
  refused(R"({"image_size": 64, "crop_padding": 1000000})");
  refused(R"({"color_jitter": 10.5})");
  refused(R"({"color_jitter": 1e300})");
  refused(R"({"mixup": 1e300})");
  refused(R"({"cutmix": 1001})");
  TrainConfig c;
  c.optimization.epochs = 0;
  CHECK_THROWS_WITH_AS(validate(c), "[config] epochs = 0 is out of range: at least 1", Error);
}
