// Draws what a recipe makes of pictures in training, with masks and boxes where they are given:
//
//   show_augmentation photo.jpg cat.png --recipe mambavision-t --out sheet.png
//   show_augmentation street.png --mask street_classes.png --box 10,20,60,90 --rand-augment rand-m9-inc1 --out
//   sheet.png show_augmentation photo.jpg --op rotate --magnitude 9 --sign -1 --out one.png
//
// The first column of a sheet is the picture as it is; mixing pairs the pictures of a column. --op does one operation
// of RandAugment as timm does at rand-mM-inc1, to be compared with Pillow.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "atlas/core/program.h"
#include "atlas/data/class_picture.h"
#include "atlas/data/image.h"
#include "atlas/data/mix.h"
#include "atlas/data/output_names.h"
#include "atlas/data/plot.h"
#include "atlas/data/rand_augment.h"
#include "atlas/train/setup.h"
#include "tools/program/training.h"

namespace {

using atlas::Tensor;
namespace data = atlas::data;
namespace train = atlas::train;

struct Options {
  std::vector<std::string> images, masks, boxes;
  std::string recipe, out, op;
  int64_t columns = 8, sign = 1;
  double magnitude = 9;
};

/// What --recipe says, before the rest is read: its settings are the defaults of the others.
std::string recipe_of(int argc, char** argv) {
  std::string recipe;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--recipe" && i + 1 < argc) recipe = argv[i + 1];
    if (word.starts_with("--recipe=")) recipe = word.substr(9);
  }
  return recipe;
}

/// left,top,right,bottom
std::array<float, 4> corners_of(const std::string& text) {
  std::array<float, 4> c{};
  char rest = 0;
  const int read = std::sscanf(text.c_str(), "%f,%f,%f,%f%c", &c[0], &c[1], &c[2], &c[3], &rest);
  atlas::check(read == 4 && c[2] > c[0] && c[3] > c[1], "box", "needs left,top,right,bottom in pixels, got '{}'", text);
  return c;
}

/// Picture number i with its mask; boxes belong to all.
data::Sample read_sample(const Options& o, size_t i) {
  data::Sample s{data::read_image(o.images[i])};
  if (i < o.masks.size()) {
    const Tensor map = data::read_image(o.masks[i]);
    atlas::check(map.size(0) == s.image.size(0) && map.size(1) == s.image.size(1), "mask",
                 "{} is {} x {} pixels, but {} is {} x {}", o.masks[i], map.size(1), map.size(0), o.images[i],
                 s.image.size(1), s.image.size(0));
    Tensor classes = atlas::empty({map.size(0), map.size(1)}, atlas::uint8, atlas::Device{});
    for (int64_t k = 0; k < classes.numel(); ++k) classes.data<uint8_t>()[k] = map.data<uint8_t>()[3 * k];
    s.targets.set(data::kMask, {data::TargetKind::mask, classes});
  }
  if (!o.boxes.empty()) {
    Tensor boxes = atlas::empty({std::ssize(o.boxes), 4}, atlas::float32, atlas::Device{});
    for (size_t k = 0; k < o.boxes.size(); ++k) {
      const std::array<float, 4> c = corners_of(o.boxes[k]);
      std::copy(c.begin(), c.end(), boxes.data<float>() + 4 * k);
    }
    s.targets.set("boxes", {data::TargetKind::boxes, boxes});
  }
  return s;
}

/// Bytes again of what Normalize made.
Tensor shown(const Tensor& image, const data::Normalize& normalize) {
  if (image.dtype() == atlas::uint8) return image;
  Tensor y = atlas::empty(image.shape(), atlas::uint8, atlas::Device{});
  for (int64_t i = 0; i < y.numel(); ++i) {
    const auto c = static_cast<size_t>(i % 3);
    const float v = 255 * (image.data<float>()[i] * normalize.std[c] + normalize.mean[c]);
    y.data<uint8_t>()[i] = static_cast<uint8_t>(std::lround(std::clamp(v, 0.0f, 255.0f)));
  }
  return y;
}

/// The picture with its mask laid over and its boxes drawn.
Tensor drawn(const data::Sample& s, const data::Normalize& normalize) {
  Tensor picture = shown(s.image, normalize);
  std::vector<data::Color> colors;
  for (int64_t i = 0; i < 255; ++i) colors.push_back(data::class_color(i, true));
  if (const data::Target* mask = s.targets.find(data::kMask)) picture = data::colored(mask->value, colors, picture);
  const data::Target* boxes = s.targets.find("boxes");
  if (boxes == nullptr) return picture;
  data::Canvas canvas(picture.size(1), picture.size(0));
  canvas.paste(picture, 0, 0);
  const int64_t thickness = std::max<int64_t>(1, std::max(picture.size(0), picture.size(1)) / 150);
  for (int64_t i = 0; i < boxes->value.size(0); ++i) {
    const float* b = boxes->value.data<float>() + 4 * i;
    canvas.frame(std::lround(b[0]), std::lround(b[1]), std::lround(b[2] - b[0]), std::lround(b[3] - b[1]), data::kRed,
                 thickness);
  }
  return canvas.image();
}

/// Mixes the pictures of one column, as a training batch of them would be. @return what was done, for the caption
std::string mix(std::vector<data::Sample>& column, const train::TrainConfig& c, data::Rng& rng) {
  const auto& a = c.augmentation;
  const data::MixOptions options{a.mixup, a.cutmix, a.mix_prob, a.mix_switch, a.label_smoothing};
  const Tensor& first = column[0].image;
  if ((a.mixup == 0 && a.cutmix == 0) || column.size() < 2 || first.dtype() != atlas::float32) return "";
  data::Batch batch;
  batch.images = atlas::empty({std::ssize(column), first.size(0), first.size(1), 3}, atlas::float32, atlas::Device{});
  Tensor labels = atlas::empty({std::ssize(column)}, atlas::int64, atlas::Device{});
  for (size_t i = 0; i < column.size(); ++i) {
    std::copy_n(column[i].image.data<float>(), first.numel(),
                batch.images.data<float>() + static_cast<int64_t>(i) * first.numel());
    labels.data<int64_t>()[i] = static_cast<int64_t>(i);
  }
  batch.targets.set(data::kLabel, {data::TargetKind::label, labels});
  data::Mix(options, std::ssize(column))(batch, rng);
  for (size_t i = 0; i < column.size(); ++i) column[i].image = batch.images.select(0, static_cast<int64_t>(i)).clone();
  const data::Target* soft = batch.targets.find(data::kSoftLabel);
  if (soft == nullptr) return "";
  const double smoothing = a.label_smoothing / static_cast<double>(column.size());
  const double own = (static_cast<double>(soft->value.at<float>({0, 0})) - smoothing) / (1 - a.label_smoothing);
  return fmt::format("{:.0f} % its own", 100 * own);
}

int draw_sheet(const Options& o, const train::TrainConfig& c) {
  train::validate(c);
  const atlas::tasks::Pipeline pipeline = train::pipeline_of(c);
  const data::Normalize normalize = train::normalization_of(c);
  const bool targets = !o.masks.empty() || !o.boxes.empty();
  std::vector<data::Sample> originals;
  for (size_t i = 0; i < o.images.size(); ++i) originals.push_back(read_sample(o, i));
  std::vector<std::vector<data::Tile>> rows(originals.size());
  for (size_t i = 0; i < originals.size(); ++i)
    rows[i].push_back({drawn(originals[i], normalize),
                       {fmt::format("{} x {}", originals[i].image.size(1), originals[i].image.size(0))}});
  for (int64_t k = 1; k < o.columns; ++k) {
    std::vector<data::Sample> column = originals;
    for (size_t i = 0; i < column.size(); ++i) {
      data::Rng rng(static_cast<uint64_t>(c.compute.seed), data::Purpose::sample, k, static_cast<int64_t>(i));
      pipeline.train.apply(column[i], rng);
    }
    data::Rng rng(static_cast<uint64_t>(c.compute.seed), data::Purpose::mix, k, 0);
    const std::string caption = targets ? "" : mix(column, c, rng);
    for (size_t i = 0; i < column.size(); ++i) {
      rows[i].push_back({drawn(column[i], normalize), {}});
      // Pictures are mixed with the one as far from the end: in the middle of an odd number, with themselves.
      if (!caption.empty() && 2 * i + 1 != column.size()) rows[i].back().caption = {caption};
    }
  }
  std::vector<data::Tile> tiles;
  for (const auto& row : rows) tiles.insert(tiles.end(), row.begin(), row.end());
  const bool mixing = c.augmentation.mixup > 0 || c.augmentation.cutmix > 0;
  const char* unmixed = targets                           ? " (without mixing)"
                        : mixing && originals.size() == 1 ? " (one picture is not mixed)"
                                                          : "";
  const std::string title =
      fmt::format("{}{}, {} px{}", o.recipe.empty() ? "settings" : "recipe ", o.recipe, c.data.image_size, unmixed);
  data::write_png(o.out, data::contact_sheet(tiles, o.columns, title, 160));
  fmt::print("{}: {} pictures, {} variants of each\n", o.out, originals.size(), o.columns - 1);
  return 0;
}

int draw_one(const Options& o, const train::TrainConfig& c) {
  atlas::check(o.images.size() == 1, "op", "takes one picture, got {}", o.images.size());
  atlas::check(o.magnitude >= 0 && o.magnitude <= 10, "magnitude", "{} is out of range: in 0..10", o.magnitude);
  atlas::check(o.sign == 1 || o.sign == -1, "sign", "{} is out of range: 1 or -1", o.sign);
  atlas::check(c.augmentation.interpolation != "random", "interpolation", "one operation needs bicubic or bilinear");
  data::AugmentStep step;
  step.op = data::find_augment_op(o.op);
  step.magnitude = o.magnitude;
  step.argument = data::op_argument(step.op, o.magnitude, true, static_cast<int>(o.sign));
  step.mode =
      c.augmentation.interpolation == "bilinear" ? atlas::Interpolation::bilinear : atlas::Interpolation::bicubic;
  data::Sample s = read_sample(o, 0);
  data::RandAugment::of("rand", data::Normalize{}).apply(step, s);
  data::write_png(o.out, drawn(s, data::Normalize{}));
  fmt::print("{}: {} with argument {}\n", o.out, data::kAugmentOpNames[static_cast<size_t>(step.op)], step.argument);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  train::TrainConfig config;
  program::CommandLine app("Draws what a training recipe makes of pictures.", "show_augmentation");
  app.last_counts();
  return atlas::run_program("show_augmentation", [&] {
    if (const std::string recipe = recipe_of(argc, argv); !recipe.empty()) train::apply_recipe(config, recipe, "");
    app.add("images", o.images, "pictures").required().all();
    app.add("--recipe", o.recipe, "settings to start from");
    app.add_output("--out", o.out, "PNG file to write").required();
    app.add("--columns", o.columns, "pictures side by side: one as it is, the others as in training").range(2, 32);
    app.add("--mask", o.masks, "pictures whose red channel is the class of each pixel, one for each picture").all();
    app.add("--box", o.boxes, "left,top,right,bottom in pixels, of every picture; as often as wanted").all();
    app.add("--op", o.op, "one operation of RandAugment alone, by name");
    app.add("--magnitude", o.magnitude, "of --op, in 0..10");
    app.add("--sign", o.sign, "of --op: 1 or -1");
    program::add_settings(app, config);
    return app.run(argc, argv, [&] {
      for (const auto* read : {&o.images, &o.masks}) data::check_inputs_stay({o.out}, *read, "show_augmentation");
      return o.op.empty() ? draw_sheet(o, config) : draw_one(o, config);
    });
  });
}
