// From settings to images: which data set, which transforms in training and in testing.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <variant>

#include "atlas/data/augment.h"
#include "atlas/data/loader.h"
#include "atlas/data/open.h"
#include "atlas/data/select.h"
#include "atlas/train/config.h"

namespace atlas::inline ATLAS_ABI::train {

/// Channel means and standard deviations of a data set named as in TrainConfig::data; ImageNet's unless known better.
inline data::Normalize normalization_of(const std::string& name) {
  const auto gray = [](float mean, float std) { return data::Normalize{{mean, mean, mean}, {std, std, std}}; };
  if (name.starts_with("fashion-mnist")) return gray(0.2860f, 0.3530f);
  if (name.starts_with("mnist")) return gray(0.1307f, 0.3081f);
  if (name.starts_with("cifar")) return {{0.4914f, 0.4822f, 0.4465f}, {0.2470f, 0.2435f, 0.2616f}};
  if (name.starts_with("shapes")) return gray(0.5f, 0.25f);
  return {};
}

/// Channel means and standard deviations of a configuration's data.
inline data::Normalize normalization_of(const TrainConfig& c) {
  return normalization_of(c.normalization.empty() ? c.data : c.normalization);
}

/// Test images: small ones are centered on black when training pads too, others are resized so that the shorter side is
/// image_size / eval_crop and cut to the center.
struct FitImage {
  int64_t size;
  double eval_crop = 1;
  bool pad = true;
  data::Geometry geometry(const Tensor& image, data::Rng& rng) const {
    const data::CenterCrop middle{size, size};
    if (pad && image.size(0) <= size && image.size(1) <= size) return middle.geometry(image, rng);
    const auto side = static_cast<int64_t>(std::lround(static_cast<double>(size) / eval_crop));
    const data::Geometry shorter = data::ResizeShorter{side, Interpolation::bicubic}.geometry(image, rng);
    const auto& resized = std::get<data::Scale>(shorter.moves()[0]);
    return shorter.then(middle.geometry(resized.height, resized.width));
  }
  Tensor operator()(const Tensor& image, data::Rng& rng) const { return geometry(image, rng).image(image); }
};

/// The transforms of training images. data::cut_for_device() leaves a part of them to a device.
inline data::Transform train_transform(const TrainConfig& c) {
  std::vector<data::Transform> steps;
  if (c.crop == "random-resized")
    steps.push_back(data::RandomResizedCrop{c.image_size, c.image_size, {c.min_crop_scale, 1.0}});
  else
    steps.push_back(FitImage{c.image_size, c.eval_crop, c.crop == "pad"});
  if (c.crop == "pad") steps.push_back(data::PadAndCrop{c.crop_padding, c.image_size, c.image_size});
  if (c.flip > 0) steps.push_back(data::RandomFlip{c.flip});
  if (c.color_jitter > 0) steps.push_back(data::ColorJitter{c.color_jitter, c.color_jitter, c.color_jitter});
  steps.push_back(normalization_of(c));
  if (c.erase > 0) steps.push_back(data::RandomErasing{c.erase});
  return data::Compose{std::move(steps)};
}

/// The transforms of test images.
inline data::Transform test_transform(const TrainConfig& c) {
  return data::Compose{{FitImage{c.image_size, c.eval_crop, c.crop == "pad"}, normalization_of(c)}};
}

/// Both halves of the data that `c` names, cut to limit_train and limit_test
/// (about equally many images of each class).
/// @throws Error when there is no such data, or too few training images for one update.
inline data::DataPair open_data(const TrainConfig& c) {
  data::FolderOptions options;
  options.strict = c.strict;
  data::DataPair sets = data::open_data(c.data, options);
  if (c.limit_train > 0) sets.train = data::some_of_each_class(sets.train, c.limit_train);
  if (c.limit_test > 0) sets.test = data::some_of_each_class(sets.test, c.limit_test);
  check(sets.train->size() >= c.batch_size * c.accumulate, "train",
        "{} training images are fewer than batch_size {} x accumulate {} (one update)", sets.train->size(),
        c.batch_size, c.accumulate);
  return sets;
}

/// Loader options of the training images.
inline data::LoaderOptions train_loader_options(const TrainConfig& c) {
  data::LoaderOptions o;
  o.batch_size = c.batch_size;
  o.shuffle = true;
  o.drop_last = true;
  o.workers = static_cast<int>(c.workers);
  o.seed = static_cast<uint64_t>(c.seed);
  return o;
}

/// Leaves as much of a pipeline to the device as that can do.
inline void leave_to_device(data::Transform& transform, data::LoaderOptions& options) {
  const auto cut = data::cut_for_device(transform);
  if (!cut) return;
  transform = cut->host;
  options.on_device = std::make_shared<const data::DeviceAugment>(cut->device);
}

/// Loader options of the test images.
inline data::LoaderOptions test_loader_options(const TrainConfig& c) {
  data::LoaderOptions o;
  o.batch_size = c.eval_batch_size > 0 ? c.eval_batch_size : c.batch_size;
  o.workers = static_cast<int>(c.workers);
  return o;
}

}  // namespace atlas::inline ATLAS_ABI::train
