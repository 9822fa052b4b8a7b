// Body of inspect_image: walks the containers of JPEG, PNG and BMP files, never reading outside the bytes given.
#pragma once

#include <fmt/core.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <optional>

#include "atlas/data/byte_reader.h"
#include "atlas/data/image.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// The orientation in an EXIF block (what follows "Exif\0\0"), or none when it has none or the block makes no sense: a
/// camera's odd metadata is no reason to refuse a picture.
inline std::optional<int> exif_orientation(std::span<const uint8_t> block) {
  const ByteReader r{block};
  if (!r.has(0, 8)) return {};
  const bool little = block[0] == 'I' && block[1] == 'I', big = block[0] == 'M' && block[1] == 'M';
  if (!little && !big) return {};
  const auto u16 = [&](size_t at) { return little ? r.little16(at) : r.big16(at); };
  const auto u32 = [&](size_t at) { return little ? r.little32(at) : r.big32(at); };
  const size_t directory = u32(4);
  if (u16(2) != 42 || !r.has(directory, 2)) return {};
  const size_t entries = u16(directory);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (!r.has(entry, 12)) return {};
    // Tag 274 holds one number, stored in the entry itself: of 16 bits (type 3), or as some write it, 8 (1) or 32 (4).
    // Types 6, 8 and 9 are the same with a sign.
    const uint32_t type = u16(entry + 2);
    const size_t bytes = type == 1 || type == 6 ? 1 : type == 3 || type == 8 ? 2 : type == 4 || type == 9 ? 4 : 0;
    if (u16(entry) != 274 || u32(entry + 4) != 1 || bytes == 0) continue;
    const uint32_t value = bytes == 1 ? block[entry + 8] : bytes == 2 ? u16(entry + 8) : u32(entry + 8);
    if (value >= 1 && value <= 8) return static_cast<int>(value);
    return {};
  }
  return {};
}

/// What the header of a PNG file says of a pixel; the header chunk must be there.
inline uint32_t png_bits_per_pixel(std::span<const uint8_t> file) {
  const uint32_t depth = file[24], color = file[25];
  return depth * (color == 2 ? 3 : color == 6 ? 4 : color == 4 ? 2 : 1);
}

inline void check_image_size(const ImageInfo& info, uint64_t most, int64_t max_pixels, const std::string& name) {
  check(info.width > 0 && info.height > 0, "image", "{}: declares an empty image of {} x {} pixels", name, info.width,
        info.height);
  // Both are below 2^32, so the product fits.
  const uint64_t pixels = static_cast<uint64_t>(info.width) * static_cast<uint64_t>(info.height);
  check(pixels <= static_cast<uint64_t>(max_pixels), "image", "{}: declares {} x {} pixels, more than the {} allowed",
        name, info.width, info.height, max_pixels);
  check(pixels <= most, "image",
        "{}: declares {} x {} pixels, more than a file of its length can hold (damaged or cut short?)", name,
        info.width, info.height);
}

/// @param bytes_per_pixel  that decoding writes or goes over, about
inline void check_decoding_size(const ImageInfo& info, double bytes_per_pixel, const std::string& name) {
  const double bytes = static_cast<double>(info.width) * static_cast<double>(info.height) * bytes_per_pixel;
  check(bytes <= static_cast<double>(kMaxDecodingBytes), "image",
        "{}: decoding its {} x {} pixels takes about {:.0f} MiB, more than the {} allowed", name, info.width,
        info.height, bytes / (1 << 20), kMaxDecodingBytes >> 20);
}

/// Huffman tables have at most 256 codes; decoders may trust their segment to say so.
inline void check_huffman_tables(std::span<const uint8_t> body, size_t offset, const std::string& name) {
  for (size_t at = 0; at < body.size();) {
    check(body.size() - at >= 17, "image", "{}: JPEG Huffman table at offset {} is cut short", name, offset + at);
    size_t codes = 0;
    for (size_t i = 1; i <= 16; ++i) codes += body[at + i];
    check(codes <= 256, "image", "{}: JPEG Huffman table at offset {} declares {} codes, at most 256 are possible",
          name, offset + at, codes);
    check(body.size() - at - 17 >= codes, "image", "{}: JPEG Huffman table at offset {} is cut short", name,
          offset + at);
    at += 17 + codes;
  }
}

/// Every scan of a progressive file goes over the whole picture, and takes a few bytes only. Encoders write ten or so.
inline constexpr int kMaxJpegScans = 100;

inline ImageInfo inspect_jpeg(const ByteReader& r, const std::string& name, int64_t max_pixels) {
  ImageInfo info{ImageInfo::Format::jpeg};
  std::optional<int> orientation;
  bool frame = false, scan = false, arithmetic = false, tables = false, progressive = false;
  int scans = 0;
  std::array<double, 256> shares{};  // of the pixels, that each component has coefficients for
  double in_scans = 0;               // of all scans together
  size_t at = 2;
  const auto need = [&](size_t count) {
    check(r.has(at, count), "image", "{}: JPEG is cut short: it ends at offset {} without an end marker", name,
          r.bytes.size());
  };
  for (;;) {
    need(2);
    if (scan &&
        (r.bytes[at] != 0xFF || r.bytes[at + 1] == 0x00 || (r.bytes[at + 1] >= 0xD0 && r.bytes[at + 1] <= 0xD7))) {
      // Inside entropy-coded data: jump to the next 0xFF, over stuffed bytes and restart markers.
      at += r.bytes[at] == 0xFF ? 2 : 1;
      const void* next = at < r.bytes.size() ? std::memchr(r.bytes.data() + at, 0xFF, r.bytes.size() - at) : nullptr;
      at = next == nullptr ? r.bytes.size() : static_cast<size_t>(static_cast<const uint8_t*>(next) - r.bytes.data());
      continue;
    }
    check(r.bytes[at] == 0xFF, "image", "{}: JPEG has byte 0x{:02x} at offset {}, expected a marker (0xff)", name,
          r.bytes[at], at);
    const uint8_t marker = r.bytes[at + 1];
    if (marker == 0xFF) {  // fill byte
      ++at;
      continue;
    }
    at += 2;
    if (marker == 0xD9) break;
    if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue;  // markers without a length
    need(2);
    const size_t length = r.big16(at);
    check(length >= 2, "image", "{}: JPEG segment at offset {} has length {}, expected at least 2", name, at, length);
    need(length);
    const auto body = r.bytes.subspan(at + 2, length - 2);
    const bool start_of_frame = marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (start_of_frame) {
      check(body.size() >= 6, "image", "{}: JPEG frame header at offset {} is too short", name, at);
      info.height = static_cast<int64_t>(r.big16(at + 3));
      info.width = static_cast<int64_t>(r.big16(at + 5));
      frame = true;
      arithmetic = marker > 0xC8;
      // An 8 x 8 block of the densest component takes at least one bit, but in arithmetic coding.
      check_image_size(info, arithmetic ? ~uint64_t{0} : static_cast<uint64_t>(r.bytes.size()) * 512 + 4096, max_pixels,
                       name);
      progressive = marker == 0xC2 || marker == 0xC6 || marker == 0xCA || marker == 0xCE;
      // What each component has of the pixels: a quarter, say, of the colors.
      size_t densest = 1;
      for (size_t c = 0; c < body[5] && 8 + 3 * c < body.size(); ++c)
        densest = std::max<size_t>(densest, (body[7 + 3 * c] >> 4) * (body[7 + 3 * c] & 15u));
      for (size_t c = 0; c < body[5] && 8 + 3 * c < body.size(); ++c)
        shares[body[6 + 3 * c]] =
            static_cast<double>((body[7 + 3 * c] >> 4) * (body[7 + 3 * c] & 15u)) / static_cast<double>(densest);
    } else if (marker == 0xC4) {
      tables = true;
      check_huffman_tables(body, at + 2, name);
    } else if (marker == 0xE1 && body.size() >= 6 && std::memcmp(body.data(), "Exif\0\0", 6) == 0) {
      if (!orientation) orientation = exif_orientation(body.subspan(6));
    }
    at += length;
    if (marker == 0xDA) {
      scan = true;
      check(tables || arithmetic, "image", "{}: JPEG has image data at offset {} before any Huffman table", name,
            at - length);
      for (size_t c = 0; !body.empty() && c < body[0] && 1 + 2 * c < body.size(); ++c)
        in_scans += shares[body[1 + 2 * c]];
      check(++scans <= kMaxJpegScans, "image", "{}: JPEG has more than {} scans at offset {}", name, kMaxJpegScans,
            at - length);
    }
  }
  check(frame && scan, "image", "{}: JPEG has no {} before its end marker at offset {}", name,
        frame ? "image data" : "frame header", at - 2);
  info.orientation = orientation.value_or(1);
  // Progressive files keep all coefficients, 16 bits each, and every scan goes over those of its components.
  const double kept = 2 * std::accumulate(shares.begin(), shares.end(), 0.0);
  check_decoding_size(info, progressive ? 3 + kept + in_scans : 3, name);
  return info;
}

inline ImageInfo inspect_png(const ByteReader& r, const std::string& name, int64_t max_pixels) {
  ImageInfo info{ImageInfo::Format::png};
  std::optional<int> orientation;
  uint64_t packed = 0;
  uint32_t bits_per_pixel = 0;
  for (size_t at = 8;;) {
    check(r.has(at, 12), "image", "{}: PNG is cut short: it ends at offset {} without an end chunk", name,
          r.bytes.size());
    const size_t length = r.big32(at);
    const std::string_view type(reinterpret_cast<const char*>(r.bytes.data()) + at + 4, 4);
    const bool first = at == 8;
    const bool printable =
        std::all_of(type.begin(), type.end(), [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); });
    check(printable, "image", "{}: PNG has no valid chunk name at offset {}", name, at + 4);
    check(r.has(at + 12, length), "image",
          "{}: PNG chunk {} at offset {} declares {} bytes, the file has {} left (cut short?)", name, type, at, length,
          r.bytes.size() - at - 12);
    const uint32_t sum = static_cast<uint32_t>(::crc32_z(0, r.bytes.data() + at + 4, length + 4));
    check(sum == r.big32(at + 8 + length), "image",
          "{}: PNG chunk {} at offset {} is damaged: check sum {:08x}, expected {:08x}", name, type, at, sum,
          r.big32(at + 8 + length));
    check(first == (type == "IHDR") && (!first || length == 13), "image",
          "{}: PNG chunk at offset {} is {} of {} bytes, expected the header chunk to be first, of 13 bytes", name, at,
          type, length);
    if (first) {
      info.width = static_cast<int64_t>(r.big32(at + 8));
      info.height = static_cast<int64_t>(r.big32(at + 12));
      bits_per_pixel = png_bits_per_pixel(r.bytes);
      check_image_size(info, ~uint64_t{0}, max_pixels, name);
    } else if (type == "eXIf") {
      auto block = r.bytes.subspan(at + 8, length);
      // The chunk holds the block alone, but some writers begin it as JPEG does.
      if (length >= 6 && std::memcmp(block.data(), "Exif\0\0", 6) == 0) block = block.subspan(6);
      if (!orientation) orientation = exif_orientation(block);
    } else if (type == "IDAT") {
      packed += length;
    } else if (type == "IEND") {
      break;
    }
    at += 12 + length;
  }
  info.orientation = orientation.value_or(1);
  // Deflate packs at most 1032 to 1.
  check_image_size(info, (packed * 1032 + 64) * 8 / std::max<uint32_t>(bits_per_pixel, 1), max_pixels, name);
  check_decoding_size(info, 3 + bits_per_pixel / 8.0, name);
  return info;
}

inline ImageInfo inspect_bmp(const ByteReader& r, const std::string& name, int64_t max_pixels) {
  ImageInfo info{ImageInfo::Format::bmp};
  check(r.has(0, 30), "image", "{}: BMP is cut short: its header ends at offset {}", name, r.bytes.size());
  const uint64_t start = r.little32(10), header = r.little32(14);
  uint32_t bits = 0;
  if (header == 12) {  // the OS/2 header has 16-bit sizes
    info.width = r.little16(18);
    info.height = r.little16(20);
    bits = r.little16(24);
  } else {
    check(r.has(30, 4), "image", "{}: BMP is cut short: its header ends at offset {}", name, r.bytes.size());
    const int64_t height = static_cast<int32_t>(r.little32(22));  // negative: rows from the top
    info.width = static_cast<int32_t>(r.little32(18));
    info.height = height < 0 ? -height : height;
    bits = r.little16(28);
    const uint32_t compression = r.little32(30);
    check(header >= 40 && header <= 1 << 16, "image", "{}: BMP has a header of {} bytes at offset 14, which none has",
          name, header);
    check(compression == 0 || compression == 3, "image",
          "{}: BMP uses compression {}, only uncompressed files are read", name, compression);
  }
  // Otherwise the header's bytes would be shown, or pixels without any color.
  check(start >= 14 + header, "image", "{}: BMP has its pixels at offset {}, inside its header, which ends at {}", name,
        start, 14 + header);
  check(bits == 0 || bits > 8 || start > 14 + header, "image", "{}: BMP has no palette before its pixels at offset {}",
        name, start);
  check_image_size(info, ~uint64_t{0}, max_pixels, name);
  const uint64_t row = (static_cast<uint64_t>(info.width) * bits + 31) / 32 * 4;
  const uint64_t expected = start + row * static_cast<uint64_t>(info.height);
  check(bits > 0 && r.bytes.size() >= expected, "image",
        "{}: BMP is cut short: {} bytes, but {} x {} pixels of {} bits need {}", name, r.bytes.size(), info.width,
        info.height, bits, expected);
  return info;
}

}  // namespace detail

ATLAS_INLINE ImageInfo inspect_image(std::span<const uint8_t> bytes, const std::string& name, int64_t max_pixels) {
  const detail::ByteReader r{bytes};
  const auto starts_with = [&](std::string_view magic) {
    return r.has(0, magic.size()) && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
  };
  check(!bytes.empty(), "image", "{}: the file is empty", name);
  if (starts_with("\xFF\xD8")) return detail::inspect_jpeg(r, name, max_pixels);
  if (starts_with("\x89PNG\r\n\x1A\n")) return detail::inspect_png(r, name, max_pixels);
  if (starts_with("BM")) return detail::inspect_bmp(r, name, max_pixels);
  std::string found;
  for (size_t i = 0; i < std::min<size_t>(bytes.size(), 8); ++i)
    found += fmt::format("{}{:02x}", i > 0 ? " " : "", bytes[i]);
  fail("image", "{}: not a JPEG, PNG or BMP file (it begins with bytes {})", name, found);
}

}  // namespace atlas::inline ATLAS_ABI::data
