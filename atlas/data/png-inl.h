// Bodies of encode_png and write_png: 8-bit gray or RGB, each row with the better of the filters none, sub and up.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "atlas/data/image.h"
#include "atlas/data/png_chunks-inl.h"
#include "atlas/ops/logic.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE Bytes encode_png(const Tensor& image) {
  const bool right = image.defined() && image.dtype() == uint8 && !image.device().is_cuda() && image.numel() > 0 &&
                     (image.dim() == 2 || (image.dim() == 3 && image.shape()[2] == 3));
  check(right, "encode_png", "needs a uint8 image [H,W,3] or [H,W] of at least one pixel, got {}", describe(image));
  const Tensor x = image.is_contiguous() ? image : copy_of(image);
  const int64_t height = x.shape()[0], width = x.shape()[1], channels = x.dim() == 3 ? 3 : 1;
  check(height < (int64_t{1} << 31) && width < (int64_t{1} << 31), "encode_png", "{} is larger than PNG allows",
        describe(x));
  const size_t row = static_cast<size_t>(width * channels), pixel = static_cast<size_t>(channels);

  Bytes raw;
  raw.reserve((row + 1) * static_cast<size_t>(height));
  const Bytes zeros(row, 0);
  Bytes best(row), trial(row);
  for (int64_t y = 0; y < height; ++y) {
    const uint8_t* line = x.data<uint8_t>() + y * width * channels;
    const uint8_t* above = y > 0 ? line - row : zeros.data();
    uint8_t best_filter = 0;
    int64_t best_cost = -1;
    for (uint8_t filter = 0; filter <= 2; ++filter) {
      int64_t cost = 0;  // sum of magnitudes: small differences pack well
      for (size_t i = 0; i < row; ++i) {
        const uint8_t left = i >= pixel ? line[i - pixel] : uint8_t{0};
        const int prediction = filter == 0 ? 0 : filter == 1 ? left : above[i];
        trial[i] = static_cast<uint8_t>(line[i] - prediction);
        cost += std::abs(static_cast<int>(static_cast<int8_t>(trial[i])));
      }
      if (best_cost < 0 || cost < best_cost) {
        best_cost = cost;
        best_filter = filter;
        best.swap(trial);
      }
    }
    raw.push_back(best_filter);
    raw.insert(raw.end(), best.begin(), best.end());
  }
  return detail::png_file(height, width, channels == 3 ? 2 : 0, {}, raw);
}

ATLAS_INLINE void check_png_name(const std::string& path) {
  std::string ending = std::filesystem::path(path).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  for (const char* other :
       {".jpg", ".jpeg", ".jpe", ".jfif", ".bmp",  ".dib",  ".gif", ".webp", ".tif", ".tiff", ".svg",
        ".pdf", ".ppm",  ".pgm", ".tga",  ".heic", ".avif", ".jxl", ".jp2",  ".ico", ".psd",  ".eps"})
    check(ending != other, "write_png", "{}: pictures are written as PNG: end the name in .png, not in {}", path,
          other);
}

ATLAS_INLINE void write_png(const std::string& path, const Tensor& image) {
  check_png_name(path);
  write_file(path, encode_png(image));
}

}  // namespace atlas::inline ATLAS_ABI::data
