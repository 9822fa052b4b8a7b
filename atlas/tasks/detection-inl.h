// Bodies of detection.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "atlas/data/canvas.h"
#include "atlas/data/image.h"
#include "atlas/data/plot.h"
#include "atlas/ops/boxes.h"
#include "atlas/ops/join.h"
#include "atlas/ops/shape.h"
#include "atlas/tasks/detection.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::tasks {

namespace detail {

/// The target of the batch's objects. @throws Error when there is none of that name.
inline const data::Target& object_target(const data::Targets& targets, const char* name) {
  const data::Target* t = targets.find(name);
  check(t != nullptr && !t->offsets.empty(), "detection", "needs objects with '{}'; the batch has: {}", name,
        targets.names());
  return *t;
}
inline std::vector<models::ImageSize> batch_sizes(const data::Targets& targets, int64_t height, int64_t width,
                                                  int64_t batch) {
  std::vector<models::ImageSize> sizes(static_cast<size_t>(batch), {height, width});
  if (const data::Target* t = targets.find(kSizes)) {
    const std::vector<int64_t> all = to_vector<int64_t>(t->value);
    for (size_t i = 0; i < sizes.size(); ++i) sizes[i] = {all[2 * i], all[2 * i + 1]};
  }
  return sizes;
}
/// Sizes of the pictures that boxes of a test tell of: kept ones, or those of the images.
inline std::vector<models::ImageSize> original_sizes(const data::Targets& targets,
                                                     const std::vector<models::ImageSize>& sizes) {
  const data::Target *height = targets.find(data::kOriginalHeight), *width = targets.find(data::kOriginalWidth);
  if (height == nullptr || width == nullptr) return sizes;
  const std::vector<int64_t> h = to_vector<int64_t>(height->value), w = to_vector<int64_t>(width->value);
  check(h.size() == sizes.size() && w.size() == sizes.size(), "detection", "{} images, but {} original sizes",
        sizes.size(), h.size());
  std::vector<models::ImageSize> all;
  for (size_t i = 0; i < sizes.size(); ++i) all.push_back({h[i], w[i]});
  return all;
}
inline Tensor rows_between(const data::Target& t, int64_t image) {
  return t.value.slice(0, t.offsets[static_cast<size_t>(image)], t.offsets[static_cast<size_t>(image) + 1]);
}
/// The objects of each image to learn from; crowds are left out.
inline std::vector<models::ObjectTruth> truths_of(const data::Targets& targets, int64_t batch, DType type, bool masks) {
  const data::Target &boxes = object_target(targets, kBoxes), &labels = object_target(targets, data::kLabel);
  const data::Target* crowd = targets.find(kCrowd);
  std::vector<models::ObjectTruth> truths;
  for (int64_t i = 0; i < batch; ++i) {
    models::ObjectTruth t{rows_between(boxes, i).to(type), rows_between(labels, i).contiguous(), {}};
    if (masks) t.masks = rows_between(object_target(targets, kInstanceMasks), i).contiguous();
    if (crowd != nullptr) {
      const std::vector<int64_t> flags = to_vector<int64_t>(rows_between(*crowd, i).to(int64));
      std::vector<int64_t> keep;
      for (size_t k = 0; k < flags.size(); ++k)
        if (flags[k] == 0) keep.push_back(static_cast<int64_t>(k));
      if (keep.size() < flags.size()) {
        const Tensor rows = from_vector(keep, {std::ssize(keep)}, t.boxes.device());
        t.boxes = index_select(t.boxes, 0, rows);
        t.labels = index_select(t.labels, 0, rows);
        if (masks) t.masks = index_select(t.masks, 0, rows);
      }
    }
    truths.push_back(std::move(t));
  }
  return truths;
}
inline std::array<double, 4> coco_box(const float* b) {
  const double x = static_cast<double>(b[0]), y = static_cast<double>(b[1]);
  return {x, y, static_cast<double>(b[2]) - x, static_cast<double>(b[3]) - y};
}

inline constexpr std::array<const char*, 6> kLossNames = {"loss", "rpn_cls", "rpn_bbox", "cls", "bbox", "mask"};

/// Objects as tensors: numbers float64 [n, 10], runs int64 with their offsets [n + 1].
inline void store_objects(StateDict& state, const std::string& prefix, const std::vector<CocoObject>& all) {
  std::vector<double> numbers;
  std::vector<int64_t> runs, offsets{0};
  for (const CocoObject& o : all) {
    for (const double v : {static_cast<double>(o.image), static_cast<double>(o.category), o.score, o.area,
                           o.crowd ? 1.0 : 0.0, o.box[0], o.box[1], o.box[2], o.box[3]})
      numbers.push_back(v);
    runs.insert(runs.end(), {o.mask.height, o.mask.width});
    for (const uint32_t n : o.mask.counts) runs.push_back(n);
    offsets.push_back(std::ssize(runs));
  }
  state[prefix + ".numbers"] = from_vector(numbers, {std::ssize(all), 9}, Device{});
  state[prefix + ".runs"] = from_vector(runs, {std::ssize(runs)}, Device{});
  state[prefix + ".offsets"] = from_vector(offsets, {std::ssize(offsets)}, Device{});
}
inline const Tensor& meter_entry(const StateDict& state, const std::string& name, DType type) {
  const auto it = state.find(name);
  check(it != state.end() && it->second.dtype() == type, "meter", "the state of a meter of detection has no '{}' of {}",
        name, atlas::name(type));
  return it->second;
}
inline std::vector<CocoObject> load_objects(const StateDict& state, const std::string& prefix) {
  const std::vector<double> numbers = to_vector<double>(meter_entry(state, prefix + ".numbers", float64));
  const std::vector<int64_t> runs = to_vector<int64_t>(meter_entry(state, prefix + ".runs", int64)),
                             offsets = to_vector<int64_t>(meter_entry(state, prefix + ".offsets", int64));
  const size_t n = numbers.size() / 9;
  check(
      numbers.size() == 9 * n && offsets.size() == n + 1 && offsets.front() == 0 && offsets.back() == std::ssize(runs),
      "meter", "the objects '{}' of a meter's state do not fit together", prefix);
  std::vector<CocoObject> all(n);
  for (size_t i = 0; i < n; ++i) {
    const double* v = numbers.data() + 9 * i;
    check(offsets[i] + 2 <= offsets[i + 1], "meter", "object {} of '{}' in a meter's state has no mask's size", i,
          prefix);
    const auto begin = static_cast<size_t>(offsets[i]), end = static_cast<size_t>(offsets[i + 1]);
    CocoObject& o = all[i];
    o.image = static_cast<int64_t>(v[0]);
    o.category = static_cast<int64_t>(v[1]);
    o.score = v[2], o.area = v[3], o.crowd = v[4] != 0;
    o.box = {v[5], v[6], v[7], v[8]};
    o.mask.height = runs[begin];
    o.mask.width = runs[begin + 1];
    for (size_t k = begin + 2; k < end; ++k) o.mask.counts.push_back(static_cast<uint32_t>(runs[k]));
  }
  return all;
}

}  // namespace detail

ATLAS_INLINE DetectionMeter::DetectionMeter(std::vector<std::string> classes, bool training, bool masks)
    : classes_(std::move(classes)), training_(training), masks_(masks) {}

ATLAS_INLINE void DetectionMeter::add(const Named& outputs, const data::Targets& targets, const Named& losses,
                                      const std::vector<int64_t>& indices) {
  if (training_)
    add_losses(losses, std::ssize(indices));
  else
    add_objects(outputs, targets, indices);
  seen_ += std::ssize(indices);
}

ATLAS_INLINE void DetectionMeter::add_losses(const Named& losses, int64_t images) {
  for (const auto& [name, t] : losses) {
    const double part = on_host(t).item() * static_cast<double>(images);
    sums_[0] += part;
    // loss_rpn_cls, s0.loss_cls, ...
    const std::string kind = name.substr(name.find("loss_") == std::string::npos ? 0 : name.find("loss_") + 5);
    for (size_t i = 1; i < sums_.size(); ++i)
      if (kind == detail::kLossNames[i]) sums_[i] += part;
  }
}

ATLAS_INLINE void DetectionMeter::add_objects(const Named& outputs, const data::Targets& targets,
                                              const std::vector<int64_t>& indices) {
  const Tensor boxes = on_host(at(outputs, "boxes")).to(float32), scores = on_host(at(outputs, "scores")).to(float32);
  const std::vector<int64_t> labels = to_vector<int64_t>(at(outputs, "labels")),
                             counts = to_vector<int64_t>(at(outputs, "counts"));
  const std::vector<int64_t> shown = to_vector<int64_t>(targets[kSizes]);
  std::vector<models::ImageSize> sizes;
  for (size_t i = 0; i < indices.size(); ++i) sizes.push_back({shown[2 * i], shown[2 * i + 1]});
  sizes = detail::original_sizes(targets, sizes);
  const auto masks = std::find_if(outputs.begin(), outputs.end(), [](const auto& o) { return o.first == "masks"; });
  masks_ = masks_ && masks != outputs.end() && targets.contains(kInstanceMasks);
  const data::Target &truth = detail::object_target(targets, kBoxes),
                     &classes = detail::object_target(targets, data::kLabel);
  const data::Target *crowd = targets.find(kCrowd), *area = targets.find(kArea),
                     *written = truth.fixed ? targets.find(data::kWrittenBoxes) : nullptr;
  int64_t row = 0;
  for (size_t i = 0; i < indices.size(); ++i) {
    const auto [h, w] = sizes[i];
    sizes_[indices[i]] = {h, w};
    for (int64_t k = 0; k < counts[i]; ++k, ++row) {
      CocoObject o{.image = indices[i], .category = labels[static_cast<size_t>(row)]};
      o.box = detail::coco_box(boxes.data<float>() + 4 * row);
      o.score = static_cast<double>(scores.data<float>()[row]);
      if (masks_)
        o.mask = data::rle_encode(
            paste_masks(masks->second.slice(0, row, row + 1), boxes.slice(0, row, row + 1), h, w, 0.5)[0]);
      found_.push_back(std::move(o));
    }
    for (int64_t k = truth.offsets[i]; k < truth.offsets[i + 1]; ++k) {
      CocoObject o{.image = indices[i], .category = classes.value.at<int64_t>({k})};
      if (written != nullptr) {  // as pycocotools: what reaches beyond the picture counts as well
        const std::vector<double> box = to_vector<double>(on_host(written->value.slice(0, k, k + 1)));
        std::copy(box.begin(), box.end(), o.box.begin());
      } else {
        const Tensor box = on_host(truth.value.slice(0, k, k + 1));
        o.box = detail::coco_box(box.data<float>());
      }
      o.area = o.box[2] * o.box[3];
      if (masks_) {
        const Tensor mask = detail::object_target(targets, kInstanceMasks).value[k];
        o.mask = data::rle_encode(mask.slice(0, 0, h).slice(1, 0, w).contiguous());
        if (o.mask.area() > 0)
          o.area = static_cast<double>(o.mask.area());
        else
          o.mask = {};
      }
      if (area != nullptr) o.area = area->value.slice(0, k, k + 1).to(float64).item();
      if (crowd != nullptr) o.crowd = crowd->value.slice(0, k, k + 1).to(float64).item() != 0;
      truths_.push_back(std::move(o));
    }
  }
}

ATLAS_INLINE void DetectionMeter::merge(const Meter& other) {
  const auto* more = dynamic_cast<const DetectionMeter*>(&other);
  check(more != nullptr && more->training_ == training_ && more->classes_.size() == classes_.size(), "meter",
        "only meters of detection with {} classes, both of training or both of tests, can be merged", classes_.size());
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i] += more->sums_[i];
  seen_ += more->seen_;
  if (more->seen_ > 0) masks_ = masks_ && more->masks_;
  truths_.insert(truths_.end(), more->truths_.begin(), more->truths_.end());
  found_.insert(found_.end(), more->found_.begin(), more->found_.end());
  sizes_.insert(more->sizes_.begin(), more->sizes_.end());
}

ATLAS_INLINE CocoResult DetectionMeter::result(CocoShape shape) const { return coco_evaluate(truths_, found_, shape); }

ATLAS_INLINE std::vector<Value> DetectionMeter::values() const {
  std::vector<Value> all;
  if (training_) {
    for (size_t i = 0; i < sums_.size(); ++i)
      all.push_back({detail::kLossNames[i], seen_ > 0 ? sums_[i] / static_cast<double>(seen_) : 0});
    return all;
  }
  const CocoResult boxes = result(CocoShape::box);
  for (size_t i = 0; i < 3; ++i) all.push_back({kCocoNames[i], std::max(boxes.numbers[i], 0.0), true});
  if (!masks_) return all;
  const CocoResult masks = result(CocoShape::mask);
  for (size_t i = 0; i < 2; ++i)
    all.push_back({std::string("mask_") + kCocoNames[i], std::max(masks.numbers[i], 0.0), true});
  return all;
}

ATLAS_INLINE StateDict DetectionMeter::state() const {
  StateDict state;
  state["images"] = full({}, static_cast<double>(seen_), float64, Device{});
  state["losses"] = from_vector(std::vector<double>(sums_.begin(), sums_.end()), {std::ssize(sums_)}, Device{});
  if (training_) return state;
  state["masks"] = full({}, masks_ ? 1 : 0, float64, Device{});
  detail::store_objects(state, "truths", truths_);
  detail::store_objects(state, "found", found_);
  std::vector<int64_t> sizes;
  for (const auto& [index, size] : sizes_) sizes.insert(sizes.end(), {index, size[0], size[1]});
  state["sizes"] = from_vector(sizes, {std::ssize(sizes) / 3, 3}, Device{});
  return state;
}

ATLAS_INLINE void DetectionMeter::load_state(const StateDict& state) {
  const std::vector<double> sums = to_vector<double>(detail::meter_entry(state, "losses", float64));
  check(sums.size() == sums_.size(), "meter", "the state of a meter of detection has {} losses, needs {}", sums.size(),
        sums_.size());
  std::copy(sums.begin(), sums.end(), sums_.begin());
  seen_ = static_cast<int64_t>(detail::meter_entry(state, "images", float64).item());
  if (training_) return;
  masks_ = detail::meter_entry(state, "masks", float64).item() != 0;
  truths_ = detail::load_objects(state, "truths");
  found_ = detail::load_objects(state, "found");
  sizes_.clear();
  const std::vector<int64_t> sizes = to_vector<int64_t>(detail::meter_entry(state, "sizes", int64));
  for (size_t i = 0; i + 2 < sizes.size(); i += 3) sizes_[sizes[i]] = {sizes[i + 1], sizes[i + 2]};
}

ATLAS_INLINE Detection::Detection(std::vector<std::string> classes, bool masks, int64_t pictures)
    : classes_(std::move(classes)), masks_(masks), pictures_(pictures) {
  check(!classes_.empty(), "detection", "needs at least one class");
}

ATLAS_INLINE void Detection::arrange(data::Batch& batch) const {
  const int64_t n = batch.images.size(0);
  Tensor sizes = empty({n, 2}, int64, Device{});
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < 2; ++k)
      sizes.at<int64_t>({i, k}) = batch.sizes.empty() ? batch.images.size(static_cast<int>(k) + 1)
                                                      : batch.sizes[static_cast<size_t>(i)][static_cast<size_t>(k)];
  batch.targets.set(kSizes, {data::TargetKind::number, sizes});
}

ATLAS_INLINE Named Detection::outputs(const Module& model, const Tensor& images, const data::Targets& targets) const {
  const auto* detector = dynamic_cast<const models::Detector*>(&model);
  check(detector != nullptr, "detection",
        "the model{} finds no objects in images {}: needs a model for detection, of {} classes",
        detail::made_for(model), describe(images), classes_.size());
  check(detector->num_classes() == std::ssize(classes_), "detection",
        "the model for images {} tells {} classes of objects apart, but the task has {}: make the model with "
        "num_classes = {}, or name {} classes for the task",
        describe(images), detector->num_classes(), classes_.size(), classes_.size(), detector->num_classes());
  const int64_t batch = images.size(0);
  const auto sizes = detail::batch_sizes(targets, images.size(1), images.size(2), batch);
  if (model.training()) {
    check(masks_ || !detector->with_masks(), "detection",
          "the model learns masks, but the objects have none (set the model's field mask to false)");
    return detector->losses(images, detail::truths_of(targets, batch, images.dtype(), detector->with_masks()), sizes,
                            &default_generator());
  }
  const std::vector<models::Detections> found =
      detector->predict(images, sizes, detail::original_sizes(targets, sizes));
  std::vector<Tensor> boxes, scores, labels, masks;
  std::vector<int64_t> counts;
  for (const models::Detections& d : found) {
    boxes.push_back(d.boxes), scores.push_back(d.scores), labels.push_back(d.labels);
    if (d.masks.defined()) masks.push_back(d.masks);
    counts.push_back(d.boxes.size(0));
  }
  Named all{{"boxes", cat(boxes, 0)},
            {"scores", cat(scores, 0)},
            {"labels", cat(labels, 0)},
            {"counts", from_vector(counts, {batch}, Device{})}};
  if (!masks.empty() && masks_) all.emplace_back("masks", cat(masks, 0));
  return all;
}

ATLAS_INLINE Named Detection::loss(const Named& outputs, const data::Targets&) const { return outputs; }

ATLAS_INLINE std::unique_ptr<Meter> Detection::meter(bool training) const {
  return std::make_unique<DetectionMeter>(classes_, training, masks_);
}

ATLAS_INLINE Report Detection::report(const data::Dataset& set, const Meter& test, const ReportOptions& options) const {
  const auto* meter = dynamic_cast<const DetectionMeter*>(&test);
  check(meter != nullptr, "detection", "reports are made of what a meter of detection has found in a test");
  const CocoResult boxes = meter->result(CocoShape::box);
  const CocoResult masks = meter->with_masks() ? meter->result(CocoShape::mask) : CocoResult{};
  Report report;
  report.classes.columns = {"class", "AP", "AP50"};
  if (meter->with_masks()) report.classes.columns.insert(report.classes.columns.end(), {"mask AP", "mask AP50"});
  report.classes.columns.emplace_back("objects");
  for (size_t k = 0; k < boxes.categories.size(); ++k) {
    const int64_t category = boxes.categories[k];
    const auto objects = std::count_if(meter->truths().begin(), meter->truths().end(),
                                       [&](const CocoObject& o) { return o.category == category; });
    std::vector<std::string> row{classes_[static_cast<size_t>(category)]};
    for (const CocoResult* result : {&boxes, &masks}) {
      if (result->categories.empty()) continue;  // no masks; else both have the same categories
      for (const int64_t iou : {-1, 0}) {
        const double ap = result->category_ap(static_cast<int64_t>(k), iou);
        row.push_back(ap < 0 ? "-" : fmt::format("{:.1f} %", 100 * ap));
      }
    }
    row.push_back(std::to_string(objects));
    report.classes.rows.push_back(std::move(row));
  }
  const auto print = [&](const std::vector<std::string>& cells) {
    report.tables += fmt::format("\n{:<24}", cells[0]);
    for (size_t i = 1; i < cells.size(); ++i) report.tables += fmt::format(" {:>9}", cells[i]);
  };
  print(report.classes.columns);
  for (const std::vector<std::string>& row : report.classes.rows) print(row);
  report.tables += "\n\nboxes\n" + boxes.text();
  report.summary = fmt::format("AP {:.1f} %, AP50 {:.1f} %", 100 * std::max(boxes.numbers[0], 0.0),
                               100 * std::max(boxes.numbers[1], 0.0));
  if (meter->with_masks()) {
    report.tables += "\nmasks\n" + masks.text();
    report.summary += fmt::format("; masks AP {:.1f} %, AP50 {:.1f} %", 100 * std::max(masks.numbers[0], 0.0),
                                  100 * std::max(masks.numbers[1], 0.0));
  }
  constexpr int64_t kSheetCell = 400;
  std::vector<data::Tile> tiles;
  for (const auto& [index, size] : meter->sizes()) {
    if (std::ssize(tiles) >= pictures_) break;
    const data::Sample sample = set.get(index);
    if (!sample.image.defined()) continue;
    std::vector<CocoObject> objects;
    for (const CocoObject& o : meter->found())
      if (o.image == index && o.score >= 0.5) objects.push_back(o);
    const auto annotated = std::count_if(meter->truths().begin(), meter->truths().end(),
                                         [i = index](const CocoObject& o) { return o.image == i; });
    data::Tile tile;
    tile.image = draw_reduced(sample.image, objects, size, kSheetCell, classes_);
    tile.caption = {fmt::format("{} found, {} annotated", objects.size(), annotated)};
    tiles.push_back(std::move(tile));
  }
  if (tiles.empty()) return report;
  const std::string picture = options.folder + "/detections.png";
  data::write_png(picture, data::contact_sheet(tiles, 3, options.title + ": " + report.summary, kSheetCell));
  report.files = {{"detections", picture}};
  return report;
}

}  // namespace atlas::inline ATLAS_ABI::tasks
