// Image files: JPEG, PNG and BMP to uint8 RGB tensors (decoders: libjpeg-turbo where it is installed, and stb_image),
// and tensors to PNG.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "atlas/data/file.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::data {

/// Most pixels an image may declare: 2^27, or 11,585 x 11,585.
inline constexpr int64_t kMaxImagePixels = int64_t{1} << 27;

/// Most bytes that decoding an image may write or go over: an image of kMaxImagePixels with 8 bits a color, or fewer
/// pixels of 16 bits, or of a progressive JPEG file with its many passes.
inline constexpr int64_t kMaxDecodingBytes = 6 * kMaxImagePixels;

/// What an image file says about itself.
struct ImageInfo {
  enum class Format { jpeg, png, bmp } format = Format::png;
  int64_t width = 0, height = 0;  ///< as stored, before orientation
  int orientation = 1;            ///< EXIF orientation 1..8 (JPEG, PNG; 1 = upright)
};

/// Reads an image's header and checks that the file is whole, without decoding pixels.
///
/// Checked: the format (by content), the size against `max_pixels` and against the most that the file's length can
/// hold, the bytes that decoding takes, and that the file is not cut short (JPEG: end marker; PNG: check sums and end
/// chunk; BMP: length).
/// @param name for messages, normally the file's path
/// @throws Error naming the file, the offset and the reason.
ImageInfo inspect_image(std::span<const uint8_t> bytes, const std::string& name, int64_t max_pixels = kMaxImagePixels);

/// Decodes a JPEG, PNG or BMP file held in memory.
///
/// Gray becomes three equal channels, transparency is laid over white, 16 bits are cut to 8, and the EXIF orientation
/// of JPEG and PNG files is applied. Colors that a palette does not have are black. CMYK inks are taken to be inverted,
/// as Adobe's programs write them. JPEG data that is cut short or makes no sense is an error with libjpeg-turbo;
/// stb_image shows what it makes of it (see jpeg_decoder()).
/// @return uint8 [H,W,3]    @throws Error naming the file and the reason.
Tensor decode_image(std::span<const uint8_t> bytes, const std::string& name, int64_t max_pixels = kMaxImagePixels);

/// "libjpeg-turbo" or "stb_image": who decodes JPEG in this build. Only the first is meant for files from strangers.
const char* jpeg_decoder();

/// decode_image of a file.
Tensor read_image(const std::string& path, int64_t max_pixels = kMaxImagePixels);

/// Turns an image as EXIF orientation 1..8 asks (TIFF 6.0, tag 274): 2 mirror, 3 half turn, 4 upside-down mirror,
/// 5 transpose, 6 quarter turn right, 7 anti-transpose, 8 quarter turn left.
/// @param image uint8 [H,W,3]    @return [H,W,3], or [W,H,3] for 5..8
Tensor oriented(const Tensor& image, int orientation);

/// The bytes of a PNG file.
/// @param image uint8 [H,W,3] or gray [H,W], H and W > 0
Bytes encode_png(const Tensor& image);

/// Refuses a file name whose ending says another format than PNG: what would be in the file is not what its name says.
/// @throws Error saying so.
void check_png_name(const std::string& path);

/// Writes a PNG file (OutputFile, check_png_name()). @throws Error for another kind of tensor, or a file that cannot be
/// written.
void write_png(const std::string& path, const Tensor& image);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/image-inl.h"
#include "atlas/data/image_info-inl.h"
#include "atlas/data/png-inl.h"
#endif
