// CUDA kernels of kernels/reduce.h, and sum_to of tensor/memory.h.
#include "atlas/cuda/elements.cuh"
#include "atlas/cuda/reduce.cuh"
#include "atlas/kernels/reduce.h"
#include "atlas/kernels/reducers.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

/// x contiguous [outer, n, inner], y contiguous [outer, inner].
template <class T, class R>
void reduce_axis(const char* op, R r, const Tensor& x, int64_t n, int64_t inner, const Tensor& y) {
  const int64_t outer = y.numel() / inner;
  if (y.numel() > 0) reduce<T>(op, r, x, y, {outer, inner}, {inner, 1}, {n * inner, 1}, {n}, {inner});
}

/// The extreme of bfloat16 elements, compared as floats: the result is one of them.
template <class F>
struct ExtremeOf16 {
  using Acc = float;
  using Out = bf16;
  using Wide = ExtremeOf<F, float>;
  __device__ static float init() { return Wide::init(); }
  __device__ static float add(float a, bf16 x) { return Wide::add(a, static_cast<float>(x)); }
  __device__ static float merge(float a, float b) { return Wide::merge(a, b); }
  __device__ static bf16 finish(float a) { return bf16(a); }
};

}  // namespace

void sum_forward(const Tensor& x, int64_t n, int64_t inner, double scale, Tensor& y) {
  const auto run = [&](auto tag) { reduce_axis<decltype(tag)>("sum", SumOf<decltype(tag)>{scale}, x, n, inner, y); };
  if (x.dtype() == boolean)
    run(bool{});
  else
    visit_element<true>(x, "sum", run);
}

template <class F>
void extreme_forward(F, const Tensor& x, int64_t n, int64_t inner, Tensor& y) {
  visit_element<true>(x, F::kName, [&](auto tag) {
    using T = decltype(tag);
    if constexpr (std::is_same_v<T, bf16>)
      reduce_axis<T>(F::kName, ExtremeOf16<F>{}, x, n, inner, y);
    else
      reduce_axis<T>(F::kName, ExtremeOf<F, T>{}, x, n, inner, y);
  });
}
template void extreme_forward(functors::Maximum, const Tensor&, int64_t, int64_t, Tensor&);
template void extreme_forward(functors::Minimum, const Tensor&, int64_t, int64_t, Tensor&);

void sum_to_elements(Tensor& dst, const Tensor& src) {
  Shape kept, kept_dst, kept_src, gone, gone_src;
  const int shift = src.dim() - dst.dim();
  for (int i = 0; i < src.dim(); ++i) {
    const int64_t n = src.shape()[i];
    if (n == 1) continue;
    const bool stays = i >= shift && dst.shape()[i - shift] != 1;
    (stays ? kept : gone).push_back(n);
    (stays ? kept_src : gone_src).push_back(src.strides()[i]);
    if (stays) kept_dst.push_back(dst.strides()[i - shift]);
  }
  visit_cuda_float(dst, "sum_to", [&](auto tag) {
    using T = decltype(tag);
    reduce<T>("sum_to", SumOf<T>{1}, src, dst, kept, kept_dst, kept_src, gone, gone_src);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
