// Cross entropy on CUDA: a block for each row of logits.
#include "atlas/core/cuda_graph.h"
#include "atlas/cuda/device.h"
#include "atlas/cuda/rows.cuh"
#include "atlas/kernels/functors.h"
#include "atlas/kernels/loss.h"
#include "atlas/kernels/loss_step.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kThreads = 128;

/// The target of a row: a class number, or a probability for each class.
template <class T>
struct Target {
  View<const int64_t> labels;
  View<const T> soft;
  explicit Target(const Tensor& t) {
    if (!t.defined()) return;
    if (t.dtype() == int64)
      labels = view<const int64_t>(t);
    else
      soft = view<const T>(t);
  }
};

/// What all kernels read.
template <class T>
struct Operands {
  using A = Compute<T>;
  View<const T> logits;
  Target<T> target;
  View<const T> weights;
  int64_t classes;
  CrossEntropy<A> f;
  bool ignores;
  int64_t ignored;
  Operands(const Tensor& x, const Tensor& t, const Tensor& w, const CrossEntropySetting& setting)
      : logits(view<const T>(x)),
        target(t),
        weights(view<const T>(w)),
        classes(x.shape()[1]),
        f(setting.smoothing, classes),
        ignores(setting.ignores),
        ignored(setting.ignored) {}
  __device__ A weight(int64_t c) const { return weights ? load(weights[c]) : A(1); }
  __device__ bool is_ignored(int64_t row) const { return ignores && target.labels && target.labels[row] == ignored; }
};

// A class number that is out of range makes the loss NaN, and an error where the host waits next.
template <class T>
__global__ void cross_entropy_kernel(Operands<T> in, int op, Fault* found, View<Compute<T>> statistics,
                                     View<T> row_loss) {
  using A = Compute<T>;
  const int64_t row = blockIdx.x, at = row * in.classes;
  const Team team{static_cast<int>(blockDim.x)};
  A top = -std::numeric_limits<A>::infinity(), sum = 0, loss = 0;
  for (int64_t i = threadIdx.x; i < in.classes; i += blockDim.x) {
    const A v = load(in.logits[at + i]);
    top = v > top ? v : top;
  }
  top = team.max(top);
  for (int64_t i = threadIdx.x; i < in.classes; i += blockDim.x) sum += math::exp(load(in.logits[at + i]) - top);
  const A log_sum = math::log(team.sum(sum));
  if (in.target.soft || in.f.spread != A(0)) {
    for (int64_t i = threadIdx.x; i < in.classes; i += blockDim.x)
      loss += in.weight(i) * (in.target.soft ? in.f.weight(load(in.target.soft[at + i])) : in.f.spread) *
              in.f.surprise(load(in.logits[at + i]), top, log_sum);
    loss = team.sum(loss);
  }
  if (threadIdx.x != 0) return;
  A own = 1;
  if (in.target.labels) {
    const int64_t label = in.target.labels[row];
    if (in.is_ignored(row)) {
      own = loss = 0;
    } else if (label >= 0 && label < in.classes) {
      own = in.weight(label);
      loss += in.f.keep * own * in.f.surprise(load(in.logits[at + label]), top, log_sum);
    } else {
      loss = std::numeric_limits<A>::quiet_NaN();
      if (atomicExch(&found->found, 1) == 0) {
        found->op = op;
        found->value = label;
        found->length = in.classes;
      }
    }
  }
  statistics[3 * row] = top;
  statistics[3 * row + 1] = log_sum;
  statistics[3 * row + 2] = own;
  row_loss[row] = store<T>(loss);
}

/// `step`: 0 where all rows have one gradient.
template <class T>
__global__ void cross_entropy_backward_kernel(Operands<T> in, View<const Compute<T>> statistics, View<const T> drow,
                                              int64_t step, View<T> dlogits) {
  using A = Compute<T>;
  const int64_t row = blockIdx.x, at = row * in.classes;
  const A top = statistics[3 * row], log_sum = statistics[3 * row + 1], scale = load(drow[row * step]);
  const A own = in.f.keep * statistics[3 * row + 2];
  const bool ignored = in.is_ignored(row);
  A total = own;  // the sum of the row's weights
  if (in.target.soft || (in.f.spread != A(0) && in.weights)) {
    total = 0;
    for (int64_t i = threadIdx.x; i < in.classes; i += blockDim.x)
      total += in.weight(i) * (in.target.soft ? in.f.weight(load(in.target.soft[at + i])) : in.f.spread);
    total = block_sum(total) + (in.target.soft ? A(0) : own);
  } else {
    total += in.f.spread * static_cast<A>(in.classes);
  }
  const int64_t label = in.target.labels ? in.target.labels[row] : -1;
  for (int64_t i = threadIdx.x; i < in.classes; i += blockDim.x) {
    const A weight = in.weight(i) * (in.target.soft ? in.f.weight(load(in.target.soft[at + i])) : in.f.spread) +
                     (i == label ? own : A(0));
    const A dx = scale * in.f.gradient(load(in.logits[at + i]), top, log_sum, total, weight);
    dlogits[at + i] = store<T>(ignored ? A(0) : dx);
  }
}

// d/dt_i = -w_i (1 - smoothing) log softmax_i, times drow.
template <class T>
__global__ void cross_entropy_target_kernel(Operands<T> in, View<const Compute<T>> statistics, View<const T> drow,
                                            int64_t step, View<T> dtarget) {
  using A = Compute<T>;
  const int64_t row = blockIdx.x, at = row * in.classes;
  const A top = statistics[3 * row], log_sum = statistics[3 * row + 1], scale = in.f.keep * load(drow[row * step]);
  for (int64_t i = threadIdx.x; i < in.classes; i += blockDim.x)
    dtarget[at + i] = store<T>(scale * in.weight(i) * in.f.surprise(load(in.logits[at + i]), top, log_sum));
}

/// Where errors are looked for at once, reads the labels back and names the first that is out of range.
void check_labels(const Tensor& logits, const Tensor& target, const CrossEntropySetting& setting) {
  if (!synchronous() || target.dtype() != int64 || capturing()) return;
  Tensor labels = empty(target.shape(), int64, Device{});
  copy_bytes(labels.raw(), Device{}, target.raw(), target.device(), target.numel() * item_size(int64));
  for (int64_t r = 0; r < labels.numel(); ++r) {
    const int64_t label = labels.data<int64_t>()[r];
    const bool ignored = setting.ignores && label == setting.ignored;
    check(ignored || (label >= 0 && label < logits.shape()[1]), "cross_entropy",
          "target of row {} is {}, needs a class in [0, {}) for logits {}", r, label, logits.shape()[1],
          describe(logits));
  }
}

/// Calls f(T{}, grid) with a block for each row.
template <class F>
void for_rows(const Tensor& logits, const F& f) {
  visit_cuda_float(logits, "cross_entropy", [&](auto tag) { f(tag, dim3(static_cast<unsigned>(logits.shape()[0]))); });
}

}  // namespace

void cross_entropy_forward(const Tensor& logits, const Tensor& target, const Tensor& weights,
                           const CrossEntropySetting& setting, Tensor& row_loss, Tensor& statistics) {
  check_labels(logits, target, setting);
  for_rows(logits, [&](auto tag, dim3 grid) {
    using T = decltype(tag);
    launch({logits.device(), "cross_entropy", grid, dim3(kThreads)}, cross_entropy_kernel<T>,
           Operands<T>(logits, target, weights, setting), fault_op("cross_entropy"), fault(logits.device()),
           view<Compute<T>>(statistics), view<T>(row_loss));
  });
}

void cross_entropy_backward(const Tensor& logits, const Tensor& target, const Tensor& weights, const Tensor& statistics,
                            const CrossEntropySetting& setting, const Tensor& drow, Tensor& dlogits) {
  for_rows(logits, [&](auto tag, dim3 grid) {
    using T = decltype(tag);
    launch({logits.device(), "cross_entropy backward", grid, dim3(kThreads)}, cross_entropy_backward_kernel<T>,
           Operands<T>(logits, target, weights, setting), view<const Compute<T>>(statistics), view<const T>(drow),
           drow.strides()[0], view<T>(dlogits));
  });
}

void cross_entropy_target_backward(const Tensor& logits, const Tensor& weights, const Tensor& statistics,
                                   const CrossEntropySetting& setting, const Tensor& drow, Tensor& dtarget) {
  for_rows(logits, [&](auto tag, dim3 grid) {
    using T = decltype(tag);
    launch({logits.device(), "cross_entropy backward", grid, dim3(kThreads), 0, true}, cross_entropy_target_kernel<T>,
           Operands<T>(logits, {}, weights, setting), view<const Compute<T>>(statistics), view<const T>(drow),
           drow.strides()[0], view<T>(dtarget));
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
