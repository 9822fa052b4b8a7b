// Window layouts on CUDA: a thread moves one unit of a pixel, 16 bytes where the pixels' length allows.
#include "atlas/cuda/vector.cuh"
#include "atlas/kernels/window.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kThreads = 256;

/// Where the units of windows lie on the map.
struct WindowUnits {
  Divider units, window_width, window_height, columns, rows;  // of a pixel, a window's row, a window, a map
  int height, width, side, tall;                              // of the map, of a window
  int64_t row_units;                                          // units of a row of the map

  WindowUnits(const WindowLayout& l, int64_t pixel_units)
      : units(pixel_units),
        window_width(l.window_width),
        window_height(l.window_height),
        columns(l.columns()),
        rows(l.rows()),
        height(static_cast<int>(l.height)),
        width(static_cast<int>(l.width)),
        side(static_cast<int>(l.window_width)),
        tall(static_cast<int>(l.window_height)),
        row_units(l.width * pixel_units),
        pixel_units_(pixel_units) {}

  /// Index on the map of unit i of the windows of some whole maps, or -1 beyond its edge.
  __device__ int64_t on_map(uint32_t i) const {
    uint32_t column = units.split(i);  // i: unit of the pixel
    uint32_t row = window_width.split(column), window = window_height.split(row);
    uint32_t map_row = columns.split(window);
    const uint32_t map = rows.split(map_row);
    const int h = static_cast<int>(map_row) * tall + static_cast<int>(row);
    const int w = static_cast<int>(window) * side + static_cast<int>(column);
    if (h >= height || w >= width) return -1;
    return (static_cast<int64_t>(map) * height + h) * row_units + w * pixel_units_ + i;
  }

 private:
  int64_t pixel_units_;
};

template <class Unit>
__global__ void partition_kernel(View<const Unit> map, WindowUnits at, int64_t count, View<Unit> windows) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const int64_t from = at.on_map(static_cast<uint32_t>(i));
    windows[i] = from >= 0 ? map[from] : Unit{};
  }
}

template <class Unit>
__global__ void reverse_kernel(View<const Unit> windows, WindowUnits at, int64_t count, View<Unit> map) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const int64_t to = at.on_map(static_cast<uint32_t>(i));
    if (to >= 0) map[to] = windows[i];
  }
}

/// Calls f(Unit{}, units of a pixel) with the widest unit in which whole pixels of both tensors can be moved.
template <class F>
void visit_unit(const Tensor& a, const Tensor& b, int64_t pixel_bytes, const F& f) {
  const auto fits = [&](int64_t bytes) {
    return pixel_bytes % bytes == 0 && reinterpret_cast<uintptr_t>(a.raw()) % static_cast<uintptr_t>(bytes) == 0 &&
           reinterpret_cast<uintptr_t>(b.raw()) % static_cast<uintptr_t>(bytes) == 0;
  };
  if (fits(16)) return f(Pack<uint32_t, 4>{}, pixel_bytes / 16);
  if (fits(8)) return f(Pack<uint32_t, 2>{}, pixel_bytes / 8);
  if (fits(4)) return f(uint32_t{}, pixel_bytes / 4);
  if (fits(2)) return f(uint16_t{}, pixel_bytes / 2);
  f(uint8_t{}, pixel_bytes);
}

/// Calls f(Unit{}, layout, map units, window units, first unit of the map, of the windows) for pieces of the batch
/// whose units can be counted in 31 bits.
template <class F>
void for_each_piece(const Tensor& map, const Tensor& windows, const WindowLayout& l, const F& f) {
  if (map.numel() == 0) return;
  visit_unit(map, windows, map.shape()[3] * item_size(map.dtype()), [&](auto unit, int64_t pixel_units) {
    const int64_t batch = map.shape()[0], of_map = l.height * l.width * pixel_units;
    const int64_t of_windows = l.windows() * l.pixels() * pixel_units;
    check(of_windows < (int64_t{1} << 31), "window_partition", "one map of 2^31 units is too large on CUDA: {}",
          describe(map));
    const int64_t at_once = std::max<int64_t>(1, ((int64_t{1} << 31) - 1) / of_windows);
    for (int64_t b = 0; b < batch; b += at_once) {
      const int64_t n = std::min(at_once, batch - b);
      f(unit, WindowUnits(l, pixel_units), n * of_map, n * of_windows, b * of_map, b * of_windows);
    }
  });
}

}  // namespace

void window_partition(const Tensor& map, const WindowLayout& layout, Tensor& windows) {
  for_each_piece(map, windows, layout,
                 [&](auto unit, const WindowUnits& at, int64_t in, int64_t out, int64_t in_first, int64_t out_first) {
                   using Unit = decltype(unit);
                   launch({map.device(), "window_partition", blocks_for(out, kThreads), dim3(kThreads), 0, true},
                          partition_kernel<Unit>, View<const Unit>(static_cast<const Unit*>(map.raw()) + in_first, in),
                          at, out, View<Unit>(static_cast<Unit*>(windows.raw()) + out_first, out));
                 });
}

void window_reverse(const Tensor& windows, const WindowLayout& layout, Tensor& map) {
  for_each_piece(map, windows, layout,
                 [&](auto unit, const WindowUnits& at, int64_t out, int64_t in, int64_t out_first, int64_t in_first) {
                   using Unit = decltype(unit);
                   launch({map.device(), "window_reverse", blocks_for(in, kThreads), dim3(kThreads), 0, true},
                          reverse_kernel<Unit>,
                          View<const Unit>(static_cast<const Unit*>(windows.raw()) + in_first, in), at, in,
                          View<Unit>(static_cast<Unit*>(map.raw()) + out_first, out));
                 });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
