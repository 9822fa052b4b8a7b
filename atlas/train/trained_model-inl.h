// Bodies of trained_model.h.
#pragma once

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "atlas/autograd/node.h"
#include "atlas/core/input_file.h"
#include "atlas/core/precision.h"
#include "atlas/core/select_device.h"
#include "atlas/core/whole_number.h"
#include "atlas/data/text.h"
#include "atlas/io/checkpoint.h"
#include "atlas/models/presets.h"
#include "atlas/models/published.h"
#include "atlas/ops/order.h"
#include "atlas/ops/softmax.h"
#include "atlas/optim/ema.h"
#include "atlas/train/diagnose.h"
#include "atlas/train/setup.h"
#include "atlas/train/start.h"
#include "atlas/train/stored_settings.h"
#include "atlas/train/trained_model.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE SavedModel load_saved_model(const std::string& path) {
  check(is_training_checkpoint(path) || !InputFile(path).problem().empty(), "checkpoint",
        "{} is no checkpoint of a training run (weights from elsewhere: --model NAME --weights FILE)", path);
  const io::Checkpoint saved = io::load_checkpoint(path);
  SavedModel t;
  t.classes = merge_settings(t.config, saved, path);
  check(!t.classes.empty(), "checkpoint", "{} does not say which classes it was trained for", path);
  validate(t.config);
  t.model = make_model(t.config, static_cast<int64_t>(t.classes.size()));
  io::restore_model(*t.model, saved, path, t.config.model.name);
  if (!saved.ema.empty()) {
    Ema average(*t.model);
    average.load_state_dict(saved.ema);
    average.apply();
  }
  require_finite_weights(*t.model);
  t.model->eval();
  return t;
}

ATLAS_INLINE TrainedModel load_trained_model(const std::string& path) {
  SavedModel saved = load_saved_model(path);
  TrainedModel t;
  t.model.reset(dynamic_cast<models::Classifier*>(saved.model.get()));
  check(t.model != nullptr, "checkpoint", "{} holds {}, which is made for {}, and a classifier is asked for", path,
        saved.config.model.name, saved.model->task());
  static_cast<void>(saved.model.release());
  t.config = std::move(saved.config);
  t.classes = std::move(saved.classes);
  t.transform = pipeline_of(t.config).test;
  return t;
}

ATLAS_INLINE Tensor TrainedModel::classify(const Tensor& image) const {
  NoGrad off;
  data::Rng rng(0, data::Purpose::sample, 0, 0);
  const Tensor x = data::to_float(transform(image, rng)).unsqueeze(0).to(device);
  const Tensor logits = (*model)(x).to(float32);
  require_finite(*model, x, logits);
  return on_host(softmax(logits)).select(0, 0);
}

namespace detail {

/// The text of a JSON object: `given` itself, or what is in the file of that name.
inline std::string object_text(const std::string& given) {
  if (given.empty() || given.front() == '{') return given;
  return data::read_text(given, int64_t{1} << 20);
}

}  // namespace detail

ATLAS_INLINE void read_image_size(const std::string& text, data::EvaluationSettings& s) {
  if (text == "native") {
    s.height = s.width = 0;
    return;
  }
  const auto number = [&](std::string_view side) {
    check(!side.empty() && side.find_first_not_of("0123456789") == side.npos, "image-size",
          "'{}' is no size: write 384, 640x480 or native", text);
    const int64_t n = whole_number(side, "image-size");
    check(n >= 1, "image-size", "'{}' is no size: write 384, 640x480 or native", text);
    check(n <= data::kMostSide, "image-size", "{} pixels are too large, at most {}", n, data::kMostSide);
    return n;
  };
  const std::string_view all = text;
  const size_t x = text.find('x');
  s.width = number(all.substr(0, x));
  s.height = x == text.npos ? s.width : number(all.substr(x + 1));
}

namespace detail {

/// True for a checkpoint of a run, false for a preset with weights. @throws Error for anything between.
inline bool is_own(const ModelSource& source) {
  constexpr const char* op = "model";
  const bool own = !source.checkpoint.empty();
  check(own != !source.model.empty(), op, "{}",
        own ? "--checkpoint says which model it is: leave --model out"
            : "name a model with --checkpoint FILE, or with --model NAME --weights FILE");
  check(own || !source.weights.empty(), op, "--model {} needs --weights FILE", source.model);
  check(!own || (source.weights.empty() && source.model_options.empty() && source.fields.empty() && !source.ema), op,
        "--weights, --model-options and --ema go with --model, not with --checkpoint");
  return own;
}

}  // namespace detail

ATLAS_INLINE TrainedModel open_model(const ModelSource& source) {
  constexpr const char* op = "model";
  const Device device = select_device(source.device);
  const bool own = detail::is_own(source);
  check(source.crop == 0 || (source.crop >= data::kLeastCrop && source.crop <= 1), op,
        "--crop must lie in [{}, 1] (the picture is resized to image-size / crop), got {}", data::kLeastCrop,
        source.crop);
  if (!source.precision.empty()) set_inference_precision(parse_precision(source.precision));
  TrainedModel t;
  data::EvaluationSettings settings;
  if (own) {
    t = load_trained_model(source.checkpoint);
    settings.crop = t.config.augmentation.eval_crop;
    settings.squash = t.config.augmentation.eval_squash;
    settings.normalize = normalization_of(t.config);
  } else {
    t.config.model.name = source.model;
    t.config.model.options =
        models::with_fields(source.model, detail::object_text(source.model_options), source.fields);
    {
      const SkipInit filled_below;
      t.model = models::make_model(source.model, {.num_classes = classes_for(source.model, source.weights, source.ema),
                                                  .overrides = t.config.model.options});
    }
    t.notes = load_weights(*t.model, source.weights, {.ema = source.ema});
    t.model->eval();
    const models::PublishedEvaluation published = models::published_evaluation(source.model);
    settings.crop = published.crop;
    settings.squash = published.squash;
    t.config.data.image_size = t.model->image_size();
    t.config.augmentation.eval_crop = published.crop;
    t.config.augmentation.eval_squash = published.squash;
    t.config.data.normalization = "imagenet";
  }
  settings.height = settings.width = t.model->image_size();
  if (source.crop > 0) settings.crop = source.crop;
  if (!source.image_size.empty()) read_image_size(source.image_size, settings);
  if (!own || source.crop > 0 || !source.image_size.empty()) t.transform = data::evaluation_transform(settings);
  if (!source.classes.empty()) {
    t.classes = read_class_names(source.classes, t.model->num_classes());
  } else if (!own) {
    for (int64_t i = 0; i < t.model->num_classes(); ++i) t.classes.push_back(fmt::format("class {}", i));
  }
  t.device = device;
  t.model->to(device);
  return t;
}

ATLAS_INLINE std::vector<std::string> read_class_names(const std::string& path, int64_t count) {
  std::vector<std::string> names = data::read_lines(path);
  check(!names.empty(), "classes", "{} is empty: it should hold one name per line", path);
  check(count == 0 || static_cast<int64_t>(names.size()) == count, "classes",
        "{} holds {} names, but the model tells {} classes apart", path, names.size(), count);
  return names;
}

ATLAS_INLINE std::vector<Guess> best_guesses(const Tensor& probabilities, int64_t count) {
  const auto [values, classes] = topk(on_host(probabilities), std::min(count, probabilities.size(0)), 0);
  std::vector<Guess> guesses;
  for (int64_t i = 0; i < values.size(0); ++i)
    guesses.push_back({classes.at<int64_t>({i}), static_cast<double>(values.at<float>({i}))});
  return guesses;
}

ATLAS_INLINE std::string to_json(const std::string& file, const std::vector<Guess>& guesses,
                                 const std::vector<std::string>& classes) {
  auto top = nlohmann::ordered_json::array();
  for (const Guess& g : guesses)
    top.push_back(
        {{"class", g.index}, {"name", classes[static_cast<size_t>(g.index)]}, {"probability", g.probability}});
  const nlohmann::ordered_json line = {{"file", file}, {"top", top}};
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace atlas::inline ATLAS_ABI::train
