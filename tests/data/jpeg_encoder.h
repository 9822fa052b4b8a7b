// JPEG files of every layout that cameras and programs write, where the build has libjpeg-turbo; otherwise those that
// stb_image_write makes.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "atlas/tensor/tensor.h"
#include "tests/data/encode.h"
#ifdef ATLAS_TEST_LIBJPEG
#include <jpeglib.h>
#endif

namespace atlas_test {

struct JpegLayout {
  std::string name;
  int channels = 3;  ///< 1: gray; 4: CMYK
  int across = 1;    ///< pixels that share a color
  int down = 1;
  bool progressive = false;
  int restart = 0;  ///< rows of blocks between restart markers
  int quality = 90;
};

inline std::vector<JpegLayout> jpeg_layouts() {
#ifdef ATLAS_TEST_LIBJPEG
  return {{"4:4:4"},
          {"gray", 1},
          {"4:2:2", 3, 2, 1},
          {"4:2:0", 3, 2, 2},
          {"4:4:0", 3, 1, 2},
          {"4:1:1", 3, 4, 1},
          {"progressive 4:2:0", 3, 2, 2, true},
          {"progressive gray", 1, 1, 1, true},
          {"4:2:0 with restarts", 3, 2, 2, false, 1},
          {"4:2:0, quality 30", 3, 2, 2, false, 0, 30},
          {"CMYK", 4}};
#else
  return {{"4:4:4"}, {"gray", 1}};
#endif
}

/// The file of a picture.
/// @param image uint8 [H,W,3]; gray takes the greens, CMYK the colors as inks and their green once more as black
inline Bytes jpeg(const atlas::Tensor& image, const JpegLayout& layout) {
  const auto height = static_cast<int>(image.size(0)), width = static_cast<int>(image.size(1));
  const uint8_t* rgb = image.data<uint8_t>();
  Bytes pixels;
  for (int i = 0; i < height * width; ++i)
    for (int c = 0; c < layout.channels; ++c) pixels.push_back(rgb[3 * i + (layout.channels == 1 || c == 3 ? 1 : c)]);
#ifdef ATLAS_TEST_LIBJPEG
  jpeg_compress_struct out{};
  jpeg_error_mgr errors{};
  out.err = ::jpeg_std_error(&errors);
  jpeg_create_compress(&out);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  ::jpeg_mem_dest(&out, &memory, &size);
  out.image_width = static_cast<JDIMENSION>(width);
  out.image_height = static_cast<JDIMENSION>(height);
  out.input_components = layout.channels;
  out.in_color_space = layout.channels == 1 ? JCS_GRAYSCALE : layout.channels == 3 ? JCS_RGB : JCS_CMYK;
  ::jpeg_set_defaults(&out);
  ::jpeg_set_quality(&out, layout.quality, TRUE);
  out.comp_info[0].h_samp_factor = layout.across;
  out.comp_info[0].v_samp_factor = layout.down;
  out.restart_in_rows = layout.restart;
  if (layout.progressive) ::jpeg_simple_progression(&out);
  ::jpeg_start_compress(&out, TRUE);
  while (out.next_scanline < out.image_height) {
    uint8_t* row =
        pixels.data() + static_cast<size_t>(out.next_scanline) * static_cast<size_t>(width * layout.channels);
    ::jpeg_write_scanlines(&out, &row, 1);
  }
  ::jpeg_finish_compress(&out);
  ::jpeg_destroy_compress(&out);
  Bytes file(memory, memory + size);
  std::free(memory);
  return file;
#else
  return jpeg(width, height, pixels, layout.channels);
#endif
}

/// The file with an EXIF orientation of 1..8.
inline Bytes with_orientation(const Bytes& jpeg, int orientation) {
  const Bytes segment = {0xFF,
                         0xE1,
                         0,
                         34,
                         'E',
                         'x',
                         'i',
                         'f',
                         0,
                         0,
                         'I',
                         'I',
                         42,
                         0,
                         8,
                         0,
                         0,
                         0,
                         1,
                         0,
                         0x12,
                         1,
                         3,
                         0,
                         1,
                         0,
                         0,
                         0,
                         static_cast<uint8_t>(orientation),
                         0,
                         0,
                         0,
                         0,
                         0,
                         0,
                         0};
  Bytes file(jpeg.begin(), jpeg.begin() + 2);
  file.insert(file.end(), segment.begin(), segment.end());
  file.insert(file.end(), jpeg.begin() + 2, jpeg.end());
  return file;
}

}  // namespace atlas_test
