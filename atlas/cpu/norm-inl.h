// CPU kernels of layer norm and batch norm.
//
// Sums over rows are taken per fixed block of rows and combined in block order: the same bits for any number of
// threads.
#pragma once

#include <algorithm>
#include <cmath>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/cpu/row_reduce.h"
#include "atlas/kernels/functors.h"
#include "atlas/kernels/norm.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

// At most 64 partial sums per channel, each over at least `min_rows` rows.
inline int64_t piece_rows(int64_t rows, int64_t min_rows) { return std::max(min_rows, (rows + 63) / 64); }
inline int64_t rows_of(const Tensor& x, int64_t channels) { return channels == 0 ? 0 : x.numel() / channels; }
// Rows that stay in the first or second level cache between two passes, and make float sums short enough to be
// accurate.
inline int64_t block_rows(int64_t channels) {
  return std::clamp<int64_t>(16384 / std::max<int64_t>(channels, 1), 16, 256);
}

/// out0[c], out1[c] = sum over pieces of partial[piece][0 or 1][c].
template <class A, class T>
void combine(const A* partial, int64_t pieces, int64_t channels, T* out0, T* out1) {
  parallel_for(channels, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      double s0 = 0, s1 = 0;
      for (int64_t p = 0; p < pieces; ++p) {
        s0 += static_cast<double>(partial[2 * p * channels + c]);
        s1 += static_cast<double>(partial[(2 * p + 1) * channels + c]);
      }
      out0[c] = static_cast<T>(s0);
      out1[c] = static_cast<T>(s1);
    }
  });
}

/// Rows that are added up at a time: a sum is read and written once for all of them.
inline constexpr int64_t kRowsAtATime = 4;

/// sum[c] += f(row, c) for rows [begin, end), in their order.
template <class A, class F>
void add_rows(int64_t begin, int64_t end, int64_t channels, A* __restrict sum, const F& f) {
  int64_t r = begin;
  for (; r + kRowsAtATime <= end; r += kRowsAtATime)
    for (int64_t c = 0; c < channels; ++c) {
      A s = sum[c];
      for (int64_t i = 0; i < kRowsAtATime; ++i) s += f(r + i, c);
      sum[c] = s;
    }
  for (; r < end; ++r)
    for (int64_t c = 0; c < channels; ++c) sum[c] += f(r, c);
}

/// One row of layer_norm_backward, overwriting dx (or adding to it) and adding to dw and db. A function of its own,
/// because the compiler vectorizes a loop with this many pointers only when they are declared not to overlap as
/// parameters.
template <bool kAdd, class T>
void layer_norm_row_backward(const T* __restrict x, const T* __restrict dy, const T* __restrict w, int64_t channels,
                             T mean, T rest, T rstd, T mean_g, T mean_gx, T* __restrict dw, T* __restrict db,
                             T* __restrict dx) {
  for (int64_t i = 0; i < channels; ++i) {
    const T d = dy[i], xhat = (x[i] - mean - rest) * rstd;
    dw[i] += d * xhat;
    db[i] += d;
    const T part = rstd * (d * w[i] - mean_g - xhat * mean_gx);
    dx[i] = kAdd ? dx[i] + part : part;
  }
}

/// run(f) with the functor of an activation.
template <class F>
void with_activation(Activation activation, const F& run) {
  switch (activation) {
    case Activation::none:
      return run(functors::Identity{});
    case Activation::relu:
      return run(functors::Relu{});  // its derivative, written in the output, has the same value at the input
    case Activation::gelu:
      return run(functors::Gelu{});
    case Activation::gelu_tanh:
      return run(functors::GeluTanh{});
    case Activation::silu:
      return run(functors::Silu{});
  }
}

/// Per channel: a = rstd weight, and b = bias - rest a, with which (x - mean) a + b = (x - mean - rest) a + bias.
template <class T>
void fold(const Tensor& mean, const Tensor& rstd, const Tensor& weight, const Tensor& bias, T* a, T* b) {
  const int64_t channels = rstd.numel();
  const T *s = rstd.data<T>(), *w = weight.data<T>(), *given = bias.data<T>();
  const T* rest = mean.numel() > channels ? mean.data<T>() + channels : nullptr;
  for (int64_t c = 0; c < channels; ++c) {
    a[c] = s[c] * w[c];
    b[c] = rest != nullptr ? given[c] - rest[c] * a[c] : given[c];
  }
}

/// y = f((x - mean) scale + bias) for one row of channels; like layer_norm_row_backward() a function for its pointers.
template <class F, class T>
void normalize_row(F f, const T* __restrict x, const T* __restrict mean, const T* __restrict scale,
                   const T* __restrict bias, int64_t channels, T* __restrict y) {
  for (int64_t c = 0; c < channels; ++c) y[c] = f.forward((x[c] - mean[c]) * scale[c] + bias[c]);
}

/// dz = dy f'((x - mean) scale + bias)
template <class F, class T>
void activation_row(F f, const T* __restrict x, const T* __restrict mean, const T* __restrict scale,
                    const T* __restrict bias, const T* __restrict dy, int64_t channels, T* __restrict dz) {
  for (int64_t c = 0; c < channels; ++c) dz[c] = dy[c] * f.derivative((x[c] - mean[c]) * scale[c] + bias[c]);
}

}  // namespace detail

// A mean in T is off by up to half of its last digit, which is much when the deviations from it are small. Those are
// therefore taken in two steps, x - mean - rest, where rest is the mean of x - mean: no offset costs digits.
ATLAS_INLINE void layer_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y,
                                     Tensor& mean, Tensor& rstd) {
  const int64_t channels = weight.numel(), rows = detail::rows_of(x, channels);
  if (channels == 0) return;
  visit_float(x.dtype(), "layer_norm", [&](auto tag) {
    using T = decltype(tag);
    const T *xp = x.data<T>(), *w = weight.data<T>(), *b = bias.data<T>();
    T *yp = y.data<T>(), *mp = mean.data<T>(), *rp = rstd.data<T>();
    const T scale = T(1) / static_cast<T>(channels);
    parallel_for(rows, std::max<int64_t>(1, 16384 / channels), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* xr = xp + r * channels;
        T* __restrict yr = yp + r * channels;
        const T m = scale * row_sum<T>(channels, [&](int64_t i) { return xr[i]; });
        const auto [sum, squares] = row_sum2<T>(channels, [&](int64_t i) {
          const T d = xr[i] - m;
          return std::array<T, 2>{d, d * d};
        });
        const T rest = scale * sum, var = std::max(T(0), scale * squares - rest * rest);
        const T s = T(1) / std::sqrt(var + static_cast<T>(eps));
        for (int64_t i = 0; i < channels; ++i) yr[i] = (xr[i] - m - rest) * s * w[i] + b[i];
        mp[r] = m;
        rp[r] = s;
      }
    });
  });
}

// With xhat = (x - mean) rstd and g = dy weight, the mean over a row written as <.>:
//   d xhat / d x = rstd (I - 1/C - xhat xhat^T / C), so dx = rstd (g - <g> - xhat <g xhat>)
//   dweight = sum over rows of dy xhat, dbias = sum over rows of dy
ATLAS_INLINE void layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd,
                                      const Tensor& dy, Tensor& dx, Tensor& dweight, Tensor& dbias, bool add) {
  const int64_t channels = weight.numel(), rows = detail::rows_of(x, channels);
  if (channels == 0) return;
  const int64_t grain = detail::piece_rows(rows, std::max<int64_t>(1, 16384 / channels));
  const int64_t pieces = (rows + grain - 1) / grain;
  visit_float(x.dtype(), "layer_norm", [&](auto tag) {
    using T = decltype(tag);
    const T *xp = x.data<T>(), *w = weight.data<T>(), *mp = mean.data<T>(), *rp = rstd.data<T>(), *dyp = dy.data<T>();
    T* dxp = dx.data<T>();
    T* partial = workspace<T>(pieces * 2 * channels);
    const T scale = T(1) / static_cast<T>(channels);
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      T* dw = partial + begin / grain * 2 * channels;
      T* db = dw + channels;
      std::fill(dw, dw + 2 * channels, T(0));
      for (int64_t r = begin; r < end; ++r) {
        const T *xr = xp + r * channels, *dyr = dyp + r * channels;
        T* dxr = dxp + r * channels;
        const T m = mp[r], s = rp[r];
        const T rest = scale * row_sum<T>(channels, [&](int64_t i) { return xr[i] - m; });
        const auto [sum_g, sum_gx] = row_sum2<T>(channels, [&](int64_t i) {
          const T g = dyr[i] * w[i];
          return std::array<T, 2>{g, g * ((xr[i] - m - rest) * s)};
        });
        const T mean_g = scale * sum_g, mean_gx = scale * sum_gx;
        const auto row = add ? detail::layer_norm_row_backward<true, T> : detail::layer_norm_row_backward<false, T>;
        row(xr, dyr, w, channels, m, rest, s, mean_g, mean_gx, dw, db, dxr);
      }
    });
    detail::combine(partial, pieces, channels, dweight.data<T>(), dbias.data<T>());
  });
}

// Per block: the mean, then the squared deviations from it, both from cache. Blocks are merged in double by
//   n = na + nb, delta = mb - ma, m = ma + delta nb / n, M2 = M2a + M2b + delta^2 na nb / n
// (Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979).
ATLAS_INLINE void batch_norm_statistics(const Tensor& x, Tensor& mean, Tensor& var) {
  const int64_t channels = var.numel(), rows = detail::rows_of(x, channels);
  const int64_t block = detail::block_rows(channels), grain = detail::piece_rows(rows, block);
  const int64_t pieces = (rows + grain - 1) / grain;
  visit_float(x.dtype(), "batch_norm", [&](auto tag) {
    using T = decltype(tag);
    const T* xp = x.data<T>();
    double* partial = workspace<double>(pieces * 2 * channels);
    const auto merge = [channels](double* __restrict m, double* __restrict m2, int64_t na, const double* mb,
                                  const double* m2b, int64_t nb) {
      const double weight_b = static_cast<double>(nb) / static_cast<double>(na + nb);
      const double cross = weight_b * static_cast<double>(na);
      for (int64_t c = 0; c < channels; ++c) {
        const double delta = mb[c] - m[c];
        m[c] += delta * weight_b;
        m2[c] += m2b[c] + delta * delta * cross;
      }
    };
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      double* m = partial + begin / grain * 2 * channels;
      std::fill(m, m + 2 * channels, 0.0);
      T* __restrict near_mean = workspace<T>(2 * channels, 1);
      T* __restrict squares = near_mean + channels;
      double* __restrict block_mean = workspace<double>(2 * channels, 2);
      double* __restrict block_m2 = block_mean + channels;
      for (int64_t r0 = begin; r0 < end; r0 += block) {
        const int64_t r1 = std::min(end, r0 + block);
        std::fill(block_mean, block_mean + channels, 0.0);
        std::fill(squares, squares + channels, T(0));
        detail::add_rows(r0, r1, channels, block_mean,
                         [=](int64_t r, int64_t c) { return static_cast<double>(xp[r * channels + c]); });
        const double count = static_cast<double>(r1 - r0), scale = 1.0 / count;
        for (int64_t c = 0; c < channels; ++c) near_mean[c] = static_cast<T>(block_mean[c] *= scale);
        detail::add_rows(r0, r1, channels, squares, [=](int64_t r, int64_t c) {
          const T d = xp[r * channels + c] - near_mean[c];
          return d * d;
        });
        for (int64_t c = 0; c < channels; ++c) {
          const double off = static_cast<double>(near_mean[c]) - block_mean[c];
          block_m2[c] = std::max(0.0, static_cast<double>(squares[c]) - count * off * off);
        }
        merge(m, m + channels, r0 - begin, block_mean, block_m2, r1 - r0);
      }
    });
    for (int64_t p = 1; p < pieces; ++p) {
      const double* other = partial + p * 2 * channels;
      merge(partial, partial + channels, p * grain, other, other + channels, std::min(grain, rows - p * grain));
    }
    T *mp = mean.data<T>(), *vp = var.data<T>();
    const bool with_rest = mean.numel() > channels;
    for (int64_t c = 0; c < channels; ++c) {
      mp[c] = static_cast<T>(partial[c]);
      if (with_rest) mp[channels + c] = static_cast<T>(partial[c] - static_cast<double>(mp[c]));
      vp[c] = static_cast<T>(partial[channels + c] / static_cast<double>(rows));
    }
  });
}

ATLAS_INLINE void batch_norm_forward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                                     const Tensor& bias, Activation activation, Tensor& y) {
  const int64_t channels = rstd.numel(), rows = detail::rows_of(x, channels);
  detail::with_activation(activation, [&](auto f) {
    visit_float(x.dtype(), "batch_norm", [&](auto tag) {
      using T = decltype(tag);
      const T *xp = x.data<T>(), *m = mean.data<T>();
      T *yp = y.data<T>(), *scale = workspace<T>(2 * channels), *b = scale + channels;
      detail::fold(mean, rstd, weight, bias, scale, b);
      parallel_for(rows, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, channels)), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
          detail::normalize_row(f, xp + r * channels, m, scale, b, channels, yp + r * channels);
      });
    });
  });
}

// With z = xhat weight + bias, y = f(z) and dz = dy f'(z); as layer norm, with the means <.> over the rows of a
// channel:
//   dbias = sum dz, dweight = sum dz xhat, dx = weight rstd (dz - <dz> - xhat <dz xhat>)
// With constant statistics the two means vanish from dx. dz waits in dx for its means.
ATLAS_INLINE void batch_norm_backward(const Tensor& x, const Tensor& mean, const Tensor& rstd, const Tensor& weight,
                                      const Tensor& bias, Activation activation, const Tensor& dy,
                                      bool batch_statistics, Tensor& dx, Tensor& dweight, Tensor& dbias) {
  const int64_t channels = rstd.numel(), rows = detail::rows_of(x, channels);
  const int64_t block = detail::block_rows(channels), grain = detail::piece_rows(rows, block);
  const int64_t pieces = (rows + grain - 1) / grain;
  detail::with_activation(activation, [&](auto f) {
    visit_float(x.dtype(), "batch_norm", [&](auto tag) {
      using T = decltype(tag);
      const T *xp = x.data<T>(), *m = mean.data<T>(), *s = rstd.data<T>(), *dyp = dy.data<T>();
      const T* rest = mean.numel() > channels ? m + channels : nullptr;
      T *dxp = dx.data<T>(), *dw = dweight.data<T>(), *db = dbias.data<T>();
      constexpr bool kPlain = std::is_same_v<decltype(f), functors::Identity>;
      const T* dzp = kPlain ? dyp : dxp;
      double* partial = workspace<double>(pieces * 2 * channels);
      // dx = a (dz - <dz>) + k (x - mean), per channel.
      T* a = workspace<T>(4 * channels, 1);
      T *k = a + channels, *mean_dz = k + channels, *b = mean_dz + channels;
      detail::fold(mean, rstd, weight, bias, a, b);
      parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
        double* total = partial + begin / grain * 2 * channels;
        std::fill(total, total + 2 * channels, 0.0);
        // Sums in float64: where the mean of dz is all there is of it (a global average follows), dx is what they
        // leave.
        double* __restrict sum_dzx = total;
        double* __restrict sum_dz = total + channels;
        for (int64_t r0 = begin; r0 < end; r0 += detail::kRowsAtATime) {
          const int64_t r1 = std::min(end, r0 + detail::kRowsAtATime);
          if constexpr (!kPlain)
            for (int64_t r = r0; r < r1; ++r)
              detail::activation_row(f, xp + r * channels, m, a, b, dyp + r * channels, channels, dxp + r * channels);
          detail::add_rows(r0, r1, channels, sum_dzx, [=](int64_t r, int64_t c) {
            return static_cast<double>(dzp[r * channels + c] * (xp[r * channels + c] - m[c]));
          });
          detail::add_rows(r0, r1, channels, sum_dz,
                           [=](int64_t r, int64_t c) { return static_cast<double>(dzp[r * channels + c]); });
        }
      });
      detail::combine(partial, pieces, channels, dw, db);
      const T share = batch_statistics && rows > 0 ? T(1) / static_cast<T>(rows) : T(0);
      for (int64_t c = 0; c < channels; ++c) {
        double total_dz = 0;
        for (int64_t p = 0; p < pieces; ++p) total_dz += partial[(2 * p + 1) * channels + c];
        mean_dz[c] = batch_statistics && rows > 0 ? static_cast<T>(total_dz / static_cast<double>(rows)) : T(0);
        if (rest != nullptr) dw[c] -= rest[c] * static_cast<T>(total_dz);
        dw[c] *= s[c];
        k[c] = -a[c] * s[c] * dw[c] * share;
        if (rest != nullptr)
          mean_dz[c] -= s[c] * dw[c] * share * rest[c];  // k (x - mean - rest) = k (x - mean) - k rest
      }
      parallel_for(rows, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, channels)), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          const T* xr = xp + r * channels;
          if constexpr (kPlain) {
            const T* dyr = dyp + r * channels;
            T* __restrict dxr = dxp + r * channels;
            for (int64_t c = 0; c < channels; ++c) dxr[c] = a[c] * (dyr[c] - mean_dz[c]) + k[c] * (xr[c] - m[c]);
          } else {
            T* __restrict dxr = dxp + r * channels;
            for (int64_t c = 0; c < channels; ++c) dxr[c] = a[c] * (dxr[c] - mean_dz[c]) + k[c] * (xr[c] - m[c]);
          }
        }
      });
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
