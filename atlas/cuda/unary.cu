// CUDA kernels of kernels/unary.h: the functors the CPU uses, over atlas/cuda/map.cuh.
#include "atlas/cuda/elements.cuh"
#include "atlas/kernels/unary.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

template <class F, class T>
struct Forward {
  F f;
  __device__ T operator()(T x) const { return element<T>(f.forward(Arithmetic<T>(x))); }
};
template <class F, class T>
struct Backward {
  F f;
  __device__ T operator()(T v, T dy) const { return element<T>(Arithmetic<T>(dy) * f.derivative(Arithmetic<T>(v))); }
};

}  // namespace

template <class F>
void unary_forward(F f, const Tensor& x, Tensor& y) {
  visit_element<F::kIntegers>(x, F::kName, [&](auto tag) {
    using T = decltype(tag);
    map<T, T>(F::kName, Forward<F, T>{f}, y, x);
  });
}

template <class F>
void unary_backward(F f, const Tensor& v, const Tensor& dy, Tensor& dx) {
  visit_cuda_float(v, F::kName, [&](auto tag) {
    using T = decltype(tag);
    map<T, T, T>(F::kName, Backward<F, T>{f}, dx, v, dy);
  });
}

#define ATLAS_INSTANTIATE(F)                                        \
  template void unary_forward(functors::F, const Tensor&, Tensor&); \
  template void unary_backward(functors::F, const Tensor&, const Tensor&, Tensor&);
ATLAS_UNARY_FUNCTORS(ATLAS_INSTANTIATE)
#undef ATLAS_INSTANTIATE

}  // namespace atlas::inline ATLAS_ABI::cuda
