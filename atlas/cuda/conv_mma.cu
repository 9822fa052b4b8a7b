// Convolution on tensor cores, bfloat16: forward and input gradient. conv_mma.cuh has the kernel; conv_hopper.cu comes
// before it where the device is of compute capability 9.0.
#include "atlas/cuda/conv_hopper.cuh"
#include "atlas/cuda/conv_mma.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

void run(Device device, const View<const bf16>& x, const View<const bf16>& w, const View<bf16>& y,
         const Epilogue<bf16>& finish, const Gather& g, int n) {
  if (g.pixels() == 0 || conv_hopper(device, x, w, y, finish, g, n)) return;
  run_conv_mma<bf16, bf16>(device, "conv2d", x, w, y, finish, g, n);
}

}  // namespace

bool conv_mma_fits(const Conv2dShape& s) {
  return s.groups == 1 && s.kernel[0] * s.kernel[1] <= kMostTaps &&
         s.depth() * s.out_channels < (int64_t{1} << 31) - (1 << 16) &&
         // Distances between taps are counted in 32 bits.
         s.in[0] * s.in[1] * s.in_channels < (int64_t{1} << 30) &&
         s.out[0] * s.out[1] * s.out_channels < (int64_t{1} << 30) && s.kernel[0] * s.dilation[0] < (1 << 15) &&
         s.kernel[1] * s.dilation[1] < (1 << 15);
}

bool conv_mma_forward(const Tensor& x, const Tensor& weight, Tensor& y, const Conv2dShape& s,
                      const Epilogue<bf16>& finish) {
  if (!conv_mma_fits(s) || !wide_aligned({&x, &weight, &y})) return false;
  if (reinterpret_cast<uintptr_t>(finish.residual.p) % 16 != 0) return false;
  run(x.device(), view<const bf16>(x), view<const bf16>(weight), view<bf16>(y), finish, forward_gather(s),
      static_cast<int>(s.out_channels));
  return true;
}

bool conv_mma_backward_input(const Tensor& dy, const Tensor& weight, Tensor& dx, const Conv2dShape& s) {
  if (!conv_mma_fits(s) || !wide_aligned({&dy, &dx})) return false;
  run_phases<bf16>(weight, s, [&](const View<const bf16>& filters, const Gather& g) {
    run(dy.device(), view<const bf16>(dy), filters, view<bf16>(dx), {}, g, static_cast<int>(s.in_channels));
  });
  return true;
}

}  // namespace atlas::inline ATLAS_ABI::cuda
