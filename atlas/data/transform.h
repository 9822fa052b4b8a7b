// Transforms of one image without chance: resize, crop, conversion to float and normalisation, and Compose to chain
// any. augment.h has the random ones.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/data/random.h"
#include "atlas/ops/resize.h"
#include "atlas/ops/softmax.h"
#include "atlas/tensor/memory.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::data {

/// Makes an image [H',W',C] of an image [H,W,C] (uint8, or float32 in [0, 1] before normalisation), with random numbers
/// that belong to the sample. A transform never changes its input and may be called by several threads.
using Transform = std::function<Tensor(const Tensor& image, Rng& rng)>;

/// Transforms one after the other.
struct Compose {
  std::vector<Transform> steps;
  Tensor operator()(const Tensor& image, Rng& rng) const {
    Tensor y = image;
    for (const Transform& step : steps) y = step(y, rng);
    return y;
  }
};

/// The image itself when it is a contiguous uint8 or float32 [H,W,C] with H, W, C > 0 on the CPU (a contiguous copy
/// when only strides are odd). @throws Error naming `op` otherwise.
inline Tensor as_image(const Tensor& image, std::string_view op) {
  check(image.defined() && image.dim() == 3 && image.numel() > 0 &&
            (image.dtype() == uint8 || image.dtype() == float32) && !image.device().is_cuda(),
        op, "needs a uint8 or float32 image [H,W,C] on the CPU, got {}", describe(image));
  return image.is_contiguous() ? image : copy_of(image);
}

/// uint8 [..] -> float32 in [0, 1] (x / 255); float32 is passed through.
inline Tensor to_float(const Tensor& image) {
  const Tensor x = as_image(image, "to_float");
  if (x.dtype() == float32) return x;
  Tensor y = empty(x.shape(), float32, Device{});
  const uint8_t* from = x.data<uint8_t>();
  float* to = y.data<float>();
  const int64_t n = x.numel();
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i]) * (1.0f / 255.0f);
  return y;
}

/// The rectangle of an image that starts at (top, left), zero where it reaches over the image's borders.
/// @param image [H,W,C]    @return [height,width,C], same dtype
inline Tensor crop(const Tensor& image, int64_t top, int64_t left, int64_t height, int64_t width) {
  const Tensor x = as_image(image, "crop");
  check(height > 0 && width > 0, "crop", "needs a size of at least 1 x 1, got {} x {}", height, width);
  const int64_t h = x.shape()[0], w = x.shape()[1], pixel = x.shape()[2] * item_size(x.dtype());
  Tensor y = empty({height, width, x.shape()[2]}, x.dtype(), Device{});
  const int64_t x0 = std::clamp<int64_t>(left, 0, w), x1 = std::clamp<int64_t>(left + width, x0, w);
  const int64_t y0 = std::clamp<int64_t>(top, 0, h), y1 = std::clamp<int64_t>(top + height, y0, h);
  char* to = static_cast<char*>(y.raw());
  const char* from = static_cast<const char*>(x.raw());
  if ((x1 - x0) * (y1 - y0) != height * width) std::memset(to, 0, static_cast<size_t>(height * width * pixel));
  for (int64_t row = y0; row < y1; ++row)
    std::memcpy(to + ((row - top) * width + x0 - left) * pixel, from + (row * w + x0) * pixel,
                static_cast<size_t>((x1 - x0) * pixel));
  return y;
}

/// Resizes an image, antialiased when it gets smaller. uint8 images are rounded and clamped back to uint8.
/// @param image [H,W,C]    @return [height,width,C], same dtype
inline Tensor resize_image(const Tensor& image, int64_t height, int64_t width, Interpolation mode) {
  const Tensor x = as_image(image, "resize_image");
  check(height > 0 && width > 0, "resize_image", "needs a size of at least 1 x 1, got {} x {}", height, width);
  const Shape& s = x.shape();
  if (s[0] == height && s[1] == width) return x;
  const NoGrad guard;
  const bool smaller = height < s[0] || width < s[1];
  const Tensor one = raw_view(x, {1, s[0], s[1], s[2]}, contiguous_strides({1, s[0], s[1], s[2]}), x.offset());
  const Tensor y = resize(one, height, width, mode, smaller && mode != Interpolation::nearest);
  return raw_view(y, {height, width, s[2]}, contiguous_strides({height, width, s[2]}), y.offset());
}

/// Resizes to height x width, whatever the image's own proportions.
struct Resize {
  int64_t height, width;
  Interpolation mode = Interpolation::bilinear;
  Tensor operator()(const Tensor& image, Rng&) const { return resize_image(image, height, width, mode); }
};

/// Resizes so that the shorter side becomes `side`, keeping proportions.
struct ResizeShorter {
  int64_t side;
  Interpolation mode = Interpolation::bilinear;
  Tensor operator()(const Tensor& image, Rng&) const {
    const Tensor x = as_image(image, "ResizeShorter");
    const int64_t h = x.shape()[0], w = x.shape()[1], shorter = std::min(h, w);
    const auto scaled = [&](int64_t n) {
      return n == shorter
                 ? side
                 : std::max<int64_t>(
                       side, static_cast<int64_t>(std::llround(static_cast<double>(n) * static_cast<double>(side) /
                                                               static_cast<double>(shorter))));
    };
    return resize_image(x, scaled(h), scaled(w), mode);
  }
};

/// The middle height x width of an image; a smaller image gets a zero border.
struct CentreCrop {
  int64_t height, width;
  Tensor operator()(const Tensor& image, Rng&) const {
    const Tensor x = as_image(image, "CentreCrop");
    const auto middle = [](int64_t whole, int64_t part) {
      return part > whole ? -((part - whole) / 2) : (whole - part) / 2;
    };
    return crop(x, middle(x.shape()[0], height), middle(x.shape()[1], width), height, width);
  }
};

/// Channel means and standard deviations of ImageNet's training images, in units of [0, 1].
inline constexpr std::array<float, 3> kImageNetMean = {0.485f, 0.456f, 0.406f};
inline constexpr std::array<float, 3> kImageNetStd = {0.229f, 0.224f, 0.225f};

/// y = (x - mean) / std per channel; uint8 images are divided by 255 first.   [H,W,3] -> float32 [H,W,3]
struct Normalise {
  std::array<float, 3> mean = kImageNetMean, std = kImageNetStd;
  Tensor operator()(const Tensor& image, Rng&) const {
    const Tensor x = as_image(image, "Normalise");
    check(x.shape()[2] == 3, "Normalise", "needs three channels, got {}", describe(x));
    check(std[0] > 0 && std[1] > 0 && std[2] > 0, "Normalise", "std must be > 0, got {}, {}, {}", std[0], std[1],
          std[2]);
    Tensor y = empty(x.shape(), float32, Device{});
    if (x.dtype() == uint8)
      apply(x.data<uint8_t>(), y.data<float>(), x.numel(), 1.0f / 255.0f);
    else
      apply(x.data<float>(), y.data<float>(), x.numel(), 1.0f);
    return y;
  }

 private:
  template <class T>
  void apply(const T* x, float* y, int64_t n, float unit) const {
    const float a0 = unit / std[0], a1 = unit / std[1], a2 = unit / std[2];
    const float b0 = mean[0] / std[0], b1 = mean[1] / std[1], b2 = mean[2] / std[2];
    for (int64_t i = 0; i < n; i += 3) {
      y[i] = static_cast<float>(x[i]) * a0 - b0;
      y[i + 1] = static_cast<float>(x[i + 1]) * a1 - b1;
      y[i + 2] = static_cast<float>(x[i + 2]) * a2 - b2;
    }
  }
};

}  // namespace atlas::inline ATLAS_ABI::data
