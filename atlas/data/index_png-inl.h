// Bodies of index_png.h: a PNG decoder for what has one value per pixel.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "atlas/core/input_file.h"
#include "atlas/data/byte_reader.h"
#include "atlas/data/image_info-inl.h"
#include "atlas/data/index_png.h"
#include "atlas/data/png_chunks-inl.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// What the header of a PNG file says.
struct PngHeader {
  int64_t width = 0, height = 0;
  int bits = 8, color = 0;
  bool interlaced = false;
};

/// @throws Error when the pixels are no single numbers.
inline PngHeader index_header(std::span<const uint8_t> bytes, const std::string& name) {
  constexpr std::array<uint8_t, 8> kSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  const bool png = bytes.size() >= 8 && std::equal(kSignature.begin(), kSignature.end(), bytes.begin());
  check(png, "mask", "{}: is no PNG file; masks hold class numbers, which other formats (JPEG) change", name);
  check(bytes.size() >= 33, "mask", "{}: PNG is cut short: it ends at offset {} inside its header", name, bytes.size());
  const ByteReader r{bytes};
  const PngHeader h{r.big32(16), r.big32(20), bytes[24], bytes[25], bytes[28] == 1};
  const char* what = h.color == 2 ? "RGB" : h.color == 6 ? "RGB with transparency" : "gray with transparency";
  check(h.color == 0 || h.color == 3, "mask",
        "{}: is a PNG file in {}; a mask has one number per pixel, that of its class: recode each color as its number "
        "and write 8 bits gray or a palette (in Python: PIL.Image.fromarray(numbers.astype('uint8')).save('mask.png'))",
        name, what);
  const bool depth = h.bits == 1 || h.bits == 2 || h.bits == 4 || h.bits == 8 || (h.bits == 16 && h.color == 0);
  check(depth && bytes[26] == 0 && bytes[27] == 0 && bytes[28] <= 1, "mask",
        "{}: PNG header makes no sense: {} bits, kind {}, compression {}, filter {}, interlace {}", name, h.bits,
        h.color, bytes[26], bytes[27], bytes[28]);
  return h;
}

/// All of a PNG file's packed data, unpacked to exactly `size` bytes.
inline Bytes unpack_png(std::span<const uint8_t> bytes, size_t size, const std::string& name) {
  const ByteReader r{bytes};
  Bytes raw(size);
  z_stream z{};
  check(::inflateInit(&z) == Z_OK, "mask", "{}: zlib could not start", name);
  struct End {
    z_stream* z;
    ~End() { ::inflateEnd(z); }
  } const end{&z};
  size_t done = 0;
  int status = Z_OK;
  for (size_t at = 8; r.has(at, 12); at += 12 + size_t{r.big32(at)}) {
    const size_t length = r.big32(at);
    if (std::memcmp(bytes.data() + at + 4, "IDAT", 4) != 0 || status != Z_OK) continue;
    check(r.has(at + 8, length), "mask", "{}: PNG is cut short at offset {}", name, bytes.size());
    z.next_in = const_cast<Bytef*>(bytes.data() + at + 8);
    z.avail_in = static_cast<uInt>(length);
    while (z.avail_in > 0 && status == Z_OK) {
      uint8_t beyond = 0;
      const size_t room = std::min<size_t>(size - done, UINT_MAX);
      z.next_out = room > 0 ? raw.data() + done : &beyond;
      z.avail_out = room > 0 ? static_cast<uInt>(room) : 1;
      status = ::inflate(&z, Z_NO_FLUSH);
      if (room > 0)
        done += room - z.avail_out;
      else if (z.avail_out == 0)
        fail("mask", "{}: PNG holds more pixels than its header says", name);
      if (status == Z_BUF_ERROR && z.avail_in == 0) status = Z_OK;
    }
    check(status == Z_OK || status == Z_STREAM_END, "mask", "{}: PNG data at offset {} makes no sense", name, at);
  }
  check(done == size, "mask", "{}: PNG holds {} bytes of pixels, its header says {}", name, done, size);
  return raw;
}

/// Undoes the filter of a row. @param pixel  bytes of a pixel, 1 or 2
inline void unfilter_row(uint8_t filter, uint8_t* row, const uint8_t* above, size_t bytes, size_t pixel,
                         const std::string& name) {
  check(filter <= 4, "mask", "{}: PNG has a row with the filter {}, there are 0 to 4", name, filter);
  for (size_t i = 0; i < bytes; ++i) {
    const int left = i >= pixel ? row[i - pixel] : 0, up = above != nullptr ? above[i] : 0,
              corner = i >= pixel && above != nullptr ? above[i - pixel] : 0;
    int guess = 0;
    if (filter == 1) guess = left;
    if (filter == 2) guess = up;
    if (filter == 3) guess = (left + up) / 2;
    if (filter == 4) {  // Paeth: the neighbor nearest to left + up - corner
      const int p = left + up - corner, a = std::abs(p - left), b = std::abs(p - up), c = std::abs(p - corner);
      guess = a <= b && a <= c ? left : b <= c ? up : corner;
    }
    row[i] = static_cast<uint8_t>(row[i] + guess);
  }
}

/// Where the pixels of one pass of a file lie.
struct PngPass {
  int64_t x = 0, y = 0, step_x = 1, step_y = 1;
  int64_t columns(int64_t width) const { return width > x ? (width - x + step_x - 1) / step_x : 0; }
  int64_t rows(int64_t height) const { return height > y ? (height - y + step_y - 1) / step_y : 0; }
};
inline std::vector<PngPass> passes_of(const PngHeader& h) {
  if (!h.interlaced) return {PngPass{}};
  return {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
}

}  // namespace detail

ATLAS_INLINE Tensor decode_index_png(std::span<const uint8_t> bytes, const std::string& name, int64_t max_pixels) {
  const detail::PngHeader h = detail::index_header(bytes, name);
  inspect_image(bytes, name, max_pixels);  // sizes, check sums, and that the file is whole
  const std::vector<detail::PngPass> passes = detail::passes_of(h);
  const auto row_bytes = [&](int64_t columns) { return static_cast<size_t>((columns * h.bits + 7) / 8); };
  size_t size = 0;
  for (const detail::PngPass& p : passes)
    if (p.columns(h.width) > 0) size += static_cast<size_t>(p.rows(h.height)) * (1 + row_bytes(p.columns(h.width)));
  Bytes raw = detail::unpack_png(bytes, size, name);
  Tensor map = empty({h.height, h.width}, h.bits == 16 ? int64 : uint8, Device{});
  uint8_t* at = raw.data();
  for (const detail::PngPass& p : passes) {
    const int64_t columns = p.columns(h.width);
    const size_t row = row_bytes(columns);
    if (columns == 0) continue;
    const uint8_t* above = nullptr;
    for (int64_t y = 0; y < p.rows(h.height); ++y, at += 1 + row) {
      uint8_t* const line = at + 1;
      detail::unfilter_row(at[0], line, above, row, h.bits == 16 ? 2 : 1, name);
      above = line;
      for (int64_t x = 0; x < columns; ++x) {
        const int64_t to = (p.y + y * p.step_y) * h.width + p.x + x * p.step_x;
        const auto i = static_cast<size_t>(x);
        if (h.bits == 16) {
          map.data<int64_t>()[to] = line[2 * i] * 256 + line[2 * i + 1];
        } else {
          const size_t bit = i * static_cast<size_t>(h.bits);
          const int shift = 8 - h.bits - static_cast<int>(bit % 8);
          map.data<uint8_t>()[to] = static_cast<uint8_t>((line[bit / 8] >> shift) & ((1 << h.bits) - 1));
        }
      }
    }
  }
  return map;
}

ATLAS_INLINE Tensor read_index_png(const std::string& path, int64_t max_pixels) {
  return decode_index_png(read_file(path, INT_MAX), path, max_pixels);
}

ATLAS_INLINE void check_index_png(const std::string& path) {
  const InputFile in(path);
  check(in.problem().empty(), "mask", "cannot open {}: {}", path, in.problem());
  Bytes head(33);
  head.resize(in.read(head.data(), head.size()));
  detail::index_header(head, path);
}

ATLAS_INLINE Bytes encode_index_png(const Tensor& map, const std::vector<Color>& colors) {
  check(map.defined() && map.dim() == 2 && map.numel() > 0 && (map.dtype() == uint8 || map.dtype() == int64) &&
            !map.device().is_cuda(),
        "encode_index_png", "needs a class map uint8 or int64 [H,W] of at least one pixel, got {}", describe(map));
  const Tensor x = map.is_contiguous() ? map : copy_of(map);
  const int64_t height = x.size(0), width = x.size(1);
  const bool wide = colors.size() > 256;
  const int64_t most = wide ? 65535 : 255;
  Bytes raw;
  raw.reserve(static_cast<size_t>(height * (width * (wide ? 2 : 1) + 1)));
  for (int64_t i = 0; i < x.numel(); ++i) {
    if (i % width == 0) raw.push_back(0);  // equal neighbors pack well without a filter
    const int64_t v = x.dtype() == uint8 ? x.data<uint8_t>()[i] : x.data<int64_t>()[i];
    check(v >= 0 && v <= most, "encode_index_png", "row {}, column {} holds {}: files have room for 0 to {}", i / width,
          i % width, v, most);
    if (wide) raw.push_back(static_cast<uint8_t>(v >> 8));
    raw.push_back(static_cast<uint8_t>(v));
  }
  if (wide) return detail::png_file(height, width, 0, {}, raw, 16);
  Bytes palette;
  for (size_t i = 0; i < 256; ++i) {
    const Color c = i < colors.size() ? colors[i] : kGray;
    palette.insert(palette.end(), {c.r, c.g, c.b});
  }
  return detail::png_file(height, width, 3, palette, raw);
}

ATLAS_INLINE void write_index_png(const std::string& path, const Tensor& map, const std::vector<Color>& colors) {
  check_png_name(path);
  write_file(path, encode_index_png(map, colors));
}

}  // namespace atlas::inline ATLAS_ABI::data
