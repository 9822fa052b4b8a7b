// Cross entropy on CUDA: a block for each row of logits; the rows' losses are added in order by one block.
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
    if (t.dtype() == int64)
      labels = view<const int64_t>(t);
    else
      soft = view<const T>(t);
  }
};

// A class number that is out of range makes the loss NaN, and an error where the host waits next.
template <class T>
__global__ void cross_entropy_kernel(View<const T> logits, Target<T> target, int64_t classes,
                                     CrossEntropy<Compute<T>> f, int op, Fault* found, View<Compute<T>> statistics,
                                     View<Compute<T>> row_loss) {
  using A = Compute<T>;
  const int64_t row = blockIdx.x, at = row * classes;
  const Team team{static_cast<int>(blockDim.x)};
  A top = -std::numeric_limits<A>::infinity(), sum = 0, loss = 0;
  for (int64_t i = threadIdx.x; i < classes; i += blockDim.x) {
    const A v = load(logits[at + i]);
    top = v > top ? v : top;
  }
  top = team.max(top);
  for (int64_t i = threadIdx.x; i < classes; i += blockDim.x) sum += math::exp(load(logits[at + i]) - top);
  const A log_sum = math::log(team.sum(sum));
  if (target.soft || f.spread != A(0)) {
    for (int64_t i = threadIdx.x; i < classes; i += blockDim.x)
      loss += (target.soft ? f.weight(load(target.soft[at + i])) : f.spread) *
              f.surprise(load(logits[at + i]), top, log_sum);
    loss = team.sum(loss);
  }
  if (threadIdx.x != 0) return;
  if (target.labels) {
    const int64_t label = target.labels[row];
    if (label >= 0 && label < classes) {
      loss += f.keep * f.surprise(load(logits[at + label]), top, log_sum);
    } else {
      loss = std::numeric_limits<A>::quiet_NaN();
      if (atomicExch(&found->found, 1) == 0) {
        found->op = op;
        found->value = label;
        found->length = classes;
      }
    }
  }
  statistics[2 * row] = top;
  statistics[2 * row + 1] = log_sum;
  row_loss[row] = loss;
}

template <class T>
__global__ void mean_loss_kernel(View<const Compute<T>> row_loss, int64_t rows, Vector<T> loss) {
  double sum = 0;
  for (int64_t r = threadIdx.x; r < rows; r += blockDim.x) sum += static_cast<double>(row_loss[r]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) loss.set(0, static_cast<Compute<T>>(sum / static_cast<double>(rows)));
}

template <class T>
__global__ void cross_entropy_backward_kernel(View<const T> logits, Target<T> target, View<const Compute<T>> statistics,
                                              int64_t rows, int64_t classes, CrossEntropy<Compute<T>> f,
                                              Vector<T> dloss, View<T> dlogits) {
  using A = Compute<T>;
  const int64_t row = blockIdx.x, at = row * classes;
  const A top = statistics[2 * row], log_sum = statistics[2 * row + 1], scale = dloss[0] / static_cast<A>(rows);
  A total = 1;  // Σ of the row's weights
  if (target.soft) {
    total = 0;
    for (int64_t i = threadIdx.x; i < classes; i += blockDim.x) total += f.weight(load(target.soft[at + i]));
    total = block_sum(total);
  }
  const int64_t label = target.labels ? target.labels[row] : -1;
  for (int64_t i = threadIdx.x; i < classes; i += blockDim.x) {
    const A weight = target.soft ? f.weight(load(target.soft[at + i])) : f.spread + (i == label ? f.keep : A(0));
    dlogits[at + i] = store<T>(scale * f.gradient(load(logits[at + i]), top, log_sum, total, weight));
  }
}

// d/dt_i = -(1 - smoothing) log softmax_i, times dloss / B.
template <class T>
__global__ void cross_entropy_target_kernel(View<const T> logits, View<const Compute<T>> statistics, int64_t rows,
                                            int64_t classes, CrossEntropy<Compute<T>> f, Vector<T> dloss,
                                            View<T> dtarget) {
  using A = Compute<T>;
  const int64_t row = blockIdx.x, at = row * classes;
  const A top = statistics[2 * row], log_sum = statistics[2 * row + 1];
  const A scale = f.keep * dloss[0] / static_cast<A>(rows);
  for (int64_t i = threadIdx.x; i < classes; i += blockDim.x)
    dtarget[at + i] = store<T>(scale * f.surprise(load(logits[at + i]), top, log_sum));
}

/// Where errors are looked for at once, reads the labels back and names the first that is out of range.
void check_labels(const Tensor& logits, const Tensor& target) {
  if (!synchronous() || target.dtype() != int64 || capturing()) return;
  Tensor labels = empty(target.shape(), int64, Device{});
  copy_bytes(labels.raw(), Device{}, target.raw(), target.device(), target.numel() * item_size(int64));
  for (int64_t r = 0; r < labels.numel(); ++r) {
    const int64_t label = labels.data<int64_t>()[r];
    check(label >= 0 && label < logits.shape()[1], "cross_entropy",
          "target of row {} is {}, needs a class in [0, {}) for logits {}", r, label, logits.shape()[1],
          describe(logits));
  }
}

}  // namespace

void cross_entropy_forward(const Tensor& logits, const Tensor& target, double smoothing, Tensor& loss,
                           Tensor& statistics) {
  const int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  check_labels(logits, target);
  visit_cuda_float(logits, "cross_entropy", [&](auto tag) {
    using T = decltype(tag);
    using A = Compute<T>;
    A* row_loss = workspace<A>(logits.device(), rows);
    launch({logits.device(), "cross_entropy", dim3(static_cast<unsigned>(rows)), dim3(kThreads)},
           cross_entropy_kernel<T>, view<const T>(logits), Target<T>(target), classes,
           CrossEntropy<A>(smoothing, classes), fault_op("cross_entropy"), fault(logits.device()), view<A>(statistics),
           View<A>(row_loss, rows));
    launch({logits.device(), "cross_entropy", dim3(1), dim3(1024)}, mean_loss_kernel<T>, View<const A>(row_loss, rows),
           rows, Vector<T>(loss));
  });
}

void cross_entropy_backward(const Tensor& logits, const Tensor& target, const Tensor& statistics, double smoothing,
                            const Tensor& dloss, Tensor& dlogits) {
  const int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  visit_cuda_float(logits, "cross_entropy", [&](auto tag) {
    using T = decltype(tag);
    using A = Compute<T>;
    launch({logits.device(), "cross_entropy backward", dim3(static_cast<unsigned>(rows)), dim3(kThreads)},
           cross_entropy_backward_kernel<T>, view<const T>(logits), Target<T>(target), view<const A>(statistics), rows,
           classes, CrossEntropy<A>(smoothing, classes), Vector<T>(dloss), view<T>(dlogits));
  });
}

void cross_entropy_target_backward(const Tensor& logits, const Tensor& statistics, double smoothing,
                                   const Tensor& dloss, Tensor& dtarget) {
  const int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  visit_cuda_float(logits, "cross_entropy", [&](auto tag) {
    using T = decltype(tag);
    using A = Compute<T>;
    launch({logits.device(), "cross_entropy backward", dim3(static_cast<unsigned>(rows)), dim3(kThreads), 0, true},
           cross_entropy_target_kernel<T>, view<const T>(logits), view<const A>(statistics), rows, classes,
           CrossEntropy<A>(smoothing, classes), Vector<T>(dloss), view<T>(dtarget));
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
