// CUDA kernel of mask pasting: a thread for each pixel.
#include "atlas/cuda/launch.cuh"
#include "atlas/kernels/paste_masks.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

template <class T, class Out>
__global__ void paste_kernel(int64_t count, int64_t height, int64_t width, int64_t rows, int64_t columns,
                             View<const T> masks, View<const double> boxes, double threshold, View<Out> y) {
  for (int64_t at = global_thread(); at < count; at += global_threads()) {
    const int64_t j = at % width, i = at / width % height, n = at / width / height;
    const PasteAxis down{boxes[4 * n + 1], boxes[4 * n + 3] - boxes[4 * n + 1], static_cast<double>(rows)};
    const PasteAxis across{boxes[4 * n], boxes[4 * n + 2] - boxes[4 * n], static_cast<double>(columns)};
    double sum = 0;
    down.for_each(i, [&](int64_t k, double part) {
      across.for_each(j, [&](int64_t l, double share) {
        sum += part * share * static_cast<double>(load(masks[(n * rows + k) * columns + l]));
      });
    });
    if constexpr (std::is_same_v<Out, uint8_t>)
      y[at] = sum >= threshold ? 1 : 0;
    else
      y[at] = store<Out>(static_cast<Compute<Out>>(sum));
  }
}

}  // namespace

void paste_masks(const Tensor& masks, const Tensor& boxes, double threshold, Tensor& y) {
  const int64_t count = y.numel();
  if (count == 0) return;
  const Launch how{y.device(), "paste_masks", blocks_for(count, 256), dim3(256), 0, true};
  visit_cuda_float(masks, "paste_masks", [&](auto tag) {
    using T = decltype(tag);
    if (y.dtype() == uint8)
      launch(how, paste_kernel<T, uint8_t>, count, y.size(1), y.size(2), masks.size(1), masks.size(2),
             view<const T>(masks), view<const double>(boxes), threshold, view<uint8_t>(y));
    else
      launch(how, paste_kernel<T, T>, count, y.size(1), y.size(2), masks.size(1), masks.size(2), view<const T>(masks),
             view<const double>(boxes), threshold, view<T>(y));
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
