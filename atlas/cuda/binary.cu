// CUDA kernels of kernels/binary.h: the functors the CPU uses, over atlas/cuda/map.cuh.
#include "atlas/cuda/elements.cuh"
#include "atlas/kernels/binary.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

template <class F, class T>
using Result = std::conditional_t<F::kCompares, bool, T>;

/// What F's forward gives for elements of T, as an element.
template <class F, class T, class V>
__device__ Result<F, T> result(V v) {
  if constexpr (F::kCompares)
    return v;
  else
    return element<T>(v);
}

template <class F, class T>
struct Both {
  __device__ Result<F, T> operator()(T a, T b) const {
    return result<F, T>(F{}.forward(Arithmetic<T>(a), Arithmetic<T>(b)));
  }
};
/// f(a, s), or f(s, a).
template <class F, class T>
struct WithScalar {
  Arithmetic<T> s;
  bool scalar_first;
  __device__ Result<F, T> operator()(T x) const {
    const Arithmetic<T> a(x);
    return result<F, T>(scalar_first ? F{}.forward(s, a) : F{}.forward(a, s));
  }
};

}  // namespace

template <class F>
void binary_forward(F, const Tensor& a, const Tensor& b, Tensor& y) {
  visit_element<F::kIntegers>(a, F::kName, [&](auto tag) {
    using T = decltype(tag);
    map<Result<F, T>, T, T>(F::kName, Both<F, T>{}, y, a, b);
  });
}

template <class F>
void binary_scalar(F, const Tensor& a, double s, bool scalar_first, Tensor& y) {
  visit_element<F::kIntegers>(a, F::kName, [&](auto tag) {
    using T = decltype(tag);
    const auto scalar = Arithmetic<T>(convert<T>(s));  // it has the tensor's type, also where that is narrow
    map<Result<F, T>, T>(F::kName, WithScalar<F, T>{scalar, scalar_first}, y, a);
  });
}

#define ATLAS_INSTANTIATE(F)                                                        \
  template void binary_forward(functors::F, const Tensor&, const Tensor&, Tensor&); \
  template void binary_scalar(functors::F, const Tensor&, double, bool, Tensor&);
ATLAS_BINARY_FUNCTORS(ATLAS_INSTANTIATE)
#undef ATLAS_INSTANTIATE

}  // namespace atlas::inline ATLAS_ABI::cuda
