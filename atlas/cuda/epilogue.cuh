// What a product or a convolution does with each result while it is still in a register.
#pragma once

#include "atlas/cuda/launch.cuh"
#include "atlas/kernels/functors.h"
#include "atlas/kernels/gemm_epilogue.h"

namespace atlas::inline ATLAS_ABI::cuda {

/// f(x) for the functions that can be fused. C is float or double. A call: inlined into unrolled loops over results, it
/// would fill the instruction cache.
template <class C>
__device__ __attribute__((noinline)) C activate(Activation f, C x) {
  switch (f) {
    case Activation::relu:
      return functors::Relu{}.forward(x);
    case Activation::gelu:
      return functors::Gelu{}.forward(x);
    case Activation::gelu_tanh:
      return functors::GeluTanh{}.forward(x);
    case Activation::silu:
      return functors::Silu{}.forward(x);
    case Activation::none:
      break;
  }
  return x;
}

/// f'(x), for the same.
template <class C>
__device__ __attribute__((noinline)) C activation_derivative(Activation f, C x) {
  switch (f) {
    case Activation::relu:
      return functors::Relu{}.derivative(x);  // from x or from the result: the sign is the same
    case Activation::gelu:
      return functors::Gelu{}.derivative(x);
    case Activation::gelu_tanh:
      return functors::GeluTanh{}.derivative(x);
    case Activation::silu:
      return functors::Silu{}.derivative(x);
    case Activation::none:
      break;
  }
  return C(1);
}

/// y = activation(v + bias[column]) + residual[index], of which each part may be missing.
template <class T>
struct Epilogue {
  View<const T> bias, residual;
  Activation activation = Activation::none;

  __device__ Compute<T> operator()(Compute<T> v, int64_t column, int64_t index) const {
    if (bias) v += load(bias[column]);
    if (activation != Activation::none) v = activate(activation, v);
    if (residual) v += load(residual[index]);
    return v;
  }
};

template <class T>
Epilogue<T> epilogue_of(const Tensor& bias, const Fused& fused) {
  return {view<const T>(bias), view<const T>(fused.residual), fused.activation};
}

}  // namespace atlas::inline ATLAS_ABI::cuda
