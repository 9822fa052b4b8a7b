// Random transforms of one image: flip, pad-and-crop, random resized crop, color jitter, random erasing.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include "atlas/data/transform.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::data {

/// Mirrors left and right with probability p.
struct RandomFlip {
  double p = 0.5;
  Geometry geometry(const Tensor& image, Rng& rng) const {
    as_image(image, "RandomFlip");
    return geometry(0, 0, rng);
  }
  Geometry geometry(int64_t, int64_t, Rng& rng) const { return rng.chance(p) ? Geometry(Mirror{}) : Geometry(); }
  Tensor operator()(const Tensor& image, Rng& rng) const { return geometry(image, rng).image(image); }
  /// The mirror image.
  static Tensor flipped(const Tensor& image) { return Geometry(Mirror{}).image(as_image(image, "RandomFlip")); }
};

/// Surrounds the image with `padding` zeros on each side and cuts a height x width piece at a random place.
struct PadAndCrop {
  int64_t padding;
  int64_t height = 0, width = 0;  ///< of the result; 0 = the image's own
  /// The piece may begin above and to the left of the image.
  Geometry geometry(const Tensor& image, Rng& rng) const { return {place(image, rng)}; }
  Crop place(const Tensor& image, Rng& rng) const {
    const Tensor x = as_image(image, "PadAndCrop");
    check(padding >= 0 && height >= 0 && width >= 0, "PadAndCrop", "needs padding and size >= 0, got {} and {} x {}",
          padding, height, width);
    const int64_t h = height > 0 ? height : x.shape()[0], w = width > 0 ? width : x.shape()[1];
    const int64_t room_y = x.shape()[0] + 2 * padding - h, room_x = x.shape()[1] + 2 * padding - w;
    check(room_y >= 0 && room_x >= 0, "PadAndCrop",
          "{} with {} pixels of padding is smaller than {} x {} (more padding?)", describe(x), padding, h, w);
    const int64_t top = rng.below(room_y + 1), left = rng.below(room_x + 1);
    return {top - padding, left - padding, h, w};
  }
  Tensor operator()(const Tensor& image, Rng& rng) const { return geometry(image, rng).image(image); }
};

/// Cuts a piece of random area and proportions and resizes it (Szegedy et al., CVPR 2015).
///
/// Area: uniform in `scale` of the image's; width / height: log-uniform in `ratio`. After ten tries that do not fit,
/// the largest centered piece within `ratio`. Pieces are resized as imaging programs and torchvision do, also where
/// they get larger (Scale::antialias_always).
struct RandomResizedCrop {
  int64_t height, width;
  std::array<double, 2> scale = {0.08, 1.0}, ratio = {3.0 / 4.0, 4.0 / 3.0};
  std::optional<Interpolation> mode = Interpolation::bicubic;  ///< none: bilinear or bicubic, by chance

  Geometry geometry(const Tensor& image, Rng& rng) const {
    const Tensor x = as_image(image, "RandomResizedCrop");
    return geometry(x.size(0), x.size(1), rng);
  }
  Geometry geometry(int64_t h, int64_t w, Rng& rng) const {
    const Crop piece = sample(h, w, rng);
    const auto drawn = [&] { return rng.chance(0.5) ? Interpolation::bicubic : Interpolation::bilinear; };
    const Interpolation how = mode ? *mode : drawn();
    return {{piece, Scale{height, width, how, how != Interpolation::nearest}}};
  }
  Tensor operator()(const Tensor& image, Rng& rng) const { return geometry(image, rng).image(image); }

  /// The piece to cut out of an h x w image.
  Crop sample(int64_t h, int64_t w, Rng& rng) const {
    check(scale[0] > 0 && scale[0] <= scale[1] && ratio[0] > 0 && ratio[0] <= ratio[1], "RandomResizedCrop",
          "needs 0 < low <= high, got scale {}..{} and ratio {}..{}", scale[0], scale[1], ratio[0], ratio[1]);
    const double area = static_cast<double>(h) * static_cast<double>(w);
    for (int attempt = 0; attempt < 10; ++attempt) {
      const double target = area * rng.uniform(scale[0], scale[1]);
      const double r = std::exp(rng.uniform(std::log(ratio[0]), std::log(ratio[1])));
      const int64_t cw = std::llround(std::sqrt(target * r)), ch = std::llround(std::sqrt(target / r));
      if (cw < 1 || ch < 1 || cw > w || ch > h) continue;
      const int64_t top = rng.below(h - ch + 1);
      return {top, rng.below(w - cw + 1), ch, cw};
    }
    const double whole = static_cast<double>(w) / static_cast<double>(h);
    int64_t cw = w, ch = h;
    if (whole < ratio[0])
      ch = std::clamp<int64_t>(std::llround(static_cast<double>(w) / ratio[0]), 1, h);
    else if (whole > ratio[1])
      cw = std::clamp<int64_t>(std::llround(static_cast<double>(h) * ratio[1]), 1, w);
    return {(h - ch) / 2, (w - cw) / 2, ch, cw};
  }
};

/// Changes brightness, contrast and saturation, each by a factor uniform in [max(0, 1 - s), 1 + s], in random order.
///
/// brightness: f x;  contrast: f x + (1 - f) mean(gray);  saturation: f x + (1 - f) gray, with
/// gray = 0.299 R + 0.587 G + 0.114 B. Results are cut off to the range of the image.
/// Takes uint8 or float32 in [0, 1], [H,W,3]: it comes before Normalize.
struct ColorJitter {
  static constexpr bool kPhotometric = true;
  double brightness = 0.4, contrast = 0.4, saturation = 0.4;

  Tensor operator()(const Tensor& image, Rng& rng) const {
    const Tensor x = as_image(image, "ColorJitter");
    check(x.shape()[2] == 3, "ColorJitter", "needs three channels, got {}", describe(x));
    check(brightness >= 0 && contrast >= 0 && saturation >= 0, "ColorJitter", "needs strengths >= 0, got {}, {}, {}",
          brightness, contrast, saturation);
    const std::array<double, 3> strength = {brightness, contrast, saturation};
    std::array<int, 3> order = {0, 1, 2};
    for (int i = 2; i > 0; --i) std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(rng.below(i + 1))]);
    Tensor y = copy_of(x);
    for (int what : order) {
      const double s = strength[static_cast<size_t>(what)];
      const float f = static_cast<float>(rng.uniform(std::max(0.0, 1 - s), 1 + s));
      if (s == 0) continue;
      if (y.dtype() == uint8)
        adjust(y.data<uint8_t>(), y.numel(), what, f);
      else
        adjust(y.data<float>(), y.numel(), what, f);
    }
    return y;
  }

 private:
  template <class T>
  static float gray(const T* p) {
    return 0.299f * static_cast<float>(p[0]) + 0.587f * static_cast<float>(p[1]) + 0.114f * static_cast<float>(p[2]);
  }
  template <class T>
  static T store(float v) {
    if constexpr (std::is_same_v<T, uint8_t>)
      return static_cast<uint8_t>(std::clamp(v + 0.5f, 0.0f, 255.0f));
    else
      return std::clamp(v, 0.0f, 1.0f);
  }
  template <class T>
  static void adjust(T* p, int64_t n, int what, float f) {
    float mean = 0;
    if (what == 1) {
      double sum = 0;
      for (int64_t i = 0; i < n; i += 3) sum += static_cast<double>(gray(p + i));
      mean = static_cast<float>(sum / static_cast<double>(n / 3));
    }
    for (int64_t i = 0; i < n; i += 3) {
      const float other = (1 - f) * (what == 0 ? 0.0f : what == 1 ? mean : gray(p + i));
      for (int c = 0; c < 3; ++c) p[i + c] = store<T>(f * static_cast<float>(p[i + c]) + other);
    }
  }
};

/// With probability p, replaces a rectangle by noise, drawn anew for each pixel and channel (Zhong et al., AAAI 2020).
///
/// Area: uniform in `scale` of the image's; height / width: log-uniform in `ratio`. The noise is standard normal on
/// float32 images, which are meant to be normalized already, and uniform over 0..255 on uint8 images.
struct RandomErasing {
  static constexpr bool kPhotometric = true;
  double p = 0.25;
  std::array<double, 2> scale = {0.02, 1.0 / 3.0}, ratio = {0.3, 1.0 / 0.3};

  Tensor operator()(const Tensor& image, Rng& rng) const {
    const Tensor x = as_image(image, "RandomErasing");
    const int64_t h = x.shape()[0], w = x.shape()[1], channels = x.shape()[2];
    const auto box = sample(h, w, rng);
    if (!box) return x;
    Tensor y = copy_of(x);
    for (int64_t row = box->top; row < box->top + box->height; ++row) {
      const int64_t at = (row * w + box->left) * channels, n = box->width * channels;
      if (y.dtype() == uint8) {
        for (int64_t i = 0; i < n; ++i) y.data<uint8_t>()[at + i] = static_cast<uint8_t>(rng.bits() >> 24);
      } else {
        for (int64_t i = 0; i < n; ++i) y.data<float>()[at + i] = static_cast<float>(rng.normal());
      }
    }
    return y;
  }

  struct Box {
    int64_t top, left, height, width;
  };
  /// The rectangle of an h x w image to erase, if one is.
  std::optional<Box> sample(int64_t h, int64_t w, Rng& rng) const {
    if (!rng.chance(p)) return {};
    for (int attempt = 0; attempt < 10; ++attempt) {
      const double target = static_cast<double>(h) * static_cast<double>(w) * rng.uniform(scale[0], scale[1]);
      const double r = std::exp(rng.uniform(std::log(ratio[0]), std::log(ratio[1])));
      const int64_t eh = std::llround(std::sqrt(target * r)), ew = std::llround(std::sqrt(target / r));
      if (eh < 1 || ew < 1 || eh >= h || ew >= w) continue;
      const int64_t top = rng.below(h - eh + 1);
      return Box{top, rng.below(w - ew + 1), eh, ew};
    }
    return {};
  }
};

}  // namespace atlas::inline ATLAS_ABI::data
