// Patches of channels-last images: where they lie, their rows gathered for a product's left side, and their columns
// packed for its right side.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "atlas/cpu/gemm_panels.h"
#include "atlas/kernels/conv_shape.h"

namespace atlas::inline ATLAS_ABI::cpu::detail {

/// A grid of patches of a channels-last image: pixel (gh, gw) of the grid sees the image at (gh * step + tap) for each
/// tap.
struct PatchGrid {
  Conv2dShape::Pair image{}, grid{}, step{1, 1};
  int64_t channels = 0;               // of the image
  int64_t first = 0, count = 0;       // the channels that are read
  std::vector<int64_t> tap_h, tap_w;  // offsets; they may point outside the image, which reads as zero
  struct Run {
    int64_t offset, taps;
  };  // neighboring horizontal taps that are one piece of memory
  std::vector<Run> runs;

  /// A pixel of the grid, in the order of memory.
  struct Pixel {
    int64_t image, row, column;
    Pixel(const PatchGrid& g, int64_t index)
        : image(index / (g.grid[0] * g.grid[1])), row(index / g.grid[1] % g.grid[0]), column(index % g.grid[1]) {}
    void next(const PatchGrid& g) {
      if (++column < g.grid[1]) return;
      column = 0;
      if (++row < g.grid[0]) return;
      row = 0;
      ++image;
    }
  };

  int64_t row_depth() const { return static_cast<int64_t>(tap_w.size()) * count; }
  int64_t depth() const { return static_cast<int64_t>(tap_h.size()) * row_depth(); }

  void find_runs() {
    runs.clear();
    for (int64_t t : tap_w) {
      if (count == channels && !runs.empty() && runs.back().offset + runs.back().taps == t)
        ++runs.back().taps;
      else
        runs.push_back({t, 1});
    }
  }

  /// Writes the patches of grid pixels [begin, end) (over the whole batch, row-major) as rows of `out`, taps in order,
  /// channels innermost.
  template <class T>
  void gather(const T* images, int64_t begin, int64_t end, T* out) const {
    Pixel at(*this, begin);
    for (int64_t p = begin; p < end; ++p, at.next(*this)) {
      for (int64_t th : tap_h) {
        const int64_t ih = at.row * step[0] + th;
        if (ih < 0 || ih >= image[0] || image[1] == 0) {
          out = std::fill_n(out, row_depth(), T(0));
          continue;
        }
        const T* line = images + (at.image * image[0] + ih) * image[1] * channels + first;
        for (const Run& run : runs) {
          const int64_t iw = at.column * step[1] + run.offset;
          const int64_t from = std::clamp<int64_t>(-iw, 0, run.taps),
                        to = std::clamp<int64_t>(image[1] - iw, from, run.taps);
          out = std::fill_n(out, from * count, T(0));
          out = std::copy_n(line + (iw + from) * channels, (to - from) * count, out);
          out = std::fill_n(out, (run.taps - to) * count, T(0));
        }
      }
    }
  }

  /// Writes columns [n0, n0 + width) of the same rows, one row every `row` floats; the rest of a row is zero.
  void gather_columns(const float* images, int64_t begin, int64_t end, int64_t n0, int64_t width, int64_t row,
                      float* out) const {
    struct Piece {
      int64_t tap_h, tap_w, channel, length, at;
    };
    std::array<Piece, 32> pieces;  // of one tap each
    size_t used = 0;
    for (int64_t n = n0; n < n0 + width; n += pieces[used - 1].length) {
      const auto tap = static_cast<size_t>(n / count);
      pieces[used++] = {tap_h[tap / tap_w.size()], tap_w[tap % tap_w.size()], first + n % count,
                        std::min(n0 + width - n, count - n % count), n - n0};
    }
    Pixel at(*this, begin);
    for (int64_t p = begin; p < end; ++p, out += row, at.next(*this)) {
      std::fill_n(out + width, row - width, 0.0f);
      for (size_t i = 0; i < used; ++i) {
        const Piece& piece = pieces[i];
        const int64_t ih = at.row * step[0] + piece.tap_h, iw = at.column * step[1] + piece.tap_w;
        float* to = out + piece.at;
        if (ih < 0 || ih >= image[0] || iw < 0 || iw >= image[1]) {
          std::fill_n(to, piece.length, 0.0f);
          continue;
        }
        const float* from = images + ((at.image * image[0] + ih) * image[1] + iw) * channels + piece.channel;
        if (piece.length == 32)
          std::copy_n(from, 32, to);  // of constant length: no call
        else if (piece.length == 16)
          std::copy_n(from, 16, to);
        else
          std::copy_n(from, piece.length, to);
      }
    }
  }
};

/// Patches of x as the forward pass reads them, for the channels of one group.
inline PatchGrid input_patches(const Conv2dShape& s, int64_t group) {
  PatchGrid p;
  p.image = s.in;
  p.grid = s.out;
  p.step = s.stride;
  p.channels = s.in_channels;
  p.count = s.group_in();
  p.first = group * p.count;
  for (int64_t k = 0; k < s.kernel[0]; ++k) p.tap_h.push_back(k * s.dilation[0] - s.padding[0]);
  for (int64_t k = 0; k < s.kernel[1]; ++k) p.tap_w.push_back(k * s.dilation[1] - s.padding[1]);
  p.find_runs();
  return p;
}

/// Rows of patches in one block: a function of the sizes alone. The block stays in the second-level cache, but is tall
/// enough to hide the packing of the filters, and there are blocks for several threads.
inline int64_t patch_rows(int64_t rows, int64_t depth, int64_t item) {
  const int64_t fit = (int64_t{512} << 10) / std::max<int64_t>(1, depth * item);
  const int64_t share = std::max<int64_t>(96, (rows + 15) / 16);
  return std::min(std::clamp<int64_t>(fit / 16 * 16, 96, 1024), share);
}

/// Small images have few blocks: then the result's channels are cut, too (the patches are gathered again for each
/// piece). Returns the length of a piece, at least 128 channels.
inline int64_t channel_piece(int64_t blocks, int64_t channels) {
  const int64_t pieces = std::clamp<int64_t>(8 / std::max<int64_t>(1, blocks), 1, std::max<int64_t>(1, channels / 128));
  return std::max<int64_t>(1, (channels + pieces - 1) / pieces);
}

/// The input pixels (h0 + i * stride) along one axis, and the taps that reach them: forward, in = out * stride
/// + k * dilation - padding; so out = i + (h0 + padding - k * dilation) / stride for the k that divide.
struct PhaseAxis {
  int64_t start = 0, length = 0;
  std::vector<int64_t> k, offset;

  PhaseAxis(const Conv2dShape& s, size_t axis, int64_t h0) : start(h0) {
    length = s.in[axis] > h0 ? (s.in[axis] - h0 + s.stride[axis] - 1) / s.stride[axis] : 0;
    for (int64_t i = s.kernel[axis] - 1; i >= 0; --i) {  // backwards: neighbors in k become neighbors in memory
      const int64_t t = h0 + s.padding[axis] - i * s.dilation[axis];
      if (t % s.stride[axis] != 0) continue;
      k.push_back(i);
      offset.push_back(t / s.stride[axis]);
    }
  }
};

/// Rows [from, to) of the matrix of all patches [pixels, depth], which are whole slices of `right`, packed like
/// PackedPanels::pack() by all threads.
inline void pack_patches(const PatchGrid& patches, const float* images, const PackedPanels& right, float* out,
                         int64_t from, int64_t to) {
  const int64_t length = right.depths.length;
  parallel_for(divide_up(to - from, length) * right.panels, std::max<int64_t>(1, 32768 / (length * right.tile)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   const int64_t k0 = from + i / right.panels * length, n0 = i % right.panels * right.tile;
                   const int64_t k1 = std::min(k0 + length, to), width = std::min(right.tile, right.n - n0);
                   patches.gather_columns(images, k0, k1, n0, width, right.tile,
                                          out + right.size(k0 - from) + n0 * (k1 - k0));
                 }
               });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::detail
