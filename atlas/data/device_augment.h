// The training pipeline cut in two: the host decodes, resizes and draws all random numbers; what is left of the work
// on pixels is one pass on the device, from bytes (kernels/augment.h).
#pragma once

#include "atlas/data/augment.h"
#include "atlas/data/mix.h"
#include "atlas/ops/augment.h"

namespace atlas::inline ATLAS_ABI::data {

/// The end of a pipeline, as a device does it: the same pictures, up to rounding, as PadAndCrop, RandomFlip,
/// ColourJitter, Normalise and RandomErasing one after the other, with the same random numbers.
struct DeviceAugment {
  int64_t height = 0, width = 0;  ///< of the result
  int64_t padding = -1;           ///< PadAndCrop; -1: images have their size already
  double flip = 0;                ///< probability
  double jitter = 0;              ///< strength of ColourJitter, which the host does, as it looks at the whole image
  Normalise normalise{};
  double erase = 0;  ///< probability

  /// What is drawn for one image, in the order of the pipeline.
  /// @param image  uint8 [H,W,3], all of a batch of one size; becomes what is sent to the device
  ImageAugment plan(Tensor& image, Rng& rng) const {
    image = as_image(image, "DeviceAugment");
    check(image.dtype() == uint8 && image.size(2) == 3, "DeviceAugment", "needs uint8 images [H,W,3], got {}",
          describe(image));
    ImageAugment a;
    if (padding >= 0) {
      const PadAndCrop crop_by{padding, height, width};
      const auto [top, left] = crop_by.sample(image, rng);
      if (jitter > 0) {
        image = crop(image, top, left, height, width);  // it is the piece that is looked at
      } else {
        a.top = top;
        a.left = left;
      }
    } else {
      check(image.size(0) == height && image.size(1) == width, "DeviceAugment", "needs images of {} x {}, got {}",
            height, width, describe(image));
    }
    if (flip > 0) a.mirror = rng.chance(flip) ? 1 : 0;
    if (jitter > 0) image = ColourJitter{jitter, jitter, jitter}(image, rng);
    if (erase > 0) {
      if (const auto box = RandomErasing{erase}.sample(height, width, rng)) {
        a.erase_top = box->top;
        a.erase_left = box->left;
        a.erase_height = box->height;
        a.erase_width = box->width;
        const Rng::Place noise = rng.place();
        a.seed = noise.seed;
        a.stream = noise.stream;
        a.counter = noise.counter;
        a.word = noise.word;
      }
    }
    return a;
  }
  /// What is done to a batch, with its mixing.
  BatchAugment plan(const MixPlan& mix) const {
    BatchAugment b;
    for (size_t c = 0; c < 3; ++c) {
      b.scale[c] = (1.0f / 255.0f) / normalise.std[c];
      b.shift[c] = normalise.mean[c] / normalise.std[c];
    }
    b.mix = static_cast<int>(mix.kind);
    b.lambda = static_cast<float>(mix.lambda);
    b.top = mix.top;
    b.left = mix.left;
    b.bottom = mix.bottom;
    b.right = mix.right;
    return b;
  }
};

}  // namespace atlas::inline ATLAS_ABI::data
