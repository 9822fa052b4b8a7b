// The frame of a PNG file around its rows of pixels.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "atlas/core/error.h"
#include "atlas/data/file.h"

namespace atlas::inline ATLAS_ABI::data::detail {

/// The bytes of a PNG file.
/// @param color    0 gray, 2 RGB, 3 palette
/// @param palette  RGB of each number; empty without
/// @param raw      rows, each behind the number of its filter
/// @param bits     of a value: 8, or 16 (the higher byte first)
inline Bytes png_file(int64_t height, int64_t width, int color, std::span<const uint8_t> palette,
                      std::span<const uint8_t> raw, uint8_t bits = 8) {
  uLongf packed_size = ::compressBound(static_cast<uLong>(raw.size()));
  Bytes packed(packed_size);
  const int status = ::compress2(packed.data(), &packed_size, raw.data(), static_cast<uLong>(raw.size()), 6);
  check(status == Z_OK, "encode_png", "zlib could not pack {} bytes (status {})", raw.size(), status);

  Bytes png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  const auto big32 = [](Bytes& to, size_t v) {
    for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<uint8_t>(v >> shift));
  };
  const auto chunk = [&](const char* type, std::span<const uint8_t> body) {
    big32(png, body.size());
    const size_t start = png.size();
    png.insert(png.end(), type, type + 4);
    png.insert(png.end(), body.begin(), body.end());
    big32(png, ::crc32_z(0, png.data() + start, png.size() - start));
  };
  Bytes header;
  big32(header, static_cast<size_t>(width));
  big32(header, static_cast<size_t>(height));
  header.insert(header.end(), {bits, static_cast<uint8_t>(color), 0, 0, 0});
  chunk("IHDR", header);
  if (!palette.empty()) chunk("PLTE", palette);
  // A chunk's length has 31 bits.
  const std::span<const uint8_t> all(packed.data(), packed_size);
  constexpr size_t kMost = size_t{1} << 30;
  for (size_t at = 0; at < all.size(); at += kMost) chunk("IDAT", all.subspan(at, std::min(kMost, all.size() - at)));
  chunk("IEND", {});
  return png;
}

}  // namespace atlas::inline ATLAS_ABI::data::detail
