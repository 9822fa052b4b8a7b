// Kernels of the optimizers: one pass over parameters, their gradients and their state. They take lists, so that a GPU
// is started once for all parameters of a model. Operands of one entry are contiguous, of one dtype (float32 or
// float64) and of one length; results do not depend on the number of threads.
#pragma once

#include <span>
#include <vector>

#include "atlas/core/config.h"
#include "atlas/core/profile.h"
#include "atlas/kernels/optim_step.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

/// One parameter of an update.
struct ParameterUpdate {
  Tensor p, g;
  Tensor first, second;  ///< state: SGD's momentum (undefined without), or the moments m and v
  double lr, weight_decay;
  int64_t step;  ///< of this parameter, counted from 1
};
/// Two tensors that are worked on together.
struct TensorPair {
  Tensor a, b;
};

template <class F>
void for_each_operand(const ParameterUpdate& u, const F& f) {
  for (const Tensor* t : {&u.p, &u.g, &u.first, &u.second}) f(*t);
}
template <class F>
void for_each_operand(const TensorPair& t, const F& f) {
  f(t.a);
  f(t.b);
}
template <class Item, class F>
void for_each_operand(const std::span<Item>& list, const F& f) {
  for (const auto& item : list) for_each_operand(item, f);
}

namespace cpu {
void sgd_update(ParameterUpdate& u, const SgdStep& s);
void adam_update(ParameterUpdate& u, const AdamStep& s);
void lamb_update(ParameterUpdate& u, const AdamStep& s);
void ema_update(Tensor& average, const Tensor& x, double decay);
void swap_values(Tensor& a, Tensor& b);
double sum_of_squares(const Tensor& x);
}  // namespace cpu
namespace cuda {  // in atlas/cuda/optim.cu; entries of a list share device and dtype
void sgd_update(std::span<ParameterUpdate> list, const SgdStep& s);
void adam_update(std::span<ParameterUpdate> list, const AdamStep& s);
void lamb_update(std::span<ParameterUpdate> list, const AdamStep& s);
void ema_update(std::span<TensorPair> list, double decay);
void swap_values(std::span<TensorPair> list);
double sum_of_squares(std::span<const Tensor> list);
/// The same, left on the device in total, float64 of one element: nobody waits.
void sum_of_squares(std::span<const Tensor> list, Tensor& total);
void scale(std::span<Tensor> list, double factor);
/// Multiplies by min(1, max_norm / (√total + 1e-6)), with the sum of squares that is on the device: nobody waits.
void scale_to_norm(std::span<Tensor> list, const Tensor& total, double max_norm);
}  // namespace cuda

namespace kernels {

namespace detail {

inline const Tensor& leader(const ParameterUpdate& u) { return u.p; }
inline const Tensor& leader(const TensorPair& t) { return t.a; }
inline const Tensor& leader(const Tensor& t) { return t; }

/// Calls on_device(part) for stretches of the list that are on one CUDA device and of one dtype, and on_host(entry) for
/// the rest.
template <class Item, class Device, class Host>
void for_each_stretch(const char* op, std::span<Item> list, const Device& on_device, const Host& on_host) {
  for (size_t begin = 0, end; begin < list.size(); begin = end) {
    const Tensor& first = leader(list[begin]);
    end = begin + 1;
    if constexpr (kWithCuda) {
      if (first.device().is_cuda()) {
        const auto alike = [&](const Tensor& t) { return t.device() == first.device() && t.dtype() == first.dtype(); };
        while (end < list.size() && alike(leader(list[end]))) ++end;
        const auto part = list.subspan(begin, end - begin);
        const ProfileScope profile(op, 0, part);
        on_device(part);
        continue;
      }
    }
    const ProfileScope profile(op, 0, list.subspan(begin, 1));
    on_host(list[begin]);
  }
}

}  // namespace detail

/// buffer = momentum buffer + g', p -= lr (buffer, or g' + momentum buffer for Nesterov), with g' = g + weight_decay p.
inline void sgd_update(std::span<ParameterUpdate> list, const SgdStep& s) {
  detail::for_each_stretch(
      "SGD", list, [&](auto part) { cuda::sgd_update(part, s); }, [&](ParameterUpdate& u) { cpu::sgd_update(u, s); });
}
/// Moments m, v and p -= lr m̂ / (√v̂ + eps), decay on the weight or on the gradient.
inline void adam_update(std::span<ParameterUpdate> list, const AdamStep& s) {
  detail::for_each_stretch(
      "Adam", list, [&](auto part) { cuda::adam_update(part, s); },
      [&](ParameterUpdate& u) { cpu::adam_update(u, s); });
}
/// Moments m, v and p -= lr r d, with d = m̂ / (√v̂ + eps) + weight_decay p and the trust ratio r = |p| / |d|.
inline void lamb_update(std::span<ParameterUpdate> list, const AdamStep& s) {
  detail::for_each_stretch(
      "LAMB", list, [&](auto part) { cuda::lamb_update(part, s); },
      [&](ParameterUpdate& u) { cpu::lamb_update(u, s); });
}
/// a = decay a + (1 - decay) b: averages a of values b.
inline void ema_update(std::span<TensorPair> list, double decay) {
  detail::for_each_stretch(
      "Ema", list, [&](auto part) { cuda::ema_update(part, decay); },
      [&](TensorPair& t) { cpu::ema_update(t.a, t.b, decay); });
}
/// Exchanges the elements of contiguous tensors of one dtype (any) and size.
inline void swap_values(std::span<TensorPair> list) {
  detail::for_each_stretch(
      "swap", list, [&](auto part) { cuda::swap_values(part); }, [&](TensorPair& t) { cpu::swap_values(t.a, t.b); });
}
/// Σ x² over all tensors, accumulated in float64.
inline double sum_of_squares(std::span<const Tensor> list) {
  double total = 0;
  detail::for_each_stretch(
      "sum_of_squares", list, [&](auto part) { total += cuda::sum_of_squares(part); },
      [&](const Tensor& x) { total += cpu::sum_of_squares(x); });
  return total;
}
inline double sum_of_squares(const Tensor& x) { return sum_of_squares(std::span(&x, 1)); }
/// x *= factor, in place.
inline void scale(std::span<Tensor> list, double factor) {
  detail::for_each_stretch(
      "mul_", list, [&](auto part) { cuda::scale(part, factor); }, [&](Tensor& x) { scale_elements(x, factor); });
}

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/cpu/optim-inl.h"
#endif
