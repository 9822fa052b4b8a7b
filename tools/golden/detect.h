// Golden data of detection: Cascade Mask R-CNN, its operators, and COCO's numbers.
#pragma once

#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/io/formula.h"
#include "atlas/models/heads/detect.h"
#include "atlas/models/presets.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/boxes.h"
#include "atlas/ops/join.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/roi_align.h"
#include "atlas/tasks/coco_metric.h"
#include "tools/golden/segment.h"

namespace golden {

/// The kind of a file of this header, or "".
inline std::string detection_kind(const Comparison& c) {
  if (c.has_meta("task") && c.meta("task") == "cascade_mask_rcnn") return "cascade";
  if (c.has("giou.y") && c.has("paste.masks")) return "op_boxes";
  const auto any = [&](std::string_view end) {
    for (const std::string& name : c.names(""))
      if (name.ends_with(end)) return true;
    return false;
  };
  if (c.has("box.numbers") && c.has("miou.confusion")) return "metrics";
  if (any(".keep50") && any(".grouped50")) return "op_nms";
  if (any(".rois") && any(".stride")) return "op_roi_align";
  return "";
}

/// flat_config() of a detector: the stages' deviations are one list.
inline std::string flat_detector_config(const std::string& text) {
  nlohmann::json config = nlohmann::json::parse(flat_config(text)), stds = nlohmann::json::array();
  for (const nlohmann::json& stage : config.at("stage_stds"))
    for (const nlohmann::json& value : stage) stds.push_back(value);
  config["stage_stds"] = stds;
  return config.dump();
}

inline std::vector<models::ImageSize> sizes_of(const Comparison& c, const std::string& key) {
  std::vector<models::ImageSize> sizes;
  for (const nlohmann::json& size : nlohmann::json::parse(c.meta(key)))
    sizes.push_back({size[0].get<int64_t>(), size[1].get<int64_t>()});
  return sizes;
}

/// Rows of regions, [R, bins, bins, C], as files have them.
inline Tensor regions_first(const Tensor& x) { return x.dim() == 4 ? channels_first(x) : x; }

/// How many pixels of masks rounding may put on either side of their threshold, as a remark.
/// @param pasted  probabilities [N, H, W]
inline std::string near_threshold(const Tensor& pasted) {
  constexpr double kNear = 1e-5;
  int64_t count = 0;
  for (const float p : to_vector<float>(on_host(pasted.to(float32))))
    count += std::abs(static_cast<double>(p) - 0.5) < kNear ? 1 : 0;
  return fmt::format(" ({} pixels of all masks lie within {:.0e} of the threshold 0.5, where rounding decides)", count,
                     kNear);
}

inline void check_detections(Comparison& c, const std::vector<models::Detections>& found,
                             const std::vector<models::ImageSize>& originals, double tolerance) {
  for (size_t i = 0; i < found.size(); ++i) {
    const std::string at = std::to_string(i);
    c.compare("eval.boxes" + at, found[i].boxes, tolerance);
    c.compare("eval.scores" + at, found[i].scores, tolerance);
    c.compare_equal("eval.labels" + at, found[i].labels);
    const Tensor masks = on_host(paste_masks(found[i].masks, found[i].boxes, originals[i][0], originals[i][1], 0.5));
    const std::string near =
        near_threshold(paste_masks(found[i].masks, found[i].boxes, originals[i][0], originals[i][1]));
    const int64_t n = masks.size(0), pixels = masks.size(1) * masks.size(2);
    c.compare_equal("eval.mask_area" + at, sum(masks.to(int64), {1, 2}), near);
    const Tensor& stored = c.tensor("eval.mask_bits" + at);
    Tensor bits = zeros(stored.shape(), uint8, Device{});
    for (int64_t k = 0; k < std::min<int64_t>(n, 4) * pixels && k < 8 * bits.numel(); ++k)
      if (masks.data<uint8_t>()[k] != 0)
        bits.data<uint8_t>()[k / 8] = static_cast<uint8_t>(bits.data<uint8_t>()[k / 8] | (128 >> (k % 8)));
    c.compare_equal("eval.mask_bits" + at, bits, near);
  }
}

/// set_exact_convolution() while it lives.
class ExactConvolution {
 public:
  ExactConvolution() : before_(exact_convolution()) { set_exact_convolution(true); }
  ~ExactConvolution() { set_exact_convolution(before_); }
  ExactConvolution(const ExactConvolution&) = delete;
  ExactConvolution& operator=(const ExactConvolution&) = delete;

 private:
  bool before_;
};

inline void check_cascade(Comparison& c, Place place) {
  const bool wide = place.dtype == float64;
  const double tolerance = wide ? 1e-6 : 1e-4;
  std::unique_ptr<models::Model> made;
  {
    const SkipInit filled_below;
    made = models::make_any_model_from_config("cascade-mask-rcnn-" + c.meta("family"),
                                              flat_detector_config(c.meta("config")));
  }
  auto& model = dynamic_cast<models::Detector&>(*made);
  model.to(place.dtype);
  io::formula_fill(model);
  model.to(place.device);
  check(model.parameter_count() == c.number("parameters"), "golden_check",
        "the model has {} parameters, the file says {}", model.parameter_count(), c.meta("parameters"));
  const auto sizes = sizes_of(c, "sizes"), originals = sizes_of(c, "originals");
  Tensor images = on_host(
      io::formula_image(c.number("batch"), c.number("height"), c.number("width"), place.dtype, c.meta("image")));
  for (int64_t i = 0; i < images.size(0); ++i) {
    Tensor image = images[i];
    const auto& [h, w] = sizes[static_cast<size_t>(i)];
    image.slice(0, h, image.size(0)).zero_();
    image.slice(1, w, image.size(1)).zero_();
  }
  images = images.to(place.device);
  std::vector<models::ObjectTruth> truths;
  std::vector<Tensor> extra;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const std::string at = std::to_string(i);
    truths.push_back({c.tensor("truth" + at + ".boxes").to(place.dtype).to(place.device),
                      c.tensor("truth" + at + ".labels").to(place.device),
                      c.tensor("truth" + at + ".masks").to(place.device)});
    extra.push_back(c.tensor("train.extra" + at).to(place.dtype).to(place.device));
  }
  const size_t stages = nlohmann::json::parse(c.meta("config")).at("stage_iou").size();

  model.eval();
  {
    const NoGrad off;
    models::DetectionTrace trace;
    const std::vector<models::Detections> found = model.predict(images, sizes, originals, &trace);
    for (const auto& [name, t] : trace) {
      if (name.find(".rois") != std::string::npos || name.starts_with("proposal"))
        check(c.has("eval." + name), "golden_check", "no '{}'", name);
      c.compare("eval." + name, name.starts_with("fpn") ? channels_first(t) : t, tolerance);
    }
    check_detections(c, found, originals, tolerance);
  }

  // A ReLU whose input is 0 up to rounding is open or closed by chance. Behind the batch norm of a few dozen regions
  // one of them shows in gradients, so that convolutions are plain sums here, as in the program that wrote the file.
  // (Winograd's, 20 times farther from exact sums, stay within the tolerance everywhere else.)
  const ExactConvolution plain_sums;
  model.train();
  images.set_requires_grad();
  models::DetectionTrace trace;
  const models::LossParts losses = model.losses(images, truths, sizes, nullptr, &trace, extra);
  Tensor loss;
  for (const auto& [name, value] : losses) {
    c.compare("train." + name, value, tolerance);
    loss = loss.defined() ? loss + value : value;
  }
  c.compare("train.loss", loss, tolerance);
  backward(loss);
  for (const auto& [name, t] : trace) {
    if (name.starts_with("proposal_scores")) continue;  // files hold those of the test pass
    if (t.dtype() == int64 || t.dtype() == uint8) {
      c.compare_equal("train." + name, t);
    } else {
      c.compare("train." + name, regions_first(t), tolerance);
    }
  }
  check(trace.contains("s" + std::to_string(stages - 1) + ".mask_targets"), "golden_check", "a stage left no trace");
  const double of_gradients = wide ? 1e-6 : 1e-3, floor = 0.01 * c.largest_norm("grad.");
  c.compare("grad.input", channels_first(images.grad()), of_gradients, floor);
  for (const StateEntry& e : model.state_entries()) {
    if (e.is_parameter) {
      if (!c.has("grad." + e.name) && !e.tensor.grad().defined()) continue;
      check(e.tensor.grad().defined(), "golden_check", "no gradient reached '{}'", e.name);
      c.compare("grad." + e.name, published_view(e.tensor.grad(), e.layout), of_gradients, floor);
    } else if (e.name.find("running") != std::string::npos) {
      c.compare("after." + e.name, e.tensor, tolerance);
    }
  }
}

inline void check_op_roi_align(Comparison& c, Place place) {
  for (const std::string& name : c.names("")) {
    if (!name.ends_with(".y")) continue;
    const std::string stem = name.substr(0, name.size() - 2);
    const int64_t bins = c.tensor(name).size(2);
    const auto stride = static_cast<double>(c.tensor(stem + ".stride").item<int64_t>());
    const Tensor rois = c.tensor(stem + ".rois").to(place.dtype).to(place.device);
    check_with_gradients(c, stem, place, {{"map", true}},
                         [&](const std::vector<Tensor>& x) { return roi_align(x[0], rois, bins, 1 / stride); });
  }
}

inline void check_op_nms(Comparison& c, Place place) {
  for (const std::string& name : c.names("")) {
    if (!name.ends_with(".boxes")) continue;
    const std::string stem = name.substr(0, name.size() - 6);
    const auto read = [&](const char* key) { return c.tensor(stem + key).to(place.device); };
    const Tensor boxes = read(".boxes").to(place.dtype), scores = read(".scores").to(place.dtype),
                 groups = read(".groups");
    for (const int percent : {30, 50, 70}) {
      const std::string which = std::to_string(percent);
      c.compare_equal(stem + ".keep" + which, nms(boxes, scores, percent / 100.0));
      c.compare_equal(stem + ".grouped" + which, nms(boxes, scores, percent / 100.0, groups));
    }
  }
}

inline Tensor list_of(const std::vector<int64_t>& values) { return from_vector(values, {std::ssize(values)}); }

inline void check_op_boxes(Comparison& c, Place place) {
  const auto read = [&](const std::string& name) { return c.tensor(name).to(place.dtype).to(place.device); };
  const double tolerance = place.dtype == float64 ? 1e-6 : 1e-5;
  const Tensor a = read("a"), b = read("b"), deltas = read("deltas");
  const BoxStds stds{0.1, 0.1, 0.2, 0.2};
  c.compare("iou", pairwise_iou(a, b), tolerance);
  c.compare("encoded", encode_boxes(a, b, stds), tolerance);
  c.compare("decoded", decode_boxes(a, deltas, stds), tolerance);
  for (const std::string& name : c.names("decoded_clipped_")) {
    const std::string size = name.substr(16);
    c.compare(name, decode_boxes(a, deltas, stds, {std::stoll(size), std::stoll(size.substr(size.find('x') + 1))}),
              tolerance);
  }
  c.compare("anchors_h3_w4_stride8_scale8", grid_anchors(3, 4, 8, 8, {0.5, 1, 2}), tolerance);
  Tensor p = read("giou.a").set_requires_grad(), q = read("giou.b").set_requires_grad();
  const Tensor y = generalized_iou(p, q);
  backward(sum(y * read("giou.weight")));
  c.compare("giou.y", y, tolerance);
  c.compare("giou.grad.a", p.grad(), tolerance);
  c.compare("giou.grad.b", q.grad(), tolerance);
  for (const std::string& name : c.names("assign_")) {
    if (name.find('.') != std::string::npos) continue;
    // assign_POSITIVE_NEGATIVE_low, in percent
    const double positive = std::stod(name.substr(7, 2)) / 100, negative = std::stod(name.substr(10, 2)) / 100;
    const double low = name.ends_with("_low") ? negative : -1;
    const Tensor assigned = assign_boxes(read("assign.boxes"), read("assign.truths"), {positive, negative, low});
    c.compare_equal(name, assigned);
    const BoxSamples samples = sample_boxes(assigned, 32, 0.25);
    c.compare_equal(name + ".positive_of_32_quarter", list_of(samples.positive));
    c.compare_equal(name + ".negative_of_32_quarter", list_of(samples.negative));
  }
  c.compare_equal("levels", roi_levels(read("levels.rois"), 4, 56));
  c.compare_equal("mask_targets.size28",
                  mask_targets(c.tensor("mask_targets.masks").to(place.device), read("mask_targets.boxes"),
                               c.tensor("mask_targets.which").to(place.device), 28));
  for (const std::string& name : c.names("paste.")) {
    const size_t by = name.find('x', 7);
    if (by == std::string::npos || name == "paste.boxes") continue;
    c.compare(name,
              paste_masks(read("paste.masks"), read("paste.boxes"), std::stoll(name.substr(6)),
                          std::stoll(name.substr(by + 1))),
              tolerance);
  }
}

/// COCO's objects of one kind ("box.truth" ...); masks are packed bits, each row of pixels padded to whole bytes.
inline std::vector<tasks::CocoObject> coco_objects(Comparison& c, const std::string& kind, const std::string& who) {
  const std::string prefix = kind + "." + who + ".";
  const Tensor& images = c.tensor(prefix + "image");
  const Tensor &categories = c.tensor(prefix + "category"), &shapes = c.tensor(prefix + kind);
  std::vector<tasks::CocoObject> all(static_cast<size_t>(images.numel()));
  for (int64_t i = 0; i < images.numel(); ++i) {
    tasks::CocoObject& o = all[static_cast<size_t>(i)];
    o.image = images.at<int64_t>({i});
    o.category = categories.at<int64_t>({i});
    if (kind == "box") {
      for (int64_t k = 0; k < 4; ++k) o.box[static_cast<size_t>(k)] = shapes.at<double>({i, k});
    } else {
      const int64_t height = shapes.size(1), width = 8 * shapes.size(2);
      Tensor mask = empty({height, width}, uint8, Device{});
      for (int64_t k = 0; k < mask.numel(); ++k)
        mask.data<uint8_t>()[k] = shapes.data<uint8_t>()[i * height * width / 8 + k / 8] >> (7 - k % 8) & 1;
      o.mask = data::rle_encode(mask);
    }
    if (who == "truth") {
      o.area = c.tensor(prefix + "area").at<double>({i});
      o.crowd = c.tensor(prefix + "crowd").at<int64_t>({i}) != 0;
    } else {
      o.score = c.tensor(prefix + "score").at<double>({i});
    }
  }
  return all;
}

/// COCO's numbers and tables, and the numbers of segmentation.
inline void check_metrics(Comparison& c) {
  for (const std::string kind : {"box", "mask"}) {
    const tasks::CocoResult r = tasks::coco_evaluate(coco_objects(c, kind, "truth"), coco_objects(c, kind, "detection"),
                                                     kind == "box" ? tasks::CocoShape::box : tasks::CocoShape::mask);
    c.compare(kind + ".numbers", from_vector(std::vector<double>(r.numbers.begin(), r.numbers.end())), 1e-12);
    const int64_t n = std::ssize(r.categories);
    c.compare(kind + ".recall", from_vector(r.recall, {10, n, 4, 3}), 1e-12);
    const Tensor precision = from_vector(r.precision, {10, 101, n, 4, 3});
    c.compare(kind + ".precision_at_0_50_100",
              stack({precision.select(1, 0), precision.select(1, 50), precision.select(1, 100)}, 1), 1e-12);
  }
  check_miou(c);
}

/// Runs a file of that kind; false when it is none of this header's.
inline bool check_detection(const std::string& kind, Comparison& c, Place place) {
  if (kind == "cascade")
    check_cascade(c, place);
  else if (kind == "op_roi_align")
    check_op_roi_align(c, place);
  else if (kind == "op_nms")
    check_op_nms(c, place);
  else if (kind == "metrics")
    check_metrics(c);
  else if (kind == "op_boxes")
    check_op_boxes(c, place);
  else
    return false;
  return true;
}

}  // namespace golden
