// What is done to the pixels of one image: conversion to float, cutting out, resizing, mirroring and affine maps.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "atlas/ops/resize.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::data {

/// The image itself when it is a contiguous uint8 or float32 [H,W,C] with H, W, C > 0 on the CPU (a contiguous copy
/// when only strides are odd). @throws Error naming `op` otherwise.
Tensor as_image(const Tensor& image, std::string_view op);

/// uint8 [..] -> float32 in [0, 1] (x / 255); float32 is passed through.
Tensor to_float(const Tensor& image);

/// The rectangle of an image that starts at (top, left), zero where it reaches over the image's borders.
/// @param image [H,W,C]    @return [height,width,C], same dtype
Tensor crop(const Tensor& image, int64_t top, int64_t left, int64_t height, int64_t width);

/// Resizes an image, antialiased when it gets smaller. uint8 images are rounded and clamped back to uint8.
/// @param image [H,W,C]    @return [height,width,C], same dtype
Tensor resize_image(const Tensor& image, int64_t height, int64_t width, Interpolation mode);

namespace detail {

/// Sets every element of a tensor on the CPU; `value` is 0 where the dtype is neither uint8 nor int64.
void fill_with(Tensor& x, int64_t value);

/// crop() of pixels of any type, `outside` beyond the borders.
/// @param x [H,W,...] or, with `planes`, [N,H,W]: every plane is cut
Tensor crop_pixels(const Tensor& x, int64_t top, int64_t left, int64_t height, int64_t width, int64_t outside,
                   bool planes = false);
/// Left and right change places.   As crop_pixels().
Tensor mirror_pixels(const Tensor& x, bool planes = false);
/// The nearest pixel's value, centers at half-integers.   As crop_pixels().
Tensor nearest_pixels(const Tensor& x, int64_t height, int64_t width, bool planes = false);
/// Pixel (y, x) of the result takes the value at column m0 (x + 1/2) + m1 (y + 1/2) + m2 and row m3 (x + 1/2) +
/// m4 (y + 1/2) + m5 of the pixel nearest to there, `outside` beyond the borders.   As crop_pixels().
Tensor warp_nearest(const Tensor& x, const std::array<double, 6>& map, int64_t outside, bool planes = false);
/// The same of an image [H,W,C], between pixels as `mode` says. Beyond the border stands `fill` (of 0..255; divided by
/// 255 in float32 images). Near the border the outermost pixels count for what lies beyond.
Tensor warp_image(const Tensor& x, const std::array<double, 6>& map, Interpolation mode,
                  const std::array<double, 3>& fill);

}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/pixels-inl.h"
#endif
