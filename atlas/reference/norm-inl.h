// The plain kernels of layer norm and batch norm.
#pragma once

#include "atlas/kernels/norm.h"
#include "atlas/reference/batch_norm.h"
#include "atlas/reference/elements.h"
#include "atlas/reference/layer_norm.h"

namespace atlas::inline ATLAS_ABI::cpu::plain {

/// Rows of `channels` numbers in x.
inline int64_t rows_of(const Tensor& x, int64_t channels) { return channels == 0 ? 0 : x.numel() / channels; }
/// What the type of the means lost of them, where they come with it.
template <class T>
const T* rest_of(const Tensor& mean, int64_t channels) {
  return mean.numel() > channels ? pointer<T>(mean) + channels : nullptr;
}

ATLAS_INLINE void layer_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y,
                                     Tensor& mean, Tensor& rstd) {
  visit_float(x, "layer_norm", [&](auto tag) {
    using T = decltype(tag);
    const int64_t channels = weight.numel();
    reference::layer_norm<T>(rows_of(x, channels), channels, pointer<T>(x), pointer<T>(weight), pointer<T>(bias), eps,
                             pointer<T>(y), pointer<T>(mean), pointer<T>(rstd));
  });
}
ATLAS_INLINE void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                                      const Tensor& dy, Tensor& dx, Tensor& dweight, Tensor& dbias, bool add) {
  visit_float(x, "layer_norm", [&](auto tag) {
    using T = decltype(tag);
    const int64_t channels = weight.numel();
    std::vector<T> part(static_cast<size_t>(x.numel()));
    reference::layer_norm_backward<T>(rows_of(x, channels), channels, pointer<T>(x), pointer<T>(weight),
                                      pointer<T>(rstd), pointer<T>(dy), part.data(), pointer<T>(dweight),
                                      pointer<T>(dbias));
    T* to = pointer<T>(dx);
    for (size_t i = 0; i < part.size(); ++i) to[i] = add ? to[i] + part[i] : part[i];
  });
  static_cast<void>(mean);  // which it takes again
}
ATLAS_INLINE void batch_norm_statistics(const Tensor& x, Tensor& mean, Tensor& var) {
  visit_float(x, "batch_norm", [&](auto tag) {
    using T = decltype(tag);
    const int64_t channels = var.numel();
    reference::batch_norm_statistics<T>(rows_of(x, channels), channels, pointer<T>(x), mean.numel() > channels,
                                        pointer<T>(mean), pointer<T>(var));
  });
}
ATLAS_INLINE void batch_norm_forward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                                     const Tensor& bias, Activation activation, Tensor& y) {
  visit_float(x, "batch_norm", [&](auto tag) {
    using T = decltype(tag);
    const int64_t channels = rstd.numel();
    reference::batch_norm<T>(rows_of(x, channels), channels, pointer<T>(x), pointer<T>(mean),
                             rest_of<T>(mean, channels), pointer<T>(rstd), pointer<T>(weight), pointer<T>(bias),
                             activation, pointer<T>(y));
  });
}
ATLAS_INLINE void batch_norm_backward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                                      const Tensor& bias, Activation activation, const Tensor& dy,
                                      bool batch_statistics, Tensor& dx, Tensor& dweight, Tensor& dbias) {
  visit_float(x, "batch_norm", [&](auto tag) {
    using T = decltype(tag);
    const int64_t channels = rstd.numel();
    reference::batch_norm_backward<T>(rows_of(x, channels), channels, pointer<T>(x), pointer<T>(mean),
                                      rest_of<T>(mean, channels), pointer<T>(rstd), pointer<T>(weight),
                                      pointer<T>(bias), activation, pointer<T>(dy), batch_statistics, pointer<T>(dx),
                                      pointer<T>(dweight), pointer<T>(dbias));
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu::plain
