// Recipes by name with their published numbers, parameter groups by pattern, and what a run comes to.
#include <doctest/doctest.h>

#include <algorithm>

#include "atlas/data/evaluation.h"
#include "atlas/models/presets.h"
#include "atlas/nn/linear.h"
#include "atlas/tasks/detection_pipeline.h"
#include "atlas/tasks/segmentation_pipeline.h"
#include "atlas/tensor/create.h"
#include "atlas/train/dry_run.h"
#include "atlas/train/setup.h"
#include "tests/compare.h"

using namespace atlas;
using namespace atlas::train;
using test::message_of;

namespace {
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
}  // namespace

TEST_CASE("every recipe can be trained, and says what it differs in") {
  const std::vector<std::string> presets = models::preset_names();
  for (const Recipe& recipe : recipes()) {
    CAPTURE(recipe.name);
    TrainConfig c;
    apply_recipe(c, recipe.name, "");
    CHECK_NOTHROW(validate(c));
    CHECK_NOTHROW(make_schedule(c));
    CHECK(std::find(presets.begin(), presets.end(), c.model.name) != presets.end());
    CHECK(!recipe.source.empty());
  }
}

TEST_CASE("sizes of MambaVision have the published numbers") {
  struct Row {
    const char* name;
    double decay, warmup, drop, mesa, crop;
  };
  for (const Row& row : {Row{"t", 0.05, 20, 0.2, 0.5, 1},
                         {"t2", 0.05, 20, 0.2, 0.75, 0.98},
                         {"s", 0.05, 20, 0.2, 1, 0.93},
                         {"b", 0.075, 35, 0.3, 1, 1},
                         {"l", 0.12, 20, 0.3, 6, 1},
                         {"l2", 0.12, 20, 0.3, 6, 1}}) {
    TrainConfig c;
    apply_recipe(c, std::string("mambavision-") + row.name, "");
    CAPTURE(row.name);
    CHECK(c.model.name == std::string("mambavision-") + row.name);
    CHECK(c.optimization.weight_decay == row.decay);
    CHECK(c.optimization.warmup_epochs == row.warmup);
    CHECK(c.model.drop_path == row.drop);
    CHECK(c.augmentation.mesa == row.mesa);
    CHECK(c.augmentation.eval_crop == row.crop);
    CHECK(c.optimization.batch_size * c.optimization.accumulate == 4096);
    CHECK(c.augmentation.rand_augment == "rand-m9-mstd0.5-inc1");
    CHECK(c.optimization.ema_ramp == 0);
  }
}

TEST_CASE("tests of a training see what classify sees") {
  const Tensor picture = empty({37, 53, 3}, uint8);
  data::Rng noise(1, data::Purpose::sample, 0, 0);
  for (int64_t i = 0; i < picture.numel(); ++i) picture.data<uint8_t>()[i] = static_cast<uint8_t>(noise.below(256));
  for (const bool squash : {false, true}) {
    for (const double crop : {1.0, 0.98, 0.93}) {
      for (const int64_t size : {24, 64}) {  // smaller and larger than the picture
        CAPTURE(squash);
        CAPTURE(crop);
        CAPTURE(size);
        TrainConfig c;
        apply_recipe(c, "mambavision-t", "");
        c.data.image_size = size;
        c.augmentation.eval_crop = crop;
        c.augmentation.eval_squash = squash;
        data::Rng rng(0, data::Purpose::sample, 0, 0);
        data::Sample tested{picture};
        pipeline_of(c).test.apply(tested, rng);
        const Tensor published =
            data::evaluation_transform({size, size, crop, squash, normalization_of(c)})(picture, rng);
        CHECK(test::same_bits(tested.image, published));
      }
    }
  }
}

TEST_CASE("several processes share what a recipe accumulates, and explain says so") {
  TrainConfig c;
  apply_recipe(c, "mambavision-t", "");
  CHECK(has(explain(c, "mambavision-t"), "images per update  4096 (128 x 32)\n"));
  c.optimization.accumulate = 4;
  const std::string text = explain(c, "mambavision-t", 8);
  CHECK(has(text, "images per update  4096 (128 x 4 x 8 processes)\n"));
  CHECK(has(text, "32, shared by 8 processes\n"));
  for (const char* said : {"erased before they are mixed", "precision is float32"}) CHECK(has(text, said));
}

TEST_CASE("Atlas is tested on pictures squashed to a square, as its authors do; nothing of that is left to say") {
  TrainConfig c;
  for (const char* name : {"atlas", "atlas-b-1024"}) {
    apply_recipe(c, name, "");
    CHECK(c.augmentation.eval_squash);
    CHECK(c.augmentation.eval_crop == 1);
    CHECK(explain(c, name).find("squash them") == std::string::npos);
    // A wide picture: both ends of it are in the middle of what the model sees.
    Tensor wide = full({10, 40, 3}, 0, uint8);
    for (const int64_t x : {0, 1, 2, 3, 36, 37, 38, 39})
      for (int64_t y = 0; y < 10; ++y) wide.data<uint8_t>()[(y * 40 + x) * 3] = 255;
    data::Rng rng(0, data::Purpose::sample, 0, 0);
    c.data.image_size = 16;
    data::Sample squashed{wide}, kept{wide};
    pipeline_of(c).test.apply(squashed, rng);
    REQUIRE(squashed.image.shape() == Shape{16, 16, 3});
    c.augmentation.eval_squash = false;
    pipeline_of(c).test.apply(kept, rng);
    REQUIRE(kept.image.shape() == Shape{16, 16, 3});
    const auto red = [](const Tensor& image, int64_t x) { return image.at<float>({8, x, 0}); };
    CHECK(red(squashed.image, 0) > red(squashed.image, 8) + 3);  // white against black, normalized
    CHECK(red(squashed.image, 15) > red(squashed.image, 8) + 3);
    CHECK(std::abs(red(kept.image, 0) - red(kept.image, 8)) < 0.1);  // the ends are cut off
  }
  apply_recipe(c, "mambavision-t", "");
  CHECK(!c.augmentation.eval_squash);
}

TEST_CASE("detection has the published schedule and pipeline") {
  struct Row {
    const char *name, *size;
    double lr, drop;
  };
  for (const Row& row :
       {Row{"detection", "t", 1e-4, 0.2}, Row{"detection-s", "s", 1e-4, 0.3}, Row{"detection-b", "b", 2e-4, 0.5}}) {
    CAPTURE(row.name);
    TrainConfig c;
    apply_recipe(c, row.name, "");
    CHECK(c.model.name == std::string("cascade-mask-rcnn-mambavision-") + row.size);
    CHECK(c.model.drop_path == row.drop);
    CHECK(c.optimization.batch_size * c.optimization.accumulate == 16);
    CHECK(c.optimization.weight_decay == 0.05);
    CHECK(c.optimization.no_decay == "norm");
    // The rate of update i, both from 0: linear over 1,000 updates from a thousandth, a tenth from epochs 27 and 33 on.
    const Schedule schedule = make_schedule(c);
    constexpr int64_t kUpdates = 7329;  // 117,266 images with boxes
    for (const int64_t i : {0, 1, 500, 998, 999, 1000, 26 * 7329, 27 * 7329, 33 * 7329, 36 * 7329 - 1}) {
      CAPTURE(i);
      const double warm = std::min(1.0, 1e-3 + (1 - 1e-3) * static_cast<double>(i) / 999);
      const double steps = (i / kUpdates >= 27 ? 0.1 : 1) * (i / kUpdates >= 33 ? 0.1 : 1);
      CHECK(schedule.lr(i, kUpdates) == doctest::Approx(row.lr * warm * steps).epsilon(1e-9));
    }
    const tasks::DetectionSettings s = tasks::detail::detection_settings(task_settings(c));
    CHECK(s.longer == 1333);
    CHECK(s.shorter == 800);
    CHECK(s.shorter_low == 480);
    CHECK(s.crop);
  }
}

TEST_CASE("segmentation has the published numbers of each size, schedule and pipeline") {
  struct Row {
    const char *name, *size;
    double lr, drop, decay;
    int64_t crop;
  };
  for (const Row& row :
       {Row{"segmentation", "t", 5e-5, 0.3, 0.01, 512}, Row{"segmentation-s", "s", 6e-5, 0.7, 0.01, 512},
        Row{"segmentation-b", "b", 5e-5, 0.4, 0.01, 512}, Row{"segmentation-l3-512", "l3-512", 8e-5, 0.8, 0.05, 640}}) {
    CAPTURE(row.name);
    TrainConfig c;
    apply_recipe(c, row.name, "");
    CHECK(c.model.name == std::string("upernet-mambavision-") + row.size);
    CHECK(c.model.drop_path == row.drop);
    CHECK(c.data.image_size == row.crop);
    CHECK(c.optimization.batch_size * c.optimization.accumulate == 16);
    CHECK(c.optimization.optimizer == "adamw");
    CHECK(c.optimization.weight_decay == row.decay);
    CHECK(c.optimization.no_decay == "norm");
    CHECK(c.optimization.clip_norm == 0);
    CHECK(c.augmentation.flip == 0.5);
    // The rate of update i, from 0: linear over 1,500 updates from a millionth, then on a line to 0. The authors' line
    // ends at update 160,000, this one with the epoch in which that lies.
    const Schedule schedule = make_schedule(c);
    constexpr int64_t kUpdates = 1263;  // 20,210 images
    constexpr int64_t kLastUpdate = 127 * kUpdates;
    CHECK(c.optimization.epochs * kUpdates == kLastUpdate);
    for (const int64_t i : {int64_t{0}, int64_t{1}, int64_t{700}, int64_t{1499}, int64_t{1500}, int64_t{80000},
                            int64_t{159999}, kLastUpdate - 1}) {
      CAPTURE(i);
      const auto rate = [&](int64_t end) {
        const auto at = static_cast<double>(i);
        if (i < 1500) return row.lr * (1e-6 + (1 - 1e-6) * at / 1499);
        return row.lr * std::max(0.0, 1 - (at - 1500) / static_cast<double>(end - 1500 - 1));
      };
      CHECK(std::abs(schedule.lr(i, kUpdates) - rate(kLastUpdate)) <= 1e-9 * row.lr);
      CHECK(std::abs(schedule.lr(i, kUpdates) - rate(160000)) <= 3e-3 * row.lr);
    }
    const tasks::SegmentationSettings s = tasks::segmentation_settings(task_settings(c));
    CHECK(s.longer == 2048);
    CHECK(s.shorter == 512);
    CHECK(s.ratio_low == 0.5);
    CHECK(s.ratio_high == 2);
    CHECK(s.most_of_a_class == 0.75);
    CHECK(s.distortion);
    CHECK(s.slide_crop == 0);
    const std::string text = explain(c, row.name);
    CHECK((text.find("16 bits") != text.npos) == (row.crop == 512));
    for (const char* difference : {"random numbers are this program's", "160,000 updates are 127 epochs"})
      CHECK_MESSAGE(text.find(difference) != text.npos, difference);
  }
}

TEST_CASE("explain names the source of every number") {
  TrainConfig c;
  apply_recipe(c, "mambavision-b", "");
  c.optimization.epochs = 12;
  const std::string text = explain(c, "mambavision-b");
  int64_t settings = 0;
  for_each_setting(c, [&](const char* key, const auto&, const char*) {
    ++settings;
    CHECK_MESSAGE(text.find(std::string("\n") + key + " ") != text.npos, key);
  });
  CHECK(settings > 50);
  const auto line = [&](const std::string& key) {
    const size_t at = text.find("\n" + key + " ") + 1;
    return text.substr(at, text.find('\n', at) - at);
  };
  CHECK(line("epochs").find("given; the recipe has 310") != std::string::npos);
  CHECK(line("weight_decay").find("arXiv 2407.08083") != std::string::npos);
  CHECK(line("gamma").find("default of this program") != std::string::npos);
  CHECK(text.find("images per update  4096 (128 x 32)") != std::string::npos);
  CHECK(text.find("differences from what was published:") != std::string::npos);
}

TEST_CASE("groups by pattern") {
  CHECK(fits_pattern("levels.*.weight", "levels.0.blocks.1.weight"));
  CHECK(!fits_pattern("levels.*.weight", "levels.0.bias"));
  CHECK(fits_pattern("*", ""));
  CHECK(fits_pattern("a*b*c", "axbxbc"));
  CHECK(!fits_pattern("a*b", "ab.c"));
  const auto rules = parse_group_rules("backbone.*: lr x 0.1, decay 0; head.bias : lr x 3\n stem*: decay 0.5");
  REQUIRE(rules.size() == 3);
  CHECK(rules[0].pattern == "backbone.*");
  CHECK(*rules[0].lr_scale == 0.1);
  CHECK(*rules[0].decay == 0);
  CHECK(rules[1].pattern == "head.bias");
  CHECK(*rules[1].lr_scale == 3);
  CHECK(!rules[1].decay);

  const auto groups = [&](const std::vector<GroupRule>& by) {
    const NamedTensors all = {{"stem.weight", zeros({2, 2})},
                              {"levels.0.weight", zeros({2, 2})},
                              {"levels.0.bias", zeros({2})},
                              {"head.weight", zeros({2, 2})},
                              {"head.bias", zeros({2})}};
    return apply_group_rules(decay_groups(all, 0.05), by, {"head"});
  };
  double seen = 0;
  for (const ParameterGroup& g : groups(rules))
    for (const Parameter& p : g.parameters) {
      CAPTURE(p.name);
      ++seen;
      CHECK(g.lr_scale == (p.name == "head.weight" ? 1 : p.name == "head.bias" ? 3 : 0.1));
      CHECK(g.weight_decay == (p.name == "head.weight" ? 0.05 : p.name == "stem.weight" ? 0.5 : 0));
    }
  CHECK(seen == 5);
  CHECK(message_of([&] {
          groups(parse_group_rules("neck.*: lr x 2"));
        }).starts_with("[group] no parameter that is trained fits 'neck.*'"));
  CHECK(message_of([] { parse_group_rules("levels lr x 2"); }).starts_with("[group] 'levels lr x 2' needs a pattern"));
  CHECK(message_of([] { parse_group_rules("a: lr x fast"); }) ==
        "[group] 'lr x fast' in 'a: lr x fast' is neither 'lr x NUMBER' nor 'decay NUMBER'");
  CHECK(message_of([] { parse_group_rules("a: lr 1e-4"); }) ==
        "[group] 'lr 1e-4' in 'a: lr 1e-4' is neither 'lr x NUMBER' nor 'decay NUMBER'");
  CHECK(message_of([] { parse_group_rules("a: lr x 2, lr x 3"); }) ==
        "[group] 'lr x 3' in 'a: lr x 2, lr x 3' says the same a second time");
  CHECK(message_of([] { parse_group_rules("a: rate 2"); }).find("'rate 2' in 'a: rate 2'") != std::string::npos);
  CHECK(message_of([] { parse_group_rules("a:"); }).find("is neither") != std::string::npos);
}

TEST_CASE("a batch that fits divides the images of an update") {
  CHECK(fitting_batch(128, 1300, 10, 1300, 4096) == 128);
  CHECK(fitting_batch(128, 1300, 10, 700, 4096) == 64);
  CHECK(fitting_batch(128, 1300, 10, 50, 4096) == 2);
  CHECK(fitting_batch(128, 1300, 10, 10, 4096) == 0);
  CHECK(StepCost::duration(30) == "30 s");
  CHECK(StepCost::duration(7200) == "2.0 h");
  const Tensor chart = schedule_picture({.peak = 1e-3, .epochs = 3, .warmup = 1}, 10, 3);
  CHECK(chart.size(2) == 3);
}
