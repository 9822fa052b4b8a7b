// Pieces of the attention kernels on tensor cores: tiles of 64 rows of heads in shared memory, products of 16 rows in
// registers with such a tile, and the way from a product's result to the next product's operand.
//
// kD is the head's length in units of 16 channels, the last filled up with zeros. Rows in shared memory are 16 kD
// elements and 16 bytes apart: eight rows one after the other then start in eight different groups of banks. bfloat16
// is multiplied as it is, float32 by three products of TF32 (multiply.cuh).
#pragma once

#include "atlas/cuda/attention.cuh"
#include "atlas/cuda/mma.cuh"
#include "atlas/cuda/multiply.cuh"
#include "atlas/kernels/gemm.h"

namespace atlas::inline ATLAS_ABI::cuda::attention_mma {

inline constexpr int kThreads = 128, kRows = 64, kWarpRows = 16;
inline constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;

template <class T, int kD>
inline constexpr int kStride = 16 * kD + 16 / static_cast<int>(sizeof(T));
template <class T, int kD>
inline constexpr int kTile = kRows* kStride<T, kD>;

/// `count` rows from `first` on (of one batch entry and head) into a tile, zeros behind their ends. kWide: 16 bytes at
/// once, asynchronously.
template <int kD, bool kWide, class T>
__device__ void load_tile(T* to, const HeadRows<const T>& t, int64_t entry, int64_t first, int64_t head, int count,
                          int d) {
  const int64_t begin = t.row(entry, first, head);
  constexpr int kPiece = kWide ? 16 / static_cast<int>(sizeof(T)) : 1, kPieces = 16 * kD / kPiece;
#pragma unroll kWide ? kD : 4
  for (int u = 0; u < kRows * kPieces / kThreads; ++u) {
    const int i = static_cast<int>(threadIdx.x) + u * kThreads, r = i / kPieces, c = i % kPieces * kPiece;
    const bool valid = r < count && c < d;
    const T* from = t.elements.p + begin + r * t.step + c;
    if constexpr (kWide)
      cp_async_16(to + r * kStride<T, kD> + c, checked_copy(t.elements, from, kPiece, valid), valid);
    else
      to[r * kStride<T, kD> + c] = valid ? *checked_copy(t.elements, from, 1, true) : T(0.0f);
  }
}

/// A warp's 16 rows of a tile as left operands: in registers for bfloat16; float32 would need too many and reads them
/// anew for each product.
template <class T, int kD>
struct LeftRows;
template <int kD>
struct LeftRows<bf16, kD> {
  uint32_t a[kD][4];
  __device__ void take(const bf16* tile) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
    for (int k = 0; k < kD; ++k)
      ldmatrix(a[k], tile + (warp * kWarpRows + lane % 16) * kStride<bf16, kD> + k * 16 + lane / 16 * 8);
  }
};
template <int kD>
struct LeftRows<float, kD> {
  const float* from;
  __device__ void take(const float* tile) {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    from = tile + (warp * kWarpRows + lane % 16) * kStride<float, kD> + lane / 16 * 4;
  }
};

/// ldmatrix brings rows of 16 bytes, whatever is in them.
__device__ inline const bf16* bytes_16(const float* p) { return reinterpret_cast<const bf16*>(p); }

/// s[16, 64] = a tileᵀ.
template <int kD>
__device__ void multiply_rows(float (&s)[8][4], const LeftRows<bf16, kD>& left, const bf16* tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const bf16* from = tile + (lane / 16 * 8 + lane % 8) * kStride<bf16, kD> + lane / 8 % 2 * 8;
#pragma unroll
  for (int j = 0; j < 8; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) s[j][i] = 0;
#pragma unroll
  for (int k = 0; k < kD; ++k)
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      uint32_t b[4];
      ldmatrix(b, from + j * 8 * kStride<bf16, kD> + k * 16);
      mma_bf16_16816(s[j], left.a[k], b[0], b[1]);
      mma_bf16_16816(s[j + 1], left.a[k], b[2], b[3]);
    }
}
template <int kD>
__device__ void multiply_rows(float (&s)[8][4], const LeftRows<float, kD>& left, const float* tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const float* from = tile + (lane / 16 * 8 + lane % 8) * kStride<float, kD> + lane / 8 % 2 * 4;
#pragma unroll
  for (int j = 0; j < 8; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) s[j][i] = 0;
#pragma unroll 2  // all at once, copies and splits of later steps would fill the registers
  for (int k = 0; k < 2 * kD; ++k) {
    uint32_t a[4];
    ldmatrix(a, bytes_16(left.from + k * 8));
    const SplitTf32<4> split(a);
#pragma unroll
    for (int j = 0; j < 8; j += 4) {
      uint32_t b[4][2];
#pragma unroll
      for (int u = 0; u < 4; u += 2) {
        uint32_t both[4];
        ldmatrix(both, bytes_16(from + (j + u) * 8 * kStride<float, kD> + k * 8));
        b[u][0] = both[0];
        b[u][1] = both[1];
        b[u + 1][0] = both[2];
        b[u + 1][1] = both[3];
      }
      multiply_row<4>(s + j, split, b);
    }
  }
}

/// out[16, 16 kD] += p[16, 64] tile, p rounded to bfloat16: where a lane holds results is where it needs operands.
template <int kD>
__device__ void add_product(float (&out)[2 * kD][4], const float (&p)[8][4], const bf16* tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const bf16* from = tile + (lane / 8 % 2 * 8 + lane % 8) * kStride<bf16, kD> + lane / 16 * 8;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const float(&left)[4] = p[2 * k];
    const float(&right)[4] = p[2 * k + 1];
    const uint32_t a[4] = {pack_bf16(left[0], left[1]), pack_bf16(left[2], left[3]), pack_bf16(right[0], right[1]),
                           pack_bf16(right[2], right[3])};
#pragma unroll
    for (int j = 0; j < 2 * kD; j += 2) {
      uint32_t b[4];
      ldmatrix<true>(b, from + k * 16 * kStride<bf16, kD> + j * 8);
      mma_bf16_16816(out[j], a, b[0], b[1]);
      mma_bf16_16816(out[j + 1], a, b[2], b[3]);
    }
  }
}
/// The same of float32. Operands t and t + 4 of a sum over 8 keys are the keys 2t and 2t + 1: a lane holds these, and
/// the order of a sum is free. Its reads of the tile then lie 8 lane % 4 + lane / 4 numbers apart: no bank conflicts.
template <int kD>
__device__ void add_product(float (&out)[2 * kD][4], const float (&p)[8][4], const float* tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const float* from = tile + lane % 4 * 2 * kStride<float, kD> + lane / 4;
  constexpr int kAtOnce = kD % 2 == 0 ? 4 : 2;
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    uint32_t a[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = std::bit_cast<uint32_t>(p[k][i % 2 * 2 + i / 2]);
    const SplitTf32<4> split(a);
#pragma unroll
    for (int j = 0; j < 2 * kD; j += kAtOnce) {
      uint32_t b[kAtOnce][2];
#pragma unroll
      for (int u = 0; u < kAtOnce; ++u)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          b[u][i] = std::bit_cast<uint32_t>(from[(k * 8 + i) * kStride<float, kD> + (j + u) * 8]);
      multiply_row<kAtOnce>(out + j, split, b);
    }
  }
}

/// Stores this lane's part of row `half` (0: lane / 4, 1: 8 further) times `factor` at `to` + channel.
template <int kD, class Out>
__device__ void store_row(const View<Out>& to, int64_t at, const float (&out)[2 * kD][4], int half, float factor,
                          int d) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int j = 0; j < 2 * kD; ++j) {
    const int c = j * 8 + lane % 4 * 2;
    const float first = out[j][half * 2] * factor, second = out[j][half * 2 + 1] * factor;
    if (d % 2 != 0) {
      if (c < d) to[at + c] = store<Out>(first);
      if (c + 1 < d) to[at + c + 1] = store<Out>(second);
    } else if (c < d) {
      if constexpr (std::is_same_v<Out, float>)
        *reinterpret_cast<float2*>(to.at(at + c, 2)) = make_float2(first, second);
      else
        *reinterpret_cast<uint32_t*>(to.at(at + c, 2)) = pack_bf16(first, second);
    }
  }
}

/// Blocks of 64 keys of all sources, one after another.
struct KeyBlocks {
  int source = 0, k0 = 0;
  template <class Sources>
  __device__ explicit KeyBlocks(const Sources& s) {
    skip_empty(s);
  }
  template <class Sources>
  __device__ bool end(const Sources& s) const {
    return source == s.count;
  }
  template <class Sources>
  __device__ void advance(const Sources& s) {
    k0 += kRows;
    skip_empty(s);
  }

 private:
  template <class Sources>
  __device__ void skip_empty(const Sources& s) {
    while (source < s.count && k0 >= s.at[source].length) {
      ++source;
      k0 = 0;
    }
  }
};

/// Starts to bring a block of keys and its values; `hidden` says which of them are not to be read.
template <int kD, bool kWide, class T>
__device__ void load_keys(T* k, T* v, unsigned char* hidden, const HeadSource<T>& s, int64_t b, int k0, int64_t head,
                          int d) {
  const int64_t entry = b / s.share;
  const int n = min(kRows, s.length - k0), i = static_cast<int>(threadIdx.x);
  load_tile<kD, kWide>(k, s.k, entry, k0, head, n, d);
  load_tile<kD, kWide>(v, s.v, entry, k0, head, n, d);
  if (i < kRows) hidden[i] = i >= n || s.is_masked(entry, k0 + i) ? 1 : 0;
}

/// Sum and largest value over the four lanes that share a row of a product.
__device__ inline float row_sum(float v) {
  v += __shfl_xor_sync(kAllLanes, v, 1);
  return v + __shfl_xor_sync(kAllLanes, v, 2);
}
__device__ inline float row_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(kAllLanes, v, 1));
  return fmaxf(v, __shfl_xor_sync(kAllLanes, v, 2));
}

inline bool all_wide_rows(const Tensor& q, const std::vector<KeyValue>& sources) {
  return wide_rows(q) && std::all_of(sources.begin(), sources.end(),
                                     [](const KeyValue& s) { return wide_rows(s.k) && wide_rows(s.v); });
}

inline constexpr int64_t kMostChannels = 64;

/// Whether these kernels take the attention; float32 is read 16 bytes at once or not at all.
inline bool attention_mma_fits(const Tensor& q, const std::vector<KeyValue>& sources) {
  if (q.size(3) > kMostChannels) return false;
  return q.dtype() == DType::bfloat16 || (q.dtype() == DType::float32 && tf32x3() && all_wide_rows(q, sources));
}

/// Calls f with kD and kWide as types.
template <class T, class F>
void visit_head(int64_t d, bool wide, F&& f) {
  const auto with = [&](auto size) {
    if (wide) return f(size, std::true_type{});
    if constexpr (std::is_same_v<T, bf16>) f(size, std::false_type{});
  };
  if (d <= 16)
    with(std::integral_constant<int, 1>{});
  else if (d <= 32)
    with(std::integral_constant<int, 2>{});
  else if (d <= 48)
    with(std::integral_constant<int, 3>{});
  else
    with(std::integral_constant<int, 4>{});
}

}  // namespace atlas::inline ATLAS_ABI::cuda::attention_mma
