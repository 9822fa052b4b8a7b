// The weight gradient of convolution on tensor cores, bfloat16: conv_mma_weight.cuh has the kernel.
#include "atlas/cuda/conv_mma_weight.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

bool conv_mma_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight, const Conv2dShape& s) {
  if (s.out_pixels() == 0 || !conv_mma_fits(s) || !wide_aligned({&x, &dy})) return false;
  const auto into = [&](auto* out) {
    run_conv_weight<bf16, bf16>(x.device(), "conv2d", view<const bf16>(dy), view<const bf16>(x), forward_gather(s),
                                static_cast<int>(s.out_channels), out, [&](auto of_pieces) {
                                  constexpr std::integral_constant<int, 8> kEight;
                                  constexpr std::integral_constant<int, 4> kFour;
                                  constexpr std::integral_constant<int, 1> kOne;
                                  const int64_t both = std::gcd(s.in_channels, s.out_channels);
                                  if (both % 8 == 0)
                                    of_pieces(kEight, kEight);
                                  else if (both % 4 == 0)
                                    of_pieces(kFour, kFour);
                                  else if (s.out_channels % 8 == 0)
                                    of_pieces(kEight, kOne);  // images
                                  else
                                    of_pieces(kOne, kOne);
                                });
  };
  dweight.dtype() == DType::float32 ? into(dweight.data<float>()) : into(dweight.data<bf16>());
  return true;
}

}  // namespace atlas::inline ATLAS_ABI::cuda
