// The arithmetic of conv_hopper.cu: the box of pixels that a block has, what it reads for each tap, and where its
// results go. It stands apart from the kernel, which no emulation runs, so that tests/cuda/hopper_test.cpp can walk it.
#pragma once

#include <limits>
#include <optional>

#include "atlas/cuda/conv.cuh"
#include "atlas/cuda/hopper.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

inline constexpr int kBoxPixels = 256;  // at most, of a block

// A stage of the ring: a row for each pixel, then one for each filter. All parts begin at multiples of 1024 bytes.
inline constexpr uint32_t kPixelBytes = kBoxPixels * kRowBytes;
constexpr uint32_t stage_size(int filters) { return kPixelBytes + static_cast<uint32_t>(filters) * kRowBytes; }

/// Neighbors of a gather's grid, images x h x w of them. A pixel's place in the box: w counts fastest, then h.
struct PixelBox {
  int images = 0, h = 0, w = 0;
  __host__ __device__ int pixels() const { return images * h * w; }
};

constexpr int parts(int n, int size) { return (n + size - 1) / size; }

/// The box that covers the grid with the fewest boxes, and among those the one that reads the fewest different pixels
/// with 3x3 taps. Small maps share a box, whole or by lines: 14 x 14 pixels are covered by two lines of nine images.
inline PixelBox choose_box(int batch, int grid_h, int grid_w) {
  // The next larger size that makes fewer parts of n; sizes between waste pixels. More than n when there is none.
  const auto larger = [](int n, int size) {
    const int now = parts(n, size);
    return now == 1 ? n + 1 : parts(n, now - 1);
  };
  PixelBox best;
  int64_t fewest = std::numeric_limits<int64_t>::max(), least = fewest;
  for (int w = 1; w <= std::min(grid_w, kBoxPixels); w = larger(grid_w, w))
    for (int h = 1; h <= std::min(grid_h, kBoxPixels / w); h = larger(grid_h, h)) {
      const int images = std::min(batch, kBoxPixels / (w * h));
      const int64_t boxes = int64_t{parts(grid_w, w)} * parts(grid_h, h) * parts(batch, images);
      const int64_t read = int64_t{w + 2} * (h + 2) * images;
      if (boxes > fewest || (boxes == fewest && read >= least)) continue;
      best = {images, h, w};
      fewest = boxes;
      least = read;
    }
  return best;
}

/// A tensor in memory, contiguous, and the box of it that one copy takes; innermost axis first.
struct TensorBox {
  int rank;
  uint64_t size[4];
  uint32_t box[4];
};

/// A gather cut into boxes of pixels and tiles of kColumns result channels.
struct BoxedGather {
  Gather g;
  PixelBox box;
  int n, width;  // channels of the result, and those of a tile
  int columns, boxes_w, boxes_h, boxes_images;
  Divisor by_w, by_h;

  BoxedGather(const Gather& gather, int channels, int tile)
      : g(gather),
        box(choose_box(g.batch, g.h.grid, g.w.grid)),
        n(channels),
        width(tile),
        columns(parts(n, width)),
        boxes_w(parts(g.w.grid, box.w)),
        boxes_h(parts(g.h.grid, box.h)),
        boxes_images(parts(g.batch, box.images)),
        by_w(static_cast<uint32_t>(box.w)),
        by_h(static_cast<uint32_t>(box.h)) {}

  int64_t blocks() const { return int64_t{columns} * boxes_w * boxes_h * boxes_images; }
  __host__ __device__ int slices() const { return (g.count + kSlice - 1) / kSlice; }  // of channels, for each tap
  TensorBox pixels() const {
    const auto size = [](int v) { return static_cast<uint64_t>(v); };
    const auto part = [](int v) { return static_cast<uint32_t>(v); };
    return {4,
            {size(g.channels), size(g.w.source), size(g.h.source), size(g.batch)},
            {kSlice, part(box.w), part(box.h), part(box.images)}};
  }
  TensorBox filters() const {
    return {3,
            {static_cast<uint64_t>(g.count), static_cast<uint64_t>(g.h.taps * g.w.taps), static_cast<uint64_t>(n), 1},
            {kSlice, 1, static_cast<uint32_t>(width), 1}};
  }
  /// What both copies of a stage bring, pixels and channels outside included.
  __host__ __device__ uint32_t stage_bytes() const { return static_cast<uint32_t>(box.pixels() + width) * kRowBytes; }

  /// The first of a block's pixels and result channels. Blocks of the same pixels follow one another.
  struct Corner {
    int image, h, w, column;
  };
  __host__ __device__ Corner corner(unsigned block) const {
    const int tile = static_cast<int>(block / static_cast<unsigned>(columns)), line = tile / boxes_w;
    return {line / boxes_h * box.images, line % boxes_h * box.h, tile % boxes_w * box.w,
            static_cast<int>(block % static_cast<unsigned>(columns)) * width};
  }
  /// Where pixel `at` of the block's box goes, as a pixel of the result; -1 if it is none.
  __device__ int64_t target(const Corner& corner, int at) const {
    const int line = static_cast<int>(by_w(static_cast<uint32_t>(at)));
    const int images = static_cast<int>(by_h(static_cast<uint32_t>(line)));
    const int image = corner.image + images, h = corner.h + line - images * box.h, w = corner.w + at - line * box.w;
    if (images >= box.images || image >= g.batch || h >= g.h.grid || w >= g.w.grid) return -1;
    return (int64_t{image} * g.h.target + g.h.start + int64_t{h} * g.h.spacing) * g.w.target + g.w.start +
           int64_t{w} * g.w.spacing;
  }
};

/// The source position that a tap reads for the grid position `at`; those outside are zeros of the copy.
__host__ __device__ inline int source_position(const GatherAxis& axis, int at, int tap) {
  return at + axis.offset + tap * axis.step;
}

/// The width of tiles for n channels that leaves the fewest unused.
inline int hopper_width(int n) { return parts(n, 128) * 128 < parts(n, 192) * 192 ? 128 : 192; }

/// The gather in boxes and tiles, if they fit: neighbors read neighbors, rows begin at multiples of 16 bytes, and at
/// least two of three multiplications are useful.
inline std::optional<BoxedGather> boxed_gather(const Gather& g, int n) {
  if (g.h.mult != 1 || g.w.mult != 1 || g.count != g.channels || g.count % 8 != 0 || n % 8 != 0) return {};
  if (g.pixels() == 0 || g.depth() == 0) return {};
  const BoxedGather p(g, n, hopper_width(n));
  const int64_t useful = g.pixels() * g.count * n;
  const int64_t done = p.blocks() * kBoxPixels * p.slices() * kSlice * p.width;
  if (3 * useful < 2 * done || p.blocks() >= int64_t{1} << 31) return {};
  return p;
}

/// Runs it if the device is of compute capability 9.0, it fits, and ATLAS_CUDA_WGMMA=0 is not in the environment.
/// w[n][tap][channel] and the rest as in conv_mma.cu.
#if ATLAS_CUDA_EMULATE
inline bool conv_hopper(Device, const View<const bf16>&, const View<const bf16>&, const View<bf16>&,
                        const Epilogue<bf16>&, const Gather&, int) {
  return false;
}
#else
bool conv_hopper(Device device, const View<const bf16>& x, const View<const bf16>& w, const View<bf16>& y,
                 const Epilogue<bf16>& finish, const Gather& g, int n);
#endif

}  // namespace atlas::inline ATLAS_ABI::cuda
