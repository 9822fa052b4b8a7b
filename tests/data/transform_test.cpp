// Transforms: exact results of the deterministic ones, ranges and statistics of the random ones, mixing of batches.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstring>

#include "atlas/data/augment.h"
#include "atlas/data/mix.h"
#include "atlas/ops/arithmetic.h"
#include "tests/compare.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;
using test::same_bits;

namespace {

/// Pixel (y, x) is (10 y + x, 100 + 10 y + x, 200).
Tensor numbered(int64_t h, int64_t w) {
  Tensor t = empty({h, w, 3}, uint8);
  for (int64_t y = 0; y < h; ++y) {
    for (int64_t x = 0; x < w; ++x) {
      t.at<uint8_t>({y, x, 0}) = static_cast<uint8_t>(10 * y + x);
      t.at<uint8_t>({y, x, 1}) = static_cast<uint8_t>(100 + 10 * y + x);
      t.at<uint8_t>({y, x, 2}) = 200;
    }
  }
  return t;
}

Tensor constant(int64_t h, int64_t w, std::array<uint8_t, 3> color) {
  Tensor t = empty({h, w, 3}, uint8);
  for (int64_t i = 0; i < t.numel(); ++i) t.data<uint8_t>()[i] = color[static_cast<size_t>(i % 3)];
  return t;
}

int red(const Tensor& t, int64_t y, int64_t x) { return t.at<uint8_t>({y, x, 0}); }

Rng rng_of(int64_t i) { return Rng(5, Purpose::sample, 0, i); }

}  // namespace

TEST_CASE("random numbers belong to their key") {
  Rng a(1, Purpose::sample, 2, 3), b(1, Purpose::sample, 2, 3);
  for (int i = 0; i < 9; ++i) CHECK(a.bits() == b.bits());
  const uint64_t first = Rng(1, Purpose::sample, 2, 3).bits64();
  CHECK(first != Rng(2, Purpose::sample, 2, 3).bits64());
  CHECK(first != Rng(1, Purpose::mix, 2, 3).bits64());
  CHECK(first != Rng(1, Purpose::sample, 3, 3).bits64());
  CHECK(first != Rng(1, Purpose::sample, 2, 4).bits64());
}

TEST_CASE("random numbers have the distributions they claim") {
  Rng rng(9, Purpose::sample, 0, 0);
  const int n = 40000;
  double uniform = 0, normal = 0, square = 0, beta = 0, beta_square = 0, gamma = 0;
  std::array<int, 5> counts{};
  for (int i = 0; i < n; ++i) {
    uniform += rng.uniform(2, 4);
    const double z = rng.normal(), b = rng.beta(0.8, 0.8);
    normal += z;
    square += z * z;
    beta += b;
    beta_square += b * b;
    gamma += rng.gamma(2.5);
    ++counts[static_cast<size_t>(rng.below(5))];
    REQUIRE((b >= 0 && b <= 1));
  }
  CHECK(uniform / n == doctest::Approx(3).epsilon(0.01));
  CHECK(std::abs(normal / n) < 0.02);
  CHECK(square / n == doctest::Approx(1).epsilon(0.03));
  CHECK(gamma / n == doctest::Approx(2.5).epsilon(0.02));
  CHECK(beta / n == doctest::Approx(0.5).epsilon(0.02));
  CHECK(beta_square / n - 0.25 ==
        doctest::Approx(1 / (4 * 2.6)).epsilon(0.05));  // variance of Beta(a, a): 1 / (4 (2a + 1))
  for (const int c : counts) CHECK(c == doctest::Approx(n / 5.0).epsilon(0.05));
}

TEST_CASE("crops, inside and over the border") {
  const Tensor t = numbered(4, 6);
  const Tensor inside = crop(t, 1, 2, 2, 3);
  REQUIRE(inside.shape() == Shape{2, 3, 3});
  CHECK(red(inside, 0, 0) == 12);
  CHECK(red(inside, 1, 2) == 24);
  const Tensor over = crop(t, -1, 4, 3, 4);
  CHECK(red(over, 0, 0) == 0);
  CHECK(red(over, 1, 1) == 5);
  CHECK(red(over, 1, 2) == 0);
  CHECK(over.at<uint8_t>({1, 2, 2}) == 0);
  CHECK(same_bits(crop(t, 50, 50, 2, 2), constant(2, 2, {0, 0, 0})));
  const Tensor f = crop(to_float(t), 1, 2, 1, 1);
  CHECK(f.at<float>({0, 0, 1}) == doctest::Approx(112 / 255.0));

  Rng rng = rng_of(0);
  const Tensor center = CenterCrop{2, 2}(t, rng);
  CHECK(red(center, 0, 0) == 12);
  const Tensor padded = CenterCrop{6, 6}(t, rng);
  CHECK(red(padded, 0, 0) == 0);
  CHECK(padded.at<uint8_t>({1, 0, 1}) == 100);
  CHECK(padded.at<uint8_t>({5, 0, 1}) == 0);
  CHECK(message_of([&] { crop(t, 0, 0, 0, 4); }) == "[crop] needs a size of at least 1 x 1, got 0 x 4");
}

TEST_CASE("resizing keeps constants, proportions and type") {
  Rng rng = rng_of(0);
  for (const auto mode : {Interpolation::nearest, Interpolation::bilinear, Interpolation::bicubic}) {
    CHECK(same_bits(Resize{7, 11, mode}(constant(5, 4, {9, 130, 255}), rng), constant(7, 11, {9, 130, 255})));
    CHECK(same_bits(Resize{3, 2, mode}(constant(8, 9, {9, 130, 255}), rng), constant(3, 2, {9, 130, 255})));
  }
  CHECK(ResizeShorter{8}(numbered(4, 6), rng).shape() == Shape{8, 12, 3});
  CHECK(ResizeShorter{2}(numbered(6, 4), rng).shape() == Shape{3, 2, 3});
  CHECK(ResizeShorter{100}(numbered(3, 7), rng).shape() == Shape{100, 233, 3});
  // Halving with the triangle filter: weights 1 3 3 1 of the inner columns.
  const Tensor half = Resize{1, 4}(crop(numbered(1, 8), 0, 0, 1, 8), rng);
  CHECK(red(half, 0, 1) == 3);  // 2.5, rounded half up
  const Tensor f = Resize{2, 2, Interpolation::bilinear}(to_float(constant(4, 4, {51, 102, 204})), rng);
  CHECK(f.dtype() == float32);
  CHECK(f.at<float>({1, 1, 0}) == doctest::Approx(0.2));
}

TEST_CASE("normalization follows its formula for both types") {
  Rng rng = rng_of(0);
  const Tensor image = constant(2, 2, {0, 51, 255});
  for (const Tensor& x : {image, to_float(image)}) {
    const Tensor y = Normalize{}(x, rng);
    CHECK(y.dtype() == float32);
    CHECK(y.at<float>({1, 1, 0}) == doctest::Approx((0 - 0.485) / 0.229));
    CHECK(y.at<float>({1, 1, 1}) == doctest::Approx((0.2 - 0.456) / 0.224));
    CHECK(y.at<float>({1, 1, 2}) == doctest::Approx((1 - 0.406) / 0.225));
  }
  CHECK(message_of([&] { Normalize{{0, 0, 0}, {1, 0, 1}}(image, rng); }) == "[Normalize] std must be > 0, got 1, 0, 1");
}

TEST_CASE("flips mirror, and happen with their probability") {
  const Tensor t = numbered(3, 5);
  const Tensor f = RandomFlip::flipped(t);
  CHECK(red(f, 1, 0) == 14);
  CHECK(f.at<uint8_t>({2, 4, 1}) == 120);
  CHECK(same_bits(RandomFlip::flipped(f), t));
  CHECK(same_bits(RandomFlip::flipped(to_float(t)), to_float(f)));
  int flips = 0;
  for (int64_t i = 0; i < 2000; ++i) {
    Rng rng = rng_of(i);
    flips += red(RandomFlip{0.3}(t, rng), 0, 0) == 4 ? 1 : 0;
  }
  CHECK(flips == doctest::Approx(600).epsilon(0.1));
}

TEST_CASE("pad-and-crop visits every offset and no other") {
  const Tensor t = numbered(4, 4);
  std::array<int, 25> seen{};
  for (int64_t i = 0; i < 500; ++i) {
    Rng rng = rng_of(i);
    const Tensor y = PadAndCrop{2}(t, rng);
    REQUIRE(y.shape() == Shape{4, 4, 3});
    bool found = false;
    for (int64_t k = 0; k < 25 && !found; ++k) {
      found = same_bits(y, crop(t, k / 5 - 2, k % 5 - 2, 4, 4));
      if (found) ++seen[static_cast<size_t>(k)];
    }
    REQUIRE(found);
  }
  for (const int n : seen) CHECK(n > 4);
  Rng rng = rng_of(0);
  CHECK(PadAndCrop{2, 6, 5}(t, rng).shape() == Shape{6, 5, 3});
}

TEST_CASE("random resized crops stay in the image and cover the area and proportions asked for") {
  const RandomResizedCrop crops{8, 8, {0.25, 0.5}, {0.5, 2.0}};
  double area = 0, log_ratio = 0;
  for (int64_t i = 0; i < 3000; ++i) {
    Rng rng = rng_of(i);
    const auto b = crops.sample(100, 140, rng);
    REQUIRE((b.top >= 0 && b.left >= 0 && b.height > 0 && b.width > 0 && b.top + b.height <= 100 &&
             b.left + b.width <= 140));
    const double part = static_cast<double>(b.height * b.width) / 14000.0;
    REQUIRE(part > 0.24);
    REQUIRE(part < 0.51);
    area += part;
    log_ratio += std::log(static_cast<double>(b.width) / static_cast<double>(b.height));
  }
  CHECK(area / 3000 == doctest::Approx(0.372).epsilon(0.02));
  CHECK(std::abs(log_ratio / 3000) < 0.06);
  Rng rng = rng_of(0);
  CHECK(crops(numbered(9, 9), rng).shape() == Shape{8, 8, 3});
  // Nothing of these proportions fits: the largest centered piece.
  const RandomResizedCrop whole{8, 8, {1.0, 1.0}, {1.0, 1.0}};
  const auto b = whole.sample(10, 40, rng);
  CHECK(b.top == 0);
  CHECK(b.left == 15);
  CHECK(b.height == 10);
  CHECK(b.width == 10);
  CHECK(message_of([&] {
          RandomResizedCrop{8, 8, {0.5, 0.1}}(numbered(9, 9), rng);
        }) == "[RandomResizedCrop] needs 0 < low <= high, got scale 0.5..0.1 and ratio 0.75..1.3333333333333333");
}

TEST_CASE("random resized crops are resized as imaging programs do, smaller and larger") {
  Tensor image = empty({40, 50, 3}, uint8);
  Rng noise = rng_of(1);
  for (int64_t i = 0; i < image.numel(); ++i) image.data<uint8_t>()[i] = static_cast<uint8_t>(noise.below(256));
  for (const int64_t side : {12, 90})
    for (const Interpolation mode : {Interpolation::nearest, Interpolation::bilinear, Interpolation::bicubic}) {
      Rng rng = rng_of(2), again = rng_of(2);
      const RandomResizedCrop crops{side, side, {0.3, 0.5}, {0.75, 1.333}, mode};
      const Tensor y = crops(image, rng);
      const Crop piece = crops.sample(40, 50, again);
      // With antialias, bicubic has a = -1/2 whatever the sizes.
      const Tensor expected = resize(crop(image, piece.top, piece.left, piece.height, piece.width).unsqueeze(0), side,
                                     side, mode, mode != Interpolation::nearest)
                                  .select(0, 0)
                                  .contiguous();
      int largest = 0;
      for (int64_t i = 0; i < y.numel(); ++i)
        largest = std::max(largest, std::abs(int{y.data<uint8_t>()[i]} - int{expected.data<uint8_t>()[i]}));
      CHECK(largest <= 1);
    }
}

TEST_CASE("color jitter: each change alone obeys its formula") {
  const Tensor gray = constant(4, 4, {90, 90, 90}), color = constant(4, 4, {200, 100, 40});
  double low = 1e9, high = 0;
  for (int64_t i = 0; i < 300; ++i) {
    Rng rng = rng_of(i);
    // Contrast leaves a flat gray image alone, saturation any gray image.
    CHECK(same_bits(ColorJitter{0, 0.9, 0.9}(gray, rng), gray));
    const double f = ColorJitter{0.4, 0, 0}(gray, rng).at<uint8_t>({2, 2, 1}) / 90.0;
    low = std::min(low, f);
    high = std::max(high, f);
    const Tensor s = ColorJitter{0, 0, 0.4}(color, rng);
    const double r = s.at<uint8_t>({0, 0, 0}), g = s.at<uint8_t>({0, 0, 1}), b = s.at<uint8_t>({0, 0, 2});
    CHECK(0.299 * r + 0.587 * g + 0.114 * b == doctest::Approx(0.299 * 200 + 0.587 * 100 + 0.114 * 40).epsilon(0.02));
    const Tensor smooth = ColorJitter{0.4, 0.4, 0.4}(to_float(color), rng);
    for (int64_t k = 0; k < 3; ++k) REQUIRE((smooth.data<float>()[k] >= 0 && smooth.data<float>()[k] <= 1));
  }
  CHECK(low < 0.65);
  CHECK(low >= 0.59);
  CHECK(high > 1.35);
  CHECK(high <= 1.41);
}

TEST_CASE("random erasing replaces one rectangle by noise") {
  const Tensor t = to_float(constant(40, 40, {51, 51, 51}));
  int hits = 0;
  double sum = 0, square = 0, count = 0;
  for (int64_t i = 0; i < 400; ++i) {
    Rng rng = rng_of(i);
    const Tensor y = RandomErasing{}(t, rng);
    int64_t top = 40, bottom = -1, left = 40, right = -1, changed = 0;
    for (int64_t r = 0; r < 40; ++r) {
      for (int64_t c = 0; c < 40; ++c) {
        if (y.at<float>({r, c, 0}) == t.at<float>({r, c, 0})) continue;
        top = std::min(top, r), bottom = std::max(bottom, r), left = std::min(left, c), right = std::max(right, c);
        ++changed;
        const double v = y.at<float>({r, c, 1});
        sum += v, square += v * v, ++count;
      }
    }
    if (changed == 0) continue;
    ++hits;
    CHECK(changed == (bottom - top + 1) * (right - left + 1));
    CHECK(changed >= 25);
    CHECK(changed <= 560);
  }
  CHECK(hits == doctest::Approx(100).epsilon(0.25));
  CHECK(std::abs(sum / count) < 0.02);
  CHECK(square / count == doctest::Approx(1).epsilon(0.03));
  Rng rng = rng_of(0);
  CHECK(RandomErasing{1.0}(constant(40, 40, {0, 0, 0}), rng).dtype() == uint8);
  CHECK(t.at<float>({20, 20, 0}) == doctest::Approx(0.2));  // the input is untouched
}

TEST_CASE("transforms refuse what is no image") {
  Rng rng = rng_of(0);
  CHECK(message_of([&] {
          RandomFlip{}(empty({4, 4}, uint8), rng);
        }) == "[RandomFlip] needs a uint8 or float32 image [H,W,C] on the CPU, got uint8[4,4]");
  CHECK(message_of([&] { Resize{2, 2}(empty({4, 0, 3}, uint8), rng); }).find("got uint8[4,0,3]") != std::string::npos);
  CHECK(message_of([&] {
          ColorJitter{}(empty({4, 4, 1}, uint8), rng);
        }) == "[ColorJitter] needs three channels, got uint8[4,4,1]");
  CHECK(message_of([&] {
          PadAndCrop{1, 9, 9}(numbered(4, 4), rng);
        }).find("is smaller than 9 x 9") != std::string::npos);
  // A strided view is as good as its copy.
  const Tensor wide = numbered(4, 8), view = raw_view(wide, {4, 4, 3}, {24, 6, 1}, 0);
  CHECK(red(RandomFlip::flipped(view), 1, 0) == 16);
}

TEST_CASE("soft targets: mixing and smoothing follow the formula") {
  Tensor labels = empty({3}, int64);
  labels.data<int64_t>()[0] = 2;
  labels.data<int64_t>()[1] = 0;
  labels.data<int64_t>()[2] = 1;
  const Tensor t = mixed_targets(labels, 4, 0.75, 0.1);
  CHECK(t.at<float>({0, 2}) == doctest::Approx(0.9 * 0.75 + 0.025));
  CHECK(t.at<float>({0, 1}) == doctest::Approx(0.9 * 0.25 + 0.025));
  CHECK(t.at<float>({0, 3}) == doctest::Approx(0.025));
  CHECK(t.at<float>({1, 0}) == doctest::Approx(0.925));
  CHECK(t.at<float>({2, 1}) == doctest::Approx(0.9 * 0.75 + 0.025));
  CHECK(message_of([&] { mixed_targets(labels, 2, 1, 0); }) == "[mix] label 2 is outside the 2 classes");
}

TEST_CASE("mixup blends, CutMix swaps, and targets say how much") {
  const auto batch_of = [](int64_t b) {
    Tensor images = empty({b, 10, 10, 3});
    for (int64_t i = 0; i < images.numel(); ++i) images.data<float>()[i] = static_cast<float>(i / 300);
    return images;
  };
  Tensor labels = empty({4}, int64);
  for (int64_t i = 0; i < 4; ++i) labels.data<int64_t>()[i] = i;
  int cuts = 0, untouched = 0;
  for (int64_t trial = 0; trial < 200; ++trial) {
    Tensor images = batch_of(4);
    Rng rng(3, Purpose::mix, 0, trial);
    const Tensor t =
        mix_batch(images, labels, 4, {.mixup = 0.8, .cutmix = 1.0, .probability = 0.8, .switch_to_cutmix = 0.5}, rng);
    // Image 0 holds 0s and its partner 3s, so its mean tells the partner's share.
    double mean = 0;
    bool blended = false;
    for (int64_t i = 0; i < 300; ++i) {
      const float v = images.data<float>()[i];
      mean += static_cast<double>(v) / 300;
      blended = blended || (v != 0 && v != 3);
    }
    CHECK(t.at<float>({0, 3}) == doctest::Approx(mean / 3).epsilon(1e-4));
    CHECK(t.at<float>({0, 0}) == doctest::Approx(1 - mean / 3).epsilon(1e-4));
    CHECK(t.at<float>({2, 1}) == doctest::Approx(mean / 3).epsilon(1e-4));
    if (mean == 0)
      ++untouched;
    else if (!blended)
      ++cuts;
    double all = 0;
    for (int64_t i = 0; i < 1200; ++i) all += static_cast<double>(images.data<float>()[i]);
    CHECK(all == doctest::Approx(1800).epsilon(1e-4));
  }
  CHECK(untouched > 25);
  CHECK(untouched < 75);
  CHECK(cuts > 50);
  CHECK(cuts < 110);

  Tensor odd = batch_of(3);
  mixup_(odd, 0.25);
  CHECK(odd.data<float>()[0] == doctest::Approx(1.5));
  CHECK(odd.data<float>()[300] == 1.0f);  // the middle image has itself as partner
  CHECK(odd.data<float>()[600] == doctest::Approx(0.5));
}
