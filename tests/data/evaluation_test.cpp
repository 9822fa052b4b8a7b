// The published evaluation preprocessing against Pillow's (tools/reference/make_evaluation.py), and sizes of any kind.
#include "atlas/data/evaluation.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "atlas/io/safetensors.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/softmax.h"
#include "atlas/tensor/memory.h"
#include "tests/data/data_test.h"
#include "tests/source_dir.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;

namespace {

const Normalize kRaw{{0, 0, 0}, {1, 1, 1}};

Tensor apply(const EvaluationSettings& s, const Tensor& image) {
  Rng rng(0, Purpose::sample, 0, 0);
  return evaluation_transform(s)(image, rng);
}

}  // namespace

TEST_CASE("crops are Pillow's, to a gray level") {
  const auto file = io::load_safetensors(test::source_dir() + "/tests/data/evaluation.safetensors").tensors;
  struct Case {
    const char *image, *result;
    EvaluationSettings settings;
  };
  for (const Case& c :
       {Case{"wide", "32_32_wide", {32, 32, 1, false, kRaw}}, Case{"tall", "34_32_tall", {32, 32, 0.93, false, kRaw}},
        Case{"wide", "30_28_squash_wide", {28, 28, 0.93, true, kRaw}},
        Case{"small", "30_30_small", {30, 30, 0.98, false, kRaw}}}) {
    CAPTURE(c.result);
    const Tensor got = apply(c.settings, file.at(c.image)), want = file.at(c.result);
    REQUIRE(got.shape() == want.shape());
    // Pillow clamps and rounds to 8 bits between its two passes, so levels differ by a few at hard edges. A crop that
    // is one pixel off differs by 20 on average.
    double total = 0;
    int worst = 0;
    for (int64_t i = 0; i < want.numel(); ++i) {
      const int away = std::abs(static_cast<int>(std::lround(got.data<float>()[i] * 255)) - want.data<uint8_t>()[i]);
      worst = std::max(worst, away);
      total += away;
    }
    CHECK(worst <= 4);
    CHECK(total / static_cast<double>(want.numel()) < 0.3);
  }
}

TEST_CASE("pictures are normalized by ImageNet's mean and deviation unless told otherwise") {
  Tensor gray = empty({8, 8, 3}, uint8);
  fill_elements(gray, 51);
  const Tensor y = apply({8, 8}, gray);
  for (int c = 0; c < 3; ++c)
    CHECK(y.at<float>({3, 4, c}) ==
          doctest::Approx((0.2f - kImageNetMean[static_cast<size_t>(c)]) / kImageNetStd[static_cast<size_t>(c)]));
}

TEST_CASE("any picture becomes the size that was asked for") {
  for (const auto& size : {std::pair<int64_t, int64_t>{100, 100}, {1, 300}, {300, 1}, {7, 5}, {64, 33}}) {
    const int64_t h = size.first, w = size.second;
    Tensor image = empty({h, w, 3}, uint8);
    fill_elements(image, 255);
    for (const EvaluationSettings& s : {EvaluationSettings{16, 16, 0.9, false, kRaw},
                                        {16, 16, 0.9, true, kRaw},
                                        {12, 20, 0.8, false, kRaw},
                                        {20, 12, 1, false, kRaw}}) {
      CAPTURE(h);
      CAPTURE(s.height);
      const Tensor y = apply(s, image);
      REQUIRE(y.shape() == Shape{s.height, s.width, 3});
      // White all over: the crop never reaches beyond the picture.
      for (int64_t i = 0; i < y.numel(); ++i) REQUIRE(y.data<float>()[i] == 1.0f);
    }
  }
  Tensor image = empty({5, 9, 3}, uint8);
  CHECK(apply({0, 0}, image).shape() == Shape{5, 9, 3});
}

TEST_CASE("settings out of range") {
  CHECK(message_of([] { evaluation_transform({-1, 5}); }).find("got -1 x 5") != std::string::npos);
  CHECK(message_of([] { evaluation_transform({0, 5}); }).find("0 x 0 to keep sizes") != std::string::npos);
  CHECK(message_of([] {
          evaluation_transform({8, 8, 0});
        }).find("crop must lie in [0.1, 1], got 0") != std::string::npos);
  Tensor line = empty({1, 5000, 3}, uint8);
  CHECK(message_of([&] { apply({224, 224}, line); }).find("too long and thin") != std::string::npos);
}
