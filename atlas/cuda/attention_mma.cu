// Attention forward on tensor cores, bfloat16, heads of up to 64 channels. A block has 64 queries of one head, a warp
// 16 of them with all that belongs to them in registers; blocks of 64 keys pass through two buffers in shared memory,
// the next one on its way while one is used (Dao, "FlashAttention-2", 2023).
#include <limits>

#include "atlas/cuda/attention_mma.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

using namespace attention_mma;

template <int kD, bool kWide>
__global__ void __launch_bounds__(kThreads)
    attention_mma_kernel(const HeadRows<const bf16> q, const HeadSources<bf16> sources, const View<bf16> y,
                         const View<float> lse, const AttentionSize size, int blocks) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  bf16* const queries = shared_memory<bf16>();
  bf16* const keys = queries + kTile<kD>;  // two buffers of keys and values
  __shared__ unsigned char hidden[2][kRows];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t block = blockIdx.x % blocks, head = blockIdx.x / blocks % size.heads;
  const int64_t b = blockIdx.x / (static_cast<int64_t>(blocks) * size.heads), q0 = block * kRows;
  const float factor = static_cast<float>(size.scale) * kLog2E;  // powers of two from here on

  KeyBlocks next(sources);
  int buffer = 0;
  const auto load_next = [&](int to) {
    if (!next.end(sources)) {
      bf16* const k = keys + to * 2 * kTile<kD>;
      load_keys<kD, kWide>(k, k + kTile<kD>, hidden[to], sources.at[next.source], b, next.k0, head, size.d);
      next.advance(sources);
    }
    cp_async_commit();
  };
  load_tile<kD, kWide>(queries, q, b, q0, head, static_cast<int>(min(int64_t{kRows}, size.length - q0)), size.d);
  load_next(0);

  uint32_t query[kD][4];
  float out[2 * kD][4] = {}, top[2] = {kNone, kNone}, total[2] = {};
  bool first = true;
  for (KeyBlocks now(sources); !now.end(sources); now.advance(sources), buffer ^= 1) {
    load_next(buffer ^ 1);
    cp_async_wait<1>();
    __syncthreads();
    const bf16* const k = keys + buffer * 2 * kTile<kD>;
    if (first) left_operands<kD>(query, queries);
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
    add_product<kD>(out, s, k + kTile<kD>);
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

}  // namespace

bool attention_mma_forward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, Tensor& y,
                           Tensor& lse) {
  if (q.size(3) > kMostChannels) return false;
  const AttentionSize size = attention_size(q, scale);
  const int blocks = (size.length + kRows - 1) / kRows;
  const int64_t count = size.batch * size.heads * blocks;
  check(count < (int64_t{1} << 31), "attention", "{} blocks are too many for one kernel", count);
  visit_head(size.d, all_wide_rows(q, sources), [&](auto length, auto wide) {
    constexpr int kD = decltype(length)::value;
    launch({q.device(), "attention", dim3(static_cast<unsigned>(count)), dim3(kThreads), sizeof(bf16) * 5 * kTile<kD>},
           attention_mma_kernel<kD, decltype(wide)::value>, HeadRows<const bf16>(q),
           head_sources<bf16>(sources, size.batch), view<bf16>(y), view<float>(lse), size, blocks);
  });
  return true;
}

}  // namespace atlas::inline ATLAS_ABI::cuda
