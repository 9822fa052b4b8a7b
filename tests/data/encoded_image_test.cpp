// Pictures decoded when it is known what becomes of them: the same pixels as decoded before, and the same errors.
#include "atlas/data/encoded_image.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "atlas/data/augment.h"
#include "atlas/data/evaluation.h"
#include "atlas/data/image_folder.h"
#include "atlas/data/loader.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/tasks/classification_pipeline.h"
#include "atlas/tensor/create.h"
#include "tests/data/bad_files.h"
#include "tests/data/data_test.h"
#include "tests/data/jpeg_encoder.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;
using atlas_test::Scratch;

namespace {

/// A picture with everything that is hard: fine texture, saturated colors, sharp edges, noise.
Tensor textured(int64_t height, int64_t width, uint64_t seed = 1) {
  Tensor t = empty({height, width, 3}, uint8);
  Rng rng(seed, Purpose::synthetic, height, width);
  uint8_t* p = t.data<uint8_t>();
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < 3; ++c) {
        const bool check = ((x / 5 + y / 6) % 2) != 0;
        double v = 128 + 60 * std::sin(0.05 * static_cast<double>(x + 2 * y + 40 * c));
        if (x > width / 2 && y <= height / 2) v = check == (c == 0) ? 255 : 0;     // red and cyan
        if (x <= width / 2 && y > height / 2) v = (3 * x + y) % 7 < 2 ? 10 : 240;  // lines
        if (x > width / 2 && y > height / 2) v = c == 2 ? 4 : 200;                 // dark blues
        *p++ = static_cast<uint8_t>(std::clamp(v + 18 * rng.normal(), 0.0, 255.0));
      }
  return t;
}

struct Difference {
  int largest = 0;
  double mean = 0;
};
Difference between(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  REQUIRE(a.dtype() == uint8);
  const int64_t n = a.numel();
  const uint8_t *p = a.data<uint8_t>(), *q = b.data<uint8_t>();
  Difference d;
  for (int64_t i = 0; i < n; ++i) {
    const int one = std::abs(int{p[i]} - int{q[i]});
    d.largest = std::max(d.largest, one);
    d.mean += one / static_cast<double>(n);
  }
  return d;
}

/// Geometries that begin with a resize, of an image of height x width.
std::vector<Geometry> resizing(int64_t height, int64_t width, Rng& rng) {
  std::vector<Geometry> all;
  for (const Interpolation mode : {Interpolation::bicubic, Interpolation::bilinear}) {
    for (const int64_t side : {1, 16, 57})
      for (int i = 0; i < 2; ++i)
        all.push_back(RandomResizedCrop{side, side + i, {0.02, 1}, {0.5, 2}, mode}.geometry(height, width, rng));
    all.push_back(Resize{40, 33, mode}.geometry(height, width, rng));
    all.push_back(Resize{height + 31, width + 7, mode}.geometry(height, width, rng));  // larger
    all.push_back(Geometry({Crop{height - 1, width - 1, 1, 1}, Scale{9, 9, mode, true}}));
    all.push_back(Geometry({Crop{0, 0, height, width}, Scale{height, width, mode, true}}));  // as it is
    all.push_back(Geometry({Crop{height / 3, width / 4, height / 2, width / 2}, Scale{height / 4, width / 3, mode},
                            Crop{1, 0, height / 5, width / 6}, Mirror{}}));
  }
  all.push_back(tasks::FitImage{24, 0.875, false}.geometry(height, width, rng));
  all.push_back(data::detail::EvaluationFit{{.height = 20, .width = 28, .crop = 0.9}}.geometry(height, width, rng));
  return all;
}

/// The first rows of a picture, resized.
struct TopResized {
  Geometry geometry(const Tensor& image, Rng& rng) const { return geometry(image.size(0), image.size(1), rng); }
  Geometry geometry(int64_t, int64_t width, Rng&) const { return {{Crop{0, 0, 8, width}, Scale{8, 8}}}; }
  Tensor operator()(const Tensor& image, Rng& rng) const { return geometry(image, rng).image(image); }
};

}  // namespace

TEST_CASE("what is cut out and resized before decoding is what is cut out and resized after it") {
  Rng rng(3, Purpose::sample, 0, 0);
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{157, 203}, {64, 96}, {131, 50}, {19, 9}})
    for (const atlas_test::JpegLayout& layout : atlas_test::jpeg_layouts()) {
      const Bytes plain = atlas_test::jpeg(textured(height, width), layout);
      for (int orientation = 1; orientation <= 8; ++orientation) {
        CAPTURE(layout.name);
        CAPTURE(orientation);
        const EncodedImage encoded(orientation == 1 ? plain : atlas_test::with_orientation(plain, orientation),
                                   "p.jpg");
        const Tensor whole = encoded.decode();
        REQUIRE(whole.shape() == Shape{encoded.height(), encoded.width(), 3});
        for (const Geometry& geometry : resizing(encoded.height(), encoded.width(), rng)) {
          const Difference d = between(encoded.moved(geometry), geometry.image(whole));
          CHECK(d.largest <= (orientation == 1 ? 0 : 1));
          CHECK(d.mean <= 0.02);
        }
      }
    }
}

TEST_CASE("progressive files that lack scans are smoothed alike, whole and in part") {
  Rng rng(4, Purpose::sample, 0, 0);
  for (const atlas_test::JpegLayout& layout : atlas_test::jpeg_layouts()) {
    if (!layout.progressive) continue;
    const Bytes file = atlas_test::jpeg(textured(90, 150), layout);
    size_t end = 0;
    for (int scans = 0; scans < 3; ++end)
      if (file[end] == 0xFF && file[end + 1] == 0xDA) ++scans;
    const EncodedImage encoded(atlas_test::joined(atlas_test::first(file, end - 1), {0xFF, 0xD9}), "p.jpg");
    const Tensor whole = encoded.decode();
    for (const Geometry& geometry : resizing(90, 150, rng))
      CHECK(test::same_bits(encoded.moved(geometry), geometry.image(whole)));
  }
}

TEST_CASE("what cannot be cut out of a file is cut out of the picture") {
  const Tensor picture = textured(40, 60);
  const Geometry geometries[] = {Geometry(),
                                 Geometry(Mirror{}),
                                 Geometry(Crop{3, 4, 20, 30}),
                                 Geometry({Crop{-5, 4, 50, 30}, Scale{10, 10}}),  // beyond the border
                                 Geometry({Crop{0, 31, 10, 30}, Scale{10, 10}}),
                                 Geometry(Scale{20, 25, Interpolation::nearest}),
                                 Geometry({Scale{20, 25}, Crop{-2, 0, 30, 30}}),
                                 Geometry({Crop{1, 1, 8, 8}, Mirror{}, Scale{4, 4}}),
                                 Geometry::rotate(10, 40, 60)};
  for (const Bytes& file : {atlas_test::jpeg(picture, atlas_test::jpeg_layouts().front()), encode_png(picture)}) {
    const EncodedImage encoded(file, "p");
    for (const Geometry& geometry : geometries)
      CHECK(test::same_bits(encoded.moved(geometry), geometry.image(encoded.decode())));
  }
  const EncodedImage encoded(encode_png(picture), "p.png");
  const Geometry part({Crop{1, 2, 30, 30}, Scale{20, 20}});
  CHECK(test::same_bits(encoded.moved(part), part.image(picture)));
}

TEST_CASE("results of impossible sizes are refused before anything is made for them") {
  const EncodedImage encoded(atlas_test::jpeg(textured(16, 16), {"4:4:4"}), "p.jpg");
  CHECK(message_of([&] {
          encoded.moved(Geometry(Scale{0, 4}));
        }) == "[resize] the new size is 0 x 4, needs at least 1 x 1");
  for (const int64_t side : {int64_t{1} << 40, int64_t{1} << 62})
    CHECK(message_of([&] { encoded.moved(Geometry(Scale{side, side})); }).starts_with("[resize] "));
}

TEST_CASE("bad files: the same words whenever they are decoded") {
  const bool strict = jpeg_decoder() != std::string("stb_image");
  reset_peak_memory();
  const int64_t before = memory_stats().peak;
  for (const auto& file : atlas_test::bad_images(strict)) {
    CAPTURE(file.name);
    const std::string expected = message_of([&] { decode_image(file.bytes, file.name); });
    REQUIRE_FALSE(expected.empty());
    for (const Geometry& geometry : {Geometry(Scale{8, 8}), Geometry()}) {
      std::string message;
      try {
        EncodedImage(file.bytes, file.name).moved(geometry);
      } catch (const UnreadableImage& error) {
        message = error.what();
      }
      CHECK(message == expected);
    }
  }
  CHECK(memory_stats().peak - before < 1 << 20);
  CHECK(message_of([] { EncodedImage(atlas_test::jpeg(textured(16, 32), {"4:4:4"}), "x.jpg", 511); }) ==
        "[image] x.jpg: declares 32 x 16 pixels, more than the 511 allowed");
  CHECK_THROWS_AS(EncodedImage::read("/nowhere/a.jpg"), UnreadableImage);
  CHECK(message_of([] { EncodedImage::read("/nowhere/a.jpg"); }) ==
        "[read_file] /nowhere/a.jpg: No such file or directory");
}

TEST_CASE("files damaged anywhere give a picture or an error; a part of a good one is never an error") {
  int errors = 0, pictures = 0;
  Rng rng(11, Purpose::synthetic, 0, 0);
  for (const atlas_test::JpegLayout& layout : atlas_test::jpeg_layouts()) {
    const Bytes file = atlas_test::with_orientation(atlas_test::jpeg(textured(70, 90), layout), 6);
    for (int trial = 0; trial < 200; ++trial) {
      Bytes bad = file;
      for (int k = 0; k < 1 + trial % 3; ++k)
        bad[static_cast<size_t>(rng.below(std::ssize(bad)))] = static_cast<uint8_t>(rng.bits());
      if (trial % 5 == 0) bad.resize(static_cast<size_t>(rng.below(std::ssize(bad) + 1)));
      const std::string whole = message_of([&] { decode_image(bad, "bad", 1 << 20); });
      try {
        const EncodedImage encoded(bad, "bad", 1 << 20);
        const Geometry part = RandomResizedCrop{20, 20}.geometry(encoded.height(), encoded.width(), rng);
        const Tensor t = encoded.moved(part);
        ++pictures;
        if (whole.empty()) CHECK(between(t, part.image(decode_image(bad, "bad", 1 << 20))).largest <= 1);
      } catch (const UnreadableImage& error) {
        CHECK(std::string(error.what()).starts_with("[image] bad: "));
        CHECK_FALSE(whole.empty());
        ++errors;
      }
    }
  }
  CHECK(errors > 50);
  CHECK(pictures > 50);
}

TEST_CASE("loaders decode what is needed: the same batches as of whole pictures") {
  const Scratch scratch;
  const auto layouts = atlas_test::jpeg_layouts();
  for (int i = 0; i < 14; ++i) {
    const Tensor picture = textured(60 + 7 * i, 120 - 3 * i, static_cast<uint64_t>(i));
    scratch.write(
        fmt::format("{}/{}.jpg", i % 2 == 0 ? "a" : "b", i),
        i % 5 == 4 ? encode_png(picture) : atlas_test::jpeg(picture, layouts[static_cast<size_t>(i) % layouts.size()]));
  }
  const Transform pipelines[] = {
      Compose{{RandomResizedCrop{24, 24, {0.08, 1}, {0.75, 1.333}, std::nullopt}, RandomFlip{}, ColorJitter{},
               Normalize{}, RandomErasing{}}},
      Compose{{Compose{{RandomFlip{}}}, RandomResizedCrop{24, 24}}},  // the first one only turns over
      Compose{{ColorJitter{}, Resize{20, 30}}},                       // the first one wants pixels
      evaluation_transform({.height = 24, .width = 24, .crop = 0.875}),
      Resize{16, 16},
      [](const Tensor& image, Rng&) { return resize_image(image, 12, 12, Interpolation::bilinear); },
  };
  FolderOptions whole;
  whole.exact_decode = true;
  for (const Transform& pipeline : pipelines)
    for (const int workers : {0, 3}) {
      const LoaderOptions options{.batch_size = 4, .shuffle = true, .workers = workers, .seed = 5};
      // A part of a set opens its files as the set does.
      const auto set = take(image_folder(scratch.path()), 12);
      Loader now(set, options, pipeline), before(take(image_folder(scratch.path(), whole), 12), options, pipeline);
      CHECK(set->open(0).encoded != nullptr);
      CHECK(before.dataset().open(0).encoded == nullptr);
      now.start_epoch(2);
      before.start_epoch(2);
      for (Batch a, b; before.next(b);) {
        REQUIRE(now.next(a));
        CHECK(a.indices == b.indices);
        CHECK(test::same_bits(a.images, b.images));
        CHECK(test::same_bits(a.targets[kLabel], b.targets[kLabel]));
      }
    }
  // Without a transform: pictures of one size.
  const Scratch same;
  for (const char* name : {"a/1.jpg", "b/1.jpg"}) same.write(name, atlas_test::jpeg(textured(20, 30), layouts.front()));
  Loader plain(image_folder(same.path()), {.batch_size = 2});
  plain.start_epoch(0);
  Batch batch;
  REQUIRE(plain.next(batch));
  CHECK(batch.images.shape() == Shape{2, 20, 30, 3});
}

TEST_CASE("pictures whose pixels are damaged are skipped, counted and reported once, or an error when strict") {
  const Scratch scratch;
  const Bytes good = atlas_test::jpeg(textured(60, 60), atlas_test::jpeg_layouts().front());
  for (const char* name : {"a/1.jpg", "a/2.jpg", "b/1.jpg"}) scratch.write(name, good);
  // Its data ends in the middle, behind a good header and before a good end marker.
  const std::string bad =
      scratch.write("b/2.jpg", atlas_test::joined(atlas_test::first(good, good.size() / 2), {0xFF, 0xD9}));
  if (jpeg_decoder() == std::string("stb_image")) {
    MESSAGE("stb_image shows what it makes of damaged pixels: not tried");
    return;
  }
  const std::string expected = message_of([&] { read_image(bad); });
  REQUIRE(expected.starts_with(fmt::format("[image] {}: cannot be decoded (", bad)));
  std::vector<std::string> reports;
  FolderOptions options;
  options.report = [&](const std::string& message) { reports.push_back(message); };
  for (const int workers : {0, 2})
    for (const bool exact : {false, true}) {
      CAPTURE(exact);
      reports.clear();
      options.exact_decode = exact;
      options.strict = false;
      const auto set = image_folder(scratch.path(), options);
      Loader loader(set, {.batch_size = 4, .workers = workers}, Resize{16, 16});
      for (int64_t epoch = 0; epoch < 2; ++epoch) {
        loader.start_epoch(epoch);
        Batch batch;
        REQUIRE(loader.next(batch));
        CHECK(batch.indices == std::vector<int64_t>{0, 1, 2});
      }
      CHECK(set->skipped() == 1);
      CHECK(set->was_skipped(3));
      CHECK(reports == std::vector<std::string>{"skipped an unreadable image: " + expected});

      options.strict = true;
      Loader strict(image_folder(scratch.path(), options), {.batch_size = 4, .workers = workers}, Resize{16, 16});
      strict.start_epoch(0);
      Batch batch;
      CHECK(message_of([&] { strict.next(batch); }) == expected);

      // A crop above the damage has nothing to do with it, unless pictures are decoded whole.
      const Transform top = Compose{{TopResized{}}};
      Loader above(image_folder(scratch.path(), options), {.batch_size = 4, .workers = workers}, top);
      above.start_epoch(0);
      CHECK(message_of([&] { above.next(batch); }) == (exact ? expected : "no error"));
    }
}

TEST_CASE("masks and boxes need a picture that is decoded") {
  Sample sample{Tensor()};
  sample.encoded = std::make_shared<EncodedImage>(encode_png(textured(8, 8)), "p.png");
  sample.targets.set(kMask, {TargetKind::mask, zeros({8, 8}, uint8)});
  Rng rng(1, Purpose::sample, 0, 0);
  CHECK(message_of([&] {
          Transform(Resize{4, 4}).apply(sample, rng);
        }) == "[transform] mask 'mask' has places in an image that is not decoded");
}
