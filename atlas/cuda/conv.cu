// Convolution: who computes what, and the plain kernels, which take any type, any groups and any dilation.
#include "atlas/cuda/conv.cuh"
#include "atlas/cuda/gemm.cuh"
#include "atlas/cuda/product.cuh"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

/// The gathered pixels as a matrix: pixels by (tap, channel). As the left operand of a product pixels lie across and
/// taps along the sum; as the right one it is the other way round.
template <class T, bool kPixelsAcross>
struct PatchOperand {
  View<const T> elements;
  Gather g;
  GatherDivisors by;
  PatchOperand(const View<const T>& elements_, const Gather& g_) : elements(elements_), g(g_), by(g_) {}

  /// Where tap (0, 0) would read, and the element of its first channel, counted from the first of this group.
  struct Pixel {
    int64_t at;
    int h, w;
  };
  struct Tap {
    int64_t at;
    int h, w;
  };
  using Outer = std::conditional_t<kPixelsAcross, Pixel, Tap>;
  __device__ bool contiguous_sum() const { return kPixelsAcross; }
  __device__ int64_t select(int64_t group) const { return group * g.count; }
  __device__ Outer outer(int64_t begin, int64_t i) const {
    if constexpr (kPixelsAcross)
      return pixel(begin, i);
    else
      return tap(begin, i);
  }
  __device__ auto inner(int64_t k) const {
    if constexpr (kPixelsAcross)
      return tap(0, k);
    else
      return pixel(0, k);
  }
  __device__ Pixel pixel(int64_t begin, int64_t i) const {
    const uint32_t at = static_cast<uint32_t>(i), line = by.w_grid(at), image = by.h_grid(line);
    const int h = static_cast<int>(line - image * by.h_grid.d) * g.h.mult + g.h.offset;
    const int w = static_cast<int>(at - line * by.w_grid.d) * g.w.mult + g.w.offset;
    return {begin + ((int64_t{image} * g.h.source + h) * g.w.source + w) * g.channels, h, w};
  }
  __device__ Tap tap(int64_t begin, int64_t k) const {
    const uint32_t at = static_cast<uint32_t>(k), both = by.count(at), line = by.taps_w(both);
    const int h = static_cast<int>(line) * g.h.step, w = static_cast<int>(both - line * by.taps_w.d) * g.w.step;
    return {begin + (int64_t{h} * g.w.source + w) * g.channels + (at - both * by.count.d), h, w};
  }
  template <int kCount>
  __device__ const T* at(const Pixel& p, const Tap& t) const {
    const int h = p.h + t.h, w = p.w + t.w;
    if (h < 0 || h >= g.h.source || w < 0 || w >= g.w.source) return nullptr;
    return elements.at(p.at + t.at, kCount);
  }
  template <int kCount>
  __device__ const T* at(const Tap& t, const Pixel& p) const {
    return at<kCount>(p, t);
  }
};

/// Filters [O,KH,KW,I/groups] as the right operand of a gather: (tap, channel) along the sum.
template <class T>
struct FilterOperand {
  View<const T> elements;
  Gather g;
  GatherDivisors by;
  int kernel_w;
  int64_t outer_step, channel_step, tap_step, group_step;  // steps of the column, the summed channel, a tap, a group

  using Outer = int64_t;
  __device__ bool contiguous_sum() const { return channel_step == 1; }
  __device__ int64_t select(int64_t group) const { return group * group_step; }
  __device__ int64_t outer(int64_t begin, int64_t j) const { return begin + j * outer_step; }
  __device__ int64_t inner(int64_t k) const {
    const uint32_t at = static_cast<uint32_t>(k), both = by.count(at), line = by.taps_w(both);
    const int h = g.h.first + static_cast<int>(line) * g.h.tap_step;
    const int w = g.w.first + static_cast<int>(both - line * by.taps_w.d) * g.w.tap_step;
    return int64_t{h * kernel_w + w} * tap_step + int64_t{at - both * by.count.d} * channel_step;
  }
  template <int kCount>
  __device__ const T* at(int64_t j, int64_t k) const {
    return elements.at(j + k, kCount);
  }
};

/// Finished results at the gather's targets; problems are groups of n channels.
template <class T>
struct StorePixels {
  View<T> to;
  Epilogue<T> finish;
  Gather g;
  int64_t channels, n;
  struct Row {
    int64_t at, column;
  };
  __device__ Row row(int64_t group, int64_t, int64_t i) const {
    return {g.target(static_cast<unsigned>(i)) * channels + group * n, group * n};
  }
  __device__ void put(Row row, int64_t j, Compute<T> v) const {
    to[row.at + j] = store<T>(finish(v, row.column + j, row.at + j));
  }
};

/// Kernels count pixels and taps in 32 bits.
void check_sizes(const Conv2dShape& s) {
  constexpr int64_t kMost = (int64_t{1} << 31) - 1;
  check(s.in_pixels() <= kMost && s.out_pixels() <= kMost && s.depth() <= kMost &&
            s.group_out() * s.kernel[0] * s.kernel[1] <= kMost && std::max(s.padding[0], s.padding[1]) <= kMost / 2,
        "conv2d", "{} images of {} x {} pixels are too many for one call on CUDA (at most 2^31 pixels)", s.batch,
        s.in[0], s.in[1]);
}

/// A convolution of one tap and no stride: rows of pixels times a matrix.
Gemm pointwise(Device device, DType dtype, const Conv2dShape& s) {
  return {.device = device,
          .dtype = dtype,
          .result = dtype,
          .op = "conv2d",
          .m = s.out_pixels(),
          .n = s.out_channels,
          .k = s.in_channels,
          .lda = s.in_channels,
          .ldb = s.in_channels};
}

/// Whether the channels of a group are read four at once, on both sides.
bool fours(const Conv2dShape& s) { return s.group_in() % 4 == 0 && s.group_out() % 4 == 0; }

}  // namespace

void conv2d_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y, const Conv2dShape& s,
                    const Fused& fused) {
  if (y.numel() == 0) return;
  check_sizes(s);
  if (s.pointwise() || x.numel() == 0) {  // of no pixels or no channels: a product of depth 0
    Gemm g = pointwise(x.device(), x.dtype(), s);
    if (x.numel() == 0) g.k = 0;
    g.trans_b = true;
    g.a = x.raw();
    g.b = weight.raw();
    g.c = y.raw();
    g.bias = bias ? bias.raw() : nullptr;
    g.residual = fused.residual ? fused.residual.raw() : nullptr;
    g.activation = fused.activation;
    return gemm(g);
  }
  if (x.dtype() == DType::bfloat16 && conv_mma_forward(x, weight, y, s, epilogue_of<bf16>(bias, fused))) return;
  if (x.dtype() == DType::float32 && conv_tf32_forward(x, weight, y, s, epilogue_of<float>(bias, fused))) return;
  visit_cuda_float(x, "conv2d", [&](auto tag) {
    using T = decltype(tag);
    const Gather g = forward_gather(s);
    const FilterOperand<T> filters{
        view<const T>(weight),    g, GatherDivisors(g), static_cast<int>(s.kernel[1]), s.depth(), 1, s.group_in(),
        s.group_out() * s.depth()};
    const StorePixels<T> to{view<T>(y), epilogue_of<T>(bias, fused), g, s.out_channels, s.group_out()};
    plain_product<T, std::is_same_v<T, float>>(x.device(), "conv2d", {g.pixels(), s.group_out(), g.depth(), s.groups},
                                               PatchOperand<T, true>(view<const T>(x), g), filters, to,
                                               s.group_in() % 4 == 0 && wide_aligned({&x, &weight}));
  });
}

void conv2d_backward_input(const Tensor& dy, const Tensor& weight, Tensor& dx, const Conv2dShape& s) {
  if (dx.numel() == 0) return;
  if (dy.numel() == 0) return atlas::fill_elements(dx, 0);
  check_sizes(s);
  if (s.pointwise()) {
    Gemm g = pointwise(dy.device(), dy.dtype(), s);
    std::swap(g.n, g.k);
    g.lda = s.out_channels;
    g.a = dy.raw();
    g.b = weight.raw();
    g.c = dx.raw();
    return gemm(g);
  }
  if (dy.dtype() == DType::bfloat16 && conv_mma_backward_input(dy, weight, dx, s)) return;
  if (dy.dtype() == DType::float32 && conv_tf32_backward_input(dy, weight, dx, s)) return;
  visit_cuda_float(dy, "conv2d", [&](auto tag) {
    using T = decltype(tag);
    for (const Gather& g : backward_gathers(s)) {
      const FilterOperand<T> filters{
          view<const T>(weight),    g, GatherDivisors(g), static_cast<int>(s.kernel[1]), 1, s.depth(), s.group_in(),
          s.group_out() * s.depth()};
      const StorePixels<T> to{view<T>(dx), {}, g, s.in_channels, s.group_in()};
      plain_product<T, std::is_same_v<T, float>>(dy.device(), "conv2d", {g.pixels(), s.group_in(), g.depth(), s.groups},
                                                 PatchOperand<T, true>(view<const T>(dy), g), filters, to,
                                                 fours(s) && wide_aligned({&dy, &weight}));
    }
  });
}

// dW[o, (tap, i)] = sum over pixels of dy[pixel, o] x[pixel at tap, i]: slices of the pixels have their own sums.
void conv2d_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight, const Conv2dShape& s) {
  if (dweight.numel() == 0) return;
  if (x.numel() == 0 || dy.numel() == 0) return atlas::fill_elements(dweight, 0);
  check_sizes(s);
  if (s.pointwise()) {
    Gemm g = pointwise(x.device(), x.dtype(), s);
    g.trans_a = true;
    g.m = s.out_channels;
    g.n = s.in_channels;
    g.k = s.out_pixels();
    g.lda = s.out_channels;
    g.a = dy.raw();
    g.b = x.raw();
    g.c = dweight.raw();
    g.result = dweight.dtype();
    return gemm(g);
  }
  if (x.dtype() == DType::bfloat16 && conv_mma_backward_weight(x, dy, dweight, s)) return;
  if (x.dtype() == DType::float32 && conv_tf32_backward_weight(x, dy, dweight, s)) return;
  visit_cuda_float(x, "conv2d", [&](auto tag) {
    using T = decltype(tag);
    const Gather g = forward_gather(s);
    const int64_t m = s.group_out(), n = s.depth(), count = dweight.numel();
    // Enough slices of at least 256 pixels for some blocks on each multiprocessor of a large card.
    const int64_t tiles = ((m + 63) / 64) * ((n + 63) / 64) * s.groups;
    ProductSize size{m, n, g.pixels(), s.groups};
    size.slices = std::max<int64_t>(1, std::min({g.pixels() / 256, 1056 / tiles, (int64_t{256} << 20) / (count * 8)}));
    Compute<T>* partial = workspace<Compute<T>>(x.device(), size.slices * count);
    MatrixOperand<T> left{view<const T>(dy), 1, s.out_channels, 1};
    left.size[0] = s.groups;
    left.step[0] = m;
    const StorePartial<Compute<T>> to{{partial, size.slices * count}, s.groups, m, n};
    plain_product<T, std::is_same_v<T, float>>(x.device(), "conv2d", size, left,
                                               PatchOperand<T, false>(view<const T>(x), g), to,
                                               fours(s) && wide_aligned({&x, &dy}));
    sum_slices(x.device(), "conv2d", partial, size.slices, dweight);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
