// Transforms of samples: what a transform is, Compose to chain any, and the ones without chance. augment.h has the
// random ones.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <memory>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "atlas/data/geometry.h"
#include "atlas/data/random.h"
#include "atlas/data/sample.h"

namespace atlas::inline ATLAS_ABI::data {

/// A transform that says how it moves pixels: the image and every target are moved alike.
template <class T>
concept GeometricTransform = requires(const T& t, const Tensor& image, Rng& rng) {
  { t.geometry(image, rng) } -> std::same_as<Geometry>;
};
/// One that needs to know no more of the image than its size: it is asked before a photograph is decoded, and only what
/// is left of the photograph is.
template <class T>
concept SizedTransform = GeometricTransform<T> && requires(const T& t, int64_t height, int64_t width, Rng& rng) {
  { t.geometry(height, width, rng) } -> std::same_as<Geometry>;
};
/// One that takes samples whose image is not decoded, and hands them on.
template <class T>
concept TakesEncoded = requires {
  requires T::kTakesEncoded;
};
/// A transform that says that it changes colors and moves nothing.
template <class T>
concept PhotometricTransform = requires {
  requires T::kPhotometric;
};
/// A transform that treats samples as a whole by itself.
template <class T>
concept SampleTransform = requires(const T& t, Sample& sample, Rng& rng) {
  { t.apply(sample, rng) } -> std::same_as<void>;
};

namespace detail {
/// After `now` was made of `before` by a transform of the image alone. @throws Error when a target should have moved.
void check_stayed(const Sample& sample, const Tensor& before, const Tensor& now, bool photometric);
/// Decodes an image whose decoding was left for later (Sample::encoded). @throws UnreadableImage
void decode(Sample& sample);
/// Height and width of such an image.
std::array<int64_t, 2> encoded_size(const Sample& sample);
/// Makes of it what a geometry makes of it when it is decoded. @throws UnreadableImage
void decode_moved(Sample& sample, const Geometry& geometry);
}  // namespace detail

/// Any transform, with random numbers that belong to the sample. It never changes tensors of its input and may be
/// called by several threads.
///
/// It is made of anything that can be called as `Tensor t(const Tensor& image, Rng& rng)`, image uint8 [H,W,C] (or
/// float32 in [0, 1] before normalization) to [H',W',C]. Where samples have masks or boxes, it must say what becomes of
/// them: `Geometry geometry(const Tensor& image, Rng& rng) const`, or `static constexpr bool kPhotometric = true`. With
/// `Geometry geometry(int64_t height, int64_t width, Rng& rng) const` beside the first, a pipeline that begins with it
/// decodes of photographs only what it needs (SizedTransform).
class Transform {
 public:
  Transform() = default;
  template <class T>
  requires(!std::same_as<std::decay_t<T>, Transform> &&
           std::is_invocable_r_v<Tensor, const std::decay_t<T>&, const Tensor&, Rng&>) Transform(T transform)
      : held_(std::make_shared<const Held<T>>(std::move(transform))) {}

  explicit operator bool() const { return held_ != nullptr; }
  /// An image alone.
  Tensor operator()(const Tensor& image, Rng& rng) const { return held_->image(image, rng); }
  /// An image with its targets. @throws Error when there is a target that the transform cannot move.
  void apply(Sample& sample, Rng& rng) const { held_->apply(sample, rng); }
  /// The transform itself when it is a T, else null.
  template <class T>
  const T* get() const {
    return held_ != nullptr && held_->type() == typeid(T) ? static_cast<const T*>(held_->get()) : nullptr;
  }

 private:
  struct Any {
    virtual ~Any() = default;
    virtual Tensor image(const Tensor& image, Rng& rng) const = 0;
    virtual void apply(Sample& sample, Rng& rng) const = 0;
    virtual const std::type_info& type() const = 0;
    virtual const void* get() const = 0;
  };
  template <class T>
  struct Held final : Any {
    explicit Held(T t) : transform(std::move(t)) {}
    Tensor image(const Tensor& image, Rng& rng) const override { return transform(image, rng); }
    void apply(Sample& sample, Rng& rng) const override {
      if constexpr (SizedTransform<T>) {
        if (sample.encoded != nullptr) {
          const std::array<int64_t, 2> size = detail::encoded_size(sample);
          return detail::decode_moved(sample, transform.geometry(size[0], size[1], rng));
        }
      }
      if constexpr (!TakesEncoded<T>) detail::decode(sample);
      if constexpr (SampleTransform<T>) {
        transform.apply(sample, rng);
      } else if constexpr (GeometricTransform<T>) {
        transform.geometry(sample.image, rng).apply(sample);
      } else {
        const Tensor now = transform(sample.image, rng);
        detail::check_stayed(sample, sample.image, now, PhotometricTransform<T>);
        sample.image = now;
      }
    }
    const std::type_info& type() const override { return typeid(T); }
    const void* get() const override { return &transform; }
    T transform;
  };
  std::shared_ptr<const Any> held_;
};

/// Transforms one after the other.
struct Compose {
  static constexpr bool kTakesEncoded = true;
  std::vector<Transform> steps;
  Tensor operator()(const Tensor& image, Rng& rng) const {
    Tensor y = image;
    for (const Transform& step : steps) y = step(y, rng);
    return y;
  }
  void apply(Sample& sample, Rng& rng) const {
    for (const Transform& step : steps) step.apply(sample, rng);
  }
};

/// Resizes to height x width, whatever the image's own proportions.
struct Resize {
  int64_t height, width;
  Interpolation mode = Interpolation::bilinear;
  Geometry geometry(const Tensor&, Rng&) const { return {Scale{height, width, mode}}; }
  Geometry geometry(int64_t, int64_t, Rng&) const { return {Scale{height, width, mode}}; }
  Tensor operator()(const Tensor& image, Rng& rng) const { return geometry(image, rng).image(image); }
};

/// Resizes so that the shorter side becomes `side`, keeping proportions.
struct ResizeShorter {
  int64_t side;
  Interpolation mode = Interpolation::bilinear;
  Geometry geometry(const Tensor& image, Rng& rng) const {
    const Tensor x = as_image(image, "ResizeShorter");
    return geometry(x.size(0), x.size(1), rng);
  }
  Geometry geometry(int64_t h, int64_t w, Rng&) const {
    const int64_t shorter = std::min(h, w);
    const auto scaled = [&](int64_t n) {
      return n == shorter
                 ? side
                 : std::max<int64_t>(
                       side, static_cast<int64_t>(std::llround(static_cast<double>(n) * static_cast<double>(side) /
                                                               static_cast<double>(shorter))));
    };
    return {Scale{scaled(h), scaled(w), mode}};
  }
  Tensor operator()(const Tensor& image, Rng& rng) const { return geometry(image, rng).image(image); }
};

/// The middle height x width of an image; a smaller image gets a zero border.
struct CenterCrop {
  int64_t height, width;
  Geometry geometry(const Tensor& image, Rng&) const {
    const Tensor x = as_image(image, "CenterCrop");
    return geometry(x.shape()[0], x.shape()[1]);
  }
  Geometry geometry(int64_t h, int64_t w, Rng&) const { return geometry(h, w); }
  /// Of an image of h x w.
  Geometry geometry(int64_t h, int64_t w) const {
    const auto middle = [](int64_t whole, int64_t part) {
      return part > whole ? -((part - whole) / 2) : (whole - part) / 2;
    };
    return {Crop{middle(h, height), middle(w, width), height, width}};
  }
  Tensor operator()(const Tensor& image, Rng& rng) const { return geometry(image, rng).image(image); }
};

/// Channel means and standard deviations of ImageNet's training images, in units of [0, 1].
inline constexpr std::array<float, 3> kImageNetMean = {0.485f, 0.456f, 0.406f};
inline constexpr std::array<float, 3> kImageNetStd = {0.229f, 0.224f, 0.225f};

/// y = (x - mean) / std per channel; uint8 images are divided by 255 first.   [H,W,3] -> float32 [H,W,3]
struct Normalize {
  static constexpr bool kPhotometric = true;
  std::array<float, 3> mean = kImageNetMean, std = kImageNetStd;
  Tensor operator()(const Tensor& image, Rng&) const {
    const Tensor x = as_image(image, "Normalize");
    check(x.shape()[2] == 3, "Normalize", "needs three channels, got {}", describe(x));
    check(std[0] > 0 && std[1] > 0 && std[2] > 0, "Normalize", "std must be > 0, got {}, {}, {}", std[0], std[1],
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

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/transform-inl.h"
#endif
