// CUDA body of kernels/augment.h: a thread makes one pixel, and reads the image it is mixed with by itself.
#include "atlas/cuda/launch.cuh"
#include "atlas/kernels/augment.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

struct AugmentSizes {
  int64_t batch, height, width, h, w;
};

__global__ void augment_kernel(AugmentSizes s, const __grid_constant__ BatchAugment all, View<const uint8_t> pixels,
                               View<const uint8_t> each, View<float> images) {
  constexpr int64_t kPlan = sizeof(ImageAugment);
  const int64_t whole = s.height * s.width * 3, count = s.batch * s.h * s.w;
  for (int64_t p = global_thread(); p < count; p += global_threads()) {
    const int64_t x = p % s.w, y = p / s.w % s.h, i = p / (s.w * s.h), other = s.batch - 1 - i;
    const bool paired = other != i;
    const bool cut = all.mix == 2 && paired && y >= all.top && y < all.bottom && x >= all.left && x < all.right;
    const auto value = [&](int64_t image, int c) {
      const auto& plan = *reinterpret_cast<const ImageAugment*>(each.at(image * kPlan, kPlan));
      return augment::pixel(pixels.at(image * whole, whole), s.height, s.width, plan, all, y, x, s.w, c);
    };
    for (int c = 0; c < 3; ++c) {
      float v = value(cut ? other : i, c);
      if (all.mix == 1 && paired) v = all.lambda * v + (1 - all.lambda) * value(other, c);
      images[p * 3 + c] = v;
    }
  }
}

}  // namespace

void augment_images(const Tensor& pixels, const Tensor& each, const BatchAugment& all, Tensor& images) {
  const AugmentSizes s{images.size(0), pixels.size(1), pixels.size(2), images.size(1), images.size(2)};
  constexpr int kThreads = 256;
  launch({images.device(), "augment_images", blocks_for(s.batch * s.h * s.w, kThreads), dim3(kThreads), 0, true},
         augment_kernel, s, all, view<const uint8_t>(pixels), view<const uint8_t>(each), view<float>(images));
}

}  // namespace atlas::inline ATLAS_ABI::cuda
