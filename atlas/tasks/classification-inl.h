// Bodies of classification.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include "atlas/autograd/node.h"
#include "atlas/data/file.h"
#include "atlas/data/image.h"
#include "atlas/data/plot.h"
#include "atlas/data/select.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/order.h"
#include "atlas/ops/reduce.h"
#include "atlas/tasks/class_table.h"
#include "atlas/tasks/classification.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::tasks {

namespace detail {

/// The target that logits are compared with.
inline const Tensor& class_target(const data::Targets& targets) {
  const data::Target* soft = targets.find(data::kSoftLabel);
  const data::Target& target = soft != nullptr ? *soft : targets.at(data::kLabel);
  check(target.offsets.empty(), "classification",
        "needs one class for each image, but {} '{}' ({}) has one for each object", data::name(target.kind),
        soft != nullptr ? data::kSoftLabel : data::kLabel, describe(target.value));
  return target.value;
}

inline Tensor numbers(const std::vector<int64_t>& values) {
  Tensor t = empty({std::ssize(values)}, int64, Device{});
  std::copy(values.begin(), values.end(), t.data<int64_t>());
  return t;
}

}  // namespace detail

ATLAS_INLINE ClassificationMeter::ClassificationMeter(int64_t classes, bool training)
    : training_(training), confusion_(classes) {}

ATLAS_INLINE void ClassificationMeter::add(const Named& outputs, const data::Targets& targets, const Named& losses,
                                           const std::vector<int64_t>& indices) {
  const Tensor logits = on_host(at(outputs, "logits")), target = on_host(detail::class_target(targets));
  Accuracy accuracy;
  accuracy.add(logits, target);
  const auto images = static_cast<double>(accuracy.count());
  loss_sum_ += total(losses).item() * images;
  right_ += static_cast<double>(accuracy.right());
  right_5_ += static_cast<double>(accuracy.right5());
  seen_ += images;
  if (training_) return;
  confusion_.add(logits, target);
  const Tensor best = argmax(logits, 1), truth = target.dim() == 1 ? target : argmax(target, 1);
  for (size_t i = 0; i < indices.size(); ++i) {
    indices_.push_back(indices[i]);
    labels_.push_back(truth.at<int64_t>({static_cast<int64_t>(i)}));
    predictions_.push_back(best.at<int64_t>({static_cast<int64_t>(i)}));
  }
}

ATLAS_INLINE void ClassificationMeter::merge(const Meter& other) {
  const auto* more = dynamic_cast<const ClassificationMeter*>(&other);
  check(more != nullptr && more->training_ == training_ && more->confusion_.classes() == confusion_.classes(), "meter",
        "only meters of classification with {} classes, both of training or both of tests, can be merged",
        confusion_.classes());
  loss_sum_ += more->loss_sum_;
  right_ += more->right_;
  right_5_ += more->right_5_;
  seen_ += more->seen_;
  confusion_.merge(more->confusion_);
  indices_.insert(indices_.end(), more->indices_.begin(), more->indices_.end());
  labels_.insert(labels_.end(), more->labels_.begin(), more->labels_.end());
  predictions_.insert(predictions_.end(), more->predictions_.begin(), more->predictions_.end());
}

ATLAS_INLINE std::vector<Value> ClassificationMeter::values() const {
  std::vector<Value> all = {{"loss", loss()}, {"accuracy", top1(), true}};
  if (!training_) all.push_back({"top5", top5(), true});
  return all;
}

ATLAS_INLINE StateDict ClassificationMeter::state() const {
  StateDict state;
  const auto number = [](double v) { return full({}, v, float64, Device{}); };
  state["loss_sum"] = number(loss_sum_);
  state["right"] = number(right_);
  state["right_5"] = number(right_5_);
  state["images"] = number(seen_);
  if (training_) return state;
  state["indices"] = detail::numbers(indices_);
  state["labels"] = detail::numbers(labels_);
  state["predictions"] = detail::numbers(predictions_);
  return state;
}

ATLAS_INLINE void ClassificationMeter::load_state(const StateDict& state) {
  const auto entry = [&](const char* name, DType dtype, int dim) {
    const auto it = state.find(name);
    check(it != state.end() && it->second.dtype() == dtype && it->second.dim() == dim, "meter",
          "the state of a meter of classification has no '{}' of type {} with {} axes", name, atlas::name(dtype), dim);
    return on_host(it->second);
  };
  const auto list = [&](const char* name) {
    const Tensor t = entry(name, int64, 1);
    return std::vector<int64_t>(t.data<int64_t>(), t.data<int64_t>() + t.numel());
  };
  loss_sum_ = entry("loss_sum", float64, 0).item();
  right_ = entry("right", float64, 0).item();
  // Runs from before it was counted do not have it; training does not show it.
  right_5_ = training_ && !state.contains("right_5") ? 0 : entry("right_5", float64, 0).item();
  seen_ = entry("images", float64, 0).item();
  if (training_) return;
  indices_ = list("indices");
  labels_ = list("labels");
  predictions_ = list("predictions");
  check(labels_.size() == indices_.size() && predictions_.size() == indices_.size(), "meter",
        "the state of a meter has {} images, {} labels and {} predictions", indices_.size(), labels_.size(),
        predictions_.size());
  confusion_ = ConfusionMatrix(confusion_.classes());
  for (size_t i = 0; i < indices_.size(); ++i) confusion_.add(labels_[i], predictions_[i]);
}

ATLAS_INLINE Classification::Classification(std::vector<std::string> classes, const data::MixOptions& mix,
                                            const MesaOptions& mesa)
    : classes_(std::move(classes)), mix_(mix, static_cast<int64_t>(classes_.size())), mesa_(mesa) {
  check(!classes_.empty(), "classification", "needs at least one class");
  check(mesa.weight >= 0 && mesa.start >= 0 && mesa.scale >= 0 && mesa.temperature > 0, "classification",
        "MESA needs weight, start and scale >= 0 and a temperature > 0, got {}, {}, {} and {}", mesa.weight, mesa.start,
        mesa.scale, mesa.temperature);
}

ATLAS_INLINE void Classification::prepare(const Module& model, const Tensor& images, data::Targets& targets,
                                          const Moment& now) const {
  if (mesa_.weight == 0 || !(std::floor(now.epoch) > mesa_.start * now.epochs)) return;
  check(static_cast<bool>(now.on_average), "classification", "MESA needs a moving average of the weights (ema > 0)");
  now.on_average([&] {
    const NoGrad off;
    const Tensor logits = at(outputs(model, images, targets), "logits");
    targets.set(kAverageProbability, {data::TargetKind::soft_label, softmax(logits * (1 / mesa_.temperature), 1)});
  });
}

ATLAS_INLINE Named Classification::loss(const Named& outputs, const data::Targets& targets) const {
  const Tensor& logits = checked_logits(outputs, "logits", 2, num_classes(), "classification");
  Named parts = {{"cross_entropy", cross_entropy(logits, detail::class_target(targets))}};
  if (const data::Target* average = targets.find(kAverageProbability)) {
    // KL(p || q) = H(p, q) - H(p); where p underflowed to 0, p log p is 0.
    const Tensor& p = average->value;
    const double rows = static_cast<double>(p.size(0));
    const Tensor minus_entropy = sum(p * log(clamp(p, 1e-37, 1.0))) * (1 / rows);
    const Tensor divergence = cross_entropy(logits * (1 / mesa_.temperature), p) + minus_entropy;
    parts.emplace_back("mesa", divergence * (mesa_.weight * mesa_.scale));
  }
  return parts;
}

ATLAS_INLINE std::unique_ptr<Meter> Classification::meter(bool training) const {
  return std::make_unique<ClassificationMeter>(num_classes(), training);
}

ATLAS_INLINE Report Classification::report(const data::Dataset& set, const Meter& test,
                                           const ReportOptions& options) const {
  const auto* found = dynamic_cast<const ClassificationMeter*>(&test);
  check(found != nullptr, "classification", "reports are made of what a meter of classification has found in a test");
  const std::string title =
      fmt::format("{}: {:.2f} % of {} test images", options.title, 100 * found->top1(), found->images());
  const std::string picture = options.folder + "/predictions.png";
  data::write_png(picture, prediction_sheet(set, *found, 64, title));
  const std::string csv = found->confusion().to_csv(classes_);
  data::write_file(options.folder + "/confusion.csv",
                   std::span(reinterpret_cast<const uint8_t*>(csv.data()), csv.size()));
  Report report;
  report.tables = "\n" + found->confusion().class_table(classes_) + "\n";
  if (num_classes() <= 20) report.tables += found->confusion().matrix_table(classes_) + "\n";
  report.summary = fmt::format("test accuracy {:.2f} % (top-5 {:.2f} %), loss {:.4f}", 100 * found->top1(),
                               100 * found->top5(), found->loss());
  report.files = {{"predictions", picture}};
  report.classes = class_table(found->confusion(), classes_);
  return report;
}

ATLAS_INLINE Tensor prediction_sheet(const data::Dataset& set, const ClassificationMeter& test, int64_t count,
                                     const std::string& title) {
  const std::vector<int64_t>&labels = test.labels(), &predictions = test.predictions();
  std::vector<size_t> right, wrong, chosen;
  for (size_t i = 0; i < labels.size(); ++i) (labels[i] == predictions[i] ? right : wrong).push_back(i);
  // Of all classes alike, whatever the order of the set.
  const auto pick = [&](const std::vector<size_t>& from, size_t n) {
    std::vector<int64_t> classes;
    for (const size_t i : from) classes.push_back(labels[i]);
    for (const int64_t i : data::choose_evenly(classes, static_cast<int64_t>(n)))
      chosen.push_back(from[static_cast<size_t>(i)]);
  };
  const size_t wanted = static_cast<size_t>(count), mistakes = std::min(wrong.size(), wanted / 2);
  pick(right, wanted - mistakes);
  pick(wrong, wanted - std::min(right.size(), wanted - mistakes));
  std::sort(chosen.begin(), chosen.end());
  std::vector<data::Tile> tiles;
  const auto class_name = [&](int64_t c) { return set.classes()[static_cast<size_t>(c)]; };
  for (size_t i : chosen) {
    const data::Sample sample = set.get(test.indices()[i]);
    if (sample.image.defined())
      tiles.push_back(data::prediction_tile(sample.image, class_name(labels[i]), class_name(predictions[i])));
  }
  return data::contact_sheet(tiles, 8, title);
}

}  // namespace atlas::inline ATLAS_ABI::tasks
