// What the kernels of the selective scan share: operands, staged rows of B and C, and how threads are laid out. A
// thread has one channel of one batch entry and keeps its N states in registers while it goes through time; a block has
// neighboring channels of one batch entry. More than 32 states are taken 32 at a time, and the results added.
#pragma once

#include "atlas/cuda/approx.cuh"
#include "atlas/cuda/rows.cuh"
#include "atlas/kernels/scan.h"
#include "atlas/kernels/scan_step.h"

namespace atlas::inline ATLAS_ABI::cuda {

inline constexpr int64_t kMostStates = 32;

/// Rows [B,L] of contiguous numbers; strides in elements.
template <class T>
struct Sequence {
  View<T> data;
  int64_t batch_step = 0, step = 0;
  Sequence() = default;
  explicit Sequence(const Tensor& t) : data(view<T>(t)), batch_step(t.strides()[0]), step(t.strides()[1]) {}
  __device__ int64_t at(int64_t b, int64_t t) const { return b * batch_step + t * step; }
};

/// The operands; A, D and delta_bias may be float32 beside bfloat16.
template <class T>
struct ScanOperands {
  Sequence<const T> u, delta, b, c;
  Vector<T> a, skip, bias;
  int64_t length, channels;
  int first, states, all;  ///< this launch has `states` of all states, from `first` on

  ScanOperands(const ScanTensors& in, int64_t first_state)
      : u(in.u),
        delta(in.delta),
        b(in.b),
        c(in.c),
        a(in.a),
        skip(in.d),
        bias(in.delta_bias),
        length(in.u.size(1)),
        channels(in.u.size(2)),
        first(static_cast<int>(first_state)),
        states(static_cast<int>(std::min(kMostStates, in.a.size(1) - first_state))),
        all(static_cast<int>(in.a.size(1))) {}

  /// A log2(e) of a channel, so that exp(dt A) is a power of two; 0 for states that are not there.
  template <int N>
  __device__ void exponents(int64_t channel, bool inside, Compute<T> (&to)[N]) const {
#pragma unroll
    for (int n = 0; n < N; ++n)
      to[n] = inside && n < states ? a[channel * all + first + n] * static_cast<Compute<T>>(kLog2e) : Compute<T>(0);
  }
};

/// Copies the launch's states of rows [t0, t0 + steps) of B or C to shared memory as [steps][N], padded with zeros.
template <int N, class T>
__device__ void stage(const ScanOperands<T>& in, const Sequence<const T>& rows, int64_t b, int64_t t0, int steps,
                      Compute<T>* to) {
  for (int i = static_cast<int>(threadIdx.x); i < steps * N; i += static_cast<int>(blockDim.x)) {
    const int s = i / N, n = i % N;
    to[i] = n < in.states && t0 + s < in.length ? load(rows.data[rows.at(b, t0 + s) + in.first + n]) : Compute<T>(0);
  }
}

/// Threads of a block for so many channels: whole warps, at most `most`, with few left over in the last block.
inline int scan_threads(int64_t channels, int most) {
  const int64_t warps = (channels + kWarp - 1) / kWarp, per_block = most / kWarp;
  const int64_t blocks = std::max<int64_t>(1, (warps + per_block - 1) / per_block);
  return static_cast<int>(std::max<int64_t>(1, (warps + blocks - 1) / blocks)) * kWarp;
}

/// Blocks (batch entry, channels / threads): entries may be more than the 65535 of the other axes.
inline dim3 scan_grid(const Tensor& u, int threads) {
  return dim3(static_cast<unsigned>(u.size(0)), static_cast<unsigned>((u.size(2) + threads - 1) / threads));
}

/// Calls f(first state, std::integral_constant<int, N>{}) for each launch, with N = 8, 16 or 32 registers for the
/// states. At least once.
template <class F>
void visit_states(const Tensor& a, const F& f) {
  int64_t first = 0;
  do {
    const int64_t left = a.size(1) - first;
    if (left <= 8)
      f(first, std::integral_constant<int, 8>{});
    else if (left <= 16)
      f(first, std::integral_constant<int, 16>{});
    else
      f(first, std::integral_constant<int, 32>{});
    first += kMostStates;
  } while (first < a.size(1));
}

}  // namespace atlas::inline ATLAS_ABI::cuda
