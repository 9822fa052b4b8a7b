// Convolution and products in float32 on tensor cores: conv_mma.cuh has the kernel, multiply.cuh how float32 is
// multiplied.
#include "atlas/cuda/conv_mma.cuh"
#include "atlas/kernels/gemm.h"

namespace atlas::inline ATLAS_ABI::cuda {

void tf32_product(Device device, const char* op, const View<const float>& x, const View<const float>& w,
                  const View<float>& y, const Epilogue<float>& finish, const Gather& g, int n) {
  if (g.pixels() == 0) return;
  tf32() ? run_conv_mma<float, OneProduct>(device, op, x, w, y, finish, g, n)
         : run_conv_mma<float, ThreeProducts>(device, op, x, w, y, finish, g, n);
}

bool conv_tf32_forward(const Tensor& x, const Tensor& weight, Tensor& y, const Conv2dShape& s,
                       const Epilogue<float>& finish) {
  if (!(tf32() || tf32x3()) || !conv_mma_fits(s) || !wide_aligned({&x, &weight, &y})) return false;
  if (reinterpret_cast<uintptr_t>(finish.residual.p) % 16 != 0) return false;
  tf32_product(x.device(), "conv2d", view<const float>(x), view<const float>(weight), view<float>(y), finish,
               forward_gather(s), static_cast<int>(s.out_channels));
  return true;
}

bool conv_tf32_backward_input(const Tensor& dy, const Tensor& weight, Tensor& dx, const Conv2dShape& s) {
  if (!(tf32() || tf32x3()) || !conv_mma_fits(s) || !wide_aligned({&dy, &dx})) return false;
  run_phases<float>(weight, s, [&](const View<const float>& filters, const Gather& g) {
    tf32_product(dy.device(), "conv2d", view<const float>(dy), filters, view<float>(dx), {}, g,
                 static_cast<int>(s.in_channels));
  });
  return true;
}

}  // namespace atlas::inline ATLAS_ABI::cuda
