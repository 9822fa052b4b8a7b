// Batch: what a model gets, and how samples become one. Knows kinds of targets, but no task.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
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

/// Makes one batch of samples that come one by one. Images go straight into the batch, so that they are written once.
class BatchBuilder {
 public:
  struct Options {
    int64_t capacity = 1;   ///< samples, at most
    DType dtype = float32;  ///< of images; uint8 samples are divided by 255 for float32
    int64_t pad = 0;        ///< see LoaderOptions
    bool pinned = false;
  };
  explicit BatchBuilder(const Options& options) : o_(options) {}

  /// @param first_place  where the first sample came from, for messages
  /// @throws Error when image or targets do not fit those of the first sample.
  void add(Sample sample, std::string_view first_place);
  int64_t size() const { return count_; }
  /// Images and targets of what was added, at least one sample.
  void finish(Batch& batch);

 private:
  void write(int64_t at, const Tensor& image);
  Target joined(const std::string& key, int64_t height, int64_t width) const;

  Options o_;
  int64_t count_ = 0;
  Tensor images_;                 // without padding: written as samples come
  std::vector<Tensor> waiting_;   // with padding: images until the largest is known
  std::vector<Targets> targets_;  // of each sample
};

namespace detail {
/// A tensor on the host for a part of a batch.
Tensor batch_memory(const Shape& shape, DType dtype, bool pinned);
}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/batch-inl.h"
#endif
