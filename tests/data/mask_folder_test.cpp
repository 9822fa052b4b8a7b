// Photographs with masks: pairs, classes, label shift, and everything that people get wrong in them.
// ctest-device: cpu
#include "atlas/data/mask_folder.h"

#include <doctest/doctest.h>

#include <array>
#include <filesystem>

#include "atlas/data/dense_augment.h"
#include "atlas/data/index_png.h"
#include "atlas/data/loader.h"
#include "atlas/data/open.h"
#include "atlas/data/scenes.h"
#include "atlas/tensor/create.h"
#include "tests/compare.h"

using namespace atlas;
using namespace atlas::data;
using test::has;
using test::message_of;
namespace fs = std::filesystem;

namespace {

/// A folder that goes when the test ends.
struct Folder {
  std::string path =
      (fs::temp_directory_path() / fmt::format("atlas-masks-{}", static_cast<const void*>(this))).string();
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  void photo(const std::string& name, int64_t height = 4, int64_t width = 6) const {
    fs::create_directories(fs::path(path + "/" + name).parent_path());
    write_png(path + "/" + name, full({height, width, 3}, 90, uint8));
  }
  void mask(const std::string& name, int64_t value, int64_t height = 4, int64_t width = 6) const {
    fs::create_directories(fs::path(path + "/" + name).parent_path());
    write_index_png(path + "/" + name, full({height, width}, static_cast<double>(value), uint8), {});
  }
  void text(const std::string& name, const std::string& text) const {
    write_file(path + "/" + name, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }
};

FolderOptions quiet(std::string& said) {
  FolderOptions o;
  o.report = [&said](const std::string& m) { said += m + "\n"; };
  return o;
}

}  // namespace

TEST_CASE("masks: pairs by name, classes by classes.json, halves by folder; 255 is ignored") {
  const Folder f;
  for (const char* half : {"train", "val"}) {
    f.photo(fmt::format("images/{}/a/1.png", half));
    f.mask(fmt::format("masks/{}/a/1.png", half), 1);
  }
  f.photo("images/train/2.png");
  f.mask("masks/train/2.png", 255);
  f.photo("images/train/alone.png");
  std::string said;
  CHECK(has(message_of([&] { open_data("masks:" + f.path, quiet(said)); }), "there is no classes.json"));
  f.text("classes.json", R"(["background", 3])");
  CHECK(has(message_of([&] { open_data("masks:" + f.path, quiet(said)); }), "must be a JSON list of strings"));
  f.text("classes.json", R"(["background", "leaf"])");
  said.clear();
  const DataPair sets = open_data("masks:" + f.path, quiet(said));
  CHECK(has(said, "1 of 3 photographs have no mask"));
  CHECK(sets.train->size() == 2);
  CHECK(sets.test->size() == 1);
  CHECK(sets.train->classes() == std::vector<std::string>{"background", "leaf"});
  CHECK(sets.train->get(0).targets[kMask].at<uint8_t>({3, 5}) == 255);  // 2.png comes before a/1.png
  CHECK(sets.train->get(1).targets[kMask].at<uint8_t>({0, 0}) == 1);
}

TEST_CASE("masks and photographs of other formats do not vanish; two of one name, and unclear halves, are errors") {
  const Folder f;
  f.text("classes.json", R"(["a", "b"])");
  for (const char* half : {"train", "val"}) {
    f.photo(fmt::format("images/{}/1.png", half));
    f.mask(fmt::format("masks/{}/1.png", half), 1);
  }
  const auto open = [&](std::string& said) { return message_of([&] { open_masks(f.path, quiet(said)); }); };
  std::string said;
  CHECK(open(said) == "no error");
  CHECK(said.empty());
  for (const char* name : {"images/train/2.webp", "images/train/3.tif", "masks/val/4.tif"}) f.text(name, "x");
  f.text("images/train/notes.txt", "x");
  CHECK(open(said) == "no error");
  CHECK(has(said, f.path + "/images/train: 2 files are left out, not .jpg, .jpeg, .png or .bmp: 2.webp, 3.tif"));
  CHECK(has(said, f.path + "/masks/val: 1 file is left out, not .jpg, .jpeg, .png or .bmp: 4.tif"));
  fs::remove(f.path + "/masks/val/1.png");
  CHECK(has(open(said), "masks/val: has no mask that can be read: 1 file is left out"));
  f.mask("masks/val/1.png", 1);
  fs::rename(f.path + "/images/val/1.png", f.path + "/images/val/1.gif");
  CHECK(has(open(said), "images/val: has no photograph that can be read: 1 file is left out"));
  fs::rename(f.path + "/images/val/1.gif", f.path + "/images/val/1.png");

  fs::copy(f.path + "/images/val/1.png", f.path + "/images/val/1.jpg");
  CHECK(has(open(said),
            fmt::format("{0}/images/val/1.jpg and {0}/images/val/1.png are photographs of one name", f.path)));
  fs::remove(f.path + "/images/val/1.jpg");
  f.mask("masks/train/1.PNG", 1);
  CHECK(has(open(said), fmt::format("{0}/masks/train/1.PNG and {0}/masks/train/1.png are masks of one name", f.path)));
  fs::remove(f.path + "/masks/train/1.PNG");

  fs::create_directories(f.path + "/images/Val");
  CHECK(has(open(said), "images: which of Val, val is meant? Leave one of them"));
  fs::remove(f.path + "/images/Val");
  fs::create_directories(f.path + "/images/training");
  CHECK(has(open(said), "images: which of train, training is meant? Leave one of them"));
}

TEST_CASE("ade20k: the published folders, 0 ignored and the rest one less") {
  const Folder f;
  for (const char* half : {"training", "validation"}) {
    f.photo(fmt::format("images/{}/x.png", half));
    f.mask(fmt::format("annotations/{}/x.png", half), 0);
    f.photo(fmt::format("images/{}/y.png", half));
    f.mask(fmt::format("annotations/{}/y.png", half), 150);
  }
  const DataPair sets = open_data("ade20k:" + f.path);
  CHECK(sets.train->num_classes() == 150);
  CHECK(sets.train->classes()[149] == "flag");
  CHECK(sets.train->get(0).targets[kMask].at<uint8_t>({0, 0}) == 255);
  CHECK(sets.test->get(1).targets[kMask].at<uint8_t>({0, 0}) == 149);
  f.mask("annotations/validation/y.png", 151);
  CHECK(has(message_of([&] { sets.test->get(1); }), "y.png: holds 151 at row 0, column 0: classes are 1 to 150"));
}

TEST_CASE("of more than 255 classes 255 is one, and 65535 is ignored") {
  const auto named = [](int64_t classes) {
    std::string list = "[\"0\"";
    for (int64_t i = 1; i < classes; ++i) list += fmt::format(", \"{}\"", i);
    return list + "]";
  };
  const Folder f;
  const auto wide = [&](const std::string& name, const std::vector<int64_t>& numbers) {
    Tensor map = full({4, 6}, 0, int64);
    std::copy(numbers.begin(), numbers.end(), map.data<int64_t>());
    write_index_png(f.path + "/" + name, map, std::vector<Color>(300));
  };
  for (const char* half : {"train", "val"})
    for (const char* name : {"1", "2"}) {
      f.photo(fmt::format("images/{}/{}.png", half, name));
      f.mask(fmt::format("masks/{}/{}.png", half, name), 255);
    }
  wide("masks/train/1.png", {7, 255, 299, 65535});
  f.text("classes.json", named(300));
  const DataPair sets = open_masks(f.path);
  Sample s = sets.train->get(0);
  const Target& mask = s.targets.at(kMask);
  CHECK(mask.outside == 65535);
  REQUIRE(mask.value.dtype() == int64);
  for (const auto& [column, number] : {std::pair{0, 7}, {1, 255}, {2, 299}, {3, 65535}, {4, 0}})
    CHECK(mask.value.at<int64_t>({0, column}) == number);
  CHECK(sets.train->get(1).targets[kMask].at<int64_t>({3, 5}) == 255);  // of a file with 8 bits
  check_targets(s, 300);
  Geometry::pad(4, 6, 1, 0, 0, 0).apply(s);
  CHECK(s.targets[kMask].at<int64_t>({0, 0}) == 65535);
  // Files of both kinds are in one batch.
  Loader loader(sets.train, {.batch_size = 2}, Normalize{});
  loader.start_epoch(0);
  Batch batch;
  REQUIRE(loader.next(batch));
  CHECK(batch.targets[kMask].shape() == Shape{2, 4, 6});
  wide("masks/train/1.png", {300});
  CHECK(has(message_of([&] { sets.train->get(0); }), "holds 300 at row 0, column 0: classes are 0 to 299, and 65535"));
  f.text("classes.json", named(255));
  wide("masks/train/1.png", {254, 255});
  const DataPair few = open_masks(f.path);
  CHECK(few.train->get(0).targets[kMask].at<uint8_t>({0, 0}) == 254);
  CHECK(few.train->get(0).targets[kMask].at<uint8_t>({0, 1}) == 255);
  CHECK(few.train->get(0).targets.at(kMask).outside == 255);
}

TEST_CASE("masks that do not fit are named, with what would be right") {
  const Folder f;
  f.text("classes.json", R"(["a", "b"])");
  for (const char* half : {"train", "val"}) {
    f.photo(fmt::format("images/{}/1.png", half));
    f.mask(fmt::format("masks/{}/1.png", half), 1);
  }
  const auto get = [&] { return message_of([&] { open_masks(f.path).train->get(0); }); };
  CHECK(get() == "no error");
  f.mask("masks/train/1.png", 2);
  CHECK(has(get(), "1.png: holds 2 at row 0, column 0: classes are 0 to 1, and 255 is ignored"));
  f.mask("masks/train/1.png", 1, 6, 4);
  CHECK(has(get(), "is 4 x 6 pixels, its photograph"));
  CHECK(has(get(), "EXIF"));
  write_png(f.path + "/masks/train/1.png", full({4, 6, 3}, 1, uint8));
  CHECK(has(get(), "recode each color as its number"));
  f.text("masks/train/1.png", "no picture");
  CHECK(has(get(), "is no PNG file"));
  fs::remove(f.path + "/masks/train/1.png");
  CHECK(has(get(), "none of the 1 photographs has a mask"));
  CHECK(has(message_of([&] { open_masks(f.path + "/nowhere"); }), "there is no such folder"));
  fs::remove(f.path + "/images/val/1.png");
  f.mask("masks/train/1.png", 1);
  CHECK(get() == "[masks] " + f.path + "/images/val: has no photographs (.jpg, .jpeg, .png or .bmp files)");
  f.photo("images/val/1.png");
  // A photograph that cannot be read is skipped and counted.
  f.mask("masks/train/1.png", 1);
  f.text("images/train/1.png", "no picture");
  std::string said;
  const DataPair sets = open_masks(f.path, quiet(said));
  CHECK_FALSE(sets.train->get(0).image.defined());
  CHECK(sets.train->skipped() == 1);
  CHECK(has(said, "skipped an unreadable image"));
}

TEST_CASE("the published pipeline moves image and mask alike; a crop sees to the classes") {
  const Scenes scenes(20, 96, SceneTruth::pixels);
  for (int64_t i = 0; i < 20; ++i) {
    Rng rng(1, Purpose::sample, 0, i);
    Sample s = scenes.get(i);
    const Transform all = Compose{{ResizeWithin{400, 100, {0.5, 2.0}}, RandomClassCrop{64, 64, 0.75}, RandomFlip{0.5},
                                   PhotometricDistortion{}, Normalize{}, PadTo{64, 64}}};
    all.apply(s, rng);
    CHECK(s.image.shape() == Shape{64, 64, 3});
    CHECK(s.targets[kMask].shape() == Shape{64, 64});
    check_targets(s, scenes.num_classes());
  }
  // One class on the left, another in one column at the right: crops of the left half alone are refused.
  Sample narrow{full({8, 40, 3}, 50, uint8)};
  Tensor mask = zeros({8, 40}, uint8);
  for (int64_t y = 0; y < 8; ++y)
    for (int64_t x = 20; x < 40; ++x) mask.at<uint8_t>({y, x}) = 1;
  narrow.targets.set(kMask, {TargetKind::mask, mask});
  int mixed = 0;
  for (int64_t i = 0; i < 50; ++i) {
    Rng rng(2, Purpose::sample, 0, i);
    Sample s = narrow;
    RandomClassCrop{8, 8, 0.75}.apply(s, rng);
    const Tensor m = s.targets[kMask];
    mixed += m.at<uint8_t>({0, 0}) != m.at<uint8_t>({0, 7}) ? 1 : 0;
  }
  CHECK(mixed >= 35);  // of places at random, about 1 in 5 would be
}

namespace {
/// A picture of all colors, in steps of 15.
Tensor all_colors() {
  Tensor colors = empty({18, 18 * 18, 3}, uint8);
  for (int64_t i = 0; i < 18 * 18 * 18; ++i) {
    colors.data<uint8_t>()[3 * i] = static_cast<uint8_t>(i / 324 * 15);
    colors.data<uint8_t>()[3 * i + 1] = static_cast<uint8_t>(i / 18 % 18 * 15);
    colors.data<uint8_t>()[3 * i + 2] = static_cast<uint8_t>(i % 18 * 15);
  }
  return colors;
}
}  // namespace

TEST_CASE("saturation and hue are two steps: between them pixels are RGB of 8 bits again") {
  // A hue that turns by nothing still goes through HSV and back, which is all that it does here.
  const PhotometricDistortion distortion{.brightness = 0, .contrast = {1, 1}, .saturation = {0.6, 0.6}, .hue = 0};
  const Tensor colors = all_colors();
  const auto with = [&](const Tensor& image, int64_t seed) {
    Rng rng(5, Purpose::sample, 0, seed);
    return distortion(image, rng);
  };
  /// What a seed's numbers choose: saturation, hue.
  const auto chosen = [](int64_t seed) {
    Rng rng(5, Purpose::sample, 0, seed);
    const auto drawn = [&rng] {
      const bool yes = rng.chance(0.5);
      if (yes) rng.uniform();
      return yes;
    };
    drawn();                          // brightness
    if (rng.chance(0.5)) drawn();     // contrast, when it comes first
    const bool saturation = drawn();  // in the order of the steps
    return std::array{saturation, rng.chance(0.5)};
  };
  const auto first = [&](bool saturation, bool hue) {
    for (int64_t seed = 0;; ++seed)
      if (chosen(seed) == std::array{saturation, hue}) return seed;
  };
  const auto same = [](const Tensor& a, const Tensor& b) {
    return std::equal(a.data<uint8_t>(), a.data<uint8_t>() + a.numel(), b.data<uint8_t>());
  };
  const int64_t saturation = first(true, false), hue = first(false, true), both = first(true, true);
  CHECK(same(with(colors, first(false, false)), colors));
  CHECK_FALSE(same(with(colors, hue), colors));
  CHECK_FALSE(same(with(colors, both), with(colors, saturation)));
  CHECK(same(with(colors, both), with(with(colors, saturation), hue)));
  // What OpenCV 4.9 makes of long rows of these: hue 169, 105 and 126 of 180; values between are truncated.
  const Tensor three = from_vector<uint8_t>({200, 30, 90, 17, 18, 19, 90, 60, 201}, {1, 3, 3}, Device{});
  CHECK(to_vector<uint8_t>(with(three, hue)) == std::vector<uint8_t>{200, 29, 92, 16, 17, 19, 88, 59, 201});
  CHECK(to_vector<uint8_t>(with(three, saturation)) == std::vector<uint8_t>{200, 98, 135, 17, 18, 19, 133, 116, 201});
}

TEST_CASE("distortion stays in range, moves nothing, and depends on the numbers drawn alone") {
  const Tensor image = Scenes(1, 64, SceneTruth::pixels).get(0).image;
  bool changed = false;
  for (int64_t i = 0; i < 8; ++i) {
    Rng a(3, Purpose::sample, 0, i), b(3, Purpose::sample, 0, i);
    const Tensor x = PhotometricDistortion{}(image, a), y = PhotometricDistortion{}(image, b);
    CHECK(std::equal(x.data<uint8_t>(), x.data<uint8_t>() + x.numel(), y.data<uint8_t>()));
    changed = changed || !std::equal(x.data<uint8_t>(), x.data<uint8_t>() + x.numel(), image.data<uint8_t>());
  }
  CHECK(changed);
  // Through hue, saturation and value, and back: with factors of 1, colors stay but for what 8 bits cannot hold.
  const Tensor colors = all_colors();
  const PhotometricDistortion none{.brightness = 0, .contrast = {1, 1}, .saturation = {1, 1}, .hue = 0};
  for (int64_t i = 0; i < 8; ++i) {
    Rng rng(4, Purpose::sample, 0, i);
    const Tensor y = none(colors, rng);
    int most = 0;
    for (int64_t k = 0; k < y.numel(); ++k)
      most = std::max(most, std::abs(int{y.data<uint8_t>()[k]} - int{colors.data<uint8_t>()[k]}));
    CHECK(most <= 5);
  }
}

TEST_CASE("masks of tests stay as they are, and keep their size in a batch") {
  const auto set = std::make_shared<Scenes>(3, 48, SceneTruth::pixels);
  Loader loader(set, {.batch_size = 2}, Compose{{KeepTruth{}, ResizeWithin{128, 32}, Normalize{}}});
  loader.start_epoch(0);
  Batch batch;
  REQUIRE(loader.next(batch));
  CHECK(batch.images.shape() == Shape{2, 32, 32, 3});
  CHECK(batch.targets[kMask].shape() == Shape{2, 48, 48});
  CHECK(batch.targets.at(kMask).fixed);
}

TEST_CASE("scenes: objects have boxes around the pixels of their masks") {
  const Scenes set(30, 64, SceneTruth::objects);
  for (int64_t i = 0; i < 30; ++i) {
    const Sample s = set.get(i);
    check_targets(s, set.num_classes());
    const Tensor boxes = s.targets["boxes"], masks = s.targets["instance_masks"];
    for (int64_t r = 0; r < boxes.size(0); ++r) {
      const auto left = static_cast<int64_t>(boxes.at<float>({r, 0})),
                 top = static_cast<int64_t>(boxes.at<float>({r, 1}));
      bool in_column = false, in_row = false;
      for (int64_t k = 0; k < 64; ++k) {
        in_column = in_column || masks.at<uint8_t>({r, k, left}) == 1;
        in_row = in_row || masks.at<uint8_t>({r, top, k}) == 1;
        if (left > 0) CHECK(masks.at<uint8_t>({r, k, left - 1}) == 0);
      }
      CHECK(in_column);
      CHECK(in_row);
    }
  }
}
