// JPEG through libjpeg-turbo, where the build found it (ATLAS_WITH_LIBJPEG=1); otherwise stb_image decodes JPEG too.
#pragma once

#include "atlas/core/config.h"

#if ATLAS_WITH_LIBJPEG

// jpeglib.h uses FILE and size_t and includes neither.
#include <cstddef>
#include <cstdio>
//
#include <jpeglib.h>
//
#include <jerror.h>

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// What libjpeg's callbacks need; they find it from their argument, whose client_data points here.
struct JpegDecoder {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  std::jmp_buf back{};
  char message[JMSG_LENGTH_MAX] = {};

  static JpegDecoder& of(j_common_ptr jpeg) { return *static_cast<JpegDecoder*>(jpeg->client_data); }
  /// Ends decoding: libjpeg's way out of its own frames, which are C and hold nothing to destroy.
  [[noreturn]] static void give_up(j_common_ptr jpeg) {
    JpegDecoder& d = of(jpeg);
    d.errors.format_message(jpeg, d.message);
    std::longjmp(d.back, 1);
  }
  /// Warnings (level -1) about missing or wrong pixels are errors; the others leave the picture whole.
  static void on_message(j_common_ptr jpeg, int level) {
    if (level >= 0) return;
    switch (of(jpeg).errors.msg_code) {
      case JWRN_ADOBE_XFORM:
      case JWRN_EXTRANEOUS_DATA:
      case JWRN_JFIF_MAJOR:
      case JWRN_TOO_MUCH_DATA:
        return;
      default:
        give_up(jpeg);
    }
  }
};

/// Which part of a JPEG picture is decoded.
struct JpegRegion {
  int64_t width = 0, height = 0;  ///< of the whole picture, which inspect_image() said
  int64_t top = 0, left = 0;
  int64_t columns = 0;  ///< in a row
};

/// Hands the rows of a region to `rows` until that is done: rows.next_row() says where the next one goes, rows.push()
/// that it is there. false leaves the reason in `message`. `row` holds one row of the whole picture, four bytes a
/// pixel.
///
/// longjmp comes back to this frame, so nothing in it may have a destructor or change after setjmp; what `rows` does
/// may not throw.
template <class Rows>
bool decode_rows(JpegDecoder& d, std::span<const uint8_t> bytes, const JpegRegion& region, uint8_t* row, Rows& rows) {
  jpeg_decompress_struct& jpeg = d.jpeg;
  jpeg.err = ::jpeg_std_error(&d.errors);
  d.errors.error_exit = JpegDecoder::give_up;
  d.errors.emit_message = JpegDecoder::on_message;
  jpeg.client_data = &d;
  if (setjmp(d.back) != 0) return false;
  jpeg_create_decompress(&jpeg);
  ::jpeg_mem_src(&jpeg, bytes.data(), static_cast<unsigned long>(bytes.size()));
  ::jpeg_read_header(&jpeg, TRUE);
  const bool inks = jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK;
  jpeg.out_color_space = inks ? JCS_CMYK : JCS_RGB;
  ::jpeg_start_decompress(&jpeg);
  if (jpeg.output_width != region.width || jpeg.output_height != region.height) {
    std::snprintf(d.message, sizeof d.message, "its frame header is not the one that was checked: %u x %u pixels",
                  jpeg.output_width, jpeg.output_height);
    return false;
  }
  // Upsampled colors depend on their neighbors: columns at the edge of what is decoded are not those of the whole
  // picture.
  constexpr int64_t kMargin = 2;
  JDIMENSION begin = static_cast<JDIMENSION>(std::max<int64_t>(0, region.left - kMargin));
  JDIMENSION width = static_cast<JDIMENSION>(std::min(region.width, region.left + region.columns + kMargin)) - begin;
  // Progressive files that lack a part of their data are smoothed from block to block: only whole rows are the same.
  if (jpeg.progressive_mode) begin = 0, width = jpeg.output_width;
  if (width < jpeg.output_width) ::jpeg_crop_scanline(&jpeg, &begin, &width);
  if (region.top > 0) ::jpeg_skip_scanlines(&jpeg, static_cast<JDIMENSION>(region.top));
  const uint8_t* const from = row + (inks ? 4 : 3) * (region.left - static_cast<int64_t>(begin));
  const bool direct = !inks && region.columns == static_cast<int64_t>(width);
  while (!rows.done()) {
    uint8_t* const to = rows.next_row();
    uint8_t* target = direct ? to : row;
    ::jpeg_read_scanlines(&jpeg, &target, 1);
    if (inks) {
      // Inks are stored inverted, as Adobe's programs write them and other readers expect: 255 is no ink.
      for (int64_t i = 0; i < region.columns; ++i)
        for (int64_t c = 0; c < 3; ++c)
          to[3 * i + c] = static_cast<uint8_t>((from[4 * i + c] * from[4 * i + 3] + 127) / 255);
    } else if (!direct) {
      std::memcpy(to, from, static_cast<size_t>(3 * region.columns));
    }
    rows.push();
  }
  if (jpeg.output_scanline == jpeg.output_height) ::jpeg_finish_decompress(&jpeg);
  return true;
}

template <class Rows>
void decode_region(std::span<const uint8_t> bytes, const std::string& name, const JpegRegion& region, Rows& rows) {
  std::vector<uint8_t> row(static_cast<size_t>(4 * region.width));
  const auto decoder = std::make_unique<JpegDecoder>();
  const bool done = decode_rows(*decoder, bytes, region, row.data(), rows);
  ::jpeg_destroy_decompress(&decoder->jpeg);
  check(done, "image", "{}: cannot be decoded ({})", name, decoder->message);
}

/// The rows of a whole picture, one below the other.
struct WholePicture {
  uint8_t* rgb;
  int64_t height, stride;
  uint8_t* next_row() const { return rgb; }
  void push() { rgb += stride, --height; }
  bool done() const { return height == 0; }
};

/// The pixels as stored: uint8 [height,width,3]; what the size is, inspect_image() said.
inline Tensor decode_jpeg(std::span<const uint8_t> bytes, const std::string& name, int64_t width, int64_t height) {
  Tensor image = empty({height, width, 3}, uint8, Device{});
  WholePicture rows{image.data<uint8_t>(), height, 3 * width};
  decode_region(bytes, name, {.width = width, .height = height, .columns = width}, rows);
  return image;
}

}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::data

#endif
