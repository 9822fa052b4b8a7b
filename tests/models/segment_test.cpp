// Segmenters: published sizes, class maps in strips, sliding windows, and the pieces of a map that a resize reads.
#include "atlas/models/heads/segment.h"

#include <doctest/doctest.h>

#include <array>

#include "atlas/core/storage.h"
#include "atlas/models/presets.h"
#include "atlas/nn/init.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/order.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/compare.h"
#include "tests/peak.h"

using namespace atlas;
using test::message_of;

namespace {
bool same(const Tensor& a, const Tensor& b) {
  const auto x = to_vector<int64_t>(a), y = to_vector<int64_t>(b);
  return a.shape() == b.shape() && x == y;
}
}  // namespace

TEST_CASE("the published segmenters have as many parameters as the authors' logs say") {
  const SkipInit nothing_is_computed;
  for (const auto& [name, count] :
       std::initializer_list<std::pair<const char*, int64_t>>{{"upernet-mambavision-t", 62'518'764},
                                                              {"upernet-mambavision-s", 81'794'092},
                                                              {"upernet-mambavision-b", 131'196'780}})
    CHECK(models::make_any_model(name)->parameter_count() == count);
}

TEST_CASE("names are those of the published checkpoints") {
  const auto model = models::make_any_model("upernet-mambavision-toy");
  const StateDict dict = model->state_dict();
  for (const char* name : {"backbone.levels.2.blocks.0.mixer.x_proj.weight", "backbone.outnorm3.bias",
                           "decode_head.psp_modules.3.1.conv.weight", "decode_head.bottleneck.bn.running_mean",
                           "decode_head.lateral_convs.2.conv.weight", "decode_head.fpn_convs.0.bn.weight",
                           "decode_head.fpn_bottleneck.conv.weight", "decode_head.conv_seg.bias",
                           "auxiliary_head.convs.0.conv.weight", "auxiliary_head.conv_seg.weight"})
    CHECK_MESSAGE(dict.contains(name), name);
  CHECK_FALSE(dict.contains("backbone.norm.weight"));
  CHECK(model->task() == "segmentation");
  CHECK(models::make_any_model_from_config(model->family(), model->config_json())->config_json() ==
        model->config_json());
  CHECK(message_of([] { models::make_model("upernet-atlas-toy"); }).find("segmentation") != std::string::npos);
  CHECK(message_of([] {
          models::make_any_model("upernet-mambavision-toy", {.overrides = R"({"aux_index": 4})"});
        }).find("aux_index 4 is no map of the backbone, which has 4") != std::string::npos);
}

TEST_CASE("a batch of one image has no statistics where the map is pooled to one pixel: said in words") {
  const auto model = models::make_any_model("upernet-mambavision-toy");
  model->train();
  CHECK(message_of([&] {
          (*model)(zeros({1, 64, 64, 3}));
        }).find("[batch_norm] expected more than 1 value per channel when training, got float32[1,1,1,") == 0);
  CHECK((*model)(zeros({2, 64, 64, 3})).size(0) == 2);
  model->eval();
  CHECK((*model)(zeros({1, 64, 64, 3})).size(0) == 1);
}

TEST_CASE("a class map made in strips is that of the whole logits, resized twice") {
  manual_seed(5);
  const Tensor logits = randn({2, 7, 9, 4});
  for (const auto& [h, w] : {std::array<int64_t, 2>{28, 36}, {45, 31}, {5, 6}}) {
    const Tensor through = models::resize_map(logits, 26, 35);
    const Tensor expected = argmax(models::resize_map(through, h, w), 3);
    for (const int64_t strip : {int64_t{1}, int64_t{5000}, int64_t{1} << 25})
      CHECK(same(models::class_map(logits, {{26, 35}, {h, w}}, strip), expected));
    CHECK(same(models::class_map(logits, {{h, w}}, 1), argmax(models::resize_map(logits, h, w), 3)));
  }
}

TEST_CASE("pieces that cover the image once give the mean of what they say; one piece is the whole") {
  manual_seed(6);
  const auto made = models::make_any_model("upernet-atlas-toy", {.num_classes = 3});
  auto& model = dynamic_cast<models::Segmenter&>(*made);
  model.eval();
  const NoGrad off;
  const Tensor images = randn({1, 48, 70, 3});
  const Tensor whole = model.whole(images);
  CHECK(whole.shape() == Shape{1, 48, 70, 3});
  const Tensor one = model.slide(images, 70, 70);
  CHECK(same(argmax(one, 3), argmax(whole, 3)));
  CHECK(same(model.predict(images, 48, 70, 70, 70), model.predict(images, 48, 70)));
  CHECK(model.slide(images, 32, 20).shape() == whole.shape());
  CHECK(message_of([&] { model.slide(images, 32, 40); }).find("needs 1 <= stride <= crop") != std::string::npos);
}

TEST_CASE("sliding in strips says what the mean of all pieces says") {
  manual_seed(7);
  const auto made = models::make_any_model("upernet-atlas-toy", {.num_classes = 5});
  auto& model = dynamic_cast<models::Segmenter&>(*made);
  model.eval();
  const NoGrad off;
  const Tensor images = randn({1, 70, 50, 3});
  // The mean over pieces as the formula has it: every piece resized to its size, added in its place.
  Tensor total = zeros({1, 70, 50, 5}), count = zeros({1, 70, 50, 1});
  for (const int64_t top : {0, 20, 38})
    for (const int64_t left : {0, 18}) {
      const auto place = [=](const Tensor& x) { return x.slice(1, top, top + 32).slice(2, left, left + 32); };
      Tensor sum = place(total), seen = place(count);
      copy_elements(sum, place(total) + model.whole(place(images).contiguous()));
      copy_elements(seen, place(count) + 1);
    }
  const Tensor mean = total / count;
  CHECK(test::largest_difference(model.slide(images, 32, 20), mean) <= 1e-6);
  // Emulated devices take long for a piece: there, two sizes and one strip.
  const bool all = !default_device().is_cuda();
  for (const auto& [h, w] : {std::array<int64_t, 2>{31, 90}, {70, 50}, {133, 21}}) {
    const Tensor expected = argmax(models::resize_map(mean, h, w), 3);
    for (const int64_t strip : {int64_t{9000}, int64_t{1}, int64_t{1} << 25}) {
      int pieces = 0;
      const auto seen = [&pieces](const Tensor& image, const Tensor& logits) {
        ++pieces;
        CHECK(image.shape() == Shape{1, 32, 32, 3});
        CHECK(logits.size(3) == 5);
      };
      CHECK(same(model.predict(images, h, w, 32, 20, strip, seen), expected));
      CHECK(pieces == 6);
      if (!all) break;
    }
    if (!all && h == 70) break;
  }
}

TEST_CASE("sliding keeps no logits of the whole image") {
  if (default_device().is_cuda()) {
    MESSAGE("memory is counted on the host: not tried");
    return;
  }
  const NoGrad off;
  const auto many = models::make_any_model("upernet-atlas-toy", {.num_classes = 60});
  auto& wide = dynamic_cast<models::Segmenter&>(*many);
  wide.eval();
  const Tensor tall = zeros({1, 2048, 64, 3});
  const int64_t whole = 2048 * 64 * 60 * 4;
  CHECK(test::peak_of([&] { wide.slide(tall, 64, 64); }) > whole);
  CHECK(test::peak_of([&] { wide.predict(tall, 2048, 64, 64, 64, 1'000'000); }) < whole / 4);
}
