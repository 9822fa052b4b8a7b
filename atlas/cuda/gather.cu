// CUDA kernels of kernels/gather.h.
#include "atlas/core/cuda_graph.h"
#include "atlas/cuda/device.h"
#include "atlas/cuda/elements.cuh"
#include "atlas/kernels/gather.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

__global__ void check_index_kernel(Layout<1> layout, int64_t n, View<const int64_t> index, int64_t length, int op,
                                   Fault* found) {
  int64_t o[1];
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    layout.offsets(i, o);
    const int64_t k = index[o[0]];
    if ((k < 0 || k >= length) && atomicExch(&found->found, 1) == 0) {
      found->op = op;
      found->value = k;
      found->length = length;
    }
  }
}

/// Places of y: offsets in x (0 along the axis), the index and y.
template <class T>
__global__ void gather_kernel(Layout<3> places, int64_t n, int64_t axis_step, View<const T> x,
                              View<const int64_t> index, View<T> y) {
  int64_t o[3];
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    places.offsets(i, o);
    y[o[2]] = x[o[0] + index[o[1]] * axis_step];
  }
}

/// How a line along the axis runs through dx, the index and dy.
struct Line {
  int64_t count, length;  // of the index, and of dx
  int64_t dx_step, index_step, dy_step;
};

/// A thread for each line: it walks the index and adds to dx. For many lines.
template <class T>
__global__ void add_lines_kernel(Layout<3> lines, int64_t n, Line line, View<const T> dy, View<const int64_t> index,
                                 View<T> dx) {
  int64_t o[3];
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    lines.offsets(i, o);
    for (int64_t k = 0; k < line.count; ++k) {
      T& to = dx[o[0] + index[o[1] + k * line.index_step] * line.dx_step];
      to = T(Arithmetic<T>(to) + Arithmetic<T>(dy[o[2] + k * line.dy_step]));
    }
  }
}

/// A thread for each element of dx: it looks for itself in the index. For few lines, as those of a table of position
/// biases; the order of additions is the same.
template <class T>
__global__ void add_elements_kernel(Layout<3> lines, int64_t n, Line line, View<const T> dy, View<const int64_t> index,
                                    View<T> dx) {
  int64_t o[3];
  for (int64_t i = global_thread(); i < n * line.length; i += global_threads()) {
    const int64_t at = i / n;
    lines.offsets(i - at * n, o);
    T& to = dx[o[0] + at * line.dx_step];
    Arithmetic<T> sum(to);
    bool found = false;
    for (int64_t k = 0; k < line.count; ++k) {
      if (index[o[1] + k * line.index_step] != at) continue;
      sum += Arithmetic<T>(dy[o[2] + k * line.dy_step]);
      found = true;
    }
    if (found) to = T(sum);
  }
}

Shape without(Shape s, int axis) {
  s.erase(axis);
  return s;
}

}  // namespace

void check_index(const Tensor& index, int64_t length, std::string_view op) {
  const int64_t n = index.numel();
  if (n == 0) return;
  launch({index.device(), "check_index", blocks_for(n, 256), 256, 0, true}, check_index_kernel,
         Layout<1>(index.shape(), std::array<Shape, 1>{index.strides()}), n, view<const int64_t>(index), length,
         fault_op(op), fault(index.device()));
  if (synchronous() && !capturing()) raise_fault(index.device());
}

void gather_forward(const Tensor& x, const Tensor& index, int axis, Tensor& y) {
  const int64_t n = y.numel();
  if (n == 0) return;
  Shape fixed = x.strides();
  fixed[axis] = 0;
  const Layout<3> places(y.shape(), {fixed, index.strides(), y.strides()});
  visit_bits(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch({y.device(), "gather", blocks_for(n, 256), 256, 0, true}, gather_kernel<T>, places, n, x.strides()[axis],
           bits_view<const T>(x), view<const int64_t>(index), bits_view<T>(y));
  });
}

void gather_backward(const Tensor& dy, const Tensor& index, int axis, Tensor& dx) {
  if (dy.numel() == 0) return;
  const Line line{index.shape()[axis], dx.shape()[axis], dx.strides()[axis], index.strides()[axis], dy.strides()[axis]};
  const Shape shape = without(index.shape(), axis);
  const int64_t n = shape.numel();
  const Layout<3> lines(shape,
                        {without(dx.strides(), axis), without(index.strides(), axis), without(dy.strides(), axis)});
  const bool many = n >= 8192;
  visit_cuda_float(dx, "gather", [&](auto tag) {
    using T = decltype(tag);
    launch({dx.device(), "gather", blocks_for(many ? n : n * line.length, 128), 128, 0, true},
           many ? add_lines_kernel<T> : add_elements_kernel<T>, lines, n, line, view<const T>(dy),
           view<const int64_t>(index), view<T>(dx));
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
