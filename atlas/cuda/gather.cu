// CUDA kernels of kernels/gather.h.
#include "atlas/core/cuda_graph.h"
#include "atlas/cuda/device.h"
#include "atlas/cuda/elements.cuh"
#include "atlas/kernels/gather.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

// The host learns of a bad index only when it waits, so gathers may meet one that is on its way to become an error:
// they leave it out. An access outside memory would end all work on the device, and the message with it.
__device__ bool inside(int64_t k, int64_t length) { return k >= 0 && k < length; }

__global__ void check_index_kernel(Layout<1> layout, int64_t n, View<const int64_t> index, int64_t length, int op,
                                   Fault* found) {
  int64_t o[1];
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    layout.offsets(i, o);
    const int64_t k = index[o[0]];
    if (!inside(k, length) && atomicExch(&found->found, 1) == 0) {
      found->op = op;
      found->value = k;
      found->length = length;
    }
  }
}

/// How a gather steps: offsets in x (0 along the axis), the index and y; and along the axis.
struct Gather {
  Layout<3> places;
  int64_t axis_step, length;
};
template <class T>
__global__ void gather_kernel(Gather g, int64_t n, View<const T> x, View<const int64_t> index, View<T> y) {
  int64_t o[3];
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    g.places.offsets(i, o);
    const int64_t k = index[o[1]];
    y[o[2]] = inside(k, g.length) ? x[o[0] + k * g.axis_step] : T(0);
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
      const int64_t at = index[o[1] + k * line.index_step];
      if (!inside(at, line.length)) continue;
      T& to = dx[o[0] + at * line.dx_step];
      to = element<T>(Arithmetic<T>(to) + Arithmetic<T>(dy[o[2] + k * line.dy_step]));
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
    if (found) to = element<T>(sum);
  }
}

Shape without(Shape s, int axis) {
  s.erase(axis);
  return s;
}

}  // namespace

void check_index(const Tensor& index, int64_t length, std::string_view op) {
  if (index.numel() == 0) return;
  Shape shape = index.shape();  // repeated indices are looked at once
  for (int i = 0; i < index.dim(); ++i)
    if (index.strides()[i] == 0) shape[i] = 1;
  const int64_t n = shape.numel();
  launch({index.device(), "check_index", blocks_for(n, 256), 256, 0, true}, check_index_kernel,
         Layout<1>(shape, std::array<Shape, 1>{index.strides()}), n, view<const int64_t>(index), length, fault_op(op),
         fault(index.device()));
  if (synchronous() && !capturing()) raise_fault(index.device());
}

void gather_forward(const Tensor& x, const Tensor& index, int axis, Tensor& y) {
  const int64_t n = y.numel();
  if (n == 0) return;
  Shape fixed = x.strides();
  fixed[axis] = 0;
  const Gather g{Layout<3>(y.shape(), {fixed, index.strides(), y.strides()}), x.strides()[axis], x.shape()[axis]};
  visit_bits(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch({y.device(), "gather", blocks_for(n, 256), 256, 0, true}, gather_kernel<T>, g, n, bits_view<const T>(x),
           view<const int64_t>(index), bits_view<T>(y));
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
  const auto run = [&](auto tag) {
    using T = decltype(tag);
    launch({dx.device(), "gather", blocks_for(many ? n : n * line.length, 128), 128, 0, true},
           many ? add_lines_kernel<T> : add_elements_kernel<T>, lines, n, line, view<const T>(dy),
           view<const int64_t>(index), view<T>(dx));
  };
  if (dx.dtype() == int64)
    run(int64_t{});
  else
    visit_cuda_float(dx, "gather", run);
}

}  // namespace atlas::inline ATLAS_ABI::cuda
