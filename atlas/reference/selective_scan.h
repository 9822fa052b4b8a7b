// The selective scan of Mamba: N states per channel that follow the input along the sequence.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI::cpu::reference {

/// Lengths, and the inputs: u, delta [batch, length, channels]; a [channels, states]; b, c [batch, length, states];
/// d, delta_bias [channels].
template <class T>
struct ScanInputs {
  int64_t batch, length, channels, states;
  const T *u, *delta, *a, *b, *c, *d, *delta_bias;
};

/// log(1 + e^x), without overflow for large x
inline double softplus(double x) { return x > 30 ? x : std::log1p(std::exp(x)); }

/// The states h[t, n] of one channel, t counting from 1; h[0, n] = 0 (Gu and Dao, 2023, algorithm 2, with the
/// simplified discretization of their code):
///   step_t = softplus(delta_t + delta_bias),   h[t,n] = exp(step_t a_n) h[t-1,n] + step_t u_t b[t,n]
template <class T>
std::vector<double> scan_states(const ScanInputs<T>& in, int64_t entry, int64_t channel) {
  std::vector<double> h((in.length + 1) * in.states);
  for (int64_t t = 0; t < in.length; ++t) {
    const int64_t token = entry * in.length + t, at = token * in.channels + channel;
    const double step = softplus(static_cast<double>(in.delta[at]) + in.delta_bias[channel]);
    for (int64_t n = 0; n < in.states; ++n)
      h[(t + 1) * in.states + n] = std::exp(step * in.a[channel * in.states + n]) * h[t * in.states + n] +
                                   step * in.u[at] * in.b[token * in.states + n];
  }
  return h;
}

/// y_t = sum over n of c[t,n] h[t,n] + d u_t.   y like u, and may be u
template <class T>
void selective_scan(const ScanInputs<T>& in, T* y) {
  for (int64_t entry = 0; entry < in.batch; ++entry)
    for (int64_t channel = 0; channel < in.channels; ++channel) {
      const std::vector<double> h = scan_states(in, entry, channel);
      for (int64_t t = 0; t < in.length; ++t) {
        const int64_t token = entry * in.length + t, at = token * in.channels + channel;
        double sum = static_cast<double>(in.d[channel]) * in.u[at];
        for (int64_t n = 0; n < in.states; ++n) sum += in.c[token * in.states + n] * h[(t + 1) * in.states + n];
        y[at] = static_cast<T>(sum);
      }
    }
}

/// Gradients, each like its input. They are sums: they start at zero.
struct ScanGradients {
  std::vector<double> u, delta, a, b, c, d, delta_bias;
};

/// One channel of one entry, from the last step to the first. With g = dL/dh[t,n], which is what y_t and h[t+1,n] send:
///   g = dy_t c[t,n] + carry,   carry = g exp(step a_n) for step t - 1;
///   dc[t,n] += dy_t h[t,n],    db[t,n] += g step u_t,    du_t += g step b[t,n] + dy_t d (the latter once),
///   the exponent step a_n gets e = g exp(step a_n) h[t-1,n]:  da_n += e step,  dstep += e a_n + g u_t b[t,n].
/// softplus' = sigmoid, so ddelta_t = dstep / (1 + exp(-(delta_t + delta_bias))), and delta_bias gets the same.
template <class T>
void scan_channel_backward(const ScanInputs<T>& in, const T* dy, int64_t entry, int64_t channel, ScanGradients& grad) {
  const std::vector<double> h = scan_states(in, entry, channel);
  std::vector<double> carry(in.states);
  for (int64_t t = in.length - 1; t >= 0; --t) {
    const int64_t token = entry * in.length + t, at = token * in.channels + channel;
    const double x = static_cast<double>(in.delta[at]) + in.delta_bias[channel], step = softplus(x), u = in.u[at];
    double dstep = 0;
    for (int64_t n = 0; n < in.states; ++n) {
      const int64_t of_token = token * in.states + n, of_channel = channel * in.states + n;
      const double a = in.a[of_channel], b = in.b[of_token], decay = std::exp(step * a);
      const double g = static_cast<double>(dy[at]) * in.c[of_token] + carry[n], e = g * decay * h[t * in.states + n];
      carry[n] = g * decay;
      grad.c[of_token] += dy[at] * h[(t + 1) * in.states + n];
      grad.b[of_token] += g * step * u;
      grad.a[of_channel] += e * step;
      grad.u[at] += g * step * b;
      dstep += e * a + g * u * b;
    }
    grad.u[at] += static_cast<double>(dy[at]) * in.d[channel];
    grad.d[channel] += dy[at] * u;
    grad.delta[at] += dstep / (1 + std::exp(-x));
    grad.delta_bias[channel] += dstep / (1 + std::exp(-x));
  }
}

/// All gradients of selective_scan().   dy like u
template <class T>
ScanGradients selective_scan_backward(const ScanInputs<T>& in, const T* dy) {
  const auto zeros = [](int64_t n) { return std::vector<double>(n); };
  const int64_t tokens = in.batch * in.length;
  ScanGradients grad{zeros(tokens * in.channels), zeros(tokens * in.channels), zeros(in.channels * in.states),
                     zeros(tokens * in.states),   zeros(tokens * in.states),   zeros(in.channels),
                     zeros(in.channels)};
  for (int64_t entry = 0; entry < in.batch; ++entry)
    for (int64_t channel = 0; channel < in.channels; ++channel) scan_channel_backward(in, dy, entry, channel, grad);
  return grad;
}

}  // namespace atlas::inline ATLAS_ABI::cpu::reference
