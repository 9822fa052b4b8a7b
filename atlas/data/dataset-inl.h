// Bodies of dataset.h.
#pragma once

#include <fmt/core.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "atlas/core/hash.h"
#include "atlas/data/dataset.h"
#include "atlas/data/sample.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE std::string Dataset::where(int64_t index) const { return fmt::format("image {} of {}", index, name_); }

ATLAS_INLINE int64_t Dataset::skipped() const {
  int64_t count = 0;
  for (int64_t i = 0; i < size(); ++i) count += was_skipped(i) ? 1 : 0;
  return count;
}

ATLAS_INLINE void Dataset::check_index(int64_t index) const {
  check(index >= 0 && index < size(), "dataset", "{} has {} images, asked for number {}", name_, size(), index);
}

ATLAS_INLINE TensorDataset::TensorDataset(std::string name, std::vector<std::string> classes, Tensor images,
                                          std::vector<int64_t> labels)
    : Dataset(std::move(name), std::move(classes)), images_(std::move(images)), labels_(std::move(labels)) {
  const Shape& s = images_.shape();
  check(images_.dtype() == uint8 && images_.is_contiguous() && (s.size() == 3 || (s.size() == 4 && s[3] == 3)),
        "dataset", "{} needs contiguous uint8 images [N,H,W,3] or [N,H,W], got {}", name_, describe(images_));
  check(s[0] == static_cast<int64_t>(labels_.size()), "dataset", "{} has {} images but {} labels", name_, s[0],
        labels_.size());
  for (size_t i = 0; i < labels_.size(); ++i)
    check(labels_[i] >= 0 && labels_[i] < num_classes(), "dataset",
          "{}: the label of image {} is {}, outside the {} classes", name_, i, labels_[i], num_classes());
}

ATLAS_INLINE Sample TensorDataset::get(int64_t index) const {
  check_index(index);
  const Shape& s = images_.shape();
  Tensor image = empty({s[1], s[2], 3}, uint8, Device{});
  const int64_t pixels = s[1] * s[2], stride = pixels * (s.size() == 4 ? 3 : 1);
  const uint8_t* from = images_.data<uint8_t>() + index * stride;
  uint8_t* to = image.data<uint8_t>();
  if (s.size() == 4) {
    if (stride > 0) std::memcpy(to, from, static_cast<size_t>(stride));
  } else {
    for (int64_t i = 0; i < pixels; ++i) to[3 * i] = to[3 * i + 1] = to[3 * i + 2] = from[i];
  }
  return labeled(image, labels_[static_cast<size_t>(index)]);
}

ATLAS_INLINE int64_t TensorDataset::label(int64_t index) const {
  check_index(index);
  return labels_[static_cast<size_t>(index)];
}

ATLAS_INLINE std::string TensorDataset::content_of(int64_t index) const {
  check_index(index);
  const auto bytes = static_cast<size_t>(size() > 0 ? images_.numel() / size() : 0);
  const auto* const pixels =
      reinterpret_cast<const char*>(images_.data<uint8_t>()) + bytes * static_cast<size_t>(index);
  return fmt::format("{:016x} (hash of its pixels)", fnv1a64({pixels, bytes}));
}

ATLAS_INLINE Subset::Subset(DatasetPtr whole, std::vector<int64_t> indices)
    : Dataset(whole->name(), whole->classes()), whole_(std::move(whole)), indices_(std::move(indices)) {
  for (int64_t i : indices_)
    check(i >= 0 && i < whole_->size(), "subset", "{} has {} images, asked for number {}", name_, whole_->size(), i);
}

ATLAS_INLINE int64_t Subset::inner(int64_t index) const {
  check_index(index);
  return indices_[static_cast<size_t>(index)];
}

ATLAS_INLINE DatasetPtr take(DatasetPtr whole, int64_t count) {
  check(count >= 0, "take", "needs count >= 0, got {}", count);
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < std::min(count, whole->size()); ++i) indices.push_back(i);
  return std::make_shared<Subset>(std::move(whole), std::move(indices));
}

}  // namespace atlas::inline ATLAS_ABI::data
