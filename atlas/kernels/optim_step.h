// The update rules of the optimizers for one element, shared by the CPU and CUDA. Coefficients are worked out in
// float64 once and used in the tensor's type, as PyTorch does.
#pragma once

#include <cmath>
#include <cstdint>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// Settings of SGD that all tensors of a list share. `momentum` 0 means that there is no buffer.
struct SgdStep {
  double momentum;
  bool nesterov;
};

/// Settings of Adam, AdamW and LAMB that all tensors of a list share.
struct AdamStep {
  double beta1, beta2, eps;
  bool decoupled;         // decay acts on the weight (AdamW) rather than on the gradient (Adam); LAMB ignores it
  double gradient_scale;  // the gradient is multiplied by this first (LAMB)
};

/// buffer = momentum buffer + g', p -= lr (buffer, or g' + momentum buffer for Nesterov), with g' = g + decay p.
template <class T>
struct SgdCoefficients {
  SgdCoefficients() = default;
  SgdCoefficients(const SgdStep& s, double rate, double weight_decay)
      : lr(static_cast<T>(rate)), decay(static_cast<T>(weight_decay)), momentum(static_cast<T>(s.momentum)) {}
  bool operator==(const SgdCoefficients&) const = default;
  T lr, decay, momentum;

  ATLAS_HOST_DEVICE void plain(T& w, T g) const { w -= lr * (g + decay * w); }
  ATLAS_HOST_DEVICE void heavy_ball(T& w, T g, T& buffer) const {
    buffer = momentum * buffer + (g + decay * w);
    w -= lr * buffer;
  }
  ATLAS_HOST_DEVICE void nesterov(T& w, T g, T& buffer) const {
    const T d = g + decay * w;
    buffer = momentum * buffer + d;
    w -= lr * (d + momentum * buffer);
  }
};

/// Moments m, v and p -= lr m̂ / (√v̂ + eps), decay on the weight or on the gradient; LAMB's direction is
/// m̂ / (√v̂ + eps) + decay p.
template <class T>
struct AdamCoefficients {
  AdamCoefficients() = default;
  AdamCoefficients(const AdamStep& s, double learning_rate, double weight_decay, int64_t step)
      : b1(static_cast<T>(s.beta1)),
        c1(static_cast<T>(1 - s.beta1)),
        b2(static_cast<T>(s.beta2)),
        c2(static_cast<T>(1 - s.beta2)),
        correction1(static_cast<T>(1 - std::pow(s.beta1, static_cast<double>(step)))),
        root2(static_cast<T>(std::sqrt(1 - std::pow(s.beta2, static_cast<double>(step))))),
        eps(static_cast<T>(s.eps)),
        decay(static_cast<T>(weight_decay)),
        scale(static_cast<T>(s.gradient_scale)),
        keep(static_cast<T>(s.decoupled ? 1 - learning_rate * weight_decay : 1)),
        coupled(static_cast<T>(s.decoupled ? 0 : weight_decay)),
        rate(static_cast<T>(learning_rate / (1 - std::pow(s.beta1, static_cast<double>(step))))),
        lr(learning_rate) {}
  bool operator==(const AdamCoefficients&) const = default;
  T b1, c1, b2, c2, correction1, root2, eps, decay, scale;
  T keep, coupled, rate;  // AdamW's 1 - lr decay, Adam's decay, the learning rate over m's bias correction
  double lr;

  ATLAS_HOST_DEVICE void moments(T g, T& m, T& v) const {
    m = b1 * m + c1 * g;
    v = b2 * v + c2 * g * g;
  }
  ATLAS_HOST_DEVICE void adam(T& w, T g, T& m, T& v) const {
    moments(scale * g + coupled * w, m, v);
    w = keep * w - rate * m / (std::sqrt(v) / root2 + eps);
  }
  ATLAS_HOST_DEVICE T lamb_direction(T w, T m, T v) const {
    return m / correction1 / (std::sqrt(v) / root2 + eps) + decay * w;
  }
};

/// LAMB's trust ratio |p| / |d| from the squares; 1 where either is zero, and without decay.
ATLAS_HOST_DEVICE inline double lamb_trust(double squares_p, double squares_d, bool decays) {
  return decays && squares_p > 0 && squares_d > 0 ? std::sqrt(squares_p) / std::sqrt(squares_d) : 1;
}

template <class T>
ATLAS_HOST_DEVICE inline void ema_step(T& average, T x, T keep, T take) {
  average = keep * average + take * x;
}

}  // namespace atlas::inline ATLAS_ABI
