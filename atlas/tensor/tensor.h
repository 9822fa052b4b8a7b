// Tensor: a handle (one shared_ptr) on a strided view of a storage, with what autograd needs to know about it.
//
// Copying a Tensor copies the handle. Members that autograd follows (reshape, permute, to, ...) are declared here and
// defined in ops/, where their gradients are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "atlas/core/device.h"
#include "atlas/core/dtype.h"
#include "atlas/core/profile.h"
#include "atlas/core/shape.h"
#include "atlas/core/storage.h"

namespace atlas::inline ATLAS_ABI {

class Tensor;
struct Node;  // autograd/node.h

/// What a Tensor handle points to.
struct TensorImpl {
  std::shared_ptr<Storage> storage;
  Shape shape, strides;  // in elements
  int64_t offset = 0;    // in elements
  DType dtype = float32;

  bool requires_grad = false;
  std::shared_ptr<Node> node;  // the op that made this tensor, or a leaf's accumulator
  std::shared_ptr<TensorImpl> grad;
  std::vector<std::function<void(Tensor&)>> hooks;
};

/// An n-dimensional array on a device.
///
/// Example: `Tensor x = randn({2, 3}); Tensor y = matmul(x, transpose(x, 0, 1));`
class Tensor {
 public:
  /// The undefined tensor: no shape, no data; used for "absent" (a layer without bias).
  Tensor() = default;
  Tensor(const Tensor&) = default;
  Tensor(Tensor&&) = default;
  ~Tensor() = default;
  /// Makes this handle one of the other tensor.
  Tensor& operator=(const Tensor&) & = default;
  Tensor& operator=(Tensor&&) & = default;
  /// Of what an index or a view gives, writes into its elements: `x[0] = y` is `x[0].copy_(y)`.
  void operator=(const Tensor& src) && { copy_(src); }
  void operator=(double value) && { fill_(value); }
  explicit Tensor(std::shared_ptr<TensorImpl> impl) : impl_(std::move(impl)) {}

  bool defined() const { return impl_ != nullptr; }
  /// defined(), so that an absent tensor can be asked for: `if (bias)`. A boolean tensor, as comparisons give, is asked
  /// for its value instead: `if (a == b)`. @throws Error when that has not exactly one element.
  explicit operator bool() const;

  const Shape& shape() const { return impl().shape; }
  const Shape& strides() const { return impl().strides; }
  int dim() const { return impl().shape.size(); }
  /// Length of an axis; negative axes count from the end. @throws Error for an axis that is not there.
  int64_t size(int axis) const { return shape()[normalize_axis(axis, dim(), "size")]; }
  int64_t numel() const { return impl().shape.numel(); }
  DType dtype() const { return impl().dtype; }
  Device device() const { return impl().storage->device(); }
  int64_t offset() const { return impl().offset; }
  /// True when elements lie in row-major order without gaps.
  bool is_contiguous() const {
    const Shape& lengths = shape();
    if (std::find(lengths.begin(), lengths.end(), 0) != lengths.end()) return true;
    int64_t step = 1;
    for (int i = dim() - 1; i >= 0; --i) {
      if (shape()[i] != 1 && strides()[i] != step) return false;
      step *= shape()[i];
    }
    return true;
  }

  /// Pointer to the first element. @throws Error when T is not the element type.
  template <class T>
  T* data() const {
    check(dtype_of<T>() == dtype(), "data", "the tensor holds {}, asked for {}", name(dtype()), name(dtype_of<T>()));
    return static_cast<T*>(impl().storage->data()) + impl().offset;
  }
  /// Pointer to the first element, untyped.
  void* raw() const { return static_cast<char*>(impl().storage->data()) + impl().offset * item_size(dtype()); }

  /// The only element of a one-element tensor, converted to T; waits for the device. @throws Error when there are more
  /// or none.
  template <class T = double>
  T item() const {
    check(numel() == 1, "item", "needs a tensor of one element, got shape {}", shape());
    return visit_any(dtype(), [&](auto tag) {
      auto value = tag;
      if constexpr (kWithCuda)
        if (device().is_cuda()) {
          cuda::copy_bytes(&value, Device{}, raw(), device(), sizeof value);
          return convert<T>(value);
        }
      return convert<T>(*data<decltype(tag)>());
    });
  }
  /// The element at an index, by reference: x.at<float>({2, 0}). Negative indices count from the end.
  /// @throws Error for a wrong type, a wrong number of indices, an index out of range, or a tensor that is not on the
  /// CPU.
  template <class T>
  T& at(std::initializer_list<int64_t> index) const {
    check(static_cast<int>(index.size()) == dim(), "at", "{} indices for a tensor of shape {}", index.size(), shape());
    check(!device().is_cuda(), "at",
          "the tensor is on {}, where the host cannot read an element (use x.to(Device{{}}))", device().str());
    int64_t where = 0;
    int axis = 0;
    for (int64_t i : index) {
      const int64_t n = shape()[axis];
      check(i >= -n && i < n, "at", "index {} is outside axis {} of length {}", i, axis, n);
      where += (i < 0 ? i + n : i) * strides()[axis++];
    }
    return data<T>()[where];
  }

  // --- autograd state -------------------------------------------------------------------------------------------
  bool requires_grad() const { return impl_ && impl_->requires_grad; }
  /// Makes a leaf collect a gradient (or stop). @throws Error for non-float tensors and for results of ops.
  Tensor& set_requires_grad(bool on = true);
  /// The accumulated gradient of a leaf; undefined before the first backward.
  Tensor grad() const { return Tensor(impl().grad); }
  void set_grad(const Tensor& g) { impl().grad = g.impl_; }
  /// Drops the gradient.
  void zero_grad() { impl().grad.reset(); }
  /// Runs `hook(grad)` each time a backward pass has added to this leaf's gradient.
  void add_grad_hook(std::function<void(Tensor&)> hook) { impl().hooks.push_back(std::move(hook)); }
  /// The same data outside the graph.
  Tensor detach() const;
  /// Backward from this scalar (see atlas::backward).
  void backward() const;
  /// Backward from any tensor, `seed` being the gradient it starts from: d(result)/d(this), of this shape and dtype.
  void backward(const Tensor& seed, bool keep_graph = false) const;

  // --- in place, outside the graph ------------------------------------------------------------------------------
  // They raise an error on a tensor that is part of a graph being recorded, and where they would lose the gradient of
  // `src`, and count up the storage's version.
  /// Sets every element. @throws Error when the dtype cannot hold `value` (as full()).
  Tensor& fill_(double value);
  Tensor& zero_() { return fill_(0); }
  /// Copies from `src`, broadcasting, and converting as to() does.
  Tensor& copy_(const Tensor& src);
  /// this += alpha * src (same dtype; src broadcasts; of integers, alpha is whole).
  Tensor& add_(const Tensor& src, double alpha = 1);
  /// this *= factor, which the dtype can hold.
  Tensor& mul_(double factor);
  void bump_version() { impl().storage->bump_version(); }

  // --- compound assignment, defined in ops/arithmetic.h -----------------------------------------------------------
  // In place, as PyTorch's, for everybody who sees this memory. Where the result has a gradient to record, this handle
  // gets the result instead (`loss += part`). On a leaf that requires a gradient, on a temporary (`x[0] += y`) and on
  // shared memory that is an error.
  Tensor& operator+=(const Tensor& b) &;
  Tensor& operator-=(const Tensor& b) &;
  Tensor& operator*=(const Tensor& b) &;
  Tensor& operator/=(const Tensor& b) &;
  Tensor& operator+=(double s) &;
  Tensor& operator-=(double s) &;
  Tensor& operator*=(double s) &;
  Tensor& operator/=(double s) &;
  void operator+=(const Tensor& b) &&;
  void operator-=(const Tensor& b) &&;
  void operator*=(const Tensor& b) &&;
  void operator/=(const Tensor& b) &&;
  void operator+=(double s) &&;
  void operator-=(double s) &&;
  void operator*=(double s) &&;
  void operator/=(double s) &&;
  /// Of boolean tensors, as & | ^ are.
  Tensor& operator&=(const Tensor& b) &;
  Tensor& operator|=(const Tensor& b) &;
  Tensor& operator^=(const Tensor& b) &;
  void operator&=(const Tensor& b) &&;
  void operator|=(const Tensor& b) &&;
  void operator^=(const Tensor& b) &&;

  // --- differentiable sugar, defined in ops/shape.h, ops/cast.h and ops/reduce.h ----------------------------------
  Tensor reshape(Shape shape) const;
  Tensor permute(Shape axes) const;
  Tensor transpose(int a, int b) const;
  Tensor slice(int axis, int64_t begin, int64_t end, int64_t step = 1) const;
  Tensor select(int axis, int64_t index) const;
  Tensor expand(Shape shape) const;
  Tensor squeeze(int axis) const;
  Tensor unsqueeze(int axis) const;
  Tensor flatten(int from = 0, int to = -1) const;
  Tensor operator[](int64_t index) const { return select(0, index); }
  Tensor contiguous() const;
  Tensor clone() const;
  Tensor to(DType dtype) const;
  Tensor to(Device device) const;
  Tensor sum(Shape axes = {}, bool keepdim = false) const;
  Tensor mean(Shape axes = {}, bool keepdim = false) const;
  template <AxisNumber A>
  Tensor sum(A axis, bool keepdim = false) const {
    return sum(Shape{static_cast<int64_t>(axis)}, keepdim);
  }
  template <AxisNumber A>
  Tensor mean(A axis, bool keepdim = false) const {
    return mean(Shape{static_cast<int64_t>(axis)}, keepdim);
  }

  TensorImpl& impl() const {
    check(impl_ != nullptr, "tensor", "this tensor is undefined (default-constructed, or an absent gradient)");
    return *impl_;
  }
  const std::shared_ptr<TensorImpl>& ptr() const { return impl_; }
  /// True when both handles are the same tensor object.
  bool is(const Tensor& o) const { return impl_ == o.impl_; }

 private:
  std::shared_ptr<TensorImpl> impl_;
};

/// What describe() returns: text that is made when it is read. Lives as long as the tensor it is about.
struct Description {
  const Tensor& tensor;
  /// "float32[2,3]", with " on cuda:0" where that is not the default device; "undefined" for an undefined tensor.
  std::string str() const {
    if (!tensor.defined()) return "undefined";
    std::string s = std::string(name(tensor.dtype())) + tensor.shape().str();
    return tensor.device() != default_device() ? s + " on " + tensor.device().str() : s;
  }
  operator std::string() const { return str(); }
};

/// Dtype, shape and device of a tensor, as an argument of check() and fail().
inline Description describe(const Tensor& t) { return {t}; }

/// What `a && b`, `a || b` and `!a` on tensors would give, in the words of the compiler's error: they are deleted,
/// since they would ask whether the handles are defined and not what the tensors hold.
struct use_logical_and_or_defined {};
struct use_logical_or_or_defined {};
struct use_logical_not_or_defined {};
use_logical_and_or_defined operator&&(const Tensor&,
                                      const Tensor&) = delete;  // logical_and(a, b), or a.defined() && ..
use_logical_and_or_defined operator&&(const Tensor&, bool) = delete;
use_logical_and_or_defined operator&&(bool, const Tensor&) = delete;
use_logical_or_or_defined operator||(const Tensor&, const Tensor&) = delete;  // logical_or(a, b), or a.defined() || ..
use_logical_or_or_defined operator||(const Tensor&, bool) = delete;
use_logical_or_or_defined operator||(bool, const Tensor&) = delete;
use_logical_not_or_defined operator!(const Tensor&) = delete;  // logical_not(a), or !a.defined()

/// A fresh uninitialized contiguous tensor.
Tensor empty(const Shape& shape, DType dtype = float32, Device device = default_device());
/// A fresh uninitialized contiguous tensor with the shape, dtype and device of `like`.
Tensor empty_like(const Tensor& like);

/// A view of the same storage with other shape, strides and offset (elements), outside the graph. Not bounds-checked:
/// ops/shape.h has the checked, differentiable views.
Tensor raw_view(const Tensor& t, const Shape& shape, const Shape& strides, int64_t offset);

}  // namespace atlas::inline ATLAS_ABI

template <>
struct fmt::formatter<atlas::Description> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  template <class Context>
  auto format(const atlas::Description& description, Context& context) const {
    auto out = context.out();
    for (char c : description.str()) *out++ = c;
    return out;
  }
};

namespace atlas::inline ATLAS_ABI {

/// A tensor is one operand. What holds several says so with a function of this name (see core/profile.h).
template <class F>
void for_each_operand(const Tensor& t, const F& f) {
  f(t);
}

/// Whether an op's operands (undefined ones aside) are on a CUDA device. Arguments that hold no tensors do not count.
/// @throws Error naming `op` and two operands that are on different devices.
template <class... Args>
bool on_cuda(std::string_view op, const Args&... args) {
  const Tensor* known = nullptr;
  const auto look = [&](const Tensor& t) {
    if (!t.defined()) return;
    if (known == nullptr) known = &t;
    check(t.device() == known->device(), op, "operands are on different devices: {} and {} (move one with .to(device))",
          describe(*known), describe(t));
  };
  (for_each_operand(args, look), ...);
  return known != nullptr && known->device().is_cuda();
}

/// Axis of x in [-n, n) -> [0, n). @throws Error naming `op` and x otherwise.
int normalize_axis(int64_t axis, const Tensor& x, std::string_view op);

/// The shape that two operands broadcast to. @throws Error naming `op`, both operands and the failing axis.
Shape broadcast_shapes(const Tensor& a, const Tensor& b, std::string_view op);

/// visit_float() of x's dtype, with x in the error.
template <class F>
decltype(auto) visit_float(const Tensor& x, std::string_view op, F&& f) {
  check(x.defined(), op, "the operand is undefined");
  check(x.dtype() == float32 || x.dtype() == float64, op,
        "needs float32 or float64, got {} (convert with .to(atlas::float32))", describe(x));
  return visit_float(x.dtype(), op, std::forward<F>(f));
}

/// Whether float ops compute with x: float32 and float64 everywhere, bfloat16 (in float32 inside) on CUDA devices.
inline bool computes_as_float(const Tensor& x) {
  return x.dtype() == float32 || x.dtype() == float64 || (x.dtype() == bfloat16 && x.device().is_cuda());
}
/// What an op takes besides the types that computes_as_float() names, for check_dtype().
namespace takes {
inline constexpr unsigned int64 = 1, uint8 = 2, boolean = 4, integers = int64 | uint8;
}
/// @throws Error naming `op` and all types it takes unless x has one of them: floats, and what `besides` says.
void check_dtype(const Tensor& x, std::string_view op, unsigned besides);
/// The same for ops that take floats alone.
inline void check_float(const Tensor& x, std::string_view op) { check_dtype(x, op, 0); }
/// The type of statistics and states beside x: float32 for bfloat16, else x's own.
inline DType statistics_dtype(const Tensor& x) { return x.dtype() == bfloat16 ? float32 : x.dtype(); }

/// visit_number() of x's dtype, with x in the error.
template <class F>
decltype(auto) visit_number(const Tensor& x, std::string_view op, F&& f) {
  check(x.defined(), op, "the operand is undefined");
  check(x.dtype() == float32 || x.dtype() == float64 || x.dtype() == int64 || x.dtype() == uint8, op,
        "needs float32, float64, int64 or uint8, got {} (convert with {}.to(atlas::float32))", describe(x),
        is_floating(x.dtype()) ? "" : ".to(atlas::int64) or ");
  return visit_number(x.dtype(), op, std::forward<F>(f));
}

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tensor/tensor-inl.h"
#endif
