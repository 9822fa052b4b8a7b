// CUDA kernels of kernels/select.h: elements are only moved, so their size is all that counts.
#include "atlas/cuda/elements.cuh"
#include "atlas/kernels/select.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

template <class T>
struct Where {
  __device__ T operator()(uint8_t c, T a, T b) const { return c != 0 ? a : b; }
};
template <class T>
struct MaskedFill {
  T value;
  uint8_t when;
  __device__ T operator()(T x, uint8_t mask) const { return mask == when ? value : x; }
};

}  // namespace

void where_forward(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  visit_bits(y.dtype(), [&](auto tag) {
    using T = decltype(tag);
    map<T, uint8_t, T, T>("where", Where<T>{}, y, condition, a, b);
  });
}

void masked_fill(const Tensor& x, const Tensor& mask, bool when, double value, Tensor& y) {
  const uint64_t bits = bits_of(y.dtype(), value);
  visit_bits(y.dtype(), [&](auto tag) {
    using T = decltype(tag);
    map<T, T, uint8_t>("masked_fill", MaskedFill<T>{static_cast<T>(bits), when ? uint8_t{1} : uint8_t{0}}, y, x, mask);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
