// Activation functions and their derivatives, as formulas.
#pragma once

#include <cmath>

#include "atlas/kernels/gemm_epilogue.h"

namespace atlas::inline ATLAS_ABI::cpu::reference {

/// f(x).
///   relu:       max(x, 0), NaN for NaN
///   gelu:       x Φ(x) with Φ(x) = (1 + erf(x / √2)) / 2, the normal distribution function
///   gelu_tanh:  x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2
///   silu:       x σ(x) with σ(x) = 1 / (1 + e^-x)
inline double activation(Activation f, double x) {
  switch (f) {
    case Activation::none:
      return x;
    case Activation::relu:
      return x < 0 ? 0 : x;
    case Activation::gelu:
      return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case Activation::silu:
      return x / (1 + std::exp(-x));
  }
  return x;
}

/// f'(x).
///   gelu:       Φ(x) + x φ(x) with φ = Φ', the normal density e^(-x²/2) / √(2π)
///   gelu_tanh:  with t = tanh(u(x)): (1 + t) / 2 + x (1 - t²) u'(x) / 2
///   silu:       σ + x σ (1 - σ)
inline double activation_derivative(Activation f, double x) {
  constexpr double kPi = 3.14159265358979323846;
  switch (f) {
    case Activation::none:
      return 1;
    case Activation::relu:
      return x > 0 ? 1 : 0;
    case Activation::gelu:
      return 0.5 * std::erfc(-x / std::sqrt(2.0)) + x * std::exp(-0.5 * x * x) / std::sqrt(2 * kPi);
    case Activation::gelu_tanh: {
      const double t = std::tanh(std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * std::sqrt(2 / kPi) * (1 + 3 * 0.044715 * x * x);
    }
    case Activation::silu: {
      const double sigmoid = 1 / (1 + std::exp(-x));
      return sigmoid + x * sigmoid * (1 - sigmoid);
    }
  }
  return 1;
}

}  // namespace atlas::inline ATLAS_ABI::cpu::reference
