// The selective scan backward on CUDA: a first kernel goes forward and keeps the states before every chunk of steps; a
// second one goes through the chunks from last to first, works the states within a chunk out again (they lie in shared
// memory), and steps back. dB and dC are summed over the channels of a warp by shuffles, of a block in shared memory,
// and of several blocks by a third kernel; all in a fixed order.
#include "atlas/cuda/scan.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr size_t kStateBytes = 64 << 10;  // shared memory for a block's states; the rest takes up to 6 KiB

template <int N>
constexpr int kChunk = N <= 16 ? 8 : 4;

/// Sums of M values over the lanes of a warp, M <= 32 a power of two: lane l gets the sum of value l / (32 / M). In
/// each round a lane keeps one half of the values and gives the other half away.
template <int M, int Bit = kWarp / 2, class A>
__device__ A lane_sums(const A (&v)[M]) {
  if constexpr (M == 1) {
    A sum = v[0];
#pragma unroll
    for (int bit = Bit; bit > 0; bit /= 2) sum += __shfl_xor_sync(kAllLanes, sum, bit);
    return sum;
  } else {
    const bool upper = (threadIdx.x & Bit) != 0;
    A kept[M / 2];
#pragma unroll
    for (int j = 0; j < M / 2; ++j) {
      const A given = upper ? v[j] : v[j + M / 2], mine = upper ? v[j + M / 2] : v[j];
      kept[j] = mine + __shfl_xor_sync(kAllLanes, given, Bit);
    }
    return lane_sums<M / 2, Bit / 2>(kept);
  }
}

/// checkpoints[b][chunk][n][channel]: the states before a chunk.
template <class T, int N>
__global__ void __launch_bounds__(256)
    checkpoint_kernel(ScanOperands<T> in, int64_t chunks, View<Compute<T>> checkpoints) {
  using A = Compute<T>;
  constexpr int steps = kChunk<N>;
  __shared__ A bs[steps * N];
  const int64_t channel = int64_t{blockIdx.y} * blockDim.x + threadIdx.x, b = blockIdx.x;
  const bool inside = channel < in.channels;
  const A bias = inside ? in.bias[channel] : A(0);
  A exponent[N], h[N];
  in.exponents(channel, inside, exponent);
#pragma unroll
  for (int n = 0; n < N; ++n) h[n] = 0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t t0 = chunk * steps;
    __syncthreads();
    stage<N>(in, in.b, b, t0, steps, bs);
    __syncthreads();
    if (inside) {
#pragma unroll
      for (int n = 0; n < N; ++n)
        if (n < in.states) checkpoints[((b * chunks + chunk) * in.states + n) * in.channels + channel] = h[n];
    }
    A u[steps], delta[steps];
#pragma unroll
    for (int s = 0; s < steps; ++s) {
      const bool there = inside && t0 + s < in.length;
      u[s] = there ? load(in.u.data[in.u.at(b, t0 + s) + channel]) : A(0);
      delta[s] = there ? load(in.delta.data[in.delta.at(b, t0 + s) + channel]) : A(0);
    }
#pragma unroll
    for (int s = 0; s < steps; ++s) {
      A slope;
      const A dt = softplus_approx(delta[s] + bias, slope), drive = dt * u[s];
#pragma unroll
      for (int n = 0; n < N; ++n) h[n] = scan_advance_state(exp2_approx(dt * exponent[n]), h[n], drive, bs[s * N + n]);
    }
  }
}

template <class T>
struct ScanGradients {
  View<T> du, ddelta, db, dc;
  View<Compute<T>> partial;  ///< dB and dC of each block of channels, [blocks][2][B L][states]; null when there is one
  View<Compute<T>> sums;     ///< [B][states + 2][channels]: dA, dD, ddelta_bias of each batch entry
};

/// Numbers of shared memory of a block: rows of B and C, the sums of its warps, and states [steps][N][threads].
template <int N>
constexpr int64_t shared_numbers(int threads) {
  return int64_t{kChunk<N>} * N * (2 + threads / kWarp * 2 + threads);
}

template <class T, int N>
__global__ void __launch_bounds__(256) scan_backward_kernel(ScanOperands<T> in, Sequence<const T> dy, int64_t chunks,
                                                            View<const Compute<T>> checkpoints, ScanGradients<T> out) {
  using A = Compute<T>;
  constexpr int steps = kChunk<N>;
  const int threads = static_cast<int>(blockDim.x), tid = static_cast<int>(threadIdx.x), warps = threads / kWarp;
  // All of it dynamic: what a launch asks for is then what counts against the 48 KiB that need no permission.
  A *const bs = shared_memory<A>(), *const cs = bs + steps * N;
  A* const warp_sums = cs + steps * N;                  // [steps][warps][2 N]
  A* const states = warp_sums + steps * warps * 2 * N;  // [steps][N][threads]: before each step of the chunk
  const int64_t channel = int64_t{blockIdx.y} * threads + tid, b = blockIdx.x;
  const bool inside = channel < in.channels;
  const A bias = inside ? in.bias[channel] : A(0), skip = inside ? in.skip[channel] : A(0);
  A exponent[N], carry[N], da[N], dskip = 0, dbias = 0;
  in.exponents(channel, inside, exponent);
#pragma unroll
  for (int n = 0; n < N; ++n) carry[n] = da[n] = 0;

  for (int64_t chunk = chunks - 1; chunk >= 0; --chunk) {
    const int64_t t0 = chunk * steps;
    stage<N>(in, in.b, b, t0, steps, bs);
    stage<N>(in, in.c, b, t0, steps, cs);
    A u[steps], dt[steps], slope[steps], g[steps], h[N];
#pragma unroll
    for (int s = 0; s < steps; ++s) {  // steps beyond the end have dt = u = dy = 0: they change nothing
      const bool there = inside && t0 + s < in.length;
      u[s] = there ? load(in.u.data[in.u.at(b, t0 + s) + channel]) : A(0);
      dt[s] = there ? load(in.delta.data[in.delta.at(b, t0 + s) + channel]) : A(0);
      g[s] = there ? load(dy.data[dy.at(b, t0 + s) + channel]) : A(0);
    }
#pragma unroll
    for (int n = 0; n < N; ++n)
      h[n] =
          inside && n < in.states ? checkpoints[((b * chunks + chunk) * in.states + n) * in.channels + channel] : A(0);
    __syncthreads();
#pragma unroll
    for (int s = 0; s < steps; ++s) {
      dt[s] = softplus_approx(dt[s] + bias, slope[s]);
      if (!(inside && t0 + s < in.length)) dt[s] = 0;
      const A drive = dt[s] * u[s];
#pragma unroll
      for (int n = 0; n < N; ++n) {
        states[(s * N + n) * threads + tid] = h[n];
        h[n] = scan_advance_state(exp2_approx(dt[s] * exponent[n]), h[n], drive, bs[s * N + n]);
      }
    }
#pragma unroll
    for (int s = steps - 1; s >= 0; --s) {
      const A drive = dt[s] * u[s];
      A from_exponent = 0, from_drive = 0, dbc[2 * N];
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const A before = states[(s * N + n) * threads + tid], decay = exp2_approx(dt[s] * exponent[n]);
        dbc[n] = dbc[N + n] = 0;
        scan_state_backward(before, h[n], decay, exponent[n], bs[s * N + n], cs[s * N + n], dt[s], drive, g[s],
                            carry[n], da[n], dbc[n], dbc[N + n], from_exponent, from_drive);
        h[n] = before;
      }
      from_exponent *= static_cast<A>(kLn2);  // exponents were in powers of two
      dskip += g[s] * u[s];
      const A ddelta = (from_exponent + u[s] * from_drive) * slope[s];
      const int64_t t = t0 + s;
      if (inside && t < in.length) {
        const int64_t row = (b * in.length + t) * in.channels + channel;
        dbias += ddelta;
        const bool more = in.first > 0;
        out.du[row] = store<T>((more ? load(out.du[row]) : g[s] * skip) + dt[s] * from_drive);
        out.ddelta[row] = store<T>((more ? load(out.ddelta[row]) : A(0)) + ddelta);
      }
      A* to = warp_sums + (s * warps + tid / kWarp) * 2 * N;
      if constexpr (2 * N <= kWarp) {
        const A sum = lane_sums(dbc);
        if (tid % (kWarp / (2 * N)) == 0) to[tid % kWarp / (kWarp / (2 * N))] = sum;
      } else {
        A first[N], second[N];
#pragma unroll
        for (int n = 0; n < N; ++n) {
          first[n] = dbc[n];
          second[n] = dbc[N + n];
        }
        to[tid % kWarp] = lane_sums(first);
        to[N + tid % kWarp] = lane_sums(second);
      }
    }
    __syncthreads();
    for (int i = tid; i < steps * 2 * N; i += threads) {
      const int s = i / (2 * N), k = i % (2 * N), n = k % N;
      if (n >= in.states || t0 + s >= in.length) continue;
      A sum = warp_sums[s * warps * 2 * N + k];
      for (int w = 1; w < warps; ++w) sum += warp_sums[(s * warps + w) * 2 * N + k];
      const int64_t row = b * in.length + t0 + s;
      if (out.partial) {
        const int64_t size = int64_t{gridDim.x} * in.length * in.states;
        out.partial[(int64_t{blockIdx.y} * 2 + k / N) * size + row * in.states + n] = sum;
      } else {
        (k < N ? out.db : out.dc)[row * in.all + in.first + n] = store<T>(sum);
      }
    }
    // The next chunk stages rows that all have read, and writes warp_sums after its own barrier.
  }
  if (!inside) return;
  A* to = out.sums.at(b * (in.all + 2) * in.channels, (in.all + 2) * in.channels) + channel;
#pragma unroll
  for (int n = 0; n < N; ++n)
    if (n < in.states) to[(in.first + n) * in.channels] = da[n];
  to[in.all * in.channels] = dskip;
  A* const total = to + (in.all + 1) * in.channels;
  *total = in.first > 0 ? *total + dbias : dbias;
}

/// Sums partial over the blocks, into columns [first, first + states) of dB and dC [rows][all].
template <class T>
__global__ void sum_blocks_kernel(View<const Compute<T>> partial, int64_t blocks, int64_t rows, int first, int states,
                                  int all, View<T> db, View<T> dc) {
  const int64_t size = rows * states;
  for (int64_t i = global_thread(); i < 2 * size; i += global_threads()) {
    Compute<T> sum = partial[i];
    for (int64_t p = 1; p < blocks; ++p) sum += partial[p * 2 * size + i];
    const int64_t k = i < size ? i : i - size;
    (i < size ? db : dc)[k / states * all + first + k % states] = store<T>(sum);
  }
}

/// For sum_partials over the batch: column (n, channel) of [states + 2][channels].
template <class T>
struct ScanSums {
  Vector<T> da, dskip, dbias;
  int64_t states, channels;
  __device__ void put(int64_t i, double sum) const {
    const int64_t n = i / channels, channel = i % channels;
    const auto value = static_cast<Compute<T>>(sum);
    if (n < states)
      da.set(channel * states + n, value);
    else if (n == states)
      dskip.set(channel, value);
    else
      dbias.set(channel, value);
  }
};

}  // namespace

void scan_backward(const ScanTensors& in, const Tensor& dy, ScanTensors& grads) {
  const char* op = "selective_scan backward";
  const int64_t batch = in.u.size(0), length = in.u.size(1), channels = in.u.size(2), states = in.a.size(1);
  const Device device = in.u.device();
  visit_cuda_float(in.u, "selective_scan", [&](auto tag) {
    using T = decltype(tag);
    using A = Compute<T>;
    const int64_t rows = batch * length, sums = batch * (states + 2) * channels;
    const View<A> per_entry(workspace<A>(device, sums, 2), sums);
    const bool nothing = in.u.numel() == 0;
    if (nothing) {  // dB and dC have no channels to add up
      fill_bytes(device, grads.b.raw(), 0, rows * states * item_size(grads.b.dtype()));
      fill_bytes(device, grads.c.raw(), 0, rows * states * item_size(grads.c.dtype()));
    } else {
      visit_states(in.a, [&](int64_t first, auto n) {
        constexpr int N = n, steps = kChunk<N>;
        const ScanOperands<T> operands(in, first);
        const int most = static_cast<int>(std::min<size_t>(256, kStateBytes / (steps * N * sizeof(A)) / kWarp * kWarp));
        const int threads = scan_threads(channels, most);
        const int64_t chunks = (length + steps - 1) / steps, blocks = (channels + threads - 1) / threads;
        const int64_t kept = batch * chunks * operands.states * channels;
        const dim3 grid = scan_grid(in.u, threads);
        A* checkpoints = workspace<A>(device, kept, 0);
        const int64_t parts = blocks > 1 ? blocks * 2 * rows * operands.states : 0;
        View<A> partial;
        if (parts > 0) partial = View<A>(workspace<A>(device, parts, 1), parts);
        launch({device, op, grid, dim3(static_cast<unsigned>(threads))}, checkpoint_kernel<T, N>, operands, chunks,
               View<A>(checkpoints, kept));
        launch({device, op, grid, dim3(static_cast<unsigned>(threads)),
                static_cast<size_t>(shared_numbers<N>(threads)) * sizeof(A)},
               scan_backward_kernel<T, N>, operands, Sequence<const T>(dy), chunks, View<const A>(checkpoints, kept),
               ScanGradients<T>{view<T>(grads.u), view<T>(grads.delta), view<T>(grads.b), view<T>(grads.c), partial,
                                per_entry});
        if (partial)
          launch({device, op, blocks_for(2 * rows * operands.states, 256), dim3(256), 0, true}, sum_blocks_kernel<T>,
                 View<const A>(partial.p, parts), blocks, rows, operands.first, operands.states, operands.all,
                 view<T>(grads.b), view<T>(grads.c));
      });
    }
    sum_partials(device, op, per_entry.p, nothing ? 0 : batch, (states + 2) * channels,
                 ScanSums<T>{Vector<T>(grads.a), Vector<T>(grads.d), Vector<T>(grads.delta_bias), states, channels});
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
