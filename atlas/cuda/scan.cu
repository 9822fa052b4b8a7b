// The selective scan forward on CUDA.
#include "atlas/cuda/scan.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kSteps = 16;  // rows of B and C staged at once
constexpr int kAhead = 4;   // steps whose u and delta are loaded before they are needed

// h_t = exp(d_t A) h_{t-1} + d_t u_t B_t,  y_t = C_t . h_t + D u_t,  d = softplus(delta + delta_bias)
template <class T, int N>
__global__ void __launch_bounds__(256) scan_kernel(ScanOperands<T> in, Sequence<T> y) {
  using A = Compute<T>;
  __shared__ A bs[kSteps * N], cs[kSteps * N];
  const int64_t channel = int64_t{blockIdx.y} * blockDim.x + threadIdx.x, b = blockIdx.x;
  const bool inside = channel < in.channels;
  const A bias = inside ? in.bias[channel] : A(0), skip = inside ? in.skip[channel] : A(0);
  A exponent[N], h[N];
  in.exponents(channel, inside, exponent);
#pragma unroll
  for (int n = 0; n < N; ++n) h[n] = 0;
  A u[kAhead], delta[kAhead];
  const auto fetch = [&](int64_t t0) {
#pragma unroll
    for (int s = 0; s < kAhead; ++s) {
      const bool there = inside && t0 + s < in.length;
      u[s] = there ? load(in.u.data[in.u.at(b, t0 + s) + channel]) : A(0);
      delta[s] = there ? load(in.delta.data[in.delta.at(b, t0 + s) + channel]) : A(0);
    }
  };
  fetch(0);
  for (int64_t t0 = 0; t0 < in.length; t0 += kSteps) {
    __syncthreads();  // the former rows have been read
    stage<N>(in, in.b, b, t0, kSteps, bs);
    stage<N>(in, in.c, b, t0, kSteps, cs);
    __syncthreads();
    for (int s0 = 0; s0 < kSteps && t0 + s0 < in.length; s0 += kAhead) {
      A now_u[kAhead], now_delta[kAhead];
#pragma unroll
      for (int s = 0; s < kAhead; ++s) {
        now_u[s] = u[s];
        now_delta[s] = delta[s];
      }
      fetch(t0 + s0 + kAhead);
#pragma unroll
      for (int s = 0; s < kAhead; ++s) {
        A slope;
        const A dt = softplus_approx(now_delta[s] + bias, slope), drive = dt * now_u[s];
        const int64_t t = t0 + s0 + s;
        const bool there = inside && t < in.length;
        A sum = skip * now_u[s];
        if (in.first > 0 && there) sum = load(y.data[y.at(b, t) + channel]);
        const A *brow = bs + (s0 + s) * N, *crow = cs + (s0 + s) * N;
#pragma unroll
        for (int n = 0; n < N; ++n) {
          h[n] = scan_advance_state(exp2_approx(dt * exponent[n]), h[n], drive, brow[n]);
          sum += crow[n] * h[n];
        }
        if (there) y.data[y.at(b, t) + channel] = store<T>(sum);
      }
    }
  }
}

}  // namespace

void scan_forward(const ScanTensors& in, Tensor& y) {
  if (y.numel() == 0) return;
  visit_cuda_float(in.u, "selective_scan", [&](auto tag) {
    using T = decltype(tag);
    visit_states(in.a, [&](int64_t first, auto n) {
      const int threads = scan_threads(in.u.size(2), 256);
      launch({in.u.device(), "selective_scan", scan_grid(in.u, threads), dim3(static_cast<unsigned>(threads))},
             scan_kernel<T, n>, ScanOperands<T>(in, first), Sequence<T>(y));
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
