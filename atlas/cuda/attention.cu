// Attention by ordinary arithmetic, forward and backward: any type, up to 512 channels per head. A few lanes of a warp
// share a row (of queries, or of keys in the gradients of keys) and hold it in registers, 16 channels each; the other
// side passes by in tiles of shared memory. The softmax is carried along, as on the CPU.
#include <limits>

#include "atlas/core/math.h"
#include "atlas/cuda/attention.cuh"
#include "atlas/cuda/product.cuh"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

inline constexpr int kThreads = 128, kChannels = 16, kAtOnce = 8;

/// How a row is shared: `lanes` of a warp have 16 channels each, in pieces of four that alternate among them, so that
/// their reads of shared memory lie side by side.
struct Sharing {
  int lanes, tile;  // lanes of a row; rows of the other side in shared memory
  __host__ __device__ int rows() const { return kThreads / lanes; }
  __host__ __device__ int width() const { return lanes * kChannels; }
  __device__ int row() const { return static_cast<int>(threadIdx.x) / lanes; }
  __device__ int channel(int i) const { return (i / 4 * lanes + static_cast<int>(threadIdx.x) % lanes) * 4 + i % 4; }
  template <class C>
  size_t bytes() const {
    return static_cast<size_t>(tile) * (2 * static_cast<size_t>(width()) * sizeof(C) + 2 * sizeof(C));
  }
};

Sharing sharing(int64_t d) {
  check(d <= kWarp * kChannels, "attention", "at most {} channels per head on CUDA, got {}", kWarp * kChannels, d);
  Sharing s{1, 0};
  while (s.width() < d) s.lanes *= 2;
  s.tile = std::clamp(4096 / s.width(), 8, 32);
  return s;
}

/// The lanes' sums for kAtOnce numbers.
template <class C>
__device__ void sum_lanes(C (&v)[kAtOnce], int lanes) {
  for (int other = lanes / 2; other > 0; other /= 2)
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) v[i] += __shfl_xor_sync(kAllLanes, v[i], other);
}

template <class T>
__device__ void load_row(Compute<T> (&to)[kChannels], const View<const T>& from, int64_t row, bool inside,
                         const Sharing& s, int d) {
#pragma unroll
  for (int i = 0; i < kChannels; ++i) {
    const int c = s.channel(i);
    to[i] = inside && c < d ? load(from[row + c]) : Compute<T>(0);
  }
}

/// `count` rows of two tensors into shared memory, zeros behind their ends.
template <class T>
__device__ void load_tile(Compute<T>* to_a, Compute<T>* to_b, const HeadRows<const T>& a, const HeadRows<const T>& b,
                          int64_t entry, int64_t first, int64_t head, int count, const Sharing& s, int d) {
  const int width = s.width();
  for (int i = static_cast<int>(threadIdx.x); i < s.tile * width; i += kThreads) {
    const int r = i / width, c = i % width;
    const bool inside = r < count && c < d;
    to_a[i] = inside ? load(a.elements[a.row(entry, first + r, head) + c]) : Compute<T>(0);
    to_b[i] = inside ? load(b.elements[b.row(entry, first + r, head) + c]) : Compute<T>(0);
  }
}

/// Products of this thread's channels with those of kAtOnce rows in shared memory.
template <class C>
__device__ void dot_rows(C (&sums)[kAtOnce], const C (&mine)[kChannels], const C* rows, const Sharing& s) {
#pragma unroll
  for (int k = 0; k < kAtOnce; ++k) {
    sums[k] = 0;
#pragma unroll
    for (int i = 0; i < kChannels; ++i) sums[k] += mine[i] * rows[k * s.width() + s.channel(i)];
  }
}
template <class C>
__device__ void add_rows(C (&sum)[kChannels], const C (&weights)[kAtOnce], const C* rows, const Sharing& s) {
#pragma unroll
  for (int k = 0; k < kAtOnce; ++k)
#pragma unroll
    for (int i = 0; i < kChannels; ++i) sum[i] += weights[k] * rows[k * s.width() + s.channel(i)];
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    attention_kernel(const HeadRows<const T> q, const HeadSources<T> sources, View<T> y, View<Compute<T>> lse,
                     const AttentionSize size, const Sharing share, int blocks) {
  using C = Compute<T>;
  constexpr C kNone = -std::numeric_limits<C>::infinity();
  C* const ks = shared_memory<C>();
  C* const vs = ks + share.tile * share.width();
  const int64_t block = blockIdx.x % blocks, head = blockIdx.x / blocks % size.heads;
  const int64_t b = blockIdx.x / (static_cast<int64_t>(blocks) * size.heads), l = block * share.rows() + share.row();
  const bool inside = l < size.length;
  C query[kChannels], out[kChannels] = {};
  load_row<T>(query, q.elements, q.row(b, l, head), inside, share, size.d);
  C top = kNone, total = 0;
  for (int index = 0; index < sources.count; ++index) {
    const HeadSource<T>& s = sources.at[index];
    const int64_t entry = b / s.share;
    for (int k0 = 0; k0 < s.length; k0 += share.tile) {
      const int n = min(share.tile, s.length - k0);
      __syncthreads();
      load_tile<T>(ks, vs, s.k, s.v, entry, k0, head, n, share, size.d);
      __syncthreads();
      for (int j = 0; j < n; j += kAtOnce) {
        C p[kAtOnce];
        dot_rows(p, query, ks + j * share.width(), share);
        sum_lanes(p, share.lanes);
        C now = top;
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) {
          p[k] = j + k < n && !s.is_masked(entry, k0 + j + k) ? p[k] * static_cast<C>(size.scale) : kNone;
          now = p[k] > now ? p[k] : now;
        }
        const C shift = now == kNone ? C(0) : now, shrink = math::exp(top - shift);
        total *= shrink;
#pragma unroll
        for (int i = 0; i < kChannels; ++i) out[i] *= shrink;
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) {
          p[k] = math::exp(p[k] - shift);
          total += p[k];
        }
        add_rows(out, p, vs + j * share.width(), share);
        top = now;
      }
    }
  }
  if (!inside) return;
  const C factor = total == 0 ? C(0) : C(1) / total;
#pragma unroll
  for (int i = 0; i < kChannels; ++i) {
    const int c = share.channel(i);
    if (c < size.d) y[((b * size.length + l) * size.heads + head) * size.d + c] = store<T>(out[i] * factor);
  }
  if (share.channel(0) == 0) lse[(b * size.heads + head) * size.length + l] = top + math::log(total);
}

/// delta[b,h,l] = sum over channels of dy y. kWide: 16 bytes at once.
template <class T, bool kWide>
__global__ void delta_kernel(const HeadRows<const T> dy, const HeadRows<const T> y, View<Compute<T>> delta,
                             const AttentionSize size) {
  const int64_t count = size.batch * size.length * size.heads;
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const int64_t head = i % size.heads, l = i / size.heads % size.length, b = i / size.heads / size.length;
    const int64_t left = dy.row(b, l, head), right = y.row(b, l, head);
    Compute<T> sum = 0;
    if constexpr (kWide) {
      constexpr int kPiece = 16 / sizeof(T);
#pragma unroll 2
      for (int c = 0; c < size.d; c += kPiece) {
        alignas(16) T left_piece[kPiece], right_piece[kPiece];
        *reinterpret_cast<int4*>(left_piece) = *reinterpret_cast<const int4*>(dy.elements.at(left + c, kPiece));
        *reinterpret_cast<int4*>(right_piece) = *reinterpret_cast<const int4*>(y.elements.at(right + c, kPiece));
#pragma unroll
        for (int u = 0; u < kPiece; ++u) sum += load(left_piece[u]) * load(right_piece[u]);
      }
    } else {
      for (int c = 0; c < size.d; ++c) sum += load(dy.elements[left + c]) * load(y.elements[right + c]);
    }
    delta[(b * size.heads + head) * size.length + l] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    query_gradient_kernel(const HeadRows<const T> q, const HeadRows<const T> dy, const HeadSources<T> sources,
                          const RowNumbers<const Compute<T>> numbers, View<T> dq, const AttentionSize size,
                          const Sharing share, int blocks) {
  using C = Compute<T>;
  C* const ks = shared_memory<C>();
  C* const vs = ks + share.tile * share.width();
  const int64_t block = blockIdx.x % blocks, head = blockIdx.x / blocks % size.heads;
  const int64_t b = blockIdx.x / (static_cast<int64_t>(blocks) * size.heads), l = block * share.rows() + share.row();
  const bool inside = l < size.length;
  const int64_t number = (b * size.heads + head) * size.length + l;
  const C lse = inside ? numbers.lse[number] : C(0), delta = inside ? numbers.delta[number] : C(0);
  const C scale = static_cast<C>(size.scale);
  C query[kChannels], dout[kChannels], sum[kChannels] = {};
  load_row<T>(query, q.elements, q.row(b, l, head), inside, share, size.d);
  load_row<T>(dout, dy.elements, dy.row(b, l, head), inside, share, size.d);
  for (int index = 0; index < sources.count; ++index) {
    const HeadSource<T>& s = sources.at[index];
    const int64_t entry = b / s.share;
    for (int k0 = 0; k0 < s.length; k0 += share.tile) {
      const int n = min(share.tile, s.length - k0);
      __syncthreads();
      load_tile<T>(ks, vs, s.k, s.v, entry, k0, head, n, share, size.d);
      __syncthreads();
      for (int j = 0; j < n; j += kAtOnce) {
        C p[kAtOnce], dp[kAtOnce];
        dot_rows(p, query, ks + j * share.width(), share);
        dot_rows(dp, dout, vs + j * share.width(), share);
        sum_lanes(p, share.lanes);
        sum_lanes(dp, share.lanes);
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k) {
          const bool read = inside && j + k < n && !s.is_masked(entry, k0 + j + k);
          p[k] = read ? math::exp(p[k] * scale - lse) * (dp[k] - delta) * scale : C(0);
        }
        add_rows(sum, p, ks + j * share.width(), share);
      }
    }
  }
  if (!inside) return;
#pragma unroll
  for (int i = 0; i < kChannels; ++i) {
    const int c = share.channel(i);
    if (c < size.d) dq[((b * size.length + l) * size.heads + head) * size.d + c] = store<T>(sum[i]);
  }
}

/// Gradients of the keys and values of one source. The queries that read them are cut into parts with their own sums:
/// dk and dv are [parts][B_s,L_s,heads,D].
template <class T, class Out>
__global__ void __launch_bounds__(kThreads)
    key_gradient_kernel(const HeadRows<const T> q, const HeadRows<const T> dy, const HeadSource<T> s,
                        const RowNumbers<const Compute<T>> numbers, View<Out> dk, View<Out> dv,
                        const AttentionSize size, const Sharing share, int blocks, int parts, int64_t part_size) {
  using C = Compute<T>;
  C* const qs = shared_memory<C>();
  C* const dys = qs + share.tile * share.width();
  C* const lses = dys + share.tile * share.width();
  C* const deltas = lses + share.tile;
  unsigned rest = blockIdx.x;
  const int part = static_cast<int>(rest % parts);
  rest /= parts;
  const int64_t block = rest % blocks, head = rest / blocks % size.heads;
  const int64_t entry = rest / (static_cast<int64_t>(blocks) * size.heads), l = block * share.rows() + share.row();
  const bool inside = l < s.length;
  const bool read = inside && !s.is_masked(entry, l);
  const C scale = static_cast<C>(size.scale);
  C key[kChannels], value[kChannels], key_sum[kChannels] = {}, value_sum[kChannels] = {};
  load_row<T>(key, s.k.elements, s.k.row(entry, l, head), inside, share, size.d);
  load_row<T>(value, s.v.elements, s.v.row(entry, l, head), inside, share, size.d);
  const int tiles = (size.length + share.tile - 1) / share.tile;
  const int64_t steps = s.share * tiles, begin = steps * part / parts, end = steps * (part + 1) / parts;
  for (int64_t step = begin; step < end; ++step) {
    const int64_t b = entry * s.share + step / tiles;
    const int q0 = static_cast<int>(step % tiles) * share.tile, n = min(share.tile, size.length - q0);
    __syncthreads();
    load_tile<T>(qs, dys, q, dy, b, q0, head, n, share, size.d);
    for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) {
      const int64_t number = (b * size.heads + head) * size.length + q0 + i;
      lses[i] = numbers.lse[number];
      deltas[i] = numbers.delta[number];
    }
    __syncthreads();
    for (int j = 0; j < n; j += kAtOnce) {
      C p[kAtOnce], dp[kAtOnce];
      dot_rows(p, key, qs + j * share.width(), share);
      dot_rows(dp, value, dys + j * share.width(), share);
      sum_lanes(p, share.lanes);
      sum_lanes(dp, share.lanes);
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        const bool here = read && j + k < n;
        p[k] = here ? math::exp(p[k] * scale - lses[j + k]) : C(0);
        dp[k] = here ? p[k] * (dp[k] - deltas[j + k]) * scale : C(0);
      }
      add_rows(value_sum, p, dys + j * share.width(), share);
      add_rows(key_sum, dp, qs + j * share.width(), share);
    }
  }
  if (!inside) return;
  const int64_t to = part * part_size + ((entry * s.length + l) * size.heads + head) * size.d;
#pragma unroll
  for (int i = 0; i < kChannels; ++i) {
    const int c = share.channel(i);
    if (c >= size.d) continue;
    dk[to + c] = store<Out>(key_sum[i]);
    dv[to + c] = store<Out>(value_sum[i]);
  }
}

dim3 grid_of(int64_t blocks) {
  check(blocks < (int64_t{1} << 31), "attention", "{} blocks are too many for one kernel", blocks);
  return dim3(static_cast<unsigned>(blocks));
}

template <class T>
void key_gradients(const Tensor& q, const Tensor& dy, const KeyValue& source, const HeadSource<T>& s,
                   const RowNumbers<const Compute<T>>& numbers, KeyValue& grad, const AttentionSize& size,
                   const Sharing& share) {
  using C = Compute<T>;
  const int64_t count = source.k.numel(), entries = source.k.size(0);
  const int blocks = (s.length + share.rows() - 1) / share.rows();
  const int64_t tiles = entries * size.heads * blocks;
  const int64_t parts = query_parts(tiles, s.share * ((size.length + share.tile - 1) / share.tile));
  const Launch on{q.device(), "attention", grid_of(tiles * parts), dim3(kThreads), share.bytes<C>()};
  const HeadRows<const T> queries(q), douts(dy);
  if (parts == 1)
    return launch(on, key_gradient_kernel<T, T>, queries, douts, s, numbers, view<T>(grad.k), view<T>(grad.v), size,
                  share, blocks, 1, int64_t{0});
  C* const partial = workspace<C>(q.device(), 2 * parts * count);
  launch(on, key_gradient_kernel<T, C>, queries, douts, s, numbers, View<C>(partial, parts * count),
         View<C>(partial + parts * count, parts * count), size, share, blocks, static_cast<int>(parts), count);
  sum_slices<T>(q.device(), "attention", partial, parts, grad.k.data<T>(), count);
  sum_slices<T>(q.device(), "attention", partial + parts * count, parts, grad.v.data<T>(), count);
}

}  // namespace

void attention_forward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, Tensor& y, Tensor& lse) {
  if (q.numel() == 0) return;
  if (attention_mma_forward(q, sources, scale, y, lse)) return;
  visit_cuda_float(q, "attention", [&](auto tag) {
    using T = decltype(tag);
    const AttentionSize size = attention_size(q, scale);
    const Sharing share = sharing(size.d);
    const int blocks = (size.length + share.rows() - 1) / share.rows();
    launch(
        {q.device(), "attention", grid_of(size.batch * size.heads * blocks), dim3(kThreads), share.bytes<Compute<T>>()},
        attention_kernel<T>, HeadRows<const T>(q), head_sources<T>(sources, size.batch), view<T>(y),
        view<Compute<T>>(lse), size, share, blocks);
  });
}

void attention_backward(const Tensor& q, const std::vector<KeyValue>& sources, double scale, const Tensor& y,
                        const Tensor& lse, const Tensor& dy, Tensor& dq, std::vector<KeyValue>& grads) {
  if (q.numel() == 0) {
    for (KeyValue& g : grads) {
      atlas::fill_elements(g.k, 0);
      atlas::fill_elements(g.v, 0);
    }
    return;
  }
  visit_cuda_float(q, "attention", [&](auto tag) {
    using T = decltype(tag);
    using C = Compute<T>;
    const AttentionSize size = attention_size(q, scale);
    const int64_t rows = lse.numel();
    C* const delta = workspace<C>(q.device(), rows, 1);
    launch({q.device(), "attention", blocks_for(rows, 128), dim3(128), 0, true},
           wide_rows(dy) && wide_rows(y) ? delta_kernel<T, true> : delta_kernel<T, false>, HeadRows<const T>(dy),
           HeadRows<const T>(y), View<C>(delta, rows), size);
    if constexpr (!std::is_same_v<T, double>)
      if (attention_mma_backward(q, sources, scale, lse, dy, delta, dq, grads)) return;
    const Sharing share = sharing(size.d);
    const HeadSources<T> from = head_sources<T>(sources, size.batch);
    const RowNumbers<const C> numbers{view<const C>(lse), {delta, rows}};
    const int blocks = (size.length + share.rows() - 1) / share.rows();
    if (dq)
      launch({q.device(), "attention", grid_of(size.batch * size.heads * blocks), dim3(kThreads), share.bytes<C>()},
             query_gradient_kernel<T>, HeadRows<const T>(q), HeadRows<const T>(dy), from, numbers, view<T>(dq), size,
             share, blocks);
    for (size_t i = 0; i < grads.size(); ++i)
      if (sources[i].k.numel() > 0) key_gradients<T>(q, dy, sources[i], from.at[i], numbers, grads[i], size, share);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
