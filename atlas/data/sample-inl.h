// Bodies of sample.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "atlas/data/sample.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE const char* name(TargetKind kind) {
  switch (kind) {
    case TargetKind::label:
      return "label";
    case TargetKind::soft_label:
      return "soft label";
    case TargetKind::number:
      return "number";
    case TargetKind::mask:
      return "mask";
    case TargetKind::boxes:
      return "boxes";
    case TargetKind::instance_masks:
      return "instance masks";
  }
  return "?";
}

ATLAS_INLINE bool Target::has_rows() const {
  if (kind == TargetKind::boxes || kind == TargetKind::instance_masks) return true;
  if (kind != TargetKind::label && kind != TargetKind::number) return false;
  return !offsets.empty() ||
         (value.defined() && (value.dim() == 1 || (kind == TargetKind::number && value.dim() == 2)));
}

ATLAS_INLINE void Targets::set(std::string_view name, Target target) {
  if (Target* there = find(name))
    *there = std::move(target);
  else
    entries_.emplace_back(std::string(name), std::move(target));
}

ATLAS_INLINE const Target* Targets::find(std::string_view name) const {
  for (const Entry& e : entries_)
    if (e.first == name) return &e.second;
  return nullptr;
}

ATLAS_INLINE Target* Targets::find(std::string_view name) {
  return const_cast<Target*>(std::as_const(*this).find(name));
}

ATLAS_INLINE const Target& Targets::at(std::string_view name) const {
  const Target* found = find(name);
  check(found != nullptr, "targets", "there is no target '{}'; there are: {}", name, names());
  return *found;
}

ATLAS_INLINE std::string Targets::names() const {
  std::string text;
  for (const Entry& e : entries_) text += (text.empty() ? "" : ", ") + e.first;
  return text.empty() ? "none" : text;
}

ATLAS_INLINE Sample labeled(Tensor image, int64_t label) {
  Sample sample{std::move(image)};
  Tensor value = empty({}, int64, Device{});
  *value.data<int64_t>() = label;
  sample.targets.set(kLabel, {TargetKind::label, std::move(value)});
  return sample;
}

ATLAS_INLINE int64_t label_of(const Sample& sample) {
  const Tensor& label = sample.targets[kLabel];
  check(label.dtype() == int64 && label.dim() == 0, "targets", "{} '{}' must be one class number, int64[], got {}",
        name(sample.targets.at(kLabel).kind), kLabel, describe(label));
  return *label.data<int64_t>();
}

namespace detail {

/// The same elements, one after the other.
inline Tensor in_order(const Tensor& x) { return x.is_contiguous() ? x : copy_of(x); }

/// Class numbers of labels and masks: below `classes`, or in masks `ignored`.
template <class T>
void check_class_numbers(const std::string& key, const Target& target, int64_t classes) {
  const Tensor value = in_order(target.value);
  const bool mask = target.kind == TargetKind::mask;
  const T* p = value.data<T>();
  for (int64_t i = 0; i < value.numel(); ++i) {
    const auto v = static_cast<int64_t>(p[i]);
    if ((v >= 0 && v < classes) || (mask && v == target.outside)) continue;
    if (!mask)
      fail("targets", "label '{}' ({}) holds {}{}: class numbers of the {} classes lie in 0..{}", key, describe(value),
           v, target.value.dim() == 0 ? "" : fmt::format(" at row {}", i), classes, classes - 1);
    fail("targets",
         "mask '{}' ({}) holds {} at row {}, column {}: outside the {} classes, and not {}, which is ignored", key,
         describe(value), v, i / value.size(1), i % value.size(1), classes, target.outside);
  }
}

/// Probabilities are none below 0, and 1 together.
inline void check_probabilities(const std::string& key, const Target& target) {
  const Tensor value = in_order(target.value);
  const float* p = value.data<float>();
  double all = 0;
  for (int64_t i = 0; i < value.numel(); ++i) {
    check(p[i] >= 0, "targets", "soft label '{}' ({}) holds {} at row {}: probabilities lie in 0..1", key,
          describe(value), p[i], i);
    all += static_cast<double>(p[i]);
  }
  constexpr double kSlack = 1e-3;  // of numbers that were stored with few digits
  check(std::abs(all - 1) <= kSlack, "targets",
        "soft label '{}' ({}) adds up to {:.6g}: the probabilities of all classes must add up to 1", key,
        describe(value), all);
}

/// Boxes are finite, and end where they begin or behind.
inline void check_boxes(const std::string& key, const Target& target) {
  const Tensor value = in_order(target.value);
  const float* b = value.data<float>();
  for (int64_t i = 0; i < value.size(0); ++i, b += 4) {
    const bool finite = std::isfinite(b[0]) && std::isfinite(b[1]) && std::isfinite(b[2]) && std::isfinite(b[3]);
    check(finite && b[0] <= b[2] && b[1] <= b[3], "targets",
          "boxes '{}' ({}) hold {}, {}, {}, {} at row {}: needs finite numbers, left <= right and top <= bottom", key,
          describe(value), b[0], b[1], b[2], b[3], i);
  }
}

/// Masks of objects say 0 or 1.
inline void check_flags(const std::string& key, const Target& target) {
  const Tensor value = in_order(target.value);
  const uint8_t* p = value.data<uint8_t>();
  const int64_t n = value.numel();
  uint8_t any = 0;
  for (int64_t i = 0; i < n; ++i) any |= p[i];
  if (any <= 1) return;
  const int64_t at = std::find_if(p, p + n, [](uint8_t v) { return v > 1; }) - p, plane = value.size(1) * value.size(2);
  fail("targets",
       "instance masks '{}' ({}) hold {} at object {}, row {}, column {}: needs 1 where the object is, else 0", key,
       describe(value), p[at], at / plane, at % plane / value.size(2), at % value.size(2));
}

inline void check_target(const std::string& key, const Target& t, const Tensor& image, int64_t classes) {
  const auto need = [&](bool ok, const std::string& right) {
    check(ok, "targets", "{} '{}' must be {}, got {}", name(t.kind), key, right, describe(t.value));
  };
  check(t.value.defined() && !t.value.device().is_cuda(), "targets",
        "{} '{}' must be a tensor on the CPU, got {} (samples are made on the host; Feed brings batches to a device)",
        name(t.kind), key, describe(t.value));
  const DType type = t.value.dtype();
  const int64_t dim = t.value.dim(), h = image.size(0), w = image.size(1);
  switch (t.kind) {
    case TargetKind::label:
      need(type == int64 && dim <= 1, "int64[], the class of the image, or int64[N], one for each object");
      if (classes > 0) check_class_numbers<int64_t>(key, t, classes);
      break;
    case TargetKind::soft_label:
      need(type == float32 && dim == 1 && t.value.numel() > 0 && (classes == 0 || t.value.size(0) == classes),
           classes > 0 ? fmt::format("float32[{}], a probability for each class", classes)
                       : "float32[C], a probability for each class");
      check_probabilities(key, t);
      break;
    case TargetKind::number:
      need(dim <= 2, "one number, or [N] or [N,K], a row for each object");
      break;
    case TargetKind::mask:
      check(dim != 3, "targets",
            "mask '{}' must be uint8 or int64 [{},{}], a class number for each pixel, got {}: a picture in colors? "
            "(recode each color as its class number, or write the picture with a palette)",
            key, h, w, describe(t.value));
      need((type == uint8 || type == int64) && (t.fixed || t.value.shape() == Shape{h, w}),
           fmt::format("uint8 or int64 [{},{}], a class number for each pixel of the image", h, w));
      check(type != uint8 || (t.outside >= 0 && t.outside <= 255), "targets",
            "mask '{}' ({}) cannot hold {}, its number for ignored pixels (an int64 mask could)", key,
            describe(t.value), t.outside);
      if (classes > 0 && type == uint8) check_class_numbers<uint8_t>(key, t, classes);
      if (classes > 0 && type == int64) check_class_numbers<int64_t>(key, t, classes);
      break;
    case TargetKind::boxes:
      need(type == float32 && dim == 2 && t.value.size(1) == 4, "float32[N,4]: left, top, right, bottom in pixels");
      check_boxes(key, t);
      break;
    case TargetKind::instance_masks:
      need(type == uint8 && dim == 3 && (t.fixed || (t.value.size(1) == h && t.value.size(2) == w)),
           fmt::format("uint8[N,{},{}], a mask of the image's size for each object", h, w));
      check_flags(key, t);
      break;
  }
}

}  // namespace detail

ATLAS_INLINE void check_targets(const Sample& sample, int64_t classes) {
  if (!sample.image.defined()) return;
  check(sample.image.dim() == 3, "targets", "the image must be [H,W,C], got {}", describe(sample.image));
  const Targets::Entry* first = nullptr;
  for (const Targets::Entry& e : sample.targets) {
    const auto& [key, target] = e;
    detail::check_target(key, target, sample.image, classes);
    if (!target.has_rows()) continue;
    if (first == nullptr) first = &e;
    const int64_t objects = first->second.value.size(0);
    check(target.value.size(0) == objects, "targets",
          "{} '{}' ({}) must have one row for each of the {} objects of {} '{}' ({})", name(target.kind), key,
          describe(target.value), objects, name(first->second.kind), first->first, describe(first->second.value));
  }
}

ATLAS_INLINE int64_t objects_of(const Targets& targets) {
  for (const auto& [key, target] : targets)
    if (target.has_rows()) return target.value.size(0);
  return -1;
}

ATLAS_INLINE void keep_objects(Targets& targets, const std::vector<int64_t>& rows) {
  for (auto& [key, target] : targets) {
    if (!target.has_rows() || target.value.size(0) == std::ssize(rows)) continue;
    const Tensor from = detail::in_order(target.value);
    std::vector<int64_t> sizes(from.shape().begin(), from.shape().end());
    const int64_t all = sizes[0], bytes = all > 0 ? from.numel() / all * item_size(from.dtype()) : 0;
    sizes[0] = std::ssize(rows);
    Tensor to = empty(Shape(sizes), from.dtype(), Device{});
    for (size_t i = 0; i < rows.size() && bytes > 0; ++i)
      std::memcpy(static_cast<char*>(to.raw()) + static_cast<int64_t>(i) * bytes,
                  static_cast<const char*>(from.raw()) + rows[i] * bytes, static_cast<size_t>(bytes));
    target.value = std::move(to);
  }
}

}  // namespace atlas::inline ATLAS_ABI::data
