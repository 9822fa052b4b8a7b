// The weight gradient of convolution, and products whose sum runs down both operands, in float32 on tensor cores:
// conv_mma_weight.cuh has the kernel, multiply.cuh how float32 is multiplied.
#include "atlas/cuda/conv_mma_weight.cuh"
#include "atlas/kernels/gemm.h"

namespace atlas::inline ATLAS_ABI::cuda {

void tf32_sum_of_pixels(Device device, const char* op, const View<const float>& dy, const View<const float>& x,
                        const Gather& g, int filters, float* out) {
  const auto visit = [&](auto of_pieces) {
    constexpr std::integral_constant<int, 4> kFour;
    if (g.count % 4 == 0 && g.channels % 4 == 0)
      of_pieces(kFour, kFour);
    else
      of_pieces(kFour, std::integral_constant<int, 1>{});  // images
  };
  tf32() ? run_conv_weight<float, OneProduct>(device, op, dy, x, g, filters, out, visit)
         : run_conv_weight<float, ThreeProducts>(device, op, dy, x, g, filters, out, visit);
}

bool conv_tf32_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight, const Conv2dShape& s) {
  if (!(tf32() || tf32x3()) || s.out_pixels() == 0 || s.out_channels % 4 != 0) return false;
  if (!conv_mma_fits(s) || !wide_aligned({&x, &dy})) return false;
  tf32_sum_of_pixels(x.device(), "conv2d", view<const float>(dy), view<const float>(x), forward_gather(s),
                     static_cast<int>(s.out_channels), dweight.data<float>());
  return true;
}

}  // namespace atlas::inline ATLAS_ABI::cuda
