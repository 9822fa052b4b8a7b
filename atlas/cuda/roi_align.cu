// CUDA kernels of RoIAlign: forward, a thread for each number; backward, a thread for each pixel and channel of the
// map, which gathers what the regions that cover it give, in their order.
#include "atlas/cuda/launch.cuh"
#include "atlas/kernels/roi_align.h"
#include "atlas/kernels/roi_align_step.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kThreads = 256;

/// Lengths of a map and what is asked of it.
struct RoiMap {
  int64_t batch, height, width, channels, bins, level;
  double scale;
};
RoiMap roi_map(const Shape& map, const RoiAlignSetting& s) {
  return {map[0], map[1], map[2], map[3], s.bins, s.level, s.scale};
}
__device__ bool roi_is_of(const RoiMap& m, const View<const int64_t>& levels, int64_t r) {
  return !levels || levels[r] == m.level;
}
__device__ int64_t image_of(const RoiMap& m, const View<const double>& rois, int64_t r) {
  const double image = rois[5 * r];
  return image >= 0 && image < static_cast<double>(m.batch) ? static_cast<int64_t>(image) : -1;
}
__device__ RoiAxis roi_axis(const RoiMap& m, const View<const double>& rois, int64_t r, bool rows) {
  return rows ? RoiAxis(rois[5 * r + 2], rois[5 * r + 4], m.scale, m.bins, m.height)
              : RoiAxis(rois[5 * r + 1], rois[5 * r + 3], m.scale, m.bins, m.width);
}

template <class M, class T>
__global__ void roi_align_kernel(RoiMap m, View<const M> map, View<const double> rois, View<const int64_t> levels,
                                 int64_t count, View<T> y) {
  using A = Compute<T>;
  for (int64_t at = global_thread(); at < count; at += global_threads()) {
    const int64_t c = at % m.channels, j = at / m.channels % m.bins, i = at / m.channels / m.bins % m.bins;
    const int64_t r = at / m.channels / m.bins / m.bins;
    if (!roi_is_of(m, levels, r)) continue;
    const int64_t image = image_of(m, rois, r);
    A sum = 0;
    if (image >= 0) {
      const RoiAxis rows = roi_axis(m, rois, r, true), columns = roi_axis(m, rois, r, false);
      rows.for_each_sample(i, [&](int64_t top, int64_t bottom, double down) {
        const int64_t up = (image * m.height + top) * m.width, low = (image * m.height + bottom) * m.width;
        columns.for_each_sample(j, [&](int64_t left, int64_t right, double across) {
          const A d = static_cast<A>(down), a = static_cast<A>(across);
          const A x00 = static_cast<A>(load(map[(up + left) * m.channels + c]));
          const A x01 = static_cast<A>(load(map[(up + right) * m.channels + c]));
          const A x10 = static_cast<A>(load(map[(low + left) * m.channels + c]));
          const A x11 = static_cast<A>(load(map[(low + right) * m.channels + c]));
          sum += (1 - d) * ((1 - a) * x00 + a * x01) + d * ((1 - a) * x10 + a * x11);
        });
      });
      if (rows.samples > 0 && columns.samples > 0) sum /= static_cast<A>(rows.samples * columns.samples);
    }
    y[at] = store<T>(sum);
  }
}

/// A block for eight pixels of a row and 32 channels: its threads first find together which of 256 regions reach there.
template <class T>
__global__ void roi_align_backward_kernel(RoiMap m, View<const T> dy, View<const double> rois,
                                          View<const int64_t> levels, int64_t regions, View<T> dmap) {
  using A = Compute<T>;
  __shared__ unsigned char reaches[kThreads];
  const int64_t strips = (m.width + 7) / 8, parts = (m.channels + kWarp - 1) / kWarp;
  int64_t block = blockIdx.x;
  const int64_t part = block % parts;
  block /= parts;
  const int64_t strip = block % strips;
  block /= strips;
  const int64_t h = block % m.height, b = block / m.height;
  const int64_t w = strip * 8 + threadIdx.x / kWarp, c = part * kWarp + threadIdx.x % kWarp;
  const bool mine = w < m.width && c < m.channels;
  A sum = 0;
  for (int64_t first = 0; first < regions; first += kThreads) {
    const int64_t r = first + threadIdx.x;
    bool found = false;
    if (r < regions && roi_is_of(m, levels, r) && image_of(m, rois, r) == b) {
      const RoiAxis rows = roi_axis(m, rois, r, true), columns = roi_axis(m, rois, r, false);
      // With slack: what a region does not read has weight 0 below.
      const double left = static_cast<double>(strip * 8), y = static_cast<double>(h);
      found = rows.samples > 0 && columns.samples > 0 && rows.start <= y + 2.01 &&
              rows.start + rows.length >= y - 2.01 && columns.start <= left + 9.01 &&
              columns.start + columns.length >= left - 2.01;
    }
    __syncthreads();  // the former regions have been read
    reaches[threadIdx.x] = found;
    __syncthreads();
    const int64_t here = regions - first < kThreads ? regions - first : kThreads;
    for (int64_t k = 0; k < here && mine; ++k) {
      if (!reaches[k]) continue;
      const RoiAxis rows = roi_axis(m, rois, first + k, true), columns = roi_axis(m, rois, first + k, false);
      for (int64_t i = 0; i < m.bins; ++i) {
        const double row = rows.weight(i, h);
        if (row == 0) continue;
        for (int64_t j = 0; j < m.bins; ++j) {
          const double column = columns.weight(j, w);
          if (column != 0)
            sum += static_cast<A>(row * column) * load(dy[(((first + k) * m.bins + i) * m.bins + j) * m.channels + c]);
        }
      }
    }
  }
  if (mine) dmap[((b * m.height + h) * m.width + w) * m.channels + c] = store<T>(sum);
}

}  // namespace

void roi_align_forward(const Tensor& map, const Tensor& rois, const Tensor& levels, const RoiAlignSetting& setting,
                       Tensor& y) {
  const int64_t count = y.numel();
  if (count == 0) return;
  const RoiMap m = roi_map(map.shape(), setting);
  const Launch how{y.device(), "roi_align", blocks_for(count, kThreads), dim3(kThreads), 0, true};
  if (map.dtype() == uint8)
    return launch(how, roi_align_kernel<uint8_t, double>, m, view<const uint8_t>(map), view<const double>(rois),
                  view<const int64_t>(levels), count, view<double>(y));
  visit_cuda_float(map, "roi_align", [&](auto tag) {
    using T = decltype(tag);
    launch(how, roi_align_kernel<T, T>, m, view<const T>(map), view<const double>(rois), view<const int64_t>(levels),
           count, view<T>(y));
  });
}

void roi_align_backward(const Tensor& dy, const Tensor& rois, const Tensor& levels, const RoiAlignSetting& setting,
                        Tensor& dmap) {
  if (dmap.numel() == 0) return;
  const RoiMap m = roi_map(dmap.shape(), setting);
  const int64_t blocks = m.batch * m.height * ((m.width + 7) / 8) * ((m.channels + kWarp - 1) / kWarp);
  const Launch how{dmap.device(), "roi_align", dim3(static_cast<unsigned>(blocks)), dim3(kThreads)};
  visit_cuda_float(dmap, "roi_align", [&](auto tag) {
    using T = decltype(tag);
    launch(how, roi_align_backward_kernel<T>, m, view<const T>(dy), view<const double>(rois),
           view<const int64_t>(levels), rois.size(0), view<T>(dmap));
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
