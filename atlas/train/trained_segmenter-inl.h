// Bodies of trained_segmenter.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "atlas/autograd/node.h"
#include "atlas/core/precision.h"
#include "atlas/core/select_device.h"
#include "atlas/core/whole_number.h"
#include "atlas/data/dense_augment.h"
#include "atlas/data/mask_folder.h"
#include "atlas/io/state_dict.h"
#include "atlas/models/presets.h"
#include "atlas/tasks/segmentation_pipeline.h"
#include "atlas/train/diagnose.h"
#include "atlas/train/setup.h"
#include "atlas/train/start-inl.h"
#include "atlas/train/trained_model-inl.h"
#include "atlas/train/trained_segmenter.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {

inline std::unique_ptr<models::Segmenter> as_segmenter(std::unique_ptr<models::Model> model, const std::string& what) {
  auto* const it = dynamic_cast<models::Segmenter*>(model.get());
  check(it != nullptr, "model", "{} is made for {}, and a model for {} is asked for", what, model->task(),
        models::Segmenter::kTask);
  static_cast<void>(model.release());
  return std::unique_ptr<models::Segmenter>(it);
}

}  // namespace detail

ATLAS_INLINE Tensor TrainedSegmenter::segment(const Tensor& image) const {
  const NoGrad off;
  data::Rng rng(0, data::Purpose::sample, 0, 0);
  const Tensor x = data::to_float(transform(image, rng)).unsqueeze(0).to(device);
  const auto finite = [this](const Tensor& seen, const Tensor& logits) {
    require_finite(*model, seen, on_host(logits));
  };
  constexpr int64_t kStrip = int64_t{1} << 25;
  return on_host(model->predict(x, image.size(0), image.size(1), crop, stride, kStrip, finite)).select(0, 0);
}

ATLAS_INLINE TrainedSegmenter open_segmenter(const ModelSource& source) {
  constexpr const char* op = "model";
  const bool own = detail::is_own(source);
  check(source.crop == 0, op, "--crop is for classifiers: the whole picture is looked at here (--slide cuts it up)");
  if (!source.precision.empty()) set_inference_precision(parse_precision(source.precision));
  TrainedSegmenter t;
  t.device = select_device(source.device);
  tasks::TaskSettings settings;
  if (own) {
    SavedModel saved = load_saved_model(source.checkpoint);
    t.name = saved.config.model.name;
    t.classes = std::move(saved.classes);
    t.model = detail::as_segmenter(std::move(saved.model), fmt::format("{} in {}", t.name, source.checkpoint));
    settings = task_settings(saved.config);
    const tasks::SegmentationSettings tested = tasks::segmentation_settings(settings);
    t.crop = tested.slide_crop;
    t.stride = tested.slide_stride;
  } else {
    t.name = source.model;
    check(models::task_of(source.model) == models::Segmenter::kTask, op,
          "{} is made for {}, and a model for {} is asked for", source.model, models::task_of(source.model),
          models::Segmenter::kTask);
    const std::string options =
        models::with_fields(source.model, detail::object_text(source.model_options), source.fields);
    {
      const SkipInit filled_below;
      t.model = detail::as_segmenter(
          models::make_any_model(source.model, {.num_classes = classes_for(source.model, source.weights, source.ema),
                                                .overrides = options}),
          source.model);
    }
    t.notes = load_weights(*t.model, source.weights, {.ema = source.ema});
    t.model->eval();
    settings.image_size = t.model->image_size();
    const int64_t n = t.model->num_classes();
    const std::vector<std::string> published = data::ade20k_classes();
    for (int64_t i = 0; i < n; ++i)
      t.classes.push_back(n == std::ssize(published) ? published[static_cast<size_t>(i)] : fmt::format("class {}", i));
  }
  t.transform = tasks::find_task(models::Segmenter::kTask).pipeline(settings).test;
  if (source.image_size == "native") {
    t.transform = settings.normalize;
  } else if (!source.image_size.empty()) {
    const int64_t side = whole_number(source.image_size, "image-size");
    check(side >= 1 && side <= data::kMostSide, "image-size", "must lie in 1..{} (of the shorter side), or be native",
          data::kMostSide);
    t.transform = data::Compose{{data::ResizeWithin{4 * side, side}, settings.normalize}};
  }
  if (!source.classes.empty()) t.classes = read_class_names(source.classes, t.model->num_classes());
  t.model->to(t.device);
  return t;
}

ATLAS_INLINE std::vector<ClassArea> class_areas(const Tensor& classes) {
  check(classes.defined() && classes.dtype() == int64 && classes.dim() == 2, "class_areas",
        "needs a class map int64 [H,W], got {}", describe(classes));
  const Tensor x = on_host(classes).contiguous();
  std::map<int64_t, int64_t> counts;
  for (int64_t i = 0; i < x.numel(); ++i) ++counts[x.data<int64_t>()[i]];
  std::vector<ClassArea> all;
  for (const auto& [index, pixels] : counts)
    all.push_back({index, pixels, static_cast<double>(pixels) / static_cast<double>(x.numel())});
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.pixels > b.pixels; });
  return all;
}

ATLAS_INLINE std::string areas_to_json(const std::string& file, const Tensor& classes,
                                       const std::vector<std::string>& names) {
  auto list = nlohmann::ordered_json::array();
  for (const ClassArea& a : class_areas(classes))
    list.push_back({{"class", a.index},
                    {"name", names.at(static_cast<size_t>(a.index))},
                    {"pixels", a.pixels},
                    {"share", a.share}});
  const nlohmann::ordered_json line = {
      {"file", file}, {"width", classes.size(1)}, {"height", classes.size(0)}, {"classes", list}};
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace atlas::inline ATLAS_ABI::train
