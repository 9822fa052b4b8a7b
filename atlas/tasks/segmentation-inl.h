// Bodies of segmentation.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include "atlas/autograd/node.h"
#include "atlas/data/class_picture.h"
#include "atlas/data/file.h"
#include "atlas/data/image.h"
#include "atlas/nn/finite_guard.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/order.h"
#include "atlas/tasks/class_table.h"
#include "atlas/tasks/segmentation.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::tasks {

namespace detail {
inline void check_pixels(const char* op, const Tensor& logits, const Tensor& labels) {
  check(logits.defined() && logits.dim() == 4, op, "needs logits [B, h, w, classes], got {}", describe(logits));
  check(labels.defined() && labels.dim() == 3 && labels.size(0) == logits.size(0) &&
            (labels.dtype() == uint8 || labels.dtype() == int64),
        op, "needs labels uint8 or int64 [{}, H, W] for logits {}, got {}", logits.size(0), describe(logits),
        describe(labels));
}
/// What pixel_loss() adds up, of rows of logits [B, rows, W, C] that have the labels' size already.
inline Tensor summed_loss(const Tensor& logits, const Tensor& labels, RowSpan rows, int64_t ignored,
                          const Tensor& weight) {
  return cross_entropy(logits, labels.slice(1, rows.first, rows.first + rows.count).to(int64),
                       {.ignore_index = ignored, .weight = weight, .reduction = Reduction::sum});
}
inline double share_of_pixel(const Tensor& labels) {
  return 1.0 / static_cast<double>(std::max<int64_t>(labels.numel(), 1));
}
/// The largest logit's class at the labels' size.
inline Tensor classes_at(const Tensor& logits, const Tensor& labels) {
  return models::class_map(logits, {{labels.size(1), labels.size(2)}});
}
}  // namespace detail

ATLAS_INLINE Tensor pixel_loss(const Tensor& logits, const Tensor& labels, int64_t ignored, const Tensor& weight,
                               int64_t strip_bytes) {
  detail::check_pixels("pixel_loss", logits, labels);
  const int64_t height = labels.size(1), width = labels.size(2);
  if (strip_bytes == 0 || logits.numel() == 0 || labels.numel() == 0)
    return detail::summed_loss(models::resize_map(logits, height, width), labels, {0, height}, ignored, weight) *
           detail::share_of_pixel(labels);
  const int64_t row_bytes = width * logits.size(0) * logits.size(3) * item_size(logits.dtype());
  const int64_t strip = std::clamp<int64_t>(strip_bytes / row_bytes, 1, height);
  Tensor sum = zeros({}, float64, logits.device());
  for (int64_t y = 0; y < height; y += strip) {
    const RowSpan rows{y, std::min(strip, height - y)};
    const Tensor x = resize_rows(logits, 0, logits.size(1), height, width, rows, Interpolation::bilinear);
    sum = sum + detail::summed_loss(x, labels, rows, ignored, weight).to(float64);
  }
  return (sum * detail::share_of_pixel(labels)).to(logits.dtype());
}

ATLAS_INLINE double pixel_accuracy(const Tensor& logits, const Tensor& labels, int64_t ignored) {
  detail::check_pixels("pixel_accuracy", logits, labels);
  PixelConfusion confusion(logits.size(3));
  confusion.add(detail::classes_at(logits, labels), labels, ignored);
  return 100 * confusion.all_accuracy();
}

ATLAS_INLINE SegmentationMeter::SegmentationMeter(int64_t classes, int64_t pictures)
    : pictures_(pictures), confusion_(classes) {}

ATLAS_INLINE void SegmentationMeter::add(const Named& outputs, const data::Targets& targets, const Named& losses,
                                         const std::vector<int64_t>& indices) {
  const data::Target& target = targets.at(data::kMask);
  const auto given = std::find_if(outputs.begin(), outputs.end(), [](const auto& o) { return o.first == "classes"; });
  Tensor classes;
  if (given != outputs.end()) {
    classes = on_host(given->second);
  } else {
    detail::check_pixels("segmentation", at(outputs, "logits"), target.value);
    classes = on_host(detail::classes_at(at(outputs, "logits"), target.value));
  }
  confusion_.add(classes, target.value, target.outside);
  const auto images = static_cast<double>(classes.size(0));
  loss_sum_ += total(losses).item() * images;
  seen_ += images;
  for (size_t i = 0; i < indices.size() && pictures_ > 0; ++i)
    keep(indices[i], classes.select(0, static_cast<int64_t>(i)));
}

ATLAS_INLINE void SegmentationMeter::keep(int64_t index, const Tensor& map) {
  const auto rank = [](int64_t i) { return Philox(0x5e6, 0, static_cast<uint64_t>(i)).v[0]; };
  if (std::ssize(maps_) >= pictures_ && !maps_.contains(index)) {
    const auto last = std::max_element(maps_.begin(), maps_.end(),
                                       [&](const auto& a, const auto& b) { return rank(a.first) < rank(b.first); });
    if (rank(index) >= rank(last->first)) return;
    maps_.erase(last);
  }
  maps_[index] = confusion_.classes() <= 256 ? map.to(uint8).contiguous() : map.contiguous();
}

ATLAS_INLINE void SegmentationMeter::merge(const Meter& other) {
  const auto* more = dynamic_cast<const SegmentationMeter*>(&other);
  check(more != nullptr && more->confusion_.classes() == confusion_.classes(), "meter",
        "only meters of segmentation with {} classes can be merged", confusion_.classes());
  loss_sum_ += more->loss_sum_;
  seen_ += more->seen_;
  confusion_.merge(more->confusion_);
  for (const auto& [index, map] : more->maps_)
    if (pictures_ > 0) keep(index, map);
}

ATLAS_INLINE std::vector<Value> SegmentationMeter::values() const {
  return {{"loss", loss()},
          {"mIoU", confusion_.mean_iou(), true},
          {"mAcc", confusion_.mean_accuracy(), true},
          {"aAcc", confusion_.all_accuracy(), true}};
}

ATLAS_INLINE StateDict SegmentationMeter::state() const {
  StateDict state;
  state["loss_sum"] = full({}, loss_sum_, float64, Device{});
  state["images"] = full({}, seen_, float64, Device{});
  state["pixels"] = confusion_.state();
  for (const auto& [index, map] : maps_) state[fmt::format("map.{}", index)] = map;
  return state;
}

ATLAS_INLINE void SegmentationMeter::load_state(const StateDict& state) {
  const auto entry = [&](const char* name) {
    const auto it = state.find(name);
    check(it != state.end(), "meter", "the state of a meter of segmentation has no '{}'", name);
    return it->second;
  };
  const auto number = [&](const char* name) {
    const Tensor t = entry(name);
    check(t.dtype() == float64 && t.numel() == 1, "meter", "'{}' of a meter must be one number, got {}", name,
          describe(t));
    return on_host(t).item();
  };
  loss_sum_ = number("loss_sum");
  seen_ = number("images");
  confusion_.load_state(entry("pixels"));
  maps_.clear();
  constexpr std::string_view prefix = "map.";
  for (const auto& [name, map] : state)
    if (name.starts_with(prefix)) {
      check(map.dim() == 2 && (map.dtype() == uint8 || map.dtype() == int64), "meter",
            "'{}' of a meter must be a class map [H, W], got {}", name, describe(map));
      maps_[std::stoll(name.substr(prefix.size()))] = on_host(map);
    }
}

ATLAS_INLINE Segmentation::Segmentation(std::vector<std::string> classes, const SegmentationOptions& options)
    : classes_(std::move(classes)), options_(options) {
  check(!classes_.empty(), "segmentation", "needs at least one class");
  check(options_.class_weights.empty() || options_.class_weights.size() == classes_.size(), "segmentation",
        "{} weights for {} classes: needs one for each", options_.class_weights.size(), classes_.size());
  for (size_t i = 0; i < options_.class_weights.size(); ++i)
    check(options_.class_weights[i] >= 0 && std::isfinite(options_.class_weights[i]), "segmentation",
          "the weight of class {} ({}) must not be negative or infinite, got {}", i, classes_[i],
          options_.class_weights[i]);
  check(options_.class_weights.empty() || std::ranges::any_of(options_.class_weights, [](double w) { return w > 0; }),
        "segmentation", "the weights of all {} classes are 0: nothing would be learned", classes_.size());
}

ATLAS_INLINE Named Segmentation::outputs(const Module& model, const Tensor& images,
                                         const data::Targets& targets) const {
  const auto* segmenter = dynamic_cast<const models::Segmenter*>(&model);
  check(segmenter != nullptr, "segmentation",
        "the model{} gives no class to every pixel of images {}: needs a model for segmentation, with logits "
        "[B,h,w,{}]",
        detail::made_for(model), describe(images), num_classes());
  if (model.training()) {
    const auto [main, auxiliary] = segmenter->logits(images);
    return {{"logits", main},
            {"auxiliary", auxiliary},
            {"auxiliary_weight", full({}, segmenter->auxiliary_weight(), float64, Device{})}};
  }
  const data::Target* mask = targets.find(data::kMask);
  const std::array<int64_t, 2> size = {images.size(1), images.size(2)};
  const std::array<int64_t, 2> to = mask == nullptr ? size : std::array{mask->value.size(1), mask->value.size(2)};
  if (options_.crop == 0) {
    const Tensor logits = (*segmenter)(images);
    return {{"logits", logits}, {"classes", models::class_map(logits, {size, to})}};
  }
  // The mean of the pieces is never there as a whole: the loss is taken from the strips that the classes come in.
  Tensor loss = zeros({}, float64, images.device()), weight;
  const auto finite = [&](const Tensor&, const Tensor& logits) {
    require_finite_output(logits, segmenter->heads().front());
  };
  const auto add = [&](RowSpan rows, const Tensor& logits) {
    if (mask == nullptr) return;
    checked_logits({{"logits", logits}}, "logits", 4, num_classes(), "segmentation");
    if (!weight.defined()) weight = class_weights(logits);
    loss = loss + detail::summed_loss(logits, mask->value, rows, mask->outside, weight).to(float64);
  };
  const Tensor classes =
      segmenter->predict(images, to[0], to[1], options_.crop, options_.stride, kStripBytes, finite, add);
  if (mask == nullptr) return {{"classes", classes}};
  return {{"classes", classes}, {"loss", loss * detail::share_of_pixel(mask->value)}};
}

ATLAS_INLINE Tensor Segmentation::class_weights(const Tensor& logits) const {
  if (options_.class_weights.empty()) return {};
  Tensor weight = empty({num_classes()}, float64, Device{});
  std::copy(options_.class_weights.begin(), options_.class_weights.end(), weight.data<double>());
  return weight.to(logits.dtype()).to(logits.device());
}

ATLAS_INLINE Named Segmentation::losses(const Named& outputs, const data::Targets& targets, int64_t strip_bytes) const {
  for (const auto& [name, known] : outputs)
    if (name == "loss") return {{"decode.loss_ce", known}};
  const data::Target& target = targets.at(data::kMask);
  const Tensor& logits = checked_logits(outputs, "logits", 4, num_classes(), "segmentation");
  const Tensor weight = class_weights(logits);
  Named parts = {{"decode.loss_ce", pixel_loss(logits, target.value, target.outside, weight, strip_bytes)}};
  for (const auto& [name, auxiliary] : outputs)
    if (name == "auxiliary")
      parts.emplace_back("aux.loss_ce", pixel_loss(checked_logits(outputs, name, 4, num_classes(), "segmentation"),
                                                   target.value, target.outside, weight, strip_bytes) *
                                            at(outputs, "auxiliary_weight").item());
  return parts;
}

ATLAS_INLINE std::unique_ptr<Meter> Segmentation::meter(bool training) const {
  return std::make_unique<SegmentationMeter>(num_classes(), training ? 0 : options_.pictures);
}

ATLAS_INLINE Report Segmentation::report(const data::Dataset& set, const Meter& test,
                                         const ReportOptions& options) const {
  const auto* found = dynamic_cast<const SegmentationMeter*>(&test);
  check(found != nullptr, "segmentation", "reports are made of what a meter of segmentation has found in a test");
  Report report;
  report.tables = "\n" + found->confusion().table(classes_) + "\n";
  report.classes = class_table(found->confusion(), classes_);
  report.summary =
      fmt::format("test mIoU {:.2f} % (mAcc {:.2f} %, aAcc {:.2f} %), loss {:.4f}", 100 * found->confusion().mean_iou(),
                  100 * found->confusion().mean_accuracy(), 100 * found->confusion().all_accuracy(), found->loss());
  const std::string csv = found->confusion().counts().to_csv(classes_);
  data::write_file(options.folder + "/confusion.csv",
                   std::span(reinterpret_cast<const uint8_t*>(csv.data()), csv.size()));
  if (found->maps().empty()) return report;
  const std::string picture = options.folder + "/predictions.png";
  data::write_png(picture, segmentation_sheet(set, *found, fmt::format("{}: {}", options.title, report.summary)));
  report.files = {{"predictions", picture}};
  return report;
}

ATLAS_INLINE Tensor segmentation_sheet(const data::Dataset& set, const SegmentationMeter& test,
                                       const std::string& title) {
  std::vector<data::ClassPicture> rows;
  for (const auto& [index, map] : test.maps()) {
    const data::Sample sample = set.get(index);
    const data::Target* mask = sample.targets.find(data::kMask);
    if (sample.image.defined() && mask != nullptr) rows.push_back({sample.image, mask->value, map, mask->outside});
  }
  check(!rows.empty(), "segmentation_sheet", "the test has kept no image of {}", set.name());
  return data::class_sheet(rows, set.classes(), title);
}

}  // namespace atlas::inline ATLAS_ABI::tasks
