// Bodies of shape.h.
#pragma once

#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

inline constexpr int64_t kViewBytes = 256;  // of a tensor that views another, at least

/// A view of x; an empty one stays at x's offset, so that no pointer is moved outside a block (or away from null).
inline Tensor view_of(const Tensor& x, const Shape& shape, const Shape& strides, int64_t skip = 0) {
  return raw_view(x, shape, strides, x.offset() + (shape.numel() == 0 ? 0 : skip));
}

ATLAS_INLINE Tensor zeros_of(const Shape& shape, const Tensor& like) {
  Tensor z = empty(shape, like.dtype(), like.device());
  fill_elements(z, 0);
  return z;
}

/// Strides that show (shape, strides) as `to` without moving an element, when there are any.
/// Both shapes have the same number of elements, at least one.
inline std::optional<Shape> reshaped_strides(const Shape& shape, const Shape& strides, const Shape& to) {
  Shape out = Shape::filled(to.size(), 1);
  int from_axis = shape.size() - 1, to_axis = to.size() - 1;
  while (from_axis >= 0) {
    // A run of old axes that lie next to each other in memory: [.., a, b] with stride(a) = b * stride(b).
    const int64_t step = strides[from_axis];
    int64_t run = shape[from_axis--];
    while (from_axis >= 0 && (shape[from_axis] == 1 || run == 1 || strides[from_axis] == run * step)) {
      if (run == 1 && shape[from_axis] != 1) break;  // a run of ones takes the stride of what follows
      run *= shape[from_axis--];
    }
    int64_t taken = 1;
    while (to_axis >= 0 && (taken < run || to[to_axis] == 1)) {
      out[to_axis] = taken * step;
      taken *= to[to_axis--];
    }
    if (taken != run) return std::nullopt;
  }
  return out;
}

/// Fills in the one -1 of `shape`. @throws Error when the number of elements does not fit.
inline Shape complete_shape(const Tensor& x, Shape shape) {
  int unknown = -1;
  Shape known = shape;
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      check(unknown < 0, "reshape", "at most one length may be -1, got {} for {}", shape, describe(x));
      unknown = i;
      known[i] = 1;
    } else {
      check(shape[i] >= 0, "reshape", "length {} of axis {} in {} is negative (only -1 is allowed: it is inferred)",
            shape[i], i, shape);
    }
  }
  const int64_t n = x.numel(), m = known.numel();
  if (unknown >= 0) {
    check(m != 0 && n % m == 0, "reshape", "cannot infer axis {} of {}: {} has {} elements, the other axes {}", unknown,
          shape, describe(x), n, m);
    shape[unknown] = n / m;
  } else {
    check(m == n, "reshape", "{} has {} elements, the new shape {} has {} (one length may be -1: it is inferred)",
          describe(x), n, shape, m);
  }
  return shape;
}

}  // namespace detail

ATLAS_INLINE Tensor reshape(const Tensor& x, const Shape& shape) {
  const Shape to = detail::complete_shape(x, shape);
  if (to == x.shape()) return x;
  std::optional<Shape> strides =
      x.numel() == 0 ? contiguous_strides(to) : detail::reshaped_strides(x.shape(), x.strides(), to);
  if (!strides) return reshape(contiguous(x), to);
  return record("reshape", detail::view_of(x, to, *strides), {x},
                [from = x.shape()](const Tensor& dy) { return Grads{reshape(dy, from)}; });
}

ATLAS_INLINE Tensor permute(const Tensor& x, const Shape& axes) {
  const int n = x.dim();
  check(axes.size() == n, "permute", "needs one entry per axis of {}, got {}", describe(x), axes);
  Shape shape = x.shape(), strides = x.strides(), inverse = Shape::filled(n, -1);
  for (int i = 0; i < n; ++i) {
    const int from = normalize_axis(axes[i], x, "permute");
    check(inverse[from] < 0, "permute", "axis {} appears twice in {} for {}", from, axes, describe(x));
    inverse[from] = i;
    shape[i] = x.shape()[from];
    strides[i] = x.strides()[from];
  }
  return record("permute", detail::view_of(x, shape, strides), {x},
                [inverse](const Tensor& dy) { return Grads{permute(dy, inverse)}; });
}

ATLAS_INLINE Tensor transpose(const Tensor& x, int a, int b) {
  a = normalize_axis(a, x, "transpose");
  b = normalize_axis(b, x, "transpose");
  Shape shape = x.shape(), strides = x.strides();
  std::swap(shape[a], shape[b]);
  std::swap(strides[a], strides[b]);
  return record("transpose", detail::view_of(x, shape, strides), {x},
                [a, b](const Tensor& dy) { return Grads{transpose(dy, a, b)}; });
}

ATLAS_INLINE Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end, int64_t step) {
  axis = normalize_axis(axis, x, "slice");
  const int64_t n = x.shape()[axis];
  if (end == kEnd) end = n;
  check(begin >= -n && begin <= n && end >= -n && end <= n, "slice",
        "[{}, {}) is outside axis {} of {}, whose length is {}", begin, end, axis, describe(x), n);
  begin += begin < 0 ? n : 0;
  end += end < 0 ? n : 0;
  check(begin <= end, "slice", "begin {} lies after end {} (axis {} of {})", begin, end, axis, describe(x));
  check(step >= 1, "slice", "step must be at least 1, got {}", step);
  Shape shape = x.shape(), strides = x.strides();
  shape[axis] = end == begin ? 0 : (end - begin - 1) / step + 1;
  const int64_t skip = begin * strides[axis];
  if (shape[axis] > 1) strides[axis] *= step;  // a huge step with one element must not overflow
  // dx = 0 with dy written into the slice.
  return record("slice", detail::view_of(x, shape, strides, skip), {x},
                [axis, begin, end, step, from = x.shape()](const Tensor& dy) {
                  Tensor dx = detail::zeros_of(from, dy);
                  Tensor part = slice(dx, axis, begin, end, step);
                  copy_elements(part, dy);
                  return Grads{dx};
                });
}

ATLAS_INLINE Tensor select(const Tensor& x, int axis, int64_t index) {
  check(x.dim() > 0, "select", "a tensor without axes has nothing to index: {} (use item())", describe(x));
  axis = normalize_axis(axis, x, "select");
  const int64_t n = x.shape()[axis];
  check(index >= -n && index < n, "select", "index {} is outside axis {} of {}, whose length is {}", index, axis,
        describe(x), n);
  index += index < 0 ? n : 0;
  Shape shape = x.shape(), strides = x.strides();
  const int64_t skip = index * strides[axis];
  shape.erase(axis);
  strides.erase(axis);
  return record("select", detail::view_of(x, shape, strides, skip), {x},
                [axis, index, from = x.shape()](const Tensor& dy) {
                  Tensor dx = detail::zeros_of(from, dy);
                  Tensor part = select(dx, axis, index);
                  copy_elements(part, dy);
                  return Grads{dx};
                });
}

ATLAS_INLINE Tensor expand(const Tensor& x, Shape shape) {
  const int shift = shape.size() - x.dim();
  check(shift >= 0, "expand", "{} has more axes than the wanted shape {}", describe(x), shape);
  Shape strides = Shape::filled(shape.size(), 0);
  for (int i = 0; i < shape.size(); ++i) {
    if (i < shift) {
      check(shape[i] >= 0, "expand", "length {} of the new axis {} is negative (wanted {} from {})", shape[i], i, shape,
            describe(x));
      continue;
    }
    const int64_t n = x.shape()[i - shift];
    if (shape[i] == -1) shape[i] = n;
    check(shape[i] == n || (n == 1 && shape[i] >= 0), "expand", "{} cannot become {}: axis {} has length {}, wanted {}",
          describe(x), shape, i - shift, n, shape[i]);
    strides[i] = n == 1 && shape[i] != 1 ? 0 : x.strides()[i - shift];
  }
  if (shape == x.shape()) return x;
  check_memory("expand", shape, item_size(x.dtype()), x.device());  // a view, but somebody will walk over it
  // dx = sum of dy over the repeated axes.
  return record("expand", detail::view_of(x, shape, strides), {x}, [from = x.shape()](const Tensor& dy) {
    Tensor dx = empty(from, dy.dtype(), dy.device());
    sum_to_elements(dx, dy);
    return Grads{dx};
  });
}

ATLAS_INLINE Tensor squeeze(const Tensor& x, int axis) {
  axis = normalize_axis(axis, x, "squeeze");
  check(x.shape()[axis] == 1, "squeeze", "axis {} of {} has length {}, not 1", axis, describe(x), x.shape()[axis]);
  Shape shape = x.shape(), strides = x.strides();
  shape.erase(axis);
  strides.erase(axis);
  return record("squeeze", detail::view_of(x, shape, strides), {x},
                [from = x.shape()](const Tensor& dy) { return Grads{reshape(dy, from)}; });
}

ATLAS_INLINE Tensor unsqueeze(const Tensor& x, int axis) {
  axis = normalize_axis(axis, x.dim() + 1, "unsqueeze");
  Shape shape = x.shape(), strides = x.strides();
  strides.insert(axis, axis < x.dim() ? strides[axis] * shape[axis] : 1);
  shape.insert(axis, 1);
  return record("unsqueeze", detail::view_of(x, shape, strides), {x},
                [from = x.shape()](const Tensor& dy) { return Grads{reshape(dy, from)}; });
}

ATLAS_INLINE Tensor flatten(const Tensor& x, int from, int to) {
  if (x.dim() == 0) return reshape(x, {1});
  from = normalize_axis(from, x, "flatten");
  to = normalize_axis(to, x, "flatten");
  check(from <= to, "flatten", "axis {} lies after axis {} ({})", from, to, describe(x));
  Shape shape;
  int64_t joined = 1;
  for (int i = 0; i < x.dim(); ++i) {
    if (i >= from && i <= to) joined *= x.shape()[i];
    if (i < from || i > to)
      shape.push_back(x.shape()[i]);
    else if (i == to)
      shape.push_back(joined);
  }
  return reshape(x, shape);
}

ATLAS_INLINE std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int axis) {
  axis = normalize_axis(axis, x, "split");
  int64_t total = 0;
  for (int64_t n : sizes) {
    check(n >= 0 && !__builtin_add_overflow(total, n, &total), "split", "{} is no length of a part", n);
  }
  check(total == x.shape()[axis], "split", "the parts add up to {}, axis {} of {} has length {}", total, axis,
        describe(x), x.shape()[axis]);
  std::vector<Tensor> parts;
  parts.reserve(sizes.size());
  int64_t begin = 0;
  for (int64_t n : sizes) {
    parts.push_back(slice(x, axis, begin, begin + n));
    begin += n;
  }
  return parts;
}

ATLAS_INLINE std::vector<Tensor> split(const Tensor& x, int64_t size, int axis) {
  axis = normalize_axis(axis, x, "split");
  check(size >= 1, "split", "{} is no length of a part", size);
  const int64_t length = x.shape()[axis], whole = length / size;
  check_memory("split", {whole + 1}, detail::kViewBytes);
  std::vector<int64_t> sizes(static_cast<size_t>(whole), size);
  if (length % size != 0 || length == 0) sizes.push_back(length % size);
  return split(x, sizes, axis);
}

ATLAS_INLINE std::vector<Tensor> chunk(const Tensor& x, int64_t n, int axis) {
  axis = normalize_axis(axis, x, "chunk");
  const int64_t length = x.shape()[axis];
  check(n >= 1 && length % n == 0 && n <= std::max<int64_t>(length, 1024), "chunk",
        "axis {} of {} does not divide into {} equal parts (use split for unequal ones)", axis, describe(x), n);
  check_memory("chunk", {n}, detail::kViewBytes);
  return split(x, std::vector<int64_t>(static_cast<size_t>(n), length / n), axis);
}

ATLAS_INLINE Tensor unfold(const Tensor& x, int axis, int64_t size, int64_t step) {
  axis = normalize_axis(axis, x, "unfold");
  const int64_t n = x.shape()[axis];
  check(size >= 0 && size <= n, "unfold", "a window of {} does not fit into axis {} of {}", size, axis, describe(x));
  check(step >= 1, "unfold", "step must be at least 1, got {}", step);
  Shape shape = x.shape(), strides = x.strides();
  const int64_t count = (n - size) / step + 1;
  shape[axis] = count;
  strides.push_back(strides[axis]);
  shape.push_back(size);
  if (count > 1) strides[axis] *= step;
  check_memory("unfold", shape, item_size(x.dtype()), x.device());
  // dx[i * step + j] += dy[i, j]. Windows overlap, so either one window or one place in all windows is added at a time:
  // within one such addition no element is hit twice, and the order of additions is fixed.
  return record("unfold", detail::view_of(x, shape, strides), {x},
                [axis, size, step, count, from = x.shape()](const Tensor& dy) {
                  Tensor dx = detail::zeros_of(from, dy);
                  if (dy.numel() == 0) return Grads{dx};
                  if (count <= size) {
                    for (int64_t i = 0; i < count; ++i) {
                      Tensor part = transpose(unsqueeze(slice(dx, axis, i * step, i * step + size), -1), axis, -1);
                      add_elements(part, slice(dy, axis, i, i + 1), 1);
                    }
                  } else {
                    for (int64_t j = 0; j < size; ++j) {
                      Tensor part = slice(dx, axis, j, j + (count - 1) * step + 1, step);
                      add_elements(part, select(dy, -1, j), 1);
                    }
                  }
                  return Grads{dx};
                });
}

ATLAS_INLINE Tensor Tensor::reshape(Shape to) const { return atlas::reshape(*this, to); }

ATLAS_INLINE Tensor Tensor::permute(Shape axes) const { return atlas::permute(*this, axes); }

ATLAS_INLINE Tensor Tensor::transpose(int a, int b) const { return atlas::transpose(*this, a, b); }

ATLAS_INLINE Tensor Tensor::slice(int axis, int64_t begin, int64_t end, int64_t step) const {
  return atlas::slice(*this, axis, begin, end, step);
}

ATLAS_INLINE Tensor Tensor::select(int axis, int64_t index) const { return atlas::select(*this, axis, index); }

ATLAS_INLINE Tensor Tensor::expand(Shape to) const { return atlas::expand(*this, to); }

ATLAS_INLINE Tensor Tensor::squeeze(int axis) const { return atlas::squeeze(*this, axis); }

ATLAS_INLINE Tensor Tensor::unsqueeze(int axis) const { return atlas::unsqueeze(*this, axis); }

ATLAS_INLINE Tensor Tensor::flatten(int from, int to) const { return atlas::flatten(*this, from, to); }

}  // namespace atlas::inline ATLAS_ABI
