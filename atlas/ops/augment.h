// The end of a training pipeline as one op on a batch of bytes.
#pragma once

#include "atlas/kernels/augment.h"

namespace atlas::inline ATLAS_ABI {

/// Crops, mirrors, normalizes, erases and mixes a batch as the plans say; no gradient.
/// @param pixels  uint8 [B,H,W,3], contiguous
/// @param plans   uint8 [B, sizeof(ImageAugment)]: an ImageAugment for each image, on the same device
/// @param all     what is done to the whole batch; image i is mixed with image B-1-i
/// @return float32 [B,height,width,3]
/// @throws Error for other types, shapes or devices.
inline Tensor augment_images(const Tensor& pixels, const Tensor& plans, const BatchAugment& all, int64_t height,
                             int64_t width) {
  const char* op = "augment_images";
  check(pixels.dim() == 4 && pixels.dtype() == uint8 && pixels.size(3) == 3 && pixels.is_contiguous(), op,
        "needs contiguous pixels uint8[B,H,W,3], got {}", describe(pixels));
  check(plans.dim() == 2 && plans.dtype() == uint8 && plans.size(0) == pixels.size(0) && plans.is_contiguous() &&
            plans.size(1) == static_cast<int64_t>(sizeof(ImageAugment)),
        op, "needs plans uint8[{},{}] for pixels {}, got {}", pixels.size(0), sizeof(ImageAugment), describe(pixels),
        describe(plans));
  check(height >= 1 && width >= 1, op, "needs a size of at least 1 x 1, got {} x {}", height, width);
  Tensor images = empty({pixels.size(0), height, width, 3}, float32, pixels.device());
  kernels::augment_images(pixels, plans, all, images);
  return images;
}

}  // namespace atlas::inline ATLAS_ABI
