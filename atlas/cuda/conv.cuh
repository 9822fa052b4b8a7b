// Convolution as a product over gathered pixels, described once for the plain kernels and those of the tensor cores.
//
// A gather says, for each pixel of a grid, which source pixels its taps read and where its result goes. The forward
// pass is one gather. The input gradient is one per phase: the pixels of dx whose coordinates have the same remainders
// by the stride all read the same taps of the filters, at neighboring pixels of dy, so nothing is multiplied by
// inserted zeros.
#pragma once

#include <numeric>
#include <vector>

#include "atlas/cuda/epilogue.cuh"
#include "atlas/kernels/conv.h"

namespace atlas::inline ATLAS_ABI::cuda {

/// One axis of a gather: tap t of grid position r reads source position r mult + offset + t step, if that is inside,
/// with tap first + t tap_step of the filter; the result goes to position start + r spacing.
struct GatherAxis {
  int taps, mult, offset, step;
  int first, tap_step;
  int source, grid;
  int start, spacing, target;
};

struct Gather {
  GatherAxis h, w;
  int batch;
  int channels;  ///< of a source pixel
  int count;     ///< of them, those of one group

  __host__ __device__ int64_t pixels() const { return int64_t{batch} * h.grid * w.grid; }
  __host__ __device__ int64_t depth() const { return int64_t{h.taps} * w.taps * count; }
  /// Where the grid's pixel goes.
  __device__ int64_t target(unsigned pixel) const {
    const unsigned w_grid = static_cast<unsigned>(w.grid), h_grid = static_cast<unsigned>(h.grid);
    const unsigned col = pixel % w_grid, line = pixel / w_grid;
    return (int64_t{line / h_grid} * h.target + h.start + int64_t{line % h_grid} * h.spacing) * w.target + w.start +
           int64_t{col} * w.spacing;
  }
};

/// Divisors of a gather's pixels and positions along the sum.
struct GatherDivisors {
  Divisor w_grid, h_grid, count, taps_w;
  explicit GatherDivisors(const Gather& g)
      : w_grid(positive(g.w.grid)), h_grid(positive(g.h.grid)), count(positive(g.count)), taps_w(positive(g.w.taps)) {}

 private:
  static uint32_t positive(int n) {
    return static_cast<uint32_t>(std::max(1, n));
  }  // of what is empty nothing is asked
};

inline GatherAxis forward_axis(const Conv2dShape& s, size_t i) {
  const auto n = [](int64_t v) { return static_cast<int>(v); };
  return {n(s.kernel[i]), n(s.stride[i]), n(-s.padding[i]), n(s.dilation[i]), 0, 1, n(s.in[i]), n(s.out[i]), 0, 1,
          n(s.out[i])};
}
/// Positions phase, phase + stride, ... of the input.
inline GatherAxis backward_axis(const Conv2dShape& s, size_t i, int64_t phase) {
  const auto n = [](int64_t v) { return static_cast<int>(v); };
  const int64_t stride = s.stride[i], reach = phase + s.padding[i], tap_step = stride / std::gcd(stride, s.dilation[i]);
  int64_t first = 0;
  while (first < std::min(tap_step, s.kernel[i]) && (reach - first * s.dilation[i]) % stride != 0) ++first;
  const bool none = first >= std::min(tap_step, s.kernel[i]);
  return {none ? 0 : n((s.kernel[i] - 1 - first) / tap_step + 1),
          1,
          n((reach - first * s.dilation[i]) / stride),
          n(-(tap_step * s.dilation[i] / stride)),
          n(first),
          n(tap_step),
          n(s.out[i]),
          n((s.in[i] - phase + stride - 1) / stride),
          n(phase),
          n(stride),
          n(s.in[i])};
}

inline Gather forward_gather(const Conv2dShape& s) {
  return {forward_axis(s, 0), forward_axis(s, 1), static_cast<int>(s.batch), static_cast<int>(s.in_channels),
          static_cast<int>(s.group_in())};
}
inline std::vector<Gather> backward_gathers(const Conv2dShape& s) {
  std::vector<Gather> all;
  for (int64_t h = 0; h < std::min(s.stride[0], s.in[0]); ++h)
    for (int64_t w = 0; w < std::min(s.stride[1], s.in[1]); ++w)
      all.push_back({backward_axis(s, 0, h), backward_axis(s, 1, w), static_cast<int>(s.batch),
                     static_cast<int>(s.out_channels), static_cast<int>(s.group_out())});
  return all;
}

/// Whether tensors (undefined ones aside) begin where pieces of 16 bytes do; views of others may not.
inline bool wide_aligned(std::initializer_list<const Tensor*> all) {
  return std::all_of(all.begin(), all.end(),
                     [](const Tensor* t) { return !t->defined() || reinterpret_cast<uintptr_t>(t->raw()) % 16 == 0; });
}

// The kernels of the tensor cores (bfloat16, one group); false when a shape or an address is not for them.
bool conv_mma_fits(const Conv2dShape& s);
bool conv_mma_forward(const Tensor& x, const Tensor& weight, Tensor& y, const Conv2dShape& s,
                      const Epilogue<bf16>& finish);
bool conv_mma_backward_input(const Tensor& dy, const Tensor& weight, Tensor& dx, const Conv2dShape& s);
bool conv_mma_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight, const Conv2dShape& s);
// The same in float32, where tf32() or tf32x3() allow it.
bool conv_tf32_forward(const Tensor& x, const Tensor& weight, Tensor& y, const Conv2dShape& s,
                       const Epilogue<float>& finish);
bool conv_tf32_backward_input(const Tensor& dy, const Tensor& weight, Tensor& dx, const Conv2dShape& s);
bool conv_tf32_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight, const Conv2dShape& s);

/// y[pixel, j] = finish(sum over k of gathered x[pixel, k] w[j, k]), j < n. All begin at multiples of 16 bytes.
void tf32_product(Device device, const char* op, const View<const float>& x, const View<const float>& w,
                  const View<float>& y, const Epilogue<float>& finish, const Gather& g, int n);
/// out[filters, depth] = sum over pixels of dy[pixel, filter] gathered x[pixel, k]; `filters` in units of 4.
void tf32_sum_of_pixels(Device device, const char* op, const View<const float>& dy, const View<const float>& x,
                        const Gather& g, int filters, float* out);

}  // namespace atlas::inline ATLAS_ABI::cuda
