// Bodies of image.h: pixels through stb_image (and libjpeg-turbo, jpeg-inl.h), then RGB and orientation.
#pragma once

// stb_image is compiled here, and only here, as functions private to this file and in a namespace of its own (not in
// atlas, whose abs and pow it would find), so that a program may use its own copy beside it. What it includes comes
// first, because inside a namespace it could not be included.
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <memory>

#include "atlas/data/bmp-inl.h"
#include "atlas/data/image.h"
#include "atlas/data/image_info-inl.h"
#if ATLAS_WITH_LIBJPEG
#include "atlas/data/jpeg-inl.h"
#endif

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma push_macro("STBI_INCLUDE_STB_IMAGE_H")
#undef STBI_INCLUDE_STB_IMAGE_H
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_NO_STDIO
#if !ATLAS_WITH_LIBJPEG
#define STBI_ONLY_JPEG
#endif
#define STBI_ONLY_PNG
#define STBI_MAX_DIMENSIONS 65535
#define STBI_ASSERT(x) ((void)0)
// Memory that starts as zeros: a JPEG scan may name Huffman tables that the file never defines, and stb_image 2.27 then
// looks up codes in whatever was there before.
#define STBI_MALLOC(size) calloc(1, size)
#define STBI_REALLOC(p, size) grown_block(p, size)
#define STBI_FREE(p) free(p)
namespace atlas_stb {
/// The largest block that stb_image may grow to: it unpacks whatever a PNG file holds, not what its header says.
inline thread_local size_t largest_block = 0;
inline thread_local bool block_refused = false;
inline void* grown_block(void* p, size_t size) {
  if (size <= largest_block) return realloc(p, size);
  block_refused = true;
  return nullptr;
}
#include <stb/stb_image.h>
}  // namespace atlas_stb
#undef STB_IMAGE_STATIC
#undef STB_IMAGE_IMPLEMENTATION
#undef STBI_NO_STDIO
#undef STBI_ONLY_JPEG
#undef STBI_ONLY_PNG
#undef STBI_MAX_DIMENSIONS
#undef STBI_ASSERT
#undef STBI_MALLOC
#undef STBI_REALLOC
#undef STBI_FREE
#pragma pop_macro("STBI_INCLUDE_STB_IMAGE_H")
#pragma GCC diagnostic pop

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE Tensor oriented(const Tensor& image, int orientation) {
  check(image.defined() && image.dim() == 3 && image.dtype() == uint8 && image.is_contiguous() && image.shape()[2] == 3,
        "oriented", "needs a contiguous uint8 image [H,W,3], got {}", describe(image));
  check(orientation >= 1 && orientation <= 8, "oriented", "orientation must lie in 1..8, got {}", orientation);
  if (orientation == 1) return image;
  const int64_t h = image.shape()[0], w = image.shape()[1];
  const bool swap = orientation >= 5;
  const int64_t out_h = swap ? w : h, out_w = swap ? h : w;
  // Each result is read from the stored image along a start and two steps, in pixels.
  int64_t start = 0, down = 0, right = 0;
  switch (orientation) {
    case 2:
      start = w - 1, down = w, right = -1;
      break;
    case 3:
      start = h * w - 1, down = -w, right = -1;
      break;
    case 4:
      start = (h - 1) * w, down = -w, right = 1;
      break;
    case 5:
      start = 0, down = 1, right = w;
      break;
    case 6:
      start = (h - 1) * w, down = 1, right = -w;
      break;
    case 7:
      start = h * w - 1, down = -1, right = -w;
      break;
    default:
      start = w - 1, down = -1, right = w;
      break;
  }
  Tensor y = empty({out_h, out_w, 3}, uint8, Device{});
  const uint8_t* from = image.data<uint8_t>();
  uint8_t* to = y.data<uint8_t>();
  for (int64_t row = 0; row < out_h; ++row) {
    const uint8_t* p = from + 3 * (start + row * down);
    for (int64_t i = 0; i < out_w; ++i, p += 3 * right, to += 3) {
      to[0] = p[0];
      to[1] = p[1];
      to[2] = p[2];
    }
  }
  return y;
}

namespace detail {

/// Makes a PNG file's palette as long as its indices reach, with black. @return false when there is nothing to do
inline bool pad_palette(std::span<const uint8_t> bytes, Bytes& to) {
  const ByteReader r{bytes};
  constexpr size_t kFirst = 8, kEntries = 3 * 256;
  if (bytes[25] != 3) return false;
  for (size_t at = kFirst; r.has(at, 12); at += 12 + r.big32(at)) {
    const size_t length = r.big32(at), next = at + 12 + length;
    if (std::memcmp(bytes.data() + at + 4, "PLTE", 4) != 0 || length >= kEntries) continue;
    to.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(at + 8 + length));
    to[at + 2] = kEntries >> 8, to[at + 3] = kEntries & 0xFF;
    to.resize(at + 8 + kEntries + 4);  // its check sum, which is not looked at again, too
    to.insert(to.end(), bytes.begin() + static_cast<std::ptrdiff_t>(next), bytes.end());
    return true;
  }
  return false;
}

/// More than the rows of a PNG file take, with their filters, also interlaced ones; 0 for other formats.
inline size_t unpacked_bytes(const ImageInfo& info, std::span<const uint8_t> file) {
  if (info.format != ImageInfo::Format::png) return 0;
  const auto width = static_cast<size_t>(info.width), height = static_cast<size_t>(info.height);
  return height * (width * png_bits_per_pixel(file) / 8 + 16);
}

}  // namespace detail

ATLAS_INLINE Tensor decode_image(std::span<const uint8_t> bytes, const std::string& name, int64_t max_pixels) {
  const ImageInfo info = inspect_image(bytes, name, max_pixels);
  check(bytes.size() <= static_cast<size_t>(INT_MAX), "image", "{}: is {} bytes long, at most {} can be decoded", name,
        bytes.size(), INT_MAX);
#if ATLAS_WITH_LIBJPEG
  if (info.format == ImageInfo::Format::jpeg)
    return oriented(detail::decode_jpeg(bytes, name, info.width, info.height), info.orientation);
#endif
  if (info.format == ImageInfo::Format::bmp) return detail::decode_bmp(bytes, name, info.width, info.height);
  Bytes padded;  // stb_image shows whatever was in memory for indices beyond a palette
  if (info.format == ImageInfo::Format::png && detail::pad_palette(bytes, padded)) bytes = padded;
  int w = 0, h = 0, channels = 0;
  struct Free {
    void operator()(uint8_t* p) const { atlas_stb::stbi_image_free(p); }
  };
  atlas_stb::stbi__g_failure_reason = nullptr;  // not every failure sets it
  atlas_stb::block_refused = false;
  atlas_stb::largest_block = 2 * std::max(detail::unpacked_bytes(info, bytes), bytes.size() + 4096);
  const std::unique_ptr<uint8_t, Free> pixels(
      atlas_stb::stbi_load_from_memory(bytes.data(), static_cast<int>(bytes.size()), &w, &h, &channels, 0));
  const char* reason = atlas_stb::stbi_failure_reason();
  check(!atlas_stb::block_refused, "image", "{}: holds more pixels than the {} x {} that its header says", name,
        info.width, info.height);
  check(pixels != nullptr, "image", "{}: cannot be decoded ({})", name,
        reason != nullptr ? reason : "its data ends or makes no sense");
  check(w == info.width && h == info.height && channels >= 1 && channels <= 4, "image",
        "{}: decoded to {} x {} pixels of {} channels, its header says {} x {}", name, w, h, channels, info.width,
        info.height);

  Tensor image = empty({h, w, 3}, uint8, Device{});
  const int64_t n = int64_t{h} * w;
  const uint8_t* from = pixels.get();
  uint8_t* to = image.data<uint8_t>();
  if (channels == 3) {
    std::memcpy(to, from, static_cast<size_t>(3 * n));
  } else {
    const bool alpha = channels == 2 || channels == 4;
    const int green = channels >= 3 ? 1 : 0, blue = channels >= 3 ? 2 : 0;
    for (int64_t i = 0; i < n; ++i, from += channels, to += 3) {
      const unsigned a = alpha ? from[channels - 1] : 255u;
      const auto over_white = [a](uint8_t v) {
        return static_cast<uint8_t>((v * a + 255u * (255u - a) + 127u) / 255u);
      };
      to[0] = over_white(from[0]);
      to[1] = over_white(from[green]);
      to[2] = over_white(from[blue]);
    }
  }
  return oriented(image, info.orientation);
}

ATLAS_INLINE const char* jpeg_decoder() { return ATLAS_WITH_LIBJPEG ? "libjpeg-turbo" : "stb_image"; }

ATLAS_INLINE Tensor read_image(const std::string& path, int64_t max_pixels) {
  return decode_image(read_file(path, INT_MAX), path, max_pixels);
}

}  // namespace atlas::inline ATLAS_ABI::data
