// CUDA bodies of tensor/memory.h: copies between any devices, types and layouts; fill, add and scale in place.
#include <cmath>
#include <cstring>

#include "atlas/cuda/elements.cuh"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

struct Same {
  template <class T>
  __device__ T operator()(T x) const {
    return x;
  }
};
template <class T>
struct Fill {
  T value;
  __device__ T operator()() const { return value; }
};
template <class To, class From>
struct Convert {
  __device__ To operator()(From x) const {
    if constexpr (std::is_same_v<To, bf16>)
      return store<bf16>(convert<float>(x));
    else
      return convert<To>(x);
  }
};

/// y = x for two types chosen at run time: one kernel for each type of y, in which the type of x is a branch that all
/// threads take alike.
template <class To>
__global__ void convert_kernel(Layout<2> layout, int64_t n, View<To> y, DType from, const void* x) {
  int64_t o[2];
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    layout.offsets(i, o);
    const auto read = [&](auto tag) { return convert<To>(static_cast<const decltype(tag)*>(x)[o[1]]); };
    To v{};
    switch (from) {
      case DType::float32:
        v = read(float{});
        break;
      case DType::float64:
        v = read(double{});
        break;
      case DType::bfloat16:
        v = read(bf16{});
        break;
      case DType::float16:
        v = read(half{});
        break;
      case DType::int64:
        v = read(int64_t{});
        break;
      case DType::uint8:
        v = read(uint8_t{});
        break;
      case DType::boolean:
        v = read(bool{});
        break;
    }
    y[o[0]] = v;
  }
}

/// Both on one device; src broadcasts.
void copy_on_device(const Tensor& dst, const Tensor& src) {
  const DType to = dst.dtype(), from = src.dtype();
  if (to == from) {
    if (dst.shape() == src.shape() && dst.is_contiguous() && src.is_contiguous())
      return copy_bytes(dst.raw(), dst.device(), src.raw(), src.device(), dst.numel() * item_size(to));
    return visit_bits(to, [&](auto tag) { map<decltype(tag), decltype(tag)>("copy", Same{}, dst, src); });
  }
  // The conversions of mixed precision and of pictures are wide; the others are rare.
  if (to == bfloat16 && from == float32) return map<bf16, float>("copy", Convert<bf16, float>{}, dst, src);
  if (to == float32 && from == bfloat16) return map<float, bf16>("copy", Convert<float, bf16>{}, dst, src);
  if (to == float32 && from == uint8) return map<float, uint8_t>("copy", Convert<float, uint8_t>{}, dst, src);
  const int64_t n = dst.numel();
  const Layout<2> layout(dst.shape(), {dst.strides(), broadcast_strides(src.shape(), src.strides(), dst.shape())});
  visit_any(to, [&](auto tag) {
    launch({dst.device(), "copy", blocks_for(n, 256), 256, 0, true}, convert_kernel<decltype(tag)>, layout, n,
           view<decltype(tag)>(dst), from, static_cast<const void*>(src.raw()));
  });
}

/// t itself where it is contiguous, else a contiguous copy on its device.
Tensor packed(const Tensor& t) { return t.is_contiguous() ? t : copy_of(t); }

}  // namespace

void copy_elements(Tensor& dst, const Tensor& src) {
  if (dst.numel() == 0) return;
  if (dst.device() == src.device()) return copy_on_device(dst, src);
  // Between devices the elements travel as they are, without gaps and repetitions; the rest is done where they arrive.
  const Tensor from = packed(src);
  const bool direct = dst.dtype() == from.dtype() && dst.shape() == from.shape() && dst.is_contiguous();
  Tensor arrived = direct ? dst : empty(from.shape(), from.dtype(), dst.device());
  copy_bytes(arrived.raw(), dst.device(), from.raw(), from.device(), from.numel() * item_size(from.dtype()));
  if (!direct) atlas::copy_elements(dst, arrived);
}

void fill_elements(Tensor& dst, double value) {
  if (dst.numel() == 0) return;
  const uint64_t bits = bits_of(dst.dtype(), value);
  if (bits == 0 && dst.is_contiguous())
    return fill_bytes(dst.device(), dst.raw(), 0, dst.numel() * item_size(dst.dtype()));
  visit_bits(dst.dtype(), [&](auto tag) {
    using T = decltype(tag);
    map<T>("fill", Fill<T>{static_cast<T>(bits)}, dst);
  });
}

namespace {

template <class T>
using Factor = std::conditional_t<std::is_integral_v<T>, int64_t, Arithmetic<T>>;

template <class T>
struct AddScaled {
  Factor<T> alpha;
  __device__ T operator()(T y, T x) const {
    return element<T>(Arithmetic<T>(Factor<T>(Arithmetic<T>(y)) + alpha * Arithmetic<T>(x)));
  }
};
template <class T>
struct Scale {
  Factor<T> factor;
  __device__ T operator()(T y) const { return element<T>(Arithmetic<T>(Arithmetic<T>(y) * factor)); }
};

}  // namespace

void add_elements(Tensor& dst, const Tensor& src, double alpha) {
  visit_element<true>(dst, "add_", [&](auto tag) {
    using T = decltype(tag);
    map<T, T, T>("add_", AddScaled<T>{convert<Factor<T>>(alpha)}, dst, dst, src);
  });
}

void scale_elements(Tensor& dst, double by) {
  visit_element<true>(dst, "mul_", [&](auto tag) {
    using T = decltype(tag);
    map<T, T>("mul_", Scale<T>{convert<Factor<T>>(by)}, dst, dst);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
