// Bodies of trained_detector.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>

#include "atlas/autograd/node.h"
#include "atlas/core/select_device.h"
#include "atlas/models/presets.h"
#include "atlas/ops/boxes.h"
#include "atlas/ops/join.h"
#include "atlas/tasks/detection_pipeline.h"
#include "atlas/train/setup.h"
#include "atlas/train/start-inl.h"
#include "atlas/train/trained_detector.h"
#include "atlas/train/trained_model-inl.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE std::vector<tasks::CocoObject> TrainedDetector::find(const Tensor& picture, int64_t top) const {
  const NoGrad off;
  data::Rng rng(0, data::Purpose::sample, 0, 0);
  const Tensor x = normalize(resize(picture, rng), rng);
  const int64_t h = x.size(0), w = x.size(1), down = (32 - h % 32) % 32, right = (32 - w % 32) % 32;
  const Tensor images = pad(x, {0, 0, 0}, {down, right, 0}).unsqueeze(0).to(model->device());
  const models::ImageSize original{picture.size(0), picture.size(1)};
  const auto found = model->predict(images, {{h, w}}, {original})[0];
  const Tensor boxes = on_host(found.boxes.to(float32)), scores = on_host(found.scores.to(float32));
  const std::vector<int64_t> labels = to_vector<int64_t>(found.labels);
  std::vector<tasks::CocoObject> all;
  for (int64_t i = 0; i < std::min<int64_t>(top, std::ssize(labels)); ++i) {
    tasks::CocoObject o{.category = labels[static_cast<size_t>(i)]};
    const float* b = boxes.data<float>() + 4 * i;
    const auto at = [&](int k) { return static_cast<double>(b[k]); };
    o.box = {at(0), at(1), at(2) - at(0), at(3) - at(1)};
    o.score = static_cast<double>(scores.data<float>()[i]);
    if (found.masks.defined())
      o.mask = data::rle_encode(paste_masks(found.masks.slice(0, i, i + 1), found.boxes.slice(0, i, i + 1), original[0],
                                            original[1], 0.5)[0]);
    all.push_back(std::move(o));
  }
  return all;
}

ATLAS_INLINE TrainedDetector open_detector(const ModelSource& source, int64_t longer, int64_t shorter) {
  TrainedDetector t;
  tasks::TaskSettings settings;
  if (detail::is_own(source)) {
    SavedModel saved = load_saved_model(source.checkpoint);
    t.owner = std::move(saved.model);
    t.classes = std::move(saved.classes);
    settings = task_settings(saved.config);
  } else {
    t.owner = models::make_any_model(source.model, {.num_classes = classes_for(source.model, source.weights),
                                                    .overrides = detail::object_text(source.model_options)});
    t.notes = load_weights(*t.owner, source.weights);
    settings.image_size = t.owner->image_size();
    t.named = !source.classes.empty();
    for (int64_t i = 0; i < t.owner->num_classes(); ++i) t.classes.push_back(fmt::format("class {}", i));
  }
  if (!source.classes.empty()) t.classes = read_class_names(source.classes, t.owner->num_classes());
  t.model = dynamic_cast<const models::Detector*>(t.owner.get());
  check(t.model != nullptr, "detect", "the model is made for {}, and a detector is asked for", t.owner->task());
  t.owner->eval();
  t.owner->to(select_device(source.device));
  t.normalize = settings.normalize;
  t.resize = tasks::detection_resize(settings, longer, shorter);
  return t;
}

}  // namespace atlas::inline ATLAS_ABI::train
