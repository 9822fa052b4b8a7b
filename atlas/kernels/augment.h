// The last steps of a training pipeline as one pass over a batch: crop, mirror, normalize, erase and mix, from bytes.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "atlas/core/config.h"
#include "atlas/core/rng.h"
#include "atlas/kernels/kernel.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// What is done to one image, drawn on the host. Lies in a tensor beside the batch.
struct ImageAugment {
  int64_t top = 0, left = 0;  ///< of the piece that is cut out; what lies outside the image is black
  int64_t mirror = 0;         ///< 1: left and right change places, after the cut
  int64_t erase_top = 0, erase_left = 0, erase_height = 0, erase_width = 0;  ///< of the result, filled with noise
  uint64_t seed = 0, stream = 0, counter = 0, word = 0;  ///< where the noise begins: a word of a Philox block
};
static_assert(std::is_trivially_copyable_v<ImageAugment> && sizeof(ImageAugment) == 88);

/// What is done to a whole batch.
struct BatchAugment {
  float scale[3] = {1, 1, 1}, shift[3] = {0, 0, 0};  ///< y = x scale - shift, x in 0..255
  int mix = 0;                                       ///< 0: nothing, 1: mixup, 2: a rectangle changes places
  float lambda = 1;                                  ///< of mixup: share of the image itself
  int64_t top = 0, left = 0, bottom = 0, right = 0;  ///< of the rectangle
};

namespace augment {

/// Number n of the noise that begins at (counter, word): standard normal, as data::Rng::normal() would draw it.
ATLAS_HOST_DEVICE inline double noise(const ImageAugment& a, int64_t n) {
  const uint64_t first = a.word + 4 * static_cast<uint64_t>(n);
  const Philox one(a.seed, a.stream, a.counter + first / 4), two(a.seed, a.stream, a.counter + first / 4 + 1);
  const unsigned at = static_cast<unsigned>(first % 4);
  const auto word = [&](unsigned i) -> uint64_t { return at + i < 4 ? one.v[at + i] : two.v[at + i - 4]; };
  const double u = static_cast<double>(((word(0) << 32) | word(1)) >> 11) * 0x1p-53;
  const double v = static_cast<double>(((word(2) << 32) | word(3)) >> 11) * 0x1p-53;
  return std::sqrt(-2.0 * std::log(1.0 - u)) * std::cos(6.283185307179586 * v);
}

/// Channel c of pixel (y, x) of an augmented image, before mixing.
/// @param pixels  uint8 [height,width,3]    @param out_width  of the result
ATLAS_HOST_DEVICE inline float pixel(const uint8_t* pixels, int64_t height, int64_t width, const ImageAugment& a,
                                     const BatchAugment& b, int64_t y, int64_t x, int64_t out_width, int c) {
  const int64_t row = y - a.erase_top, column = x - a.erase_left;
  if (row >= 0 && row < a.erase_height && column >= 0 && column < a.erase_width)
    return static_cast<float>(noise(a, (row * a.erase_width + column) * 3 + c));
  const int64_t from_y = y + a.top, from_x = (a.mirror != 0 ? out_width - 1 - x : x) + a.left;
  const bool inside = from_y >= 0 && from_y < height && from_x >= 0 && from_x < width;
  const float v = inside ? static_cast<float>(pixels[(from_y * width + from_x) * 3 + c]) : 0.0f;
  return v * b.scale[c] - b.shift[c];
}

}  // namespace augment

namespace cpu {
ATLAS_INLINE void augment_images(const Tensor& pixels, const Tensor& each, const BatchAugment& all, Tensor& images);
}  // namespace cpu
namespace cuda {  // the same, in atlas/cuda/*.cu
void augment_images(const Tensor& pixels, const Tensor& each, const BatchAugment& all, Tensor& images);
}  // namespace cuda

namespace kernels {

/// images [B,h,w,3] (float32) from pixels [B,H,W,3] (uint8), `each` holding one ImageAugment per image as
/// uint8 [B, sizeof(ImageAugment)]. Image i is mixed with image B-1-i; the middle one of an odd number stays. All
/// contiguous.
inline constexpr Kernel<cpu::augment_images, cuda::augment_images> augment_images{"augment_images", "augment_images"};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/augment-inl.h"
#endif
