// Attention forward on tensor cores, bfloat16 and float32, heads of up to 64 channels. A block has 64 queries of one
// head, a warp 16 of them with all that belongs to them in registers; blocks of 64 keys pass through two buffers in
// shared memory, the next one on its way while one is used (Dao, "FlashAttention-2", 2023).
#include <limits>

#include "atlas/cuda/attention_mma.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

using namespace attention_mma;

template <class T, int kD, bool kWide>
__global__ void __launch_bounds__(kThreads, 2)
    attention_mma_kernel(const HeadRows<const T> q, const HeadSources<T> sources, const View<T> y,
                         const View<float> lse, const AttentionSize size, int blocks) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  T* const queries = shared_memory<T>();
  T* const keys = queries + kTile<T, kD>;  // two buffers of keys and values
  __shared__ unsigned char hidden[2][kRows];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t block = blockIdx.x % blocks, head = blockIdx.x / blocks % size.heads;
  const int64_t b = blockIdx.x / (static_cast<int64_t>(blocks) * size.heads), q0 = block * kRows;
  const float factor = static_cast<float>(size.scale) * kLog2E;  // powers of two from here on

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
  load_tile<kD, kWide>(queries, q, b, q0, head, static_cast<int>(min(int64_t{kRows}, size.length - q0)), size.d);
  load_next(0);

  LeftRows<T, kD> query;
  float out[2 * kD][4] = {}, top[2] = {kNone, kNone}, total[2] = {};
  bool first = true;
  for (KeyBlocks now(sources); !now.end(sources); now.advance(sources), buffer ^= 1) {
    load_next(buffer ^ 1);
    cp_async_wait<1>();
    __syncthreads();
    const T* const k = keys + buffer * 2 * kTile<T, kD>;
    if (first) query.take(queries);
    first = false;
    float s[8][4];
    multiply_rows<kD>(s, query, k);
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        s[j][i] = hidden[buffer][j * 8 + lane % 4 * 2 + i % 2] != 0 ? kNone : s[j][i] * factor;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most = top[half];
#pragma unroll
      for (int j = 0; j < 8; ++j) most = fmaxf(most, fmaxf(s[j][half * 2], s[j][half * 2 + 1]));
      most = row_max(most);
      const float shift = most == kNone ? 0.0f : most, shrink = fast_exp2(top[half] - shift);
      top[half] = most;
      float sum = 0;
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int i = half * 2; i < half * 2 + 2; ++i) {
          s[j][i] = fast_exp2(s[j][i] - shift);
          sum += s[j][i];
        }
      total[half] = total[half] * shrink + sum;
#pragma unroll
      for (int j = 0; j < 2 * kD; ++j) {
        out[j][half * 2] *= shrink;
        out[j][half * 2 + 1] *= shrink;
      }
    }
    add_product<kD>(out, s, k + kTile<T, kD>);
    __syncthreads();  // this buffer is free for the block after the next
  }
  cp_async_wait<0>();

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = row_sum(total[half]);
    const int64_t l = q0 + warp * kWarpRows + half * 8 + lane / 4;
    if (l >= size.length) continue;
    store_row<kD>(y, ((b * size.length + l) * size.heads + head) * size.d, out, half, sum == 0 ? 0.0f : 1.0f / sum,
                  size.d);
    if (lane % 4 == 0) lse[(b * size.heads + head) * size.length + l] = sum == 0 ? kNone : top[half] * kLn2 + logf(sum);
  }
}

template <class T>
bool run_forward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, Tensor& y, Tensor& lse) {
  const AttentionSize size = attention_size(q, scale);
  const int blocks = (size.length + kRows - 1) / kRows;
  const int64_t count = size.batch * size.heads * blocks;
  check(count < (int64_t{1} << 31), "attention", "{} blocks are too many for one kernel", count);
  visit_head<T>(size.d, all_wide_rows(q, sources), [&](auto length, auto wide) {
    constexpr int kD = decltype(length)::value;
    launch({q.device(), "attention", dim3(static_cast<unsigned>(count)), dim3(kThreads), sizeof(T) * 5 * kTile<T, kD>},
           attention_mma_kernel<T, kD, decltype(wide)::value>, HeadRows<const T>(q),
           head_sources<T>(sources, size.batch), view<T>(y), view<float>(lse), size, blocks);
  });
  return true;
}

}  // namespace

bool attention_mma_forward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, Tensor& y,
                           Tensor& lse) {
  if (!attention_mma_fits(q, sources)) return false;
  return q.dtype() == DType::float32 ? run_forward<float>(q, sources, scale, y, lse)
                                     : run_forward<bf16>(q, sources, scale, y, lse);
}

}  // namespace atlas::inline ATLAS_ABI::cuda
