// Small image files for the tests: JPEG and BMP through stb_image_write, PNG chunk by chunk (any depth, any lie).
#pragma once

#include <zlib.h>

#include <cstring>
#include <vector>

#include "atlas/ops/shape.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace atlas_test {

using Bytes = std::vector<uint8_t>;

inline void append(void* to, void* data, int size) {
  const auto* p = static_cast<const uint8_t*>(data);
  static_cast<Bytes*>(to)->insert(static_cast<Bytes*>(to)->end(), p, p + size);
}

inline Bytes jpeg(int width, int height, const Bytes& pixels, int channels = 3) {
  Bytes file;
  stbi_write_jpg_to_func(append, &file, width, height, channels, pixels.data(), 95);
  return file;
}

inline Bytes bmp(int width, int height, const Bytes& rgb) {
  Bytes file;
  stbi_write_bmp_to_func(append, &file, width, height, 3, rgb.data());
  return file;
}

/// A PNG file with this header and these filtered rows, whether they fit one another or not.
inline Bytes png(uint32_t width, uint32_t height, uint8_t depth, uint8_t color, const Bytes& rows) {
  Bytes file = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  const auto big32 = [](Bytes& to, uint64_t v) {
    for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<uint8_t>(v >> shift));
  };
  const auto chunk = [&](const char* type, const Bytes& body) {
    big32(file, body.size());
    Bytes named(type, type + 4);
    named.insert(named.end(), body.begin(), body.end());
    file.insert(file.end(), named.begin(), named.end());
    big32(file, crc32_z(0, named.data(), named.size()));
  };
  Bytes header;
  big32(header, width);
  big32(header, height);
  header.insert(header.end(), {depth, color, 0, 0, 0});
  uLongf size = compressBound(static_cast<uLong>(rows.size()));
  Bytes packed(size);
  compress(packed.data(), &size, rows.data(), static_cast<uLong>(rows.size()));
  packed.resize(size);
  chunk("IHDR", header);
  chunk("IDAT", packed);
  chunk("IEND", {});
  return file;
}

/// A PNG file with one more chunk before its data.
inline Bytes with_chunk(Bytes file, const char* type, const Bytes& body) {
  Bytes chunk;
  const auto big32 = [&](uint64_t v) {
    for (int shift = 24; shift >= 0; shift -= 8) chunk.push_back(static_cast<uint8_t>(v >> shift));
  };
  big32(body.size());
  chunk.insert(chunk.end(), type, type + 4);
  chunk.insert(chunk.end(), body.begin(), body.end());
  big32(crc32_z(0, chunk.data() + 4, chunk.size() - 4));
  file.insert(file.begin() + 33, chunk.begin(), chunk.end());  // behind the header
  return file;
}

}  // namespace atlas_test
