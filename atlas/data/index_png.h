// Index pictures: PNG files whose pixels are numbers of classes, read and written without a change.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "atlas/data/canvas.h"
#include "atlas/data/image.h"

namespace atlas::inline ATLAS_ABI::data {

/// The numbers in a PNG file, as they are stored: gray values (of 1, 2 and 4 bits, too, which pictures would be
/// stretched to 255 from) or indices into a palette, whatever its colors are.
/// @return uint8 [H,W], or int64 [H,W] of files with 16 bits
/// @throws Error naming the file: for other formats (JPEG changes values), for colors (saying how to recode them), and
/// for damaged files.
Tensor decode_index_png(std::span<const uint8_t> bytes, const std::string& name, int64_t max_pixels = kMaxImagePixels);
/// decode_index_png() of a file.
Tensor read_index_png(const std::string& path, int64_t max_pixels = kMaxImagePixels);
/// Looks at the head of a file only. @throws Error when it is no PNG file of numbers, as decode_index_png().
void check_index_png(const std::string& path);

/// A PNG file with 8 bits a pixel and a palette; for more colors than a palette has, gray values of 16 bits.
/// @param map     uint8 or int64 [H,W], in 0..255, or 0..65535 in the latter
/// @param colors  of the numbers 0, 1, ...; the others are gray
/// @throws Error for numbers that do not fit.
Bytes encode_index_png(const Tensor& map, const std::vector<Color>& colors);
/// Writes such a file (write_png()).
void write_index_png(const std::string& path, const Tensor& map, const std::vector<Color>& colors);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/index_png-inl.h"
#endif
