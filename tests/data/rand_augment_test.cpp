// RandAugment: every operation against Pillow's pictures, policies in timm's notation, and targets that move along.
#include "atlas/data/rand_augment.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "atlas/data/device_augment.h"
#include "atlas/io/safetensors.h"
#include "atlas/tensor/create.h"
#include "tests/data/data_test.h"
#include "tests/source_dir.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;

namespace {

Rng rng_of(int64_t i) { return Rng(11, Purpose::sample, 0, i); }

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts{""};
  for (const char c : text) {
    if (c == '/')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

Tensor noise_image(int64_t h, int64_t w) {
  Tensor x = empty({h, w, 3}, uint8, Device{});
  Rng rng = rng_of(99);
  for (int64_t i = 0; i < x.numel(); ++i) x.data<uint8_t>()[i] = static_cast<uint8_t>(rng.bits() >> 24);
  return x;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data<uint8_t>(), a.data<uint8_t>() + a.numel(), b.data<uint8_t>());
}

}  // namespace

TEST_CASE("every operation gives Pillow's picture to one gray level on 99.9 % of the pixels") {
  const auto file = io::load_safetensors(test::source_dir() + "/tests/golden/recipes/rand_augment.safetensors");
  const RandAugment augment{{}, {124, 116, 104}};
  std::set<std::string> seen;
  for (const auto& entry : file.tensors) {
    const std::string& key = entry.first;
    const Tensor& wanted = entry.second;
    const std::vector<std::string> p = split(key);
    if (p.size() == 1) continue;
    CAPTURE(key);
    AugmentStep step;
    step.op = find_augment_op(p[1]);
    step.magnitude = std::strtod(p[2].c_str(), nullptr);
    step.argument = op_argument(step.op, step.magnitude, p[4] == "inc", p[3] == "1" ? 1 : -1);
    step.mode = p.size() > 5 && p[5] == "bilinear" ? Interpolation::bilinear : Interpolation::bicubic;
    Sample s{file.tensors.at(p[0])};
    augment.apply(step, s);
    REQUIRE(s.image.shape() == wanted.shape());
    int64_t far = 0;
    for (int64_t i = 0; i < wanted.numel(); i += 3) {
      int most = 0;
      for (int64_t c = i; c < i + 3; ++c)
        most = std::max(most, std::abs(int{s.image.data<uint8_t>()[c]} - int{wanted.data<uint8_t>()[c]}));
      far += most > 1 ? 1 : 0;
    }
    CHECK(static_cast<double>(far) <= 0.001 * static_cast<double>(wanted.numel() / 3));
    seen.insert(p[1]);
  }
  CHECK(seen.size() == kAugmentOps);
}

TEST_CASE("points that a rotation brings exactly to the border are inside or outside as in Pillow") {
  Tensor x = empty({9, 1, 3}, uint8, Device{});
  const std::array<uint8_t, 9> column = {10, 200, 40, 250, 90, 30, 220, 60, 140};
  for (size_t i = 0; i < 27; ++i) x.data<uint8_t>()[i] = column[i / 3];
  const std::array<uint8_t, 9> left = {124, 124, 124, 124, 90, 38, 124, 124, 124},
                               right = {124, 124, 124, 228, 90, 124, 124, 124, 124};
  for (const double degrees : {30.0, -30.0}) {
    const Tensor y = Geometry::rotate(degrees, 9, 1, Interpolation::bilinear, {124, 116, 104}).image(x);
    for (size_t i = 0; i < 9; ++i) {
      CAPTURE(degrees);
      CAPTURE(i);
      CHECK(std::abs(int{y.data<uint8_t>()[3 * i]} - int{(degrees > 0 ? left : right)[i]}) <= 1);
    }
  }
}

TEST_CASE("policies are read in timm's notation") {
  const auto p = RandAugmentPolicy::parse("rand-m9-mstd0.5-inc1");
  CHECK(p.magnitude == 9);
  CHECK(p.operations == 2);
  CHECK(p.probability == 0.5);
  CHECK(p.deviation == 0.5);
  CHECK(p.increasing);
  const auto q = RandAugmentPolicy::parse("rand-n3-p0.75-m15-mmax20");
  CHECK(q.operations == 3);
  CHECK(q.probability == 0.75);
  CHECK(q.magnitude == 15);
  CHECK(q.largest == 20);
  CHECK(!q.increasing);
  CHECK(RandAugmentPolicy::parse(q.str()).str() == q.str());
  CHECK(RandAugmentPolicy::parse("rand").magnitude == 10);
}

TEST_CASE("what is wrong in a policy is named with its place") {
  const auto error = [](const char* text) { return message_of([&] { RandAugmentPolicy::parse(text); }); };
  CHECK(error("rand-m9-x3").starts_with("[rand_augment] 'rand-m9-x3', character 9, 'x3': there are m (magnitude), n"));
  CHECK(
      error("augmix-m3").starts_with("[rand_augment] 'augmix-m3', character 1, 'augmix': a policy begins with 'rand'"));
  CHECK(error("").starts_with("[rand_augment] '', character 1, '': a policy begins"));
  CHECK(error("rand-m").find("character 6, 'm': m needs a number in 0..30 behind it") != std::string::npos);
  CHECK(error("rand-m9-n2.5").find("character 9, 'n2.5': n needs a whole number in 0..100") != std::string::npos);
  CHECK(error("rand-m31").find("'m31': m needs a number in 0..30") != std::string::npos);
  CHECK(error("rand-m-3").find("character 6, 'm': m needs a number") != std::string::npos);
  CHECK(error("rand-mstd0.5-m12").find("character 14, 'm12': the magnitude is above 10") != std::string::npos);
  CHECK(error("rand-m9-m9").find("character 9, 'm9': m stands there twice") != std::string::npos);
  CHECK(error("rand-m9-inc2").find("'inc2': inc needs a number in 0..1") != std::string::npos);
  CHECK(error("rand-m9-").find("character 9, '': there are m") != std::string::npos);
  CHECK(error("rand-mnan").find("character 6") != std::string::npos);
  CHECK(message_of([] { find_augment_op("sheer-x"); }).find("did you mean shear-x") != std::string::npos);
  CHECK(find_augment_op("TranslateXRel") == AugmentOp::translate_x);
  CHECK(find_augment_op("ColorIncreasing") == AugmentOp::color);
}

TEST_CASE("arguments of magnitudes") {
  CHECK(op_argument(AugmentOp::rotate, 9, true, -1) == doctest::Approx(-27));
  CHECK(op_argument(AugmentOp::color, 10, true, -1) == doctest::Approx(0.1));
  CHECK(op_argument(AugmentOp::color, 10, false) == doctest::Approx(1.9));
  CHECK(op_argument(AugmentOp::posterize, 10, true) == 0);
  CHECK(op_argument(AugmentOp::posterize, 4.9, true) == 3);
  CHECK(op_argument(AugmentOp::posterize, 20, true) == 0);
  CHECK(op_argument(AugmentOp::solarize, 9, true) == 26);
  CHECK(op_argument(AugmentOp::solarize_add, 10, true) == 110);
  CHECK(op_argument(AugmentOp::solarize_add, 30, true) == 128);
  const Tensor black = op_colors(AugmentOp::posterize, 0, noise_image(3, 4));
  CHECK(same(black, zeros({3, 4, 3}, uint8)));
}

TEST_CASE("every operation is drawn about equally often, with its probability, magnitudes and signs") {
  const RandAugment augment{RandAugmentPolicy::parse("rand-m9-n2-mstd0.5-inc1")};
  constexpr int64_t kImages = 6000;
  std::vector<double> counts(kAugmentOps);
  double steps = 0, sum = 0, negative = 0, turned = 0, bicubic = 0;
  for (int64_t i = 0; i < kImages; ++i) {
    Rng rng = rng_of(i);
    for (const AugmentStep& s : augment.sample(rng)) {
      ++counts[static_cast<size_t>(s.op)];
      ++steps;
      sum += s.magnitude;
      CHECK(s.magnitude <= 10);
      if (s.op == AugmentOp::rotate) ++turned, negative += s.argument < 0 ? 1 : 0;
      bicubic += s.mode == Interpolation::bicubic ? 1 : 0;
    }
  }
  CHECK(steps / (2 * kImages) == doctest::Approx(0.5).epsilon(0.04));
  for (const double n : counts) CHECK(n / steps == doctest::Approx(1.0 / 15).epsilon(0.25));
  CHECK(sum / steps == doctest::Approx(9).epsilon(0.01));
  CHECK(negative / turned == doctest::Approx(0.5).epsilon(0.2));
  CHECK(bicubic / steps == doctest::Approx(0.5).epsilon(0.1));
  // Above 100 the deviation says uniform.
  const RandAugment uniform{RandAugmentPolicy::parse("rand-m8-n1-p1-mstd101")};
  double low = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    Rng rng = rng_of(i);
    low += uniform.sample(rng).at(0).magnitude < 4 ? 1 : 0;
  }
  CHECK(low / 1000 == doctest::Approx(0.5).epsilon(0.15));
}

TEST_CASE("the same sequence gives the same image; masks and boxes move along") {
  const RandAugment augment{RandAugmentPolicy::parse("rand-m9-n2-mstd0.5-inc1")};
  const Tensor image = noise_image(21, 33);
  Rng a = rng_of(3), b = rng_of(3);
  CHECK(same(augment(image, a), augment(image, b)));

  Sample s{zeros({20, 40, 3}, uint8)};
  Tensor mask = zeros({20, 40}, uint8), box = empty({1, 4}, float32, Device{});
  for (int64_t y = 8; y < 12; ++y)
    for (int64_t x = 30; x < 36; ++x) {
      mask.data<uint8_t>()[y * 40 + x] = 7;
      for (int64_t c = 0; c < 3; ++c) s.image.data<uint8_t>()[(y * 40 + x) * 3 + c] = 200;
    }
  const float corners[] = {30, 8, 36, 12};
  std::copy(corners, corners + 4, box.data<float>());
  s.targets.set("mask", {TargetKind::mask, mask});
  s.targets.set("boxes", {TargetKind::boxes, box});
  augment.apply({AugmentOp::translate_x, 5, 0.25, Interpolation::bilinear}, s);
  const Tensor& moved = s.targets["mask"];
  CHECK(moved.at<uint8_t>({9, 20}) == 7);
  CHECK(moved.at<uint8_t>({9, 25}) == 7);
  CHECK(moved.at<uint8_t>({9, 26}) == 0);
  CHECK(moved.at<uint8_t>({9, 35}) == kIgnored);
  CHECK(s.image.at<uint8_t>({9, 20, 1}) == 200);
  CHECK(s.image.at<uint8_t>({9, 35, 1}) == 128);
  CHECK(s.targets["boxes"].at<float>({0, 0}) == 20);
  CHECK(s.targets["boxes"].at<float>({0, 2}) == 26);
  augment.apply({AugmentOp::invert}, s);
  CHECK(s.image.at<uint8_t>({9, 20, 1}) == 55);
  CHECK(s.targets["mask"].at<uint8_t>({9, 20}) == 7);
}

TEST_CASE("images of other types are refused") {
  const RandAugment augment{RandAugmentPolicy::parse("rand-m9-n1-p1")};
  Rng rng = rng_of(0);
  CHECK(message_of([&] {
          augment(zeros({4, 4, 3}), rng);
        }).starts_with("[RandAugment] needs a uint8 image [H,W,3], before normalization, got float32"));
}

TEST_CASE("RandAugment stays on the host, with all that comes before it") {
  const Transform pipeline = Compose{
      {PadAndCrop{2, 8, 8}, RandomFlip{}, RandAugment::of("rand-m9", Normalize{}), Normalize{}, RandomErasing{}}};
  const auto cut = cut_for_device(pipeline);
  REQUIRE(cut.has_value());
  CHECK(cut->device.erase.has_value());
  CHECK(!cut->device.flip.has_value());
  CHECK(!cut->device.place.has_value());
  REQUIRE(cut->host.get<Compose>() != nullptr);
  REQUIRE(cut->host.get<Compose>()->steps.size() == 3);
  const RandAugment* last = cut->host.get<Compose>()->steps[2].get<RandAugment>();
  REQUIRE(last != nullptr);
  CHECK(last->fill == std::array<double, 3>{124, 116, 104});
}
