// Golden data of segmentation: UPerNet, its metric, its schedule, and the ops that dense tasks brought.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/io/formula.h"
#include "atlas/models/heads/segment.h"
#include "atlas/models/presets.h"
#include "atlas/ops/conv_transpose.h"
#include "atlas/ops/pool.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/resize.h"
#include "atlas/optim/schedule.h"
#include "atlas/tasks/segmentation.h"
#include "tools/golden/comparison.h"

namespace golden {

/// The kind of a file of this header, or "".
inline std::string segmentation_kind(const Comparison& c) {
  if (c.has_meta("task") && c.meta("task") == "upernet") return "upernet";
  if (c.has("rate") && c.has("step")) return "schedule";
  const auto any = [&](std::string_view text) {
    for (const std::string& name : c.names(""))
      if (name.find(text) != std::string::npos) return true;
    return false;
  };
  if (any(".bilinear.y")) return "op_resize";
  if (any("deconv_") || any("pool_")) return "op_layers";
  return "";
}

/// The nested configuration of a file as the flat one of a family.
inline std::string flat_config(const std::string& text) {
  nlohmann::json config = nlohmann::json::parse(text);
  nlohmann::json flat = config.at("backbone");
  config.erase("backbone");
  flat.erase("num_classes");
  flat.update(config);
  return flat.dump();
}

/// Checks confusion matrix and measures: `prefix`IoU, ...
inline void compare_metric(Comparison& c, const std::string& prefix, const tasks::PixelConfusion& found,
                           double tolerance) {
  const auto number = [](double v) { return full({}, v, float64); };
  std::array<Tensor, 2> by_class;
  for (Tensor& t : by_class) t = empty({found.classes()}, float64);
  for (int64_t i = 0; i < found.classes(); ++i) {
    by_class[0].at<double>({i}) = found.iou(i);
    by_class[1].at<double>({i}) = found.accuracy(i);
  }
  c.compare(prefix + "aAcc", number(found.all_accuracy()), tolerance);
  c.compare(prefix + "mIoU", number(found.mean_iou()), tolerance);
  c.compare(prefix + "mAcc", number(found.mean_accuracy()), tolerance);
  c.compare_equal(prefix + "IoU", by_class[0].to(float32));
  c.compare_equal(prefix + "Acc", by_class[1].to(float32));
}

/// The segmentation part of metrics.safetensors.
inline void check_miou(Comparison& c) {
  tasks::PixelConfusion found(c.number("classes"));
  const Tensor prediction = c.tensor("miou.prediction"), label = c.tensor("miou.label");
  for (int64_t i = 0; i < label.size(0); ++i) found.add(prediction.select(0, i), label.select(0, i));
  c.compare_equal("miou.confusion", found.state());
  compare_metric(c, "miou.", found, 1e-6);
}

/// In how many pixels rounding may decide which class has the largest logit, as a remark.
/// @param logits  [B, H, W, classes] of the pixels that are decided
inline std::string near_ties(const Tensor& logits) {
  constexpr float kNear = 1e-5F;
  const std::vector<float> all = to_vector<float>(logits.detach().to(float32).to(Device{}));
  float largest = 0;
  for (const float v : all) largest = std::max(largest, std::abs(v));
  int64_t count = 0;
  const auto classes = static_cast<size_t>(logits.size(3));
  for (size_t i = 0; classes > 1 && i < all.size(); i += classes) {
    float first = -INFINITY, second = -INFINITY;
    for (size_t k = i; k < i + classes; ++k) {
      second = std::max(second, std::min(first, all[k]));
      first = std::max(first, all[k]);
    }
    count += first - second < kNear * largest ? 1 : 0;
  }
  return fmt::format(" ({} pixels have two largest logits within {:.0e} of the largest of all, where rounding decides)",
                     count, kNear);
}

inline void check_upernet(Comparison& c, Place place) {
  const bool wide = place.dtype == float64;
  const double tolerance = wide ? 1e-6 : 1e-4;
  std::unique_ptr<models::Model> made;
  {
    const SkipInit filled_below;
    made = models::make_any_model_from_config("upernet-" + c.meta("family"), flat_config(c.meta("config")));
  }
  auto& model = dynamic_cast<models::Segmenter&>(*made);
  model.to(place.dtype);
  io::formula_fill(model);
  model.to(place.device);
  check(model.parameter_count() == c.number("parameters"), "golden_check",
        "the model has {} parameters, the file says {}", model.parameter_count(), c.meta("parameters"));
  const int64_t height = c.number("height"), width = c.number("width");
  Tensor images = io::formula_image(c.number("batch"), height, width, place.dtype).to(place.device);
  const Tensor labels = c.tensor("labels").to(place.device);

  model.eval();
  {
    const NoGrad off;
    const std::vector<Tensor> maps = model.backbone().maps(images);
    for (size_t i = 0; i < maps.size(); ++i)
      c.compare(fmt::format("eval.map{}", i), channels_first(maps[i]), tolerance);
    const auto [main, auxiliary] = model.logits(images);
    c.compare("eval.logits", channels_first(main), tolerance);
    c.compare("eval.aux_logits", channels_first(auxiliary), tolerance);
    c.compare("eval.whole", channels_first(model.whole(images)), tolerance);
    c.compare("eval.slide", channels_first(model.slide(images, c.number("crop"), c.number("stride"))), tolerance);
    const nlohmann::json original = nlohmann::json::parse(c.meta("original"));
    const auto rows = original[0].get<int64_t>(), columns = original[1].get<int64_t>();
    const std::string near = near_ties(models::resize_map(model.whole(images), rows, columns));
    for (const int64_t strip : {int64_t{1} << 25, int64_t{1} << 12})  // at once, and in strips
      c.compare_equal("eval.classes", model.predict(images, rows, columns, 0, 0, strip), near);
    tasks::PixelConfusion found(model.num_classes());
    found.add(model.predict(images, height, width), labels);
    compare_metric(c, "eval.", found, 1e-6);
  }

  model.train();
  images.set_requires_grad();
  data::Targets targets;
  targets.set(data::kMask, {data::TargetKind::mask, labels});
  const tasks::Segmentation task(std::vector<std::string>(static_cast<size_t>(model.num_classes()), "class"));
  const tasks::Named outputs = task.outputs(model, images, targets), losses = task.loss(outputs, targets);
  const Tensor loss = tasks::total(losses);
  backward(loss);
  for (const auto& [name, value] : losses) c.compare("train." + name, value, tolerance);
  c.compare("train.loss", loss, tolerance);
  const auto accuracy = [&](const std::string& name, const char* from) {
    const Tensor logits = tasks::at(outputs, from).detach();
    c.compare(name, full({}, tasks::pixel_accuracy(logits, labels), float64), tolerance, 0,
              near_ties(models::resize_map(logits, height, width)));
  };
  accuracy("train.decode.acc_seg", "logits");
  accuracy("train.aux.acc_seg", "auxiliary");
  const double of_gradients = wide ? 1e-6 : 1e-3, floor = 0.01 * c.largest_norm("grad.");
  c.compare("grad.input", channels_first(images.grad()), of_gradients, floor);
  for (const StateEntry& e : model.state_entries()) {
    if (e.is_parameter) {
      if (!e.tensor.grad().defined() && !c.has("grad." + e.name)) continue;  // Atlas: stages without a scale
      check(e.tensor.grad().defined(), "golden_check", "no gradient reached '{}'", e.name);
      c.compare("grad." + e.name, published_view(e.tensor.grad(), e.layout), of_gradients, floor);
    } else if (e.name.find("running") != std::string::npos) {
      c.compare("after." + e.name, e.tensor, tolerance);
    }
  }
}

/// y = function(inputs) and the gradients of sum(y * weight). Maps in files are [B, C, H, W].
template <class F>
void check_with_gradients(Comparison& c, const std::string& name, Place place,
                          const std::vector<std::pair<std::string, bool>>& inputs, const F& function) {
  const auto read = [&](const std::string& key, bool is_map) {
    const Tensor t = c.tensor(name + "." + key).to(place.dtype).to(place.device);
    return is_map ? t.permute({0, 2, 3, 1}).contiguous() : t;
  };
  std::vector<Tensor> x;
  for (const auto& [key, is_map] : inputs) x.push_back(read(key, is_map).set_requires_grad());
  const Tensor y = function(x);
  backward(sum(y * read("weight", true)));
  const double tolerance = place.dtype == float64 ? 1e-6 : 1e-5;
  c.compare(name + ".y", channels_first(y), tolerance);
  for (size_t i = 0; i < x.size(); ++i)
    c.compare(name + ".grad." + inputs[i].first, inputs[i].second ? channels_first(x[i].grad()) : x[i].grad(),
              tolerance);
}

inline void check_op_resize(Comparison& c, Place place) {
  for (const std::string& name : c.names("")) {
    if (!name.ends_with(".y")) continue;
    const std::string stem = name.substr(0, name.size() - 2);
    const int64_t height = c.tensor(name).size(2), width = c.tensor(name).size(3);
    const Interpolation mode = stem.ends_with(".nearest") ? Interpolation::nearest : Interpolation::bilinear;
    check_with_gradients(c, stem, place, {{"x", true}}, [&](const std::vector<Tensor>& x) {
      return resize(x[0], height, width, mode, false, stem.ends_with(".corners"));
    });
  }
}

inline void check_op_layers(Comparison& c, Place place) {
  for (const std::string& name : c.names("")) {
    if (!name.ends_with(".y")) continue;
    const std::string stem = name.substr(0, name.size() - 2);
    if (stem.starts_with("pool_")) {
      const int64_t side = c.tensor(name).size(2);
      check_with_gradients(c, stem, place, {{"x", true}},
                           [&](const std::vector<Tensor>& x) { return adaptive_avg_pool2d(x[0], side, side); });
    } else {
      // The weight is [in, out, 2, 2] in files and [in, 2, 2, out] here: the same permutation as of maps.
      check_with_gradients(c, stem, place, {{"x", true}, {"weight_", true}, {"bias", false}},
                           [](const std::vector<Tensor>& x) {
                             return conv_transpose2d(x[0], x[1], x[2], {.stride = {2, 2}});
                           });
    }
  }
}

inline void check_schedule(Comparison& c) {
  const double base = std::stod(c.meta("base"));
  const Schedule schedule{
      .shape = Schedule::Shape::polynomial, .peak = base, .epochs = 160'000, .warmup = 1'500, .warmup_lr = 1e-6 * base};
  const Tensor& steps = c.tensor("step");
  Tensor rates = empty(steps.shape(), float64);
  for (int64_t i = 0; i < steps.numel(); ++i) rates.at<double>({i}) = schedule.lr(steps.at<int64_t>({i}), 1);
  c.compare("rate", rates, 1e-12);
}

/// Runs a file of that kind; false when it is none of this header's.
inline bool check_segmentation(const std::string& kind, Comparison& c, Place place) {
  if (kind == "upernet")
    check_upernet(c, place);
  else if (kind == "op_resize")
    check_op_resize(c, place);
  else if (kind == "op_layers")
    check_op_layers(c, place);
  else if (kind == "schedule")
    check_schedule(c);
  else
    return false;
  return true;
}

}  // namespace golden
