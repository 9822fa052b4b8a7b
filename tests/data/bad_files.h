// The generator of bad files: for each format, small good files are made and damaged one way at a time, each beside the
// message that reading it must give. A message that ends in "*" is the beginning of one: a decoder's own words follow.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "atlas/tensor/print.h"
#include "tests/data/encode.h"

namespace atlas_test {

struct BadFile {
  std::string name;  // file name, with the format's ending
  Bytes bytes;
  std::string message;  // after "[op] PATH: "
};

inline bool matches(const std::string& message, const std::string& expected) {
  return expected.ends_with('*') ? message.starts_with(expected.substr(0, expected.size() - 1)) : message == expected;
}

inline Bytes first(Bytes bytes, size_t count) {
  bytes.resize(std::min(count, bytes.size()));
  return bytes;
}
inline Bytes without_last(const Bytes& bytes, size_t count) { return first(bytes, bytes.size() - count); }
inline Bytes set(Bytes bytes, size_t at, std::initializer_list<uint8_t> values) {
  std::copy(values.begin(), values.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
  return bytes;
}
inline Bytes joined(Bytes bytes, const Bytes& more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
  return bytes;
}

/// Offset of a JPEG segment's marker.
inline size_t segment(const Bytes& jpeg, uint8_t marker) {
  for (size_t at = 2; at + 4 <= jpeg.size(); at += 2 + static_cast<size_t>(jpeg[at + 2] << 8 | jpeg[at + 3]))
    if (jpeg[at + 1] == marker || jpeg[at + 1] == 0xDA) return at;
  return jpeg.size();
}
/// The file without its segments of one kind.
inline Bytes without_segments(const Bytes& jpeg, uint8_t marker) {
  Bytes out = jpeg;
  for (size_t at; (at = segment(out, marker)) < out.size() && out[at + 1] == marker;) {
    const std::ptrdiff_t from = static_cast<std::ptrdiff_t>(at), length = 2 + (out[at + 2] << 8 | out[at + 3]);
    out.erase(out.begin() + from, out.begin() + from + length);
  }
  return out;
}
/// One segment given so many times.
inline Bytes repeated(const Bytes& jpeg, uint8_t marker, int times) {
  const size_t at = segment(jpeg, marker);
  const std::ptrdiff_t from = static_cast<std::ptrdiff_t>(at), length = 2 + (jpeg[at + 2] << 8 | jpeg[at + 3]);
  const Bytes one(jpeg.begin() + from, jpeg.begin() + from + length);
  Bytes out = jpeg;
  for (int i = 1; i < times; ++i) out.insert(out.begin() + from, one.begin(), one.end());
  return out;
}
/// A BMP header of `length` bytes in all, for 2 x 2 pixels of 24 bits.
inline Bytes bmp_header(size_t length) { return first(bmp(2, 2, Bytes(12, 9)), length); }

/// @param strict  with the rows whose image data alone is damaged, which stb_image's JPEG decoder does not mind
inline std::vector<BadFile> bad_images(bool strict) {
  const Bytes j = jpeg(16, 16, Bytes(768, 100)), p = png(2, 2, 8, 2, Bytes(14, 0)), b = bmp(2, 2, Bytes(12, 9));
  const size_t frame = segment(j, 0xC0), scan = segment(j, 0xDA), huffman = segment(j, 0xC4);
  const auto n = [](size_t value) { return std::to_string(value); };
  const std::string cannot = "cannot be decoded (*";
  const std::string too_long = "more than a file of its length can hold (damaged or cut short?)";
  Bytes noise = j;
  for (size_t i = scan + 14; i + 2 < noise.size(); ++i) noise[i] = static_cast<uint8_t>(i * 37 % 255);
  std::vector<BadFile> files = {
      {"empty.jpg", {}, "the file is empty"},
      {"text.jpg", {'h', 'e', 'l', 'l', 'o'}, "not a JPEG, PNG or BMP file (it begins with bytes 68 65 6c 6c 6f)"},
      {"gif.png",
       {'G', 'I', 'F', '8', '9', 'a'},
       "not a JPEG, PNG or BMP file (it begins with bytes 47 49 46 38 39 61)"},
      {"pnm.png", {'P', '6', '\n', '1'}, "not a JPEG, PNG or BMP file (it begins with bytes 50 36 0a 31)"},

      {"start.jpg", first(j, 2), "JPEG is cut short: it ends at offset 2 without an end marker"},
      {"no_end.jpg", without_last(j, 2),
       "JPEG is cut short: it ends at offset " + n(j.size() - 2) + " without an end marker"},
      {"header_only.jpg", first(j, scan), "JPEG is cut short: it ends at offset " + n(scan) + " without an end marker"},
      {"no_frame.jpg", without_segments(j, 0xC0), "JPEG has no frame header before its end marker*"},
      {"no_scan.jpg", joined(first(j, scan), {0xFF, 0xD9}),
       "JPEG has no image data before its end marker at offset " + n(scan)},
      {"no_marker.jpg", set(j, 2, {0x00}), "JPEG has byte 0x00 at offset 2, expected a marker (0xff)"},
      {"short_segment.jpg", set(j, 4, {0, 1}), "JPEG segment at offset 4 has length 1, expected at least 2"},
      {"short_frame.jpg",
       {0xFF, 0xD8, 0xFF, 0xC0, 0, 5, 8, 0, 1, 0xFF, 0xD9},
       "JPEG frame header at offset 4 is too short"},
      {"no_width.jpg", set(j, frame + 7, {0, 0}), "declares an empty image of 0 x 16 pixels"},
      {"wide.jpg", set(j, frame + 5, {0x20, 0x20, 0x20, 0x20}), "declares 8224 x 8224 pixels, " + too_long},
      {"widest.jpg", set(j, frame + 5, {0xFF, 0xFF, 0xFF, 0xFF}),
       "declares 65535 x 65535 pixels, more than the 134217728 allowed"},
      {"twelve_bits.jpg", set(j, frame + 4, {12}), cannot},
      {"no_huffman.jpg", without_segments(j, 0xC4), "JPEG has image data at offset*"},
      {"huffman_counts.jpg", set(j, huffman + 5, {255, 255}),
       "JPEG Huffman table at offset " + n(huffman + 4) + " declares*"},
      {"huffman_cut.jpg",
       {0xFF, 0xD8, 0xFF, 0xC4, 0, 10, 0, 1, 1, 1, 1, 1, 1, 1, 0xFF, 0xD9},
       "JPEG Huffman table at offset 6 is cut short"},
      {"huffman_values.jpg", joined({0xFF, 0xD8, 0xFF, 0xC4, 0, 19, 0}, Bytes(16, 1)),
       "JPEG Huffman table at offset 6 is cut short"},
      {"scans.jpg", repeated(j, 0xDA, 101), "JPEG has more than 100 scans at offset*"},

      {"signature.png", first(p, 8), "PNG is cut short: it ends at offset 8 without an end chunk"},
      {"header_cut.png", first(p, 20),
       "PNG chunk IHDR at offset 8 declares 13 bytes, the file has 0 left (cut short?)"},
      {"no_end.png", without_last(p, 12),
       "PNG is cut short: it ends at offset " + n(p.size() - 12) + " without an end chunk"},
      {"check_sum.png", set(p, 19, {3}), "PNG chunk IHDR at offset 8 is damaged: check sum*"},
      {"data_sum.png", set(p, 45, {0xAA}), "PNG chunk IDAT at offset 33 is damaged: check sum*"},
      {"chunk_length.png", set(p, 33, {0x7F}), "PNG chunk IDAT at offset 33 declares 2130706*"},
      {"chunk_name.png", set(p, 12, {7}), "PNG has no valid chunk name at offset 12"},
      {"no_header.png", joined(first(p, 8), Bytes(p.begin() + 33, p.end())),
       "PNG chunk at offset 8 is IDAT of " + n(p.size() - 57) +
           " bytes, expected the header chunk to be first, of 13 bytes"},
      {"no_width.png", png(0, 5, 8, 2, Bytes(10, 0)), "declares an empty image of 0 x 5 pixels"},
      {"large.png", png(10000, 10000, 8, 2, Bytes(10, 0)), "declares 10000 x 10000 pixels, " + too_long},
      {"larger.png", png(30000, 30000, 8, 2, Bytes(10, 0)),
       "declares 30000 x 30000 pixels, more than the 134217728 allowed"},
      {"largest.png", png(0xFFFFFFFF, 0xFFFFFFFF, 8, 2, Bytes(10, 0)),
       "declares 4294967295 x 4294967295 pixels, more than the 134217728 allowed"},
      {"few_rows.png", png(2, 9, 8, 2, Bytes(14, 0)), cannot},
      {"filter.png", png(2, 2, 8, 2, Bytes(14, 9)), cannot},
      {"bomb.png", png(16, 16, 8, 2, Bytes(10000000, 0)), "holds more pixels than the 16 x 16 that its header says"},
      {"bomb_16.png", png(2, 2, 16, 6, Bytes(100000, 0)), "holds more pixels than the 2 x 2 that its header says"},
      {"depth.png", png(2, 2, 3, 2, Bytes(14, 0)), cannot},
      {"color.png", png(2, 2, 8, 5, Bytes(14, 0)), cannot},
      {"no_palette.png", png(2, 2, 8, 3, Bytes(6, 0)), cannot},

      {"header_14.bmp", bmp_header(14), "BMP is cut short: its header ends at offset 14"},
      {"header_29.bmp", bmp_header(29), "BMP is cut short: its header ends at offset 29"},
      {"header_30.bmp", bmp_header(30), "BMP is cut short: its header ends at offset 30"},
      {"header_33.bmp", bmp_header(33), "BMP is cut short: its header ends at offset 33"},
      {"pixels.bmp", without_last(b, 1),
       "BMP is cut short: " + n(b.size() - 1) + " bytes, but 2 x 2 pixels of 24 bits need " + n(b.size())},
      {"packed.bmp", set(b, 30, {1}), "BMP uses compression 1, only uncompressed files are read"},
      {"no_bits.bmp", set(b, 28, {0, 0}), "BMP is cut short: " + n(b.size()) + " bytes, but 2 x 2 pixels of 0 bits*"},
      {"start_0.bmp", set(b, 10, {0}), "BMP has its pixels at offset 0, inside its header, which ends at 54"},
      {"start_53.bmp", set(b, 10, {53}), "BMP has its pixels at offset 53, inside its header, which ends at 54"},
      {"no_palette.bmp", set(b, 28, {8}), "BMP has no palette before its pixels at offset 54"},
      {"wide.bmp", set(b, 18, {2, 0x10, 0, 0, 2, 0x10}),
       "BMP is cut short: " + n(b.size()) + " bytes, but 4098 x 4098*"},
      {"widest.bmp", set(b, 18, {0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0x7F}),
       "declares 2147483647 x 2147483647 pixels, more than the 134217728 allowed"},
      {"least.bmp", set(b, 22, {0, 0, 0, 0x80}), "declares 2 x 2147483648 pixels, more than the 134217728 allowed"},
      {"negative.bmp", set(b, 18, {0xFF, 0xFF, 0xFF, 0xFF}), "declares an empty image of -1 x 2 pixels"},
  };
  if (strict)
    files.insert(files.end(),
                 {{"half_a_scan.jpg", joined(without_last(j, (j.size() - scan - 14) / 2 + 2), {0xFF, 0xD9}), cannot},
                  {"noise.jpg", noise, cannot},
                  {"no_quantization.jpg", without_segments(j, 0xDB), cannot}});
  return files;
}

inline Bytes idx(const std::vector<uint32_t>& dims, const Bytes& values, uint8_t type = 8) {
  Bytes file = {0, 0, type, static_cast<uint8_t>(dims.size())};
  for (const uint32_t d : dims)
    for (int shift = 24; shift >= 0; shift -= 8) file.push_back(static_cast<uint8_t>(d >> shift));
  return joined(file, values);
}

inline Bytes gzip(const Bytes& plain) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  Bytes packed(deflateBound(&z, static_cast<uLong>(plain.size())) + 64);
  Bytes in = plain;
  z.next_in = in.data();
  z.avail_in = static_cast<uInt>(in.size());
  z.next_out = packed.data();
  z.avail_out = static_cast<uInt>(packed.size());
  deflate(&z, Z_FINISH);
  packed.resize(z.total_out);
  deflateEnd(&z);
  return packed;
}

inline Bytes counting(size_t n) {
  Bytes b(n);
  for (size_t i = 0; i < n; ++i) b[i] = static_cast<uint8_t>(i * 7);
  return b;
}

inline std::vector<BadFile> bad_idx() {
  const Bytes good = idx({3, 4, 5}, counting(60)), packed = gzip(good);
  Bytes damaged = packed;
  damaged[damaged.size() - 6] ^= 0xFF;  // check sum
  return {
      {"empty", {}, "the file is empty"},
      {"png", {0x89, 'P', 'N', 'G'}, "not an IDX file: it begins with bytes 89 50 4e 47, expected 00 00 08"},
      {"two_bytes", {0, 0}, "not an IDX file: it begins with bytes 00 00 00 00, expected 00 00 08"},
      {"float", idx({2}, {1, 2}, 0x0D), "element type is 0x0d at offset 2, expected 0x08 (unsigned bytes)"},
      {"no_axes", {0, 0, 8, 0}, "has 0 axes at offset 3, expected 1 to 3"},
      {"nine_axes", {0, 0, 8, 9, 0, 0}, "has 9 axes at offset 3, expected 1 to 3"},
      {"header", {0, 0, 8, 3, 0, 0, 0, 1}, "cut short: the header of 3 axes needs 16 bytes"},
      {"cut", without_last(good, 1),
       "declares [3,4,5] = 60 bytes, but the file can hold at most 59 (cut short or damaged?)"},
      {"more", joined(good, {0}), "has bytes after the [3,4,5] = 60 elements it declares"},
      {"overflow", idx({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, counting(60)),
       "declares [4294967295,4294967295,4294967295] elements, more than 64 bits can count"},
      {"huge", idx({60000, 4096, 4096}, counting(60)),
       "declares [60000,4096,4096] = 1006632960000 bytes, but the file can hold at most 60 (cut short or damaged?)"},
      {"huge.gz", gzip(idx({60000, 4096, 4096}, counting(60))),
       "declares [60000,4096,4096] = 1006632960000 bytes, but the file can hold at most*"},
      {"cut_inside.gz", gzip(without_last(good, 10)), "cut short: 50 elements after the header, expected [3,4,5] = 60"},
      {"more_inside.gz", gzip(joined(good, {1, 2})), "has bytes after the [3,4,5] = 60 elements it declares"},
      {"more.gz", joined(packed, {1, 2}), "has bytes after the [3,4,5] = 60 elements it declares"},
      {"twice.gz", joined(packed, packed), "has bytes after the [3,4,5] = 60 elements it declares"},
      {"cut.gz", without_last(packed, 3), "gzip data is cut short at offset " + std::to_string(packed.size() - 3)},
      {"head.gz", first(packed, 12), "gzip data is cut short at offset 12"},
      {"magic.gz", first(packed, 2), "gzip data is cut short at offset 2"},
      {"damaged.gz", damaged, "gzip data is damaged near offset*"},
      // A small header and a million zeros after it: not unpacked beyond the declared size.
      {"bomb.gz", gzip(joined(idx({2}, {1, 2}), Bytes(1000000, 0))),
       "has bytes after the [2] = 2 elements it declares"},
  };
}

/// For 10 or 100 classes.
inline std::vector<BadFile> bad_cifar(int64_t classes) {
  const size_t labels = classes == 10 ? 1 : 2, record = labels + 3072;
  const Bytes good(record, 3), two(2 * record, 3);
  const auto length = [&](size_t n) {
    return "is " + std::to_string(n) + " bytes long, no multiple of a record's " + std::to_string(record) +
           " (cut short, or not the binary version?)";
  };
  return {
      {"empty.bin", {}, "the file is empty"},
      {"byte.bin", {1}, length(1)},
      {"cut.bin", without_last(good, 1), length(record - 1)},
      {"cut_later.bin", without_last(two, 100), length(2 * record - 100)},
      {"more.bin", joined(good, {0}), length(record + 1)},
      {"other_version.bin", Bytes(classes == 10 ? 3074 : 3073, 1), length(classes == 10 ? 3074 : 3073)},
      {"label.bin", set(two, record + labels - 1, {static_cast<uint8_t>(classes)}),
       "label at offset " + std::to_string(record + labels - 1) + " is " + std::to_string(classes) + ", outside the " +
           std::to_string(classes) + " classes"},
  };
}

}  // namespace atlas_test
