// Gradients of attention on tensor cores, bfloat16 and float32, heads of up to 64 channels. Two kernels that recompute
// the probabilities, one with the queries in registers and one with the keys: each sum has one owner, so there are no
// atomic additions and results do not change from run to run.
#include <limits>

#include "atlas/cuda/attention_mma.cuh"
#include "atlas/cuda/product.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

using namespace attention_mma;

/// dQ = scale dS K, for 64 queries of one head.
template <class T, int kD, bool kWide>
__global__ void __launch_bounds__(kThreads, 2)
    query_gradient_mma_kernel(const HeadRows<const T> q, const HeadRows<const T> dy, const HeadSources<T> sources,
                              const RowNumbers<const float> numbers, const View<T> dq, const AttentionSize size,
                              int blocks) {
  T* const queries = shared_memory<T>();
  T* const douts = queries + kTile<T, kD>;
  T* const keys = douts + kTile<T, kD>;
  __shared__ unsigned char hidden[2][kRows];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t block = blockIdx.x % blocks, head = blockIdx.x / blocks % size.heads;
  const int64_t b = blockIdx.x / (static_cast<int64_t>(blocks) * size.heads), q0 = block * kRows;
  const float factor = static_cast<float>(size.scale) * kLog2E;

  KeyBlocks next(sources);
  int buffer = 0;
  const auto load_next = [&](int to) {
    if (!next.end(sources)) {
      T* const k = keys + to * 2 * kTile<T, kD>;
      load_keys<kD, kWide>(k, k + kTile<T, kD>, hidden[to], sources.at[next.source], b, next.k0, head, size.d);
      next.advance(sources);
    }
    cp_async_commit();
  };
  const int count = static_cast<int>(min(int64_t{kRows}, size.length - q0));
  load_tile<kD, kWide>(queries, q, b, q0, head, count, size.d);
  load_tile<kD, kWide>(douts, dy, b, q0, head, count, size.d);
  load_next(0);

  float lse[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t l = q0 + warp * kWarpRows + half * 8 + lane / 4, at = (b * size.heads + head) * size.length + l;
    lse[half] = l < size.length ? numbers.lse[at] * kLog2E : 0.0f;
    delta[half] = l < size.length ? numbers.delta[at] : 0.0f;
  }
  LeftRows<T, kD> query, dout;
  float sum[2 * kD][4] = {};
  bool first = true;
  for (KeyBlocks now(sources); !now.end(sources); now.advance(sources), buffer ^= 1) {
    load_next(buffer ^ 1);
    cp_async_wait<1>();
    __syncthreads();
    const T* const k = keys + buffer * 2 * kTile<T, kD>;
    if (first) {
      query.take(queries);
      dout.take(douts);
    }
    first = false;
    float p[8][4], dp[8][4];
    multiply_rows<kD>(p, query, k);
    multiply_rows<kD>(dp, dout, k + kTile<T, kD>);
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const bool read = hidden[buffer][j * 8 + lane % 4 * 2 + i % 2] == 0;
        p[j][i] = read ? fast_exp2(p[j][i] * factor - lse[i / 2]) * (dp[j][i] - delta[i / 2]) : 0.0f;
      }
    add_product<kD>(sum, p, k);
    __syncthreads();
  }
  cp_async_wait<0>();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t l = q0 + warp * kWarpRows + half * 8 + lane / 4;
    if (l < size.length)
      store_row<kD>(dq, ((b * size.length + l) * size.heads + head) * size.d, sum, half, static_cast<float>(size.scale),
                    size.d);
  }
}

/// dV = Pᵀ dY and dK = scale dSᵀ Q, for 64 keys of one head of a source, over a part of the queries that read them:
/// dk and dv are [parts][B_s,L_s,heads,D].
template <class T, int kD, bool kWide, class Out>
__global__ void __launch_bounds__(kThreads, 2)
    key_gradient_mma_kernel(const HeadRows<const T> q, const HeadRows<const T> dy, const HeadSource<T> s,
                            const RowNumbers<const float> numbers, const View<Out> dk, const View<Out> dv,
                            const AttentionSize size, int blocks, int parts, int64_t part_size) {
  T* const keys = shared_memory<T>();
  T* const values = keys + kTile<T, kD>;
  T* const queries = values + kTile<T, kD>;  // two buffers of queries and of dy
  __shared__ float lses[2][kRows], deltas[2][kRows];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  unsigned rest = blockIdx.x;
  const int part = static_cast<int>(rest % parts);
  rest /= parts;
  const int64_t block = rest % blocks, head = rest / blocks % size.heads;
  const int64_t entry = rest / (static_cast<int64_t>(blocks) * size.heads), l0 = block * kRows;
  const float factor = static_cast<float>(size.scale) * kLog2E;
  const int tiles = (size.length + kRows - 1) / kRows;
  const int64_t steps = s.share * tiles, begin = steps * part / parts, end = steps * (part + 1) / parts;

  const auto load_step = [&](int64_t step, int to) {
    if (step < end) {
      const int64_t b = entry * s.share + step / tiles;
      const int q0 = static_cast<int>(step % tiles) * kRows, n = min(kRows, size.length - q0);
      const int i = static_cast<int>(threadIdx.x);
      T* const at = queries + to * 2 * kTile<T, kD>;
      load_tile<kD, kWide>(at, q, b, q0, head, n, size.d);
      load_tile<kD, kWide>(at + kTile<T, kD>, dy, b, q0, head, n, size.d);
      if (i < kRows) {
        const int64_t row = (b * size.heads + head) * size.length + q0 + i;
        lses[to][i] = i < n ? numbers.lse[row] * kLog2E : std::numeric_limits<float>::infinity();
        deltas[to][i] = i < n ? numbers.delta[row] : 0.0f;
      }
    }
    cp_async_commit();
  };
  const int count = static_cast<int>(min(int64_t{kRows}, s.length - l0));
  load_tile<kD, kWide>(keys, s.k, entry, l0, head, count, size.d);
  load_tile<kD, kWide>(values, s.v, entry, l0, head, count, size.d);
  load_step(begin, 0);

  bool read[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t l = l0 + warp * kWarpRows + half * 8 + lane / 4;
    read[half] = l < s.length && !s.is_masked(entry, l);
  }
  LeftRows<T, kD> key, value;
  float key_sum[2 * kD][4] = {}, value_sum[2 * kD][4] = {};
  int buffer = 0;
  for (int64_t step = begin; step < end; ++step, buffer ^= 1) {
    load_step(step + 1, buffer ^ 1);
    cp_async_wait<1>();
    __syncthreads();
    if (step == begin) {
      key.take(keys);
      value.take(values);
    }
    const T *const qs = queries + buffer * 2 * kTile<T, kD>, *const dys = qs + kTile<T, kD>;
    float p[8][4], dp[8][4];
    multiply_rows<kD>(p, key, qs);
    multiply_rows<kD>(dp, value, dys);
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = j * 8 + lane % 4 * 2 + i % 2;
        p[j][i] = read[i / 2] ? fast_exp2(p[j][i] * factor - lses[buffer][column]) : 0.0f;
        dp[j][i] = p[j][i] * (dp[j][i] - deltas[buffer][column]);
      }
    add_product<kD>(value_sum, p, dys);
    add_product<kD>(key_sum, dp, qs);
    __syncthreads();
  }
  cp_async_wait<0>();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t l = l0 + warp * kWarpRows + half * 8 + lane / 4;
    if (l >= s.length) continue;
    const int64_t to = part * part_size + ((entry * s.length + l) * size.heads + head) * size.d;
    store_row<kD>(dk, to, key_sum, half, static_cast<float>(size.scale), size.d);
    store_row<kD>(dv, to, value_sum, half, 1.0f, size.d);
  }
}

dim3 grid_of(int64_t blocks) {
  check(blocks < (int64_t{1} << 31), "attention", "{} blocks are too many for one kernel", blocks);
  return dim3(static_cast<unsigned>(blocks));
}

template <class T>
void run_backward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, const Tensor& lse,
                  const Tensor& dy, const float* delta, Tensor& dq, std::vector<KeyValue>& grads) {
  const AttentionSize size = attention_size(q, scale);
  const Device device = q.device();
  const HeadSources<T> from = head_sources<T>(sources, size.batch);
  const RowNumbers<const float> numbers{view<const float>(lse), {delta, lse.numel()}};
  const HeadRows<const T> queries(q), douts(dy);
  const int query_blocks = (size.length + kRows - 1) / kRows;
  visit_head<T>(size.d, all_wide_rows(q, sources) && wide_rows(dy), [&](auto length, auto wide) {
    constexpr int kD = decltype(length)::value;
    constexpr bool kWide = decltype(wide)::value;
    constexpr size_t kShared = sizeof(T) * 6 * kTile<T, kD>;
    if (dq)
      launch({device, "attention", grid_of(size.batch * size.heads * query_blocks), dim3(kThreads), kShared},
             query_gradient_mma_kernel<T, kD, kWide>, queries, douts, from, numbers, view<T>(dq), size, query_blocks);
    for (size_t i = 0; i < grads.size(); ++i) {
      const HeadSource<T>& s = from.at[i];
      const int64_t count = sources[i].k.numel(), entries = sources[i].k.size(0);
      if (count == 0) continue;
      const int blocks = (s.length + kRows - 1) / kRows;
      const int64_t tiles = entries * size.heads * blocks, parts = query_parts(tiles, s.share * query_blocks);
      const Launch on{device, "attention", grid_of(tiles * parts), dim3(kThreads), kShared};
      if (parts == 1) {
        launch(on, key_gradient_mma_kernel<T, kD, kWide, T>, queries, douts, s, numbers, view<T>(grads[i].k),
               view<T>(grads[i].v), size, blocks, 1, int64_t{0});
        continue;
      }
      float* const partial = workspace<float>(device, 2 * parts * count);
      launch(on, key_gradient_mma_kernel<T, kD, kWide, float>, queries, douts, s, numbers,
             View<float>(partial, parts * count), View<float>(partial + parts * count, parts * count), size, blocks,
             static_cast<int>(parts), count);
      sum_slices<T>(device, "attention", partial, parts, grads[i].k.template data<T>(), count);
      sum_slices<T>(device, "attention", partial + parts * count, parts, grads[i].v.template data<T>(), count);
    }
  });
}

}  // namespace

bool attention_mma_backward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, const Tensor& lse,
                            const Tensor& dy, const float* delta, Tensor& dq, std::vector<KeyValue>& grads) {
  if (!attention_mma_fits(q, sources)) return false;
  if (q.dtype() == DType::bfloat16)
    run_backward<bf16>(q, sources, scale, lse, dy, delta, dq, grads);
  else if (wide_rows(dy))
    run_backward<float>(q, sources, scale, lse, dy, delta, dq, grads);
  else
    return false;
  return true;
}

}  // namespace atlas::inline ATLAS_ABI::cuda
