// Bodies of batch.h.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <tuple>

#include "atlas/core/cuda_async.h"
#include "atlas/data/batch.h"
#include "atlas/data/pixels.h"
#include "atlas/ops/augment.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

ATLAS_INLINE Tensor batch_memory(const Shape& shape, DType dtype, bool pinned) {
  if (!pinned) return empty(shape, dtype, Device{});
  const int64_t bytes = shape.numel() * item_size(dtype);
  void* p = cuda::allocate_pinned(bytes);
  return from_blob(p, shape, dtype, [p, bytes] { cuda::deallocate_pinned(p, bytes); });
}

/// Checks that the targets of a sample are those of the first of its batch.
inline void check_alike(const Targets& now, const Targets& first, std::string_view place) {
  check(now.size() == first.size(), "loader",
        "its targets are {}, those of {} are {}: samples of one batch need the same", now.names(), place,
        first.names());
  for (const auto& [key, a] : first) {
    const Target* b = now.find(key);
    check(b != nullptr && b->kind == a.kind && b->value.dtype() == a.value.dtype() && b->value.dim() == a.value.dim() &&
              b->outside == a.outside && b->fixed == a.fixed &&
              (a.has_rows() || a.has_places() || a.fixed || b->value.shape() == a.value.shape()),
          "loader", "{} '{}' {} after {} of {}: targets of one batch need one shape, or rows of one shape",
          name(a.kind), key, b == nullptr ? std::string("is missing") : fmt::format("{}", describe(b->value)),
          describe(a.value), place);
  }
}

/// Puts planes [N,h,w] (or one plane [h,w]) into the upper left corners of planes of another size.
inline void place_planes(const Tensor& from, char* to, int64_t height, int64_t width) {
  if (from.numel() == 0) return;  // it has no address
  const int64_t h = from.size(from.dim() - 2), w = from.size(from.dim() - 1), bytes = item_size(from.dtype());
  const int64_t planes = from.dim() == 3 ? from.size(0) : 1;
  const char* line = static_cast<const char*>(from.raw());
  for (int64_t p = 0; p < planes; ++p)
    for (int64_t row = 0; row < h; ++row, line += w * bytes)
      std::memcpy(to + ((p * height + row) * width) * bytes, line, static_cast<size_t>(w * bytes));
}

}  // namespace detail

ATLAS_INLINE void finish(Batch& batch) {
  if (!batch.plans.defined()) return;
  const auto [height, width] = batch.size();
  batch.images = augment_images(batch.images, batch.plans, batch.plan, height, width);
  batch.plans = Tensor();
}

ATLAS_INLINE void BatchBuilder::put(int64_t at, Sample sample) {
  const Shape s = sample.image.shape();
  Part part{s, {}, std::move(sample.targets)};
  bool has_place = false;  // another size than the first one's is an error, which finish() is asked for
  if (o_.pad == 0) {
    const std::lock_guard lock(mutex_);
    if (!images_.defined()) {
      images_ = detail::batch_memory({o_.capacity, s[0], s[1], s[2]}, o_.dtype, o_.pinned);
      bytes_ = images_.numel() * item_size(o_.dtype);
    }
    has_place = images_.size(1) == s[0] && images_.size(2) == s[1] && images_.size(3) == s[2];
  }
  if (has_place) write(at, sample.image);
  if (o_.pad > 0) {
    part.image = sample.image;
    bytes_ += sample.image.numel() * (item_size(sample.image.dtype()) + item_size(o_.dtype));
  }
  samples_[static_cast<size_t>(at)] = std::move(part);
}

ATLAS_INLINE void BatchBuilder::check_alike(int64_t at, int64_t first, std::string_view first_place) const {
  const Part &now = *samples_[static_cast<size_t>(at)], &one = *samples_[static_cast<size_t>(first)];
  check(o_.pad > 0 || now.size == one.size, "loader",
        "{} after {} of {}: images of one batch need one size (add a Resize or a crop, or set LoaderOptions::pad)",
        now.size.str(), one.size.str(), first_place);
  detail::check_alike(now.targets, one.targets, first_place);
}

ATLAS_INLINE void BatchBuilder::write(int64_t at, const Tensor& image) {
  const int64_t row = images_.size(2) * 3, n = image.size(1) * 3;
  for (int64_t y = 0; y < image.size(0); ++y) {
    const int64_t to = (at * images_.size(1) + y) * row, from = y * n;
    if (o_.dtype == uint8) {
      std::memcpy(images_.data<uint8_t>() + to, image.data<uint8_t>() + from, static_cast<size_t>(n));
    } else if (image.dtype() == float32) {
      std::memcpy(images_.data<float>() + to, image.data<float>() + from, static_cast<size_t>(n) * sizeof(float));
    } else {
      const uint8_t* bytes = image.data<uint8_t>() + from;
      float* floats = images_.data<float>() + to;
      for (int64_t j = 0; j < n; ++j) floats[j] = static_cast<float>(bytes[j]) * (1.0f / 255.0f);
    }
  }
}

ATLAS_INLINE Target BatchBuilder::joined(const std::string& key, int64_t height, int64_t width) const {
  Target all = samples_[0]->targets.at(key);
  const bool rows = all.has_rows(), planes = all.kind == TargetKind::mask || all.kind == TargetKind::instance_masks;
  std::vector<int64_t> sizes(all.value.shape().begin(), all.value.shape().end());
  if (rows) {
    sizes[0] = 0;
    all.offsets = {0};
    for (const auto& part : samples_) {
      sizes[0] += part->targets[key].size(0);
      all.offsets.push_back(sizes[0]);
    }
  } else {
    sizes.insert(sizes.begin(), std::ssize(samples_));
  }
  if (all.kind == TargetKind::instance_masks && all.fixed) {  // the largest file's size
    height = width = 0;
    for (const auto& part : samples_) {
      height = std::max(height, part->targets[key].size(1));
      width = std::max(width, part->targets[key].size(2));
    }
  } else if (planes && all.fixed) {  // each as it was in its file
    height = all.value.size(0), width = all.value.size(1);
    for (const auto& part : samples_)
      check(part->targets[key].shape() == all.value.shape(), "loader",
            "mask '{}' {} after {}: pictures of several sizes, whose masks stay as they are, need a batch size of 1",
            key, describe(part->targets[key]), describe(all.value));
  }
  if (planes) {
    sizes[1] = height;
    sizes[2] = width;
  }
  const DType dtype = all.value.dtype();
  all.value = detail::batch_memory(Shape(sizes), dtype, o_.pinned);
  const int64_t outside = all.kind == TargetKind::mask ? all.outside : 0;
  if (planes) detail::fill_with(all.value, outside);
  char* to = static_cast<char*>(all.value.raw());
  for (const auto& part : samples_) {
    const Tensor& v = part->targets[key];
    const Tensor from = v.is_contiguous() ? v : copy_of(v);
    if (planes) {
      detail::place_planes(from, to, height, width);
      to += (rows ? from.size(0) : 1) * height * width * item_size(dtype);
    } else {
      const int64_t bytes = from.numel() * item_size(dtype);
      if (bytes > 0) std::memcpy(to, from.raw(), static_cast<size_t>(bytes));
      to += bytes;
    }
  }
  return all;
}

ATLAS_INLINE void BatchBuilder::finish(Batch& batch) {
  // Numbers that are missing close up.
  int64_t count = 0;
  for (int64_t at = 0; at < o_.capacity; ++at) {
    if (!has(at)) continue;
    if (count < at) {
      samples_[static_cast<size_t>(count)] = std::move(samples_[static_cast<size_t>(at)]);
      if (o_.pad == 0) {
        const int64_t bytes = images_.numel() / o_.capacity * item_size(o_.dtype);
        char* all = static_cast<char*>(images_.raw());
        std::memcpy(all + count * bytes, all + at * bytes, static_cast<size_t>(bytes));
      }
    }
    ++count;
  }
  samples_.resize(static_cast<size_t>(count));
  if (o_.pad > 0) {
    int64_t height = 0, width = 0;
    for (const auto& part : samples_) {
      height = std::max(height, part->size[0]);
      width = std::max(width, part->size[1]);
      batch.sizes.push_back({part->size[0], part->size[1]});
    }
    height = (height + o_.pad - 1) / o_.pad * o_.pad;
    width = (width + o_.pad - 1) / o_.pad * o_.pad;
    images_ = detail::batch_memory({count, height, width, 3}, o_.dtype, o_.pinned);
    detail::fill_with(images_, 0);
    for (int64_t i = 0; i < count; ++i) {
      write(i, samples_[static_cast<size_t>(i)]->image);
      samples_[static_cast<size_t>(i)]->image = Tensor();
    }
  }
  if (count < images_.size(0)) {
    const Shape s = {count, images_.size(1), images_.size(2), images_.size(3)};
    images_ = raw_view(images_, s, images_.strides(), 0);
  }
  batch.images = images_;
  int64_t height = images_.size(1), width = images_.size(2);
  if (batch.rest) std::tie(height, width) = batch.rest->size_of(height, width);
  for (const auto& [key, target] : samples_[0]->targets) batch.targets.set(key, joined(key, height, width));
}

}  // namespace atlas::inline ATLAS_ABI::data
