// The selective scan on the CPU. Time is sequential; channels are independent, so the innermost loops run over
// kScanLanes channels at a time, and every (batch entry, block of channels) is work for a thread. Everything named
// [N][lanes] below holds, for each of the N states, one number per channel of the block.
#pragma once

#include <algorithm>
#include <cstring>

#include "atlas/core/math.h"
#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/kernels/scan.h"
#include "atlas/kernels/scan_step.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// Channels that go through time together.
inline constexpr int64_t kScanLanes = 16;

/// A tensor [B,L,n] as rows of n contiguous numbers.
template <class T>
struct Sequence {
  T* data = nullptr;
  int64_t batch_step = 0, step = 0;
  Sequence() = default;
  explicit Sequence(const Tensor& t) : data(t.data<T>()) {
    if (t.numel() > 0)
      batch_step = t.strides()[0], step = t.strides()[1];  // nothing may have no memory to step through
  }
  T* at(int64_t b, int64_t t) const { return data + b * batch_step + t * step; }
};

/// One vector of channels; the last block of a tensor may have fewer, the others then read as zero.
template <class T>
struct Lanes {
  T v[kScanLanes];
  Lanes() = default;
  explicit Lanes(T x) { std::fill_n(v, kScanLanes, x); }
  Lanes(const T* from, int64_t width) {
    if (width == kScanLanes) {
      std::memcpy(v, from, sizeof v);  // of constant size: a vector load or two
    } else {
      std::fill_n(v, kScanLanes, T(0));
      std::copy_n(from, width, v);
    }
  }
  void store(T* to, int64_t width) const {
    if (width == kScanLanes)
      std::memcpy(to, v, sizeof v);
    else
      std::copy_n(v, width, to);
  }
};

template <class T>
T lane_sum(const T* p) {
  T s[kScanLanes];
  std::copy_n(p, kScanLanes, s);
  for (int64_t half = kScanLanes / 2; half > 0; half /= 2)
    for (int64_t j = 0; j < half; ++j) s[j] += s[j + half];
  return s[0];
}

/// What does not change along the sequence, for one block of channels.
template <class T>
struct ScanBlock {
  int64_t states, channel, width;
  Lanes<T> bias, skip;
  const T* a;  // A as [N][lanes]

  /// `storage` takes N * lanes numbers.
  ScanBlock(const ScanTensors& in, int64_t block, T* storage)
      : states(in.a.size(1)),
        channel(block * kScanLanes),
        width(std::min(kScanLanes, in.a.size(0) - channel)),
        bias(in.delta_bias.data<T>() + channel, width),
        skip(in.d.data<T>() + channel, width),
        a(storage) {
    const T* from = in.a.data<T>() + channel * states;
    for (int64_t n = 0; n < states; ++n)
      for (int64_t j = 0; j < kScanLanes; ++j) storage[n * kScanLanes + j] = j < width ? from[j * states + n] : T(0);
  }

  /// softplus(delta + bias)
  Lanes<T> step_size(const T* delta) const {
    Lanes<T> dt(delta + channel, width);
    for (int64_t j = 0; j < kScanLanes; ++j) dt.v[j] = math::softplus(dt.v[j] + bias.v[j]);
    return dt;
  }
};

/// h = exp(dt A) h + dt u B for every state, in place; returns C . h. One loop per state: exp, update and sum stay in
/// registers.
template <class T>
Lanes<T> scan_advance(const ScanBlock<T>& block, const Lanes<T>& dt, const Lanes<T>& u, const T* b, const T* c, T* h) {
  Lanes<T> drive, sum(T(0));
  for (int64_t j = 0; j < kScanLanes; ++j) drive.v[j] = dt.v[j] * u.v[j];
  for (int64_t n = 0; n < block.states; ++n) {
    const T* __restrict a = block.a + n * kScanLanes;
    T* __restrict state = h + n * kScanLanes;
    const T bn = b[n], cn = c[n];
    for (int64_t j = 0; j < kScanLanes; ++j) {
      const T now = scan_advance_state(math::exp(dt.v[j] * a[j]), state[j], drive.v[j], bn);
      state[j] = now;
      sum.v[j] += cn * now;
    }
  }
  return sum;
}

/// The same from `before` to `after`, keeping exp(dt A) in `decay`.
template <class T>
void scan_record(const ScanBlock<T>& block, const Lanes<T>& dt, const Lanes<T>& u, const T* b, const T* before,
                 T* after, T* decay) {
  Lanes<T> drive;
  for (int64_t j = 0; j < kScanLanes; ++j) drive.v[j] = dt.v[j] * u.v[j];
  for (int64_t n = 0; n < block.states; ++n) {
    const T* __restrict a = block.a + n * kScanLanes, * __restrict from = before + n * kScanLanes;
    T* __restrict to = after + n * kScanLanes, * __restrict keep = decay + n * kScanLanes;
    const T bn = b[n];
    for (int64_t j = 0; j < kScanLanes; ++j) {
      const T e = math::exp(dt.v[j] * a[j]);
      keep[j] = e;
      to[j] = scan_advance_state(e, from[j], drive.v[j], bn);
    }
  }
}

}  // namespace detail

// h_t = exp(d_t A) h_{t-1} + d_t u_t B_t,  y_t = C_t . h_t + D u_t,  d = softplus(delta + delta_bias)
ATLAS_INLINE void scan_forward(const ScanTensors& in, Tensor& y) {
  constexpr int64_t lanes = detail::kScanLanes;
  const int64_t batch = in.u.size(0), length = in.u.size(1), channels = in.u.size(2), states = in.a.size(1);
  const int64_t blocks = (channels + lanes - 1) / lanes;
  visit_float(in.u.dtype(), "selective_scan", [&](auto tag) {
    using T = decltype(tag);
    const detail::Sequence<T> us(in.u), deltas(in.delta), bs(in.b), cs(in.c), ys(y);
    const int64_t work = std::max<int64_t>(1, length * states * lanes);
    parallel_for(batch * blocks, std::max<int64_t>(1, 65536 / work), [&](int64_t begin, int64_t end) {
      T* const h = workspace<T>(2 * states * lanes);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / blocks;
        const detail::ScanBlock<T> block(in, i % blocks, h + states * lanes);
        std::fill_n(h, states * lanes, T(0));
        for (int64_t t = 0; t < length; ++t) {
          const detail::Lanes<T> u(us.at(b, t) + block.channel, block.width), dt = block.step_size(deltas.at(b, t));
          detail::Lanes<T> sum = detail::scan_advance<T>(block, dt, u, bs.at(b, t), cs.at(b, t), h);
          for (int64_t j = 0; j < lanes; ++j) sum.v[j] += block.skip.v[j] * u.v[j];
          sum.store(ys.at(b, t) + block.channel, block.width);
        }
      }
    });
  });
}

namespace detail {

/// The backward pass over one batch entry and a range of channel blocks: chunks of the sequence from last to first. The
/// states within a chunk are recomputed from the state at its start.
template <class T>
class ScanBackward {
 public:
  static constexpr int64_t lanes = kScanLanes;

  ScanBackward(const ScanTensors& in, const Tensor& dy, ScanTensors& grads, int64_t first_block, int64_t last_block)
      : in_(in),
        us_(in.u),
        deltas_(in.delta),
        bs_(in.b),
        cs_(in.c),
        dys_(dy),
        dus_(grads.u),
        ddeltas_(grads.delta),
        first_(first_block),
        count_(last_block - first_block),
        states_(in.a.size(1)),
        length_(in.u.size(1)) {
    chunk_ = std::clamp<int64_t>(2048 / std::max<int64_t>(1, states_), 16, std::max<int64_t>(16, length_));
    chunks_ = (length_ + chunk_ - 1) / chunk_;
    const int64_t vector = states_ * lanes;
    T* p = workspace<T>((4 * chunk_ + 2 + count_ * (chunks_ + 1)) * vector + chunk_ * lanes);
    h_ = p;                               // [chunk + 1][N][lanes]: h_[0] is the state before the chunk
    decay_ = h_ + (chunk_ + 1) * vector;  // [chunk][N][lanes]: exp(dt A)
    db_ = decay_ + chunk_ * vector;       // [chunk][N][lanes]: gradients of B and C, not yet summed over the channels
    dc_ = db_ + chunk_ * vector;
    a_ = dc_ + chunk_ * vector;                    // [N][lanes]
    starts_ = a_ + vector;                         // [chunks][count][N][lanes]
    carry_ = starts_ + chunks_ * count_ * vector;  // [count][N][lanes]: dL/dh that later steps hand back
    dt_ = carry_ + count_ * vector;                // [chunk][lanes]
  }

  /// Gradients of u, delta (overwritten) and of the sums over the batch (added): sums [count][N + 2][lanes] holds dA,
  /// then dD, then ddelta_bias. db and dc [L][N] are overwritten.
  void run(int64_t b, T* sums, T* db, T* dc) {
    const int64_t vector = states_ * lanes;
    find_starts(b);
    std::fill_n(carry_, count_ * vector, T(0));
    for (int64_t c = chunks_ - 1; c >= 0; --c) {
      const int64_t t0 = c * chunk_, t1 = std::min(length_, t0 + chunk_);
      std::fill_n(db_, (t1 - t0) * vector, T(0));
      std::fill_n(dc_, (t1 - t0) * vector, T(0));
      for (int64_t i = 0; i < count_; ++i) {
        const ScanBlock<T> block(in_, first_ + i, a_);
        recompute(block, b, t0, t1, starts_ + (c * count_ + i) * vector);
        for (int64_t t = t1 - 1; t >= t0; --t)
          step(block, b, t, t - t0, carry_ + i * vector, sums + i * (states_ + 2) * lanes);
      }
      for (int64_t k = 0; k < (t1 - t0) * states_; ++k) {
        const T *p = db_ + k * lanes, *q = dc_ + k * lanes;
        db[t0 * states_ + k] = lane_sum(p);
        dc[t0 * states_ + k] = lane_sum(q);
      }
    }
  }

 private:
  void find_starts(int64_t b) {
    const int64_t vector = states_ * lanes;
    std::fill_n(starts_, count_ * vector, T(0));
    if (chunks_ == 1) return;
    for (int64_t i = 0; i < count_; ++i) {
      const ScanBlock<T> block(in_, first_ + i, a_);
      std::fill_n(h_, vector, T(0));
      for (int64_t t = 0; t < (chunks_ - 1) * chunk_; ++t) {
        const Lanes<T> u(us_.at(b, t) + block.channel, block.width), dt = block.step_size(deltas_.at(b, t));
        scan_advance<T>(block, dt, u, bs_.at(b, t), cs_.at(b, t), h_);
        if ((t + 1) % chunk_ == 0) std::copy_n(h_, vector, starts_ + ((t + 1) / chunk_ * count_ + i) * vector);
      }
    }
  }

  void recompute(const ScanBlock<T>& block, int64_t b, int64_t t0, int64_t t1, const T* start) {
    const int64_t vector = states_ * lanes;
    std::copy_n(start, vector, h_);
    for (int64_t t = t0; t < t1; ++t) {
      const int64_t k = t - t0;
      const Lanes<T> u(us_.at(b, t) + block.channel, block.width), dt = block.step_size(deltas_.at(b, t));
      dt.store(dt_ + k * lanes, lanes);
      scan_record<T>(block, dt, u, bs_.at(b, t), h_ + k * vector, h_ + (k + 1) * vector, decay_ + k * vector);
    }
  }

  // One state of step(); a function of its own so that its pointers can promise not to overlap.
  static void step_state(const T* __restrict h0, const T* __restrict h1, const T* __restrict decay,
                         const T* __restrict a, T bn, T cn, const T* __restrict dt, const T* __restrict drive,
                         const T* __restrict dy, T* __restrict db, T* __restrict dc, T* __restrict carry,
                         T* __restrict da, T* __restrict from_exponent, T* __restrict from_drive) {
    for (int64_t j = 0; j < lanes; ++j)
      scan_state_backward(h0[j], h1[j], decay[j], a[j], bn, cn, dt[j], drive[j], dy[j], carry[j], da[j], db[j], dc[j],
                          from_exponent[j], from_drive[j]);
  }

  // scan_state_backward() for every state; then dd = from_exponent + u from_drive and du = d from_drive + D dy.
  void step(const ScanBlock<T>& block, int64_t b, int64_t t, int64_t k, T* carry, T* sums) {
    const int64_t vector = states_ * lanes;
    const Lanes<T> u(us_.at(b, t) + block.channel, block.width), dy(dys_.at(b, t) + block.channel, block.width);
    const Lanes<T> raw(deltas_.at(b, t) + block.channel, block.width), dt(dt_ + k * lanes, lanes);
    const T *bt = bs_.at(b, t), *ct = cs_.at(b, t);
    Lanes<T> drive, from_exponent(T(0)), from_drive(T(0));
    for (int64_t j = 0; j < lanes; ++j) drive.v[j] = dt.v[j] * u.v[j];
    for (int64_t n = 0; n < states_; ++n) {
      const int64_t at = n * lanes, here = k * vector + at;
      step_state(h_ + here, h_ + here + vector, decay_ + here, block.a + at, bt[n], ct[n], dt.v, drive.v, dy.v,
                 db_ + here, dc_ + here, carry + at, sums + at, from_exponent.v, from_drive.v);
    }
    T *skip = sums + vector, *bias = skip + lanes;
    Lanes<T> du, ddelta;
    for (int64_t j = 0; j < lanes; ++j) {
      skip[j] += dy.v[j] * u.v[j];
      du.v[j] = dy.v[j] * block.skip.v[j] + dt.v[j] * from_drive.v[j];
      // d softplus(x) / dx = sigmoid(x)
      ddelta.v[j] = (from_exponent.v[j] + u.v[j] * from_drive.v[j]) * math::sigmoid(raw.v[j] + block.bias.v[j]);
      bias[j] += ddelta.v[j];
    }
    du.store(dus_.at(b, t) + block.channel, block.width);
    ddelta.store(ddeltas_.at(b, t) + block.channel, block.width);
  }

  const ScanTensors& in_;
  Sequence<T> us_, deltas_, bs_, cs_, dys_, dus_, ddeltas_;
  int64_t first_, count_, states_, length_, chunk_ = 0, chunks_ = 0;
  T *h_, *decay_, *db_, *dc_, *a_, *starts_, *carry_, *dt_;
};

}  // namespace detail

ATLAS_INLINE void scan_backward(const ScanTensors& in, const Tensor& dy, ScanTensors& grads) {
  constexpr int64_t lanes = detail::kScanLanes;
  const int64_t batch = in.u.size(0), length = in.u.size(1), channels = in.u.size(2), states = in.a.size(1);
  const int64_t blocks = (channels + lanes - 1) / lanes, sums_size = blocks * (states + 2) * lanes;
  visit_float(in.u.dtype(), "selective_scan", [&](auto tag) {
    using T = decltype(tag);
    // Pieces of the batch have their own dA, dD, ddelta_bias; groups of channel blocks their own dB, dC. Both cuts
    // depend on the sizes alone, and both are summed in order.
    const int64_t per_piece = std::max<int64_t>(1, (batch + 63) / 64), pieces = (batch + per_piece - 1) / per_piece;
    const int64_t groups_wanted =
        std::clamp<int64_t>(16 / std::max<int64_t>(1, pieces), 1, std::max<int64_t>(1, blocks));
    const int64_t per_group = std::max<int64_t>(1, (blocks + groups_wanted - 1) / groups_wanted);
    const int64_t groups = (blocks + per_group - 1) / per_group, sequence = batch * length * states;
    T* const sums = workspace<T>(pieces * sums_size, 4);
    T* const partial = groups > 1 ? workspace<T>(2 * (groups - 1) * sequence, 5) : nullptr;
    T *const db = grads.b.data<T>(), *const dc = grads.c.data<T>();
    if (groups == 0) {
      std::fill_n(db, sequence, T(0));
      std::fill_n(dc, sequence, T(0));
    }

    parallel_for(pieces * groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t piece = i / groups, group = i % groups, first = group * per_group,
                      last = std::min(blocks, first + per_group);
        T* mine = sums + piece * sums_size + first * (states + 2) * lanes;
        std::fill_n(mine, (last - first) * (states + 2) * lanes, T(0));
        detail::ScanBackward<T> backward(in, dy, grads, first, last);
        for (int64_t b = piece * per_piece; b < std::min(batch, (piece + 1) * per_piece); ++b) {
          const int64_t at = b * length * states;
          T* own = group == 0 ? nullptr : partial + 2 * (group - 1) * sequence;
          backward.run(b, mine, group == 0 ? db + at : own + at, group == 0 ? dc + at : own + sequence + at);
        }
      }
    });

    parallel_for(groups > 1 ? sequence : 0, 16384, [&](int64_t begin, int64_t end) {
      for (int64_t g = 0; g + 1 < groups; ++g) {
        const T *p = partial + 2 * g * sequence, *q = p + sequence;
        for (int64_t k = begin; k < end; ++k) db[k] += p[k];
        for (int64_t k = begin; k < end; ++k) dc[k] += q[k];
      }
    });
    for (int64_t c = 0; c < channels; ++c) {
      const T* from = sums + c / lanes * (states + 2) * lanes + c % lanes;
      for (int64_t n = 0; n < states + 2; ++n) {
        T total = 0;
        for (int64_t p = 0; p < pieces; ++p) total += from[p * sums_size + n * lanes];
        if (n < states)
          grads.a.data<T>()[c * states + n] = total;
        else
          (n == states ? grads.d : grads.delta_bias).data<T>()[c] = total;
      }
    }
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
