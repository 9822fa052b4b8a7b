// Batch: what a model gets, and how samples become one. Knows kinds of targets, but no task.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/data/device_augment.h"
#include "atlas/data/sample.h"

namespace atlas::inline ATLAS_ABI::data {

/// Images with their targets. TargetKind says how targets are stacked or joined.
struct Batch {
  Tensor images;                                ///< float32 [B,H,W,3]; uint8 before the device's part of the pipeline
  Targets targets{};                            ///< by the names that they have in samples
  std::vector<std::array<int64_t, 2>> sizes{};  ///< height and width of each image before padding; empty without
  Tensor plans;                                 ///< the device's part, for each image, or undefined; see finish()
  BatchAugment plan{};                          ///< and for all
  std::shared_ptr<const DeviceAugment> rest{};  ///< the device's part
  std::vector<int64_t> indices;                 ///< position of each image in the data set
  std::vector<int64_t> places{};                ///< of each image, in the batch of all processes together
  int64_t of = 0;                               ///< images that were meant to be in that, of all processes together
  int64_t epoch = 0;
  int64_t number = 0;  ///< of this batch in its epoch; batch `number + 1` comes next
  int64_t end = 0;     ///< images of the epoch's order that are behind after this batch: a place to start from again

  /// Height and width of the images after the device's part.
  std::pair<int64_t, int64_t> size() const {
    return plans.defined() ? rest->size_of(images.size(1), images.size(2)) : std::pair{images.size(1), images.size(2)};
  }
};

/// Does the device's part of the pipeline, where the batch is.
void finish(Batch& batch);

/// Makes one batch of samples that come in any order, from several threads. Images go straight into the batch, so that
/// they are written once.
class BatchBuilder {
 public:
  struct Options {
    int64_t capacity = 1;   ///< samples, at most
    DType dtype = float32;  ///< of images; uint8 samples are divided by 255 for float32
    int64_t pad = 0;        ///< see LoaderOptions
    bool pinned = false;
  };
  explicit BatchBuilder(const Options& options) : o_(options), samples_(static_cast<size_t>(options.capacity)) {}

  /// Sample number `at` of the batch, 0 <= at < capacity. Numbers may be left out; each is put once, by any thread.
  void put(int64_t at, Sample sample);
  /// Bytes of the images of a full batch, or 0 before the first sample.
  int64_t image_bytes() const { return bytes_; }
  bool has(int64_t at) const { return samples_[static_cast<size_t>(at)].has_value(); }
  /// @param first  the first sample that there is, which came from first_place (for messages)
  /// @throws Error when image or targets of sample `at` do not fit those of the first.
  void check_alike(int64_t at, int64_t first, std::string_view first_place) const;
  /// Images and targets of what was put, at least one sample and all alike, in the order of their numbers; the numbers
  /// between them close up.
  void finish(Batch& batch);

 private:
  struct Part {
    Shape size;    // of the image
    Tensor image;  // until the batch has a place for it
    Targets targets;
  };
  void write(int64_t to, const Tensor& image);
  Target joined(const std::string& key, int64_t height, int64_t width) const;

  Options o_;
  std::mutex mutex_;                // while the first sample makes the memory of all
  std::atomic<int64_t> bytes_ = 0;  // of that
  Tensor images_;
  std::vector<std::optional<Part>> samples_;  // by number
};

namespace detail {
/// A tensor on the host for a part of a batch.
Tensor batch_memory(const Shape& shape, DType dtype, bool pinned);
}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/batch-inl.h"
#endif
