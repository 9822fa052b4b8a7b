// BMP pixels. inspect_bmp() has checked that the file is uncompressed and as long as its header says.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "atlas/data/byte_reader.h"
#include "atlas/tensor/tensor.h"

// Declared before image.h, which brings the body that calls it where everything is header-only.
namespace atlas::inline ATLAS_ABI::data::detail {
Tensor decode_bmp(std::span<const uint8_t> bytes, const std::string& name, int64_t width, int64_t height);
}

#include "atlas/data/image.h"
#include "atlas/data/image_info-inl.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// One color of a pixel of 16 or 32 bits: the bits of a mask, as 0..255.
struct BmpChannel {
  uint32_t mask = 0;
  uint32_t of(uint32_t pixel) const {
    if (mask == 0) return 0;
    const uint32_t most = mask >> std::countr_zero(mask);
    return static_cast<uint32_t>((uint64_t{(pixel & mask) >> std::countr_zero(mask)} * 255 + most / 2) / most);
  }
};

/// The pixels as shown: uint8 [height,width,3], transparency over white.
///
/// Indices beyond the palette are black. The fourth byte of 32-bit pixels counts only where the header has a mask for
/// transparency: without one it is reserved, whatever is in it.
inline Tensor decode_bmp(std::span<const uint8_t> bytes, const std::string& name, int64_t width, int64_t height) {
  const ByteReader r{bytes};
  const size_t start = r.little32(10), header = r.little32(14);
  const bool os2 = header == 12;  // 16-bit sizes, three bytes a color
  const uint32_t bits = os2 ? r.little16(24) : r.little16(28), compression = os2 ? 0 : r.little32(30);
  const bool from_top = !os2 && static_cast<int32_t>(r.little32(22)) < 0;
  check(bits == 1 || bits == 4 || bits == 8 || bits == 16 || bits == 24 || bits == 32, "image",
        "{}: BMP has {} bits a pixel, expected 1, 4, 8, 16, 24 or 32", name, bits);
  check(compression == 0 || bits == 16 || bits == 32, "image", "{}: BMP has masks for pixels of {} bits", name, bits);

  std::array<std::array<uint8_t, 3>, 256> palette{};  // black where the file says nothing
  if (bits <= 8) {
    const size_t entry = os2 ? 3 : 4, at = 14 + header;
    size_t colors = size_t{1} << bits;
    if (!os2 && r.has(46, 4) && r.little32(46) != 0) colors = std::min<size_t>(colors, r.little32(46));
    for (size_t i = 0; i < colors && at + (i + 1) * entry <= start; ++i)
      palette[i] = {bytes[at + i * entry + 2], bytes[at + i * entry + 1], bytes[at + i * entry]};
  }
  std::array<BmpChannel, 4> channels{};  // red, green, blue, opacity
  if (bits == 16) channels = {{{0x7C00}, {0x03E0}, {0x001F}, {0}}};
  if (bits == 32) channels = {{{0xFF0000}, {0x00FF00}, {0x0000FF}, {0}}};
  if (compression == 3) {
    const bool opacity = header >= 56;  // the masks belong to the header, or stand behind it
    check(r.has(54, opacity ? 16 : 12) && start >= 66, "image", "{}: BMP is cut short: its masks end at offset {}",
          name, r.bytes.size());
    for (size_t c = 0; c < (opacity ? 4u : 3u); ++c) {
      channels[c].mask = r.little32(54 + 4 * c);
      const uint32_t plain = channels[c].mask >> (channels[c].mask == 0 ? 0 : std::countr_zero(channels[c].mask));
      check((plain & (plain + 1)) == 0 && (c == 3 || plain != 0), "image",
            "{}: BMP mask {} is 0x{:08x}, not one run of bits", name, c, channels[c].mask);
    }
  }

  Tensor image = empty({height, width, 3}, uint8, Device{});
  const size_t stride = (static_cast<size_t>(width) * bits + 31) / 32 * 4;
  for (int64_t y = 0; y < height; ++y) {
    const uint8_t* row = bytes.data() + start + static_cast<size_t>(from_top ? y : height - 1 - y) * stride;
    uint8_t* to = image.data<uint8_t>() + 3 * width * y;
    for (int64_t x = 0; x < width; ++x, to += 3) {
      const auto at = static_cast<size_t>(x);
      if (bits <= 8) {
        const size_t place = at * bits, shift = 8 - bits - place % 8;
        std::memcpy(to, palette[(row[place / 8] >> shift) & ((1u << bits) - 1)].data(), 3);
      } else if (bits == 24) {
        to[0] = row[3 * at + 2], to[1] = row[3 * at + 1], to[2] = row[3 * at];
      } else {
        const uint32_t pixel = bits == 16 ? row[2 * at] | (uint32_t{row[2 * at + 1]} << 8)
                                          : row[4 * at] | (uint32_t{row[4 * at + 1]} << 8) |
                                                (uint32_t{row[4 * at + 2]} << 16) | (uint32_t{row[4 * at + 3]} << 24);
        const uint32_t a = channels[3].mask != 0 ? channels[3].of(pixel) : 255;
        for (size_t c = 0; c < 3; ++c)
          to[c] = static_cast<uint8_t>((channels[c].of(pixel) * a + 255 * (255 - a) + 127) / 255);
      }
    }
  }
  return image;
}

}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::data
