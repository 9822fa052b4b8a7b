// Softmax on CUDA: a warp or, for long rows, a block for each row; a thread for each column where the axis is not the
// last one. A row is read again for each of its passes: it is in the first-level cache then.
#include "atlas/cuda/rows.cuh"
#include "atlas/kernels/functors.h"
#include "atlas/kernels/softmax.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void softmax_rows_kernel(View<const T> x, int64_t rows, int64_t n, bool logarithm, Team team, View<T> y) {
  using A = Compute<T>;
  const int64_t row = int64_t{blockIdx.x} * team.rows() + team.row(), at = row * n;
  const int64_t end = row < rows ? n : 0;  // rows beyond the last take part in the sums
  A top = -std::numeric_limits<A>::infinity(), sum = 0;
  for (int64_t i = team.rank(); i < end; i += team.size) {
    const A v = load(x[at + i]);
    top = v > top ? v : top;
  }
  top = team.max(top);
  for (int64_t i = team.rank(); i < end; i += team.size) sum += math::exp(load(x[at + i]) - top);
  sum = team.sum(sum);
  if (logarithm) {
    // Not x - (top + log_sum): large logits would lose the digits of the logarithm.
    const A log_sum = math::log(sum);
    for (int64_t i = team.rank(); i < end; i += team.size) y[at + i] = store<T>(load(x[at + i]) - top - log_sum);
  } else {
    const A scale = A(1) / sum;
    for (int64_t i = team.rank(); i < end; i += team.size)
      y[at + i] = store<T>(math::exp(load(x[at + i]) - top) * scale);
  }
}

// softmax: dx = y (dy - sum dy y); log_softmax: dx = dy - exp(y) sum dy. As the y of a softmax add up to 1, its dy is
// counted from the row's first one, `shift`, so that what all of dy has in common costs no digits.
template <class T>
__device__ Compute<T> gradient_term(bool logarithm, Compute<T> y, Compute<T> dy, Compute<T> shift) {
  return logarithm ? dy : (dy - shift) * y;
}
template <class T>
__device__ Compute<T> gradient(bool logarithm, Compute<T> y, Compute<T> dy, Compute<T> shift, Compute<T> sum) {
  return logarithm ? dy - math::exp(y) * sum : y * (dy - shift - sum);
}

template <class T>
__global__ void softmax_rows_backward_kernel(View<const T> y, View<const T> dy, int64_t rows, int64_t n, bool logarithm,
                                             Team team, View<T> dx) {
  const int64_t row = int64_t{blockIdx.x} * team.rows() + team.row(), at = row * n;
  const int64_t end = row < rows ? n : 0;
  const Compute<T> shift = end > 0 ? load(dy[at]) : Compute<T>(0);
  Compute<T> sum = 0;
  for (int64_t i = team.rank(); i < end; i += team.size)
    sum += gradient_term<T>(logarithm, load(y[at + i]), load(dy[at + i]), shift);
  sum = team.sum(sum);
  for (int64_t i = team.rank(); i < end; i += team.size)
    dx[at + i] = store<T>(gradient<T>(logarithm, load(y[at + i]), load(dy[at + i]), shift, sum));
}

template <class T>
__global__ void softmax_columns_kernel(View<const T> x, int64_t n, int64_t inner, int64_t columns, bool logarithm,
                                       View<T> y) {
  using A = Compute<T>;
  for (int64_t column = global_thread(); column < columns; column += global_threads()) {
    const int64_t at = column / inner * n * inner + column % inner;
    A top = -std::numeric_limits<A>::infinity(), sum = 0;
    for (int64_t i = 0; i < n; ++i) {
      const A v = load(x[at + i * inner]);
      top = v > top ? v : top;
    }
    for (int64_t i = 0; i < n; ++i) sum += math::exp(load(x[at + i * inner]) - top);
    const A log_sum = math::log(sum), scale = A(1) / sum;
    for (int64_t i = 0; i < n; ++i) {
      const A v = load(x[at + i * inner]) - top;
      y[at + i * inner] = store<T>(logarithm ? v - log_sum : math::exp(v) * scale);
    }
  }
}

template <class T>
__global__ void softmax_columns_backward_kernel(View<const T> y, View<const T> dy, int64_t n, int64_t inner,
                                                int64_t columns, bool logarithm, View<T> dx) {
  for (int64_t column = global_thread(); column < columns; column += global_threads()) {
    const int64_t at = column / inner * n * inner + column % inner;
    const Compute<T> shift = load(dy[at]);
    Compute<T> sum = 0;
    for (int64_t i = 0; i < n; ++i)
      sum += gradient_term<T>(logarithm, load(y[at + i * inner]), load(dy[at + i * inner]), shift);
    for (int64_t i = 0; i < n; ++i)
      dx[at + i * inner] =
          store<T>(gradient<T>(logarithm, load(y[at + i * inner]), load(dy[at + i * inner]), shift, sum));
  }
}

/// The team for rows of n numbers, and the grid for `rows` of them.
Team team_for(int64_t n) { return {n > 4096 ? kThreads : power_of_two_from(std::min<int64_t>(n, kWarp), 4)}; }
dim3 grid_for(int64_t rows, const Team& team) {
  const int64_t at_once = kThreads / team.size;
  return dim3(static_cast<unsigned>((rows + at_once - 1) / at_once));
}

}  // namespace

void softmax_forward(const Tensor& x, const AxisView& v, bool logarithm, Tensor& y) {
  if (x.numel() == 0) return;
  visit_cuda_float(x, "softmax", [&](auto tag) {
    using T = decltype(tag);
    if (v.inner == 1) {
      const Team team = team_for(v.n);
      launch({x.device(), "softmax", grid_for(v.outer, team), dim3(kThreads)}, softmax_rows_kernel<T>, view<const T>(x),
             v.outer, v.n, logarithm, team, view<T>(y));
    } else {
      const int64_t columns = v.outer * v.inner;
      launch({x.device(), "softmax", blocks_for(columns, kThreads), dim3(kThreads), 0, true}, softmax_columns_kernel<T>,
             view<const T>(x), v.n, v.inner, columns, logarithm, view<T>(y));
    }
  });
}

void softmax_backward(const Tensor& y, const Tensor& dy, const AxisView& v, bool logarithm, Tensor& dx) {
  if (y.numel() == 0) return;
  visit_cuda_float(y, "softmax", [&](auto tag) {
    using T = decltype(tag);
    if (v.inner == 1) {
      const Team team = team_for(v.n);
      launch({y.device(), "softmax backward", grid_for(v.outer, team), dim3(kThreads)}, softmax_rows_backward_kernel<T>,
             view<const T>(y), view<const T>(dy), v.outer, v.n, logarithm, team, view<T>(dx));
    } else {
      const int64_t columns = v.outer * v.inner;
      launch({y.device(), "softmax backward", blocks_for(columns, kThreads), dim3(kThreads), 0, true},
             softmax_columns_backward_kernel<T>, view<const T>(y), view<const T>(dy), v.n, v.inner, columns, logarithm,
             view<T>(dx));
    }
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
