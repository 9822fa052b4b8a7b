// CPU body of kernels/augment.h.
#pragma once

#include "atlas/core/parallel.h"
#include "atlas/kernels/augment.h"

namespace atlas::inline ATLAS_ABI::cpu {

ATLAS_INLINE void augment_images(const Tensor& pixels, const Tensor& each, const BatchAugment& all, Tensor& images) {
  const int64_t batch = images.size(0), h = images.size(1), w = images.size(2);
  const int64_t height = pixels.size(1), width = pixels.size(2);
  const auto* from = pixels.data<uint8_t>();
  const auto* plans = reinterpret_cast<const ImageAugment*>(each.data<uint8_t>());
  float* to = images.data<float>();
  parallel_for(batch * h, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t i = row / h, y = row % h, other = batch - 1 - i;
      const auto value = [&](int64_t image, int64_t x, int c) {
        return augment::pixel(from + image * height * width * 3, height, width, plans[image], all, y, x, w, c);
      };
      for (int64_t x = 0; x < w; ++x)
        for (int c = 0; c < 3; ++c) {
          const bool cut =
              all.mix == 2 && other != i && y >= all.top && y < all.bottom && x >= all.left && x < all.right;
          float v = value(cut ? other : i, x, c);
          if (all.mix == 1 && other != i) v = all.lambda * v + (1 - all.lambda) * value(other, x, c);
          to[(row * w + x) * 3 + c] = v;
        }
    }
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
