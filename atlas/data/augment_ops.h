// The fifteen operations of RandAugment, each with one number that says how much: five move pixels, ten change colors.
// Results are Pillow's, up to one gray level in few pixels.
// Not in atlas.h: include it by name.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "atlas/data/geometry.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::data {

/// One operation of RandAugment (Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced
/// search space", 2020). The order is that of timm's list.
enum class AugmentOp {
  auto_contrast,  ///< per channel, the darkest value becomes 0 and the brightest 255
  equalize,       ///< per channel, values spread so that their histogram is flat
  invert,         ///< 255 - x
  rotate,         ///< by degrees against the clock, about the middle
  posterize,      ///< the highest bits alone; the number of bits
  solarize,       ///< values from a threshold on are inverted
  solarize_add,   ///< values below 128 get so much brighter
  color,          ///< f x + (1 - f) gray
  contrast,       ///< f x + (1 - f) mean(gray)
  brightness,     ///< f x
  sharpness,      ///< f x + (1 - f) smoothed
  shear_x,        ///< column x + f y of the image comes to column x
  shear_y,        ///< row y + f x of the image comes to row y
  translate_x,    ///< column x + f width of the image comes to column x
  translate_y     ///< row y + f height of the image comes to row y
};

/// How many there are.
inline constexpr int64_t kAugmentOps = 15;
/// Their names, in the order of AugmentOp.
inline constexpr std::array<std::string_view, kAugmentOps> kAugmentOpNames = {
    "auto-contrast", "equalize",   "invert",    "rotate",  "posterize", "solarize",    "solarize-add", "color",
    "contrast",      "brightness", "sharpness", "shear-x", "shear-y",   "translate-x", "translate-y"};

/// An operation by name, as above or as timm writes it ("SolarizeAdd", "TranslateXRel", "ColorIncreasing").
/// @throws Error listing the names.
AugmentOp find_augment_op(std::string_view name);

/// True when the operation moves pixels, so that masks and boxes have to follow.
constexpr bool moves_pixels(AugmentOp op) { return op == AugmentOp::rotate || op >= AugmentOp::shear_x; }
/// True when the argument goes either way, by chance.
/// @param increasing  as for op_argument()
constexpr bool has_sign(AugmentOp op, bool increasing) {
  return moves_pixels(op) || (increasing && op >= AugmentOp::color && op <= AugmentOp::sharpness);
}

/// The number that an operation takes at a magnitude.
///
/// With m = magnitude / 10 and the sign s: rotate 30 s m degrees; shear 0.3 s m; translate 0.45 s m of the side;
/// solarize-add min(128, floor(110 m)); posterize floor(4 m) bits and solarize min(256, floor(256 m)), or 4 and 256
/// less these when increasing; color, contrast, brightness and sharpness 0.1 + 1.8 m, or max(0.1, 1 + 0.9 s m) when
/// increasing; the others take none.
/// @param magnitude   in 0..10, or larger where the policy allows it
/// @param increasing  the effect grows with the magnitude ("inc1"); otherwise some operations do least in the middle
///                    or at the end
/// @param sign        1 or -1, where has_sign()
double op_argument(AugmentOp op, double magnitude, bool increasing, int sign = 1);

/// How an operation that moves pixels does so.
/// @param argument       op_argument()
/// @param height, width  of the image
/// @param fill           color of what comes in from beyond the border, in 0..255
/// @throws Error for an operation that moves nothing.
Geometry op_geometry(AugmentOp op, double argument, int64_t height, int64_t width,
                     Interpolation mode = Interpolation::bicubic, const std::array<double, 3>& fill = {});

/// The image after an operation that changes colors.   uint8 [H,W,3] -> uint8 [H,W,3]
/// @param argument  op_argument()
/// @throws Error for an operation that moves pixels, and for other images.
Tensor op_colors(AugmentOp op, double argument, const Tensor& image);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/augment_ops-inl.h"
#endif
