// Geometry: what moves an image moves its masks, boxes and objects along; transforms that cannot say how are refused.
#include "atlas/data/geometry.h"

#include <doctest/doctest.h>

#include <vector>

#include "atlas/data/augment.h"
#include "atlas/data/evaluation.h"
#include "atlas/tensor/create.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;

namespace {

/// Pixel (y, x) holds 10 y + x in every channel.
Tensor numbered(int64_t h, int64_t w, int64_t channels = 3) {
  Tensor t = empty({h, w, channels}, uint8, Device{});
  for (int64_t i = 0; i < t.numel(); ++i)
    t.data<uint8_t>()[i] = static_cast<uint8_t>(10 * (i / channels / w) + i / channels % w);
  return t;
}

template <class T>
Tensor tensor_of(const Shape& shape, DType dtype, const std::vector<T>& values) {
  Tensor t = empty(shape, dtype, Device{});
  REQUIRE(t.numel() == std::ssize(values));
  std::copy(values.begin(), values.end(), t.data<T>());
  return t;
}

Tensor boxes_of(const std::vector<float>& values) {
  return tensor_of<float>({std::ssize(values) / 4, 4}, float32, values);
}

template <class T>
std::vector<T> values_of(const Tensor& t) {
  const T* p = t.data<T>();
  return {p, p + t.numel()};
}

/// A mask whose pixels equal the image's first channel, so that both can be compared after any move without blending.
Sample with_mask(const Tensor& image) {
  Sample s{image};
  const Tensor mask = Geometry().image(numbered(image.size(0), image.size(1), 1));
  s.targets.set("mask", {TargetKind::mask, raw_view(mask, {image.size(0), image.size(1)}, {image.size(1), 1}, 0)});
  return s;
}

/// Says that it moves nothing, which is not true.
struct Shrinks {
  static constexpr bool kPhotometric = true;
  Tensor operator()(const Tensor& x, Rng&) const { return resize_image(x, 2, 2, Interpolation::bilinear); }
};

Rng rng_of(int64_t i) { return Rng(5, Purpose::sample, 0, i); }

}  // namespace

TEST_CASE("crop, mirror and pad move image and mask alike; beyond the border images are 0 and masks ignored") {
  const std::vector<Geometry> moves = {Geometry(Crop{-1, 2, 3, 5}), Geometry(Mirror{}), Geometry::pad(4, 6, 1, 0, 2, 3),
                                       Geometry(Crop{1, 1, 2, 4}).then(Geometry(Mirror{}))};
  for (const Geometry& g : moves) {
    Sample s = with_mask(numbered(4, 6));
    g.apply(s);
    const Tensor& mask = s.targets["mask"];
    REQUIRE(mask.shape() == Shape{s.image.size(0), s.image.size(1)});
    for (int64_t y = 0; y < mask.size(0); ++y)
      for (int64_t x = 0; x < mask.size(1); ++x) {
        const int m = mask.at<uint8_t>({y, x}), v = s.image.at<uint8_t>({y, x, 1});
        CHECK((m == 255 ? 0 : m) == v);
      }
  }
  Sample s = with_mask(numbered(4, 6));
  Geometry(Crop{-1, 4, 2, 3}).apply(s);
  CHECK(values_of<uint8_t>(s.targets["mask"]) == std::vector<uint8_t>{255, 255, 255, 4, 5, 255});
}

TEST_CASE("masks are scaled by the nearest pixel, whatever the image does") {
  Tensor mask = tensor_of<uint8_t>({2, 4}, uint8, {0, 7, 255, 3, 9, 1, 2, 4});
  CHECK(values_of<uint8_t>(Geometry(Scale{4, 8, Interpolation::bicubic}).mask(mask)) ==
        std::vector<uint8_t>{0, 0, 7, 7, 255, 255, 3, 3, 0, 0, 7, 7, 255, 255, 3, 3,
                             9, 9, 1, 1, 2,   2,   4, 4, 9, 9, 1, 1, 2,   2,   4, 4});
  // Of three pixels, the one in the middle.
  mask = tensor_of<int64_t>({1, 6}, int64, {0, 1, 2, 3, 4, 5});
  CHECK(values_of<int64_t>(Geometry(Scale{1, 2}).mask(mask)) == std::vector<int64_t>{1, 4});
}

TEST_CASE("boxes follow, are clipped, and go where nothing is left of them") {
  const Tensor boxes = boxes_of({1, 2, 4, 6, 6, 0, 10, 3});
  CHECK(values_of<float>(Geometry(Crop{1, 2, 5, 6}).boxes(boxes, 8, 10)) == std::vector<float>{0, 1, 2, 5, 4, 0, 6, 2});
  CHECK(values_of<float>(Geometry(Scale{16, 5}).boxes(boxes, 8, 10)) == std::vector<float>{0.5f, 4, 2, 12, 3, 0, 5, 6});
  CHECK(values_of<float>(Geometry(Mirror{}).boxes(boxes, 8, 10)) == std::vector<float>{6, 2, 9, 6, 0, 0, 4, 3});
  CHECK(values_of<float>(Geometry::pad(8, 10, 3, 2, 0, 0).boxes(boxes, 8, 10)) ==
        std::vector<float>{3, 5, 6, 9, 8, 3, 12, 6});
  // A quarter turn against the clock: (x, y) -> (y, 10 - x) in a square image.
  const std::vector<float> turned = values_of<float>(Geometry::rotate(90, 10, 10).boxes(boxes, 10, 10));
  const std::vector<float> expected = {2, 6, 6, 9, 0, 0, 3, 4};
  for (size_t i = 0; i < 8; ++i) CHECK(turned[i] == doctest::Approx(expected[i]).epsilon(1e-5));

  Sample s{numbered(8, 10)};
  Tensor masks = zeros({3, 8, 10}, uint8);
  for (int64_t n = 0; n < 3; ++n) masks.at<uint8_t>({n, 2 * n, 3 * n}) = 1;
  s.targets.set("boxes", {TargetKind::boxes, boxes_of({0, 0, 1, 1, 3, 2, 4, 3, 6, 4, 7, 5})});
  s.targets.set("classes", {TargetKind::label, tensor_of<int64_t>({3}, int64, {5, 6, 7})});
  s.targets.set("masks", {TargetKind::instance_masks, masks});
  s.targets.set("crowd", {TargetKind::number, tensor_of<uint8_t>({3}, uint8, {1, 0, 1})});
  s.targets.set(kLabel, {TargetKind::label, full({}, 2, int64)});
  check_targets(s);
  Geometry(Crop{1, 2, 7, 8}).apply(s);
  check_targets(s);
  CHECK(values_of<float>(s.targets["boxes"]) == std::vector<float>{1, 1, 2, 2, 4, 3, 5, 4});
  CHECK(values_of<int64_t>(s.targets["classes"]) == std::vector<int64_t>{6, 7});
  CHECK(values_of<uint8_t>(s.targets["crowd"]) == std::vector<uint8_t>{0, 1});
  REQUIRE(s.targets["masks"].shape() == Shape{2, 7, 8});
  CHECK(s.targets["masks"].at<uint8_t>({0, 1, 1}) == 1);
  CHECK(s.targets["masks"].at<uint8_t>({1, 3, 4}) == 1);
  CHECK(label_of(s) == 2);
  Geometry(Crop{100, 0, 4, 4}).apply(s);
  CHECK(s.targets["boxes"].shape() == Shape{0, 4});
  CHECK(s.targets["masks"].shape() == Shape{0, 4, 4});
  check_targets(s);
  Geometry(Mirror{}).apply(s);  // no object to move
  check_targets(s);
}

TEST_CASE("without boxes, an object is gone when its mask is empty") {
  Sample s{numbered(4, 4)};
  Tensor masks = zeros({2, 4, 4}, uint8);
  masks.at<uint8_t>({0, 0, 0}) = 1;
  masks.at<uint8_t>({1, 3, 3}) = 1;
  s.targets.set("masks", {TargetKind::instance_masks, masks});
  s.targets.set("classes", {TargetKind::label, tensor_of<int64_t>({2}, int64, {8, 9})});
  Geometry(Crop{2, 2, 2, 2}).apply(s);
  CHECK(values_of<int64_t>(s.targets["classes"]) == std::vector<int64_t>{9});
}

TEST_CASE("affine maps: turns and shears take pixels from where the formula says") {
  // A quarter turn of a square image, without blending: pixel (y, x) comes from (x, 3 - y).
  const Tensor t = numbered(4, 4);
  for (const Interpolation mode : {Interpolation::nearest, Interpolation::bilinear, Interpolation::bicubic}) {
    const Tensor turned = Geometry::rotate(90, 4, 4, mode).image(t);
    for (int64_t y = 0; y < 4; ++y)
      for (int64_t x = 0; x < 4; ++x) CHECK(turned.at<uint8_t>({y, x, 0}) == t.at<uint8_t>({x, 3 - y, 0}));
  }
  CHECK(values_of<uint8_t>(Geometry::rotate(90, 2, 2).mask(tensor_of<uint8_t>({2, 2}, uint8, {1, 2, 3, 4}))) ==
        std::vector<uint8_t>{2, 4, 1, 3});
  // Row y is read one pixel further right for each row; what lies beyond has the fill color.
  const Tensor sheared = Geometry::shear(1, 0, Interpolation::nearest, {9, 8, 7}).image(numbered(2, 4));
  const std::vector<int> rows = {1, 2, 3, 9, 12, 13, 9, 9};  // (0 + x + 1/2) rounds down to x, plus row + 1/2
  for (int64_t i = 0; i < 8; ++i) CHECK(sheared.at<uint8_t>({i / 4, i % 4, 0}) == rows[static_cast<size_t>(i)]);
  CHECK(sheared.at<uint8_t>({1, 3, 2}) == 7);
  // Half a pixel to the right: halves of two neighbors, the border pixel counting for what lies beyond.
  const Tensor half = Geometry::translate(0.5, 0).image(to_float(numbered(1, 3)));
  CHECK(half.at<float>({0, 0, 0}) == doctest::Approx(0.5 / 255));
  CHECK(half.at<float>({0, 2, 0}) == doctest::Approx(0.0));  // at the border itself: outside
  CHECK(message_of([] {
          Geometry(Warp{{1, 2, 0, 2, 4, 0}}).boxes(boxes_of({0, 0, 1, 1}), 4, 4);
        }).starts_with("[warp] the map [1, 2, 0; 2, 4, 0] brings all pixels onto a line"));
}

TEST_CASE("transforms of the house move targets with the image") {
  const std::vector<Transform> all = {RandomResizedCrop{6, 6, {0.3, 1}},
                                      RandomFlip{1},
                                      PadAndCrop{2},
                                      Resize{5, 9},
                                      ResizeShorter{6},
                                      CenterCrop{3, 5}};
  for (const Transform& transform : all)
    for (int64_t i = 0; i < 20; ++i) {
      Sample s = with_mask(numbered(8, 10));
      s.targets.set("boxes", {TargetKind::boxes, boxes_of({0, 0, 10, 8})});
      Rng one = rng_of(i), two = rng_of(i);
      const Tensor alone = transform(s.image, one);
      transform.apply(s, two);
      check_targets(s);
      CHECK(values_of<uint8_t>(s.image) == values_of<uint8_t>(alone));
      CHECK(one.bits() == two.bits());
      REQUIRE(s.targets["boxes"].size(0) == 1);  // what was the whole image is what of the mask is not ignored
      const float* b = s.targets["boxes"].data<float>();
      const Tensor& mask = s.targets["mask"];
      for (int64_t y = 0; y < mask.size(0); ++y)
        for (int64_t x = 0; x < mask.size(1); ++x) {
          const float cx = static_cast<float>(x) + 0.5f, cy = static_cast<float>(y) + 0.5f;
          const bool inside = cx > b[0] && cx < b[2] && cy > b[1] && cy < b[3];
          CHECK(inside == (mask.at<uint8_t>({y, x}) != 255));
        }
    }
}

TEST_CASE("photometric transforms touch the image alone") {
  const Transform all = Compose{{ColorJitter{}, Normalize{}, RandomErasing{1}}};
  Sample s = with_mask(numbered(8, 10));
  const std::vector<uint8_t> before = values_of<uint8_t>(s.targets["mask"]);
  Rng rng = rng_of(0);
  all.apply(s, rng);
  CHECK(s.image.dtype() == float32);
  CHECK(values_of<uint8_t>(s.targets["mask"]) == before);
}

TEST_CASE("a transform that cannot move a target is refused, and one that says it moves nothing is held to it") {
  const Transform unknown = [](const Tensor& x, Rng&) { return x; };
  Rng rng = rng_of(0);
  Sample s = with_mask(numbered(4, 6));
  CHECK(message_of([&] {
          Compose{{RandomFlip{}, unknown}}.apply(s, rng);
        }) ==
        "[transform] mask 'mask' (uint8[4,6]) cannot be moved by a function of the image alone: give the transform a "
        "geometry(), or kPhotometric = true when it moves nothing");
  CHECK(message_of([&] { Transform(Shrinks{}).apply(s, rng); }) ==
        "[transform] a transform that is said to move nothing made uint8[2,2,3] of uint8[4,6,3]: mask 'mask' "
        "(uint8[4,6]) no longer fits");
  // Labels have no place in the image: anything may happen to it.
  Sample plain = labeled(numbered(4, 6), 1);
  Transform(Shrinks{}).apply(plain, rng);
  unknown.apply(plain, rng);
  CHECK(plain.image.shape() == Shape{2, 2, 3});
}

TEST_CASE("targets that do not fit their kind or image are named") {
  const auto error = [](const char* name, TargetKind kind, const Tensor& value, int64_t classes = 0) {
    Sample s{numbered(4, 6)};
    s.targets.set(name, {kind, value});
    return message_of([&] { check_targets(s, classes); });
  };
  CHECK(error("label", TargetKind::label, zeros({})) ==
        "[targets] label 'label' must be int64[], the class of the image, or int64[N], one for each object, got "
        "float32[]");
  CHECK(error("label", TargetKind::label, full({}, 4, int64), 4) ==
        "[targets] label 'label' (int64[]) holds 4: class numbers of the 4 classes lie in 0..3");
  Tensor labels = zeros({3}, int64);
  labels.at<int64_t>({1}) = -1;
  CHECK(error("classes", TargetKind::label, labels, 4) ==
        "[targets] label 'classes' (int64[3]) holds -1 at row 1: class numbers of the 4 classes lie in 0..3");
  CHECK(error("soft", TargetKind::soft_label, zeros({3}), 4) ==
        "[targets] soft label 'soft' must be float32[4], a probability for each class, got float32[3]");
  CHECK(error("mask", TargetKind::mask, zeros({6, 4}, uint8)) ==
        "[targets] mask 'mask' must be uint8 or int64 [4,6], a class number for each pixel of the image, got "
        "uint8[6,4]");
  CHECK(error("mask", TargetKind::mask, zeros({4, 6, 3}, uint8)) ==
        "[targets] mask 'mask' must be uint8 or int64 [4,6], a class number for each pixel, got uint8[4,6,3]: a "
        "picture in colors? (recode each color as its class number, or write the picture with a palette)");
  Tensor mask = full({4, 6}, 255, uint8);
  CHECK(error("mask", TargetKind::mask, mask, 3) == "no error");
  mask.at<uint8_t>({2, 5}) = 3;
  CHECK(error("mask", TargetKind::mask, mask, 3) ==
        "[targets] mask 'mask' (uint8[4,6]) holds 3 at row 2, column 5: outside the 3 classes, and not 255, which is "
        "ignored");
  CHECK(error("boxes", TargetKind::boxes, zeros({4})) ==
        "[targets] boxes 'boxes' must be float32[N,4]: left, top, right, bottom in pixels, got float32[4]");
  CHECK(error("masks", TargetKind::instance_masks, zeros({2, 4, 4}, uint8)) ==
        "[targets] instance masks 'masks' must be uint8[N,4,6], a mask of the image's size for each object, got "
        "uint8[2,4,4]");
  CHECK(error("soft", TargetKind::soft_label, from_vector<float>({0.25f, 0.7499f}, {2})) == "no error");
  CHECK(error("soft", TargetKind::soft_label, from_vector<float>({0.5f, 1}, {2})) ==
        "[targets] soft label 'soft' (float32[2]) adds up to 1.5: the probabilities of all classes must add up to 1");
  CHECK(error("soft", TargetKind::soft_label, from_vector<float>({1.5f, -0.5f}, {2})) ==
        "[targets] soft label 'soft' (float32[2]) holds -0.5 at row 1: probabilities lie in 0..1");
  CHECK(error("soft", TargetKind::soft_label, full({2}, NAN))
            .starts_with("[targets] soft label 'soft' (float32[2]) "
                         "holds nan at row 0"));
  CHECK(error("boxes", TargetKind::boxes, from_vector<float>({1, 2, 1, 2}, {1, 4})) == "no error");
  CHECK(error("boxes", TargetKind::boxes, from_vector<float>({0, 0, 1, 1, 3, 1, 2, 2}, {2, 4})) ==
        "[targets] boxes 'boxes' (float32[2,4]) hold 3, 1, 2, 2 at row 1: needs finite numbers, left <= right and top "
        "<= bottom");
  CHECK(error("boxes", TargetKind::boxes, from_vector<float>({0, 2, 1, 1}, {1, 4})).find("hold 0, 2, 1, 1") !=
        std::string::npos);
  for (const float v : {NAN, INFINITY})
    CHECK(error("boxes", TargetKind::boxes, from_vector<float>({0, 0, v, 1}, {1, 4})).find("at row 0: needs finite") !=
          std::string::npos);
  Tensor masks = ones({2, 4, 6}, uint8);
  CHECK(error("masks", TargetKind::instance_masks, masks) == "no error");
  masks.at<uint8_t>({1, 2, 3}) = 255;
  CHECK(error("masks", TargetKind::instance_masks, masks) ==
        "[targets] instance masks 'masks' (uint8[2,4,6]) hold 255 at object 1, row 2, column 3: needs 1 where the "
        "object is, else 0");
  CHECK(error("boxes", TargetKind::boxes, Tensor()).starts_with("[targets] boxes 'boxes' must be a tensor on the CPU"));
  Sample s{numbered(4, 6)};
  s.targets.set("boxes", {TargetKind::boxes, zeros({3, 4})});
  s.targets.set("classes", {TargetKind::label, zeros({2}, int64)});
  CHECK(message_of([&] { check_targets(s); }) ==
        "[targets] label 'classes' (int64[2]) must have one row for each of the 3 objects of boxes 'boxes' "
        "(float32[3,4])");
  CHECK(message_of([&] { s.targets.at("masks"); }) ==
        "[targets] there is no target 'masks'; there are: boxes, classes");
  CHECK(message_of([&] { label_of(s); }) == "[targets] there is no target 'label'; there are: boxes, classes");
}
