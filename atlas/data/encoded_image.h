// A picture that is still the bytes of its file: only what becomes of it says which part is decoded, and how large.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "atlas/data/geometry.h"
#include "atlas/data/image.h"

namespace atlas::inline ATLAS_ABI::data {

/// What is wrong with a file of a picture: it is missing, damaged or too large.
class UnreadableImage : public Error {
 public:
  using Error::Error;
};

/// A picture in its file's bytes, checked by inspect_image(), not decoded.
class EncodedImage {
 public:
  /// Reads a file. @throws UnreadableImage as read_image(), but for damaged pixels.
  static std::shared_ptr<const EncodedImage> read(const std::string& path, int64_t max_pixels = kMaxImagePixels);
  /// @throws UnreadableImage as inspect_image()
  EncodedImage(Bytes bytes, std::string name, int64_t max_pixels = kMaxImagePixels);

  /// Size of the picture as it is seen, after its EXIF orientation.
  int64_t height() const { return info_.orientation >= 5 ? info_.width : info_.height; }
  int64_t width() const { return info_.orientation >= 5 ? info_.height : info_.width; }

  /// decode_image().   uint8 [height(),width(),3]   @throws UnreadableImage
  Tensor decode() const;

  /// What `geometry` makes of the picture: geometry.image(decode()), to the bit where the file lies upright; where its
  /// orientation turns it, sums are rounded in another order, which moves values by one gray level at most.
  ///
  /// Where a geometry begins by resizing, or by cutting out and resizing, only those rows and columns of a JPEG file
  /// are decoded that the result is made of (with libjpeg-turbo), straight into the resize. Damage below them is not
  /// seen. Colors are decoded at full scale: means of 2x2 pixels, which libjpeg would give sooner, differ by more than
  /// two gray levels where a saturated color has a texture, because full decoding cuts colors off pixel by pixel.
  /// @throws UnreadableImage
  Tensor moved(const Geometry& geometry) const;

 private:
  Bytes bytes_;
  std::string name_;
  int64_t max_pixels_;
  ImageInfo info_;
};

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/encoded_image-inl.h"
#endif
