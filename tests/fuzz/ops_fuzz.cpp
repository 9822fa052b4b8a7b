// Chains of ops: any shapes (axes of 0 and 1 among them), any memory layout, sizes beyond reason. Each chain runs with
// its backward in float32 and in float64 on operands as odd as they come, and in float64 on contiguous ones: all three
// give the same, or all three give an atlas::Error.
// fuzz-memory: 2048
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "atlas/autograd/backward.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/join.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/mlp.h"
#include "atlas/ops/norm.h"
#include "atlas/ops/order.h"
#include "atlas/ops/pool.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/resize.h"
#include "atlas/ops/scan.h"
#include "atlas/ops/select.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/softmax.h"
#include "atlas/ops/unary.h"
#include "atlas/ops/window.h"
#include "tests/fuzz/choices.h"

using namespace atlas;
using fuzz::Choices;
using fuzz::compare;
using fuzz::Operand;
using fuzz::Tensors;

namespace {

using Operands = std::vector<Operand>;

/// One op of a chain: x and its own operands to the result.
struct Step {
  std::function<Tensor(const Tensor&, const Tensor*)> run;
  size_t operands = 0;
  bool smooth = true;  // a small change of x makes a small change of the result
};

Shape some_axes(Choices& c, int axes) {
  Shape chosen;
  for (int i = 0; i < axes; ++i)
    if (c.below(2) == 1) chosen.push_back(c.below(2) == 1 ? i : i - axes);
  return chosen;
}

/// The shape of a second operand that broadcasts with x.
Shape broadcastable(Choices& c, Shape s) {
  for (int i = 0; i < s.size(); ++i)
    if (c.once_in(3)) s[i] = 1;
  while (!s.empty() && c.once_in(4)) s.erase(0);
  return s;
}

/// A step for an x of `shape`. Most steps fit it; some do not, and have to say so.
Step make_step(Choices& c, const Shape& shape, Operands& all) {
  const auto own = [&](std::initializer_list<Shape> shapes) {
    for (const Shape& s : shapes) all.emplace_back(c, s);
    return shapes.size();
  };
  const int n = shape.size(), axis = n > 0 ? static_cast<int>(c.below(n)) : 0;
  const int64_t last = n > 0 ? shape.back() : 1, off = c.once_in(24) ? 1 : 0;  // now and then something does not fit
  switch (c.below(26)) {
    case 0: {
      const int64_t which = c.below(5);
      return {[which](const Tensor& x, const Tensor* o) {
                switch (which) {
                  case 0:
                    return x + *o;
                  case 1:
                    return x - *o;
                  case 2:
                    return x * *o;
                  case 3:
                    return x / (square(*o) + 1.0);
                  default:
                    return maximum(x, *o);
                }
              },
              own({broadcastable(c, shape)}), which != 4};
    }
    case 1: {
      const int64_t which = c.below(12);
      return {[which](const Tensor& x, const Tensor*) {
                switch (which) {
                  case 0:
                    return tanh(x);
                  case 1:
                    return sigmoid(x);
                  case 2:
                    return gelu(x);
                  case 3:
                    return gelu_tanh(x);
                  case 4:
                    return silu(x);
                  case 5:
                    return softplus(x);
                  case 6:
                    return square(x);
                  case 7:
                    return exp(clamp(x, -4, 2));
                  case 8:
                    return log(square(x) + 1.0);
                  case 9:
                    return erf(x);
                  case 10:
                    return abs(x);
                  default:
                    return relu(x);
                }
              },
              0, which < 7 || which == 8 || which == 9};
    }
    case 2: {  // views
      const int64_t which = c.below(6), a = c.below(std::max(n, 1)), step = 1 + c.below(3);
      return {[=](const Tensor& x, const Tensor*) {
        switch (which) {
          case 0:
            return x.transpose(axis, static_cast<int>(a));
          case 1:
            return x.slice(axis, 0, kEnd, step);
          case 2:
            return flatten(x, std::min(axis, static_cast<int>(a)), std::max(axis, static_cast<int>(a)));
          case 3:
            return x.unsqueeze(axis);
          case 4:
            return select(x, axis, -1);
          default:
            return unfold(x, axis, std::min<int64_t>(2, x.size(axis)), step);
        }
      }};
    }
    case 3: {
      const int64_t columns = c.length(), form = c.below(3);
      return {[form](const Tensor& x, const Tensor* o) {
                return form == 0 ? matmul(x, *o) : form == 1 ? matmul(x, o->transpose(-1, -2)) : matmul(*o, x);
              },
              own({form == 0   ? Shape{last + off, columns}
                   : form == 1 ? Shape{columns, last + off}
                               : Shape{columns, n > 1 ? shape[n - 2] : last}})};
    }
    case 4: {
      const int64_t out = c.length();
      return {[](const Tensor& x, const Tensor* o) { return linear(x, o[0], o[1]); }, own({{out, last + off}, {out}})};
    }
    case 5: {
      const int64_t out = c.length(), hidden = c.length();
      return {[](const Tensor& x, const Tensor* o) { return mlp(x, o[0], o[1], o[2], o[3]); },
              own({{hidden, last}, {hidden}, {out, hidden + off}, {out}})};
    }
    case 6: {
      Conv2dOptions o;
      const int64_t form = c.below(4), per = 1 + c.below(3);
      o.groups = form == 0 ? std::max<int64_t>(last, 1) : form == 1 && last % 2 == 0 ? 2 : 1;
      for (size_t i = 0; i < 2; ++i)
        o.stride[i] = 1 + c.below(3), o.padding[i] = c.below(3), o.dilation[i] = 1 + c.below(2);
      const int64_t out = form == 3 ? c.length() : o.groups * per;
      return {[o](const Tensor& x, const Tensor* w) { return conv2d(x, w[0], w[1], o); },
              own({{out, 1 + c.below(3), 1 + c.below(3), last / o.groups + off}, {out}})};
    }
    case 7:
      return {[](const Tensor& x, const Tensor* o) { return conv1d_depthwise(x, o[0], o[1]); },
              own({{1 + c.below(4), last}, {last}})};
    case 8: {
      const Shape kv = n == 4 ? Shape{c.once_in(3) ? 1 : shape[0], c.length(), shape[2], last + off} : shape;
      return {[](const Tensor& x, const Tensor* o) { return attention(x, o[0], o[1]); }, own({kv, kv})};
    }
    case 9:
      return {[](const Tensor& x, const Tensor* o) { return layer_norm(x, o[0], o[1], 0.05); },
              own({{last}, {last + off}})};
    case 10:
      return {[](const Tensor& x, const Tensor* o) {
                return batch_norm(x, o[0], o[1], {}, {}, true, 0.1, 0.05, Activation::silu);
              },
              own({{last}, {last}})};
    case 11:
      return {[axis](const Tensor& x, const Tensor*) { return softmax(x, axis); }};
    case 12:
      return {[axis](const Tensor& x, const Tensor*) { return log_softmax(x, axis); }};
    case 13: {
      const Shape axes = some_axes(c, n);
      const int64_t which = c.below(5);
      const bool keep = c.below(2) == 1;
      return {[=](const Tensor& x, const Tensor*) {
                switch (which) {
                  case 0:
                    return sum(x, axes, keep) * 0.1;
                  case 1:
                    return mean(x, axes, keep);
                  case 2:
                    return var(x, axes, keep);
                  case 3:
                    return max(x, axes, keep);
                  default:
                    return min(x, axes, keep);
                }
              },
              0, which < 3};
    }
    case 14:
      return {[axis](const Tensor& x, const Tensor*) { return cumsum(x, axis) * 0.25; }};
    case 15: {
      const int64_t k = c.below(4);
      return {[=](const Tensor& x, const Tensor*) { return topk(x, k, axis).first; }, 0, false};
    }
    case 16: {
      const std::array<int64_t, 2> kernel{1 + c.below(3), 1 + c.below(3)}, stride{1 + c.below(2), 1 + c.below(3)};
      const std::array<int64_t, 2> padding{c.below(2), c.below(2)};
      const int64_t which = c.below(4);
      return {[=](const Tensor& x, const Tensor*) {
                switch (which) {
                  case 0:
                    return max_pool2d(x, kernel, stride, padding);
                  case 1:
                    return avg_pool2d(x, kernel, stride, padding, true);
                  case 2:
                    return avg_pool2d(x, kernel, stride, padding, false);
                  default:
                    return adaptive_avg_pool2d(x, kernel[0], stride[1]);
                }
              },
              0, which != 0};
    }
    case 17: {
      const int64_t h = c.length(), w = c.length(), mode = c.below(5);
      return {[=](const Tensor& x, const Tensor*) {
        return resize(x, h, w, static_cast<Interpolation>(mode % 3), mode >= 3);
      }};
    }
    case 18: {
      Shape other = shape;
      if (n > 0) other[axis] = c.length();
      return {[axis](const Tensor& x, const Tensor* o) { return cat({x, *o, x}, axis); }, own({other})};
    }
    case 19: {
      Shape before, after;
      for (int i = 0; i < n; ++i) before.push_back(c.below(2)), after.push_back(c.below(3));
      return {[=](const Tensor& x, const Tensor*) { return pad(x, before, after, 0.5); }};
    }
    case 20: {
      const int64_t times = c.below(4);
      return {[=](const Tensor& x, const Tensor*) { return repeat_interleave(x, times, axis); }};
    }
    case 21: {
      const int64_t window = 1 + c.below(4);
      return {[=](const Tensor& x, const Tensor*) { return window_partition(x, window); }};
    }
    case 22: {
      const int64_t states = c.length();
      const Shape bc = n == 3 ? Shape{shape[0], shape[1], states} : shape;
      return {[](const Tensor& x, const Tensor* o) {
                return selective_scan(x, o[0], neg(square(o[1])), o[2], o[3], o[4], o[5]);
              },
              own({shape, {last, states}, bc, bc, {last}, {last + off}})};
    }
    case 23:
      return {[](const Tensor& x, const Tensor*) {
        const Tensor labels = empty({x.size(0)}, int64).fill_(0);
        return cross_entropy(x, labels, 0.1);
      }};
    case 24:
      return {[](const Tensor& x, const Tensor* o) { return where(gt(o[0], 0.0), x, o[1]); },
              own({broadcastable(c, shape), broadcastable(c, shape)})};
    default: {
      const Shape target = c.shape(static_cast<int>(c.below(6)));
      return {[target](const Tensor& x, const Tensor*) { return reshape(x, target); }};
    }
  }
}

/// The result and the gradients of a chain; empty when there is an Error.
Tensors outcome(const std::vector<Step>& chain, const Operands& operands, DType dtype, bool plain) {
  try {
    Tensors leaves;
    for (const Operand& o : operands) leaves.push_back(o.make(dtype, plain).set_requires_grad());
    Tensor y = leaves[0];
    size_t at = 1;
    for (const Step& s : chain) {
      y = s.run(y, leaves.data() + at);
      at += s.operands;
    }
    Tensors all{y.detach()};
    Tensor seed = empty(y.shape(), dtype);
    for (int64_t i = 0; i < seed.numel(); ++i)
      visit_float(dtype, "fuzz", [&](auto tag) {
        seed.data<decltype(tag)>()[i] = static_cast<decltype(tag)>(static_cast<double>(i % 7) / 8 - 0.25);
      });
    for (const Tensor& g : grad({y}, leaves, {seed})) all.push_back(g);
    return all;
  } catch (const Error&) {
    return {};
  }
}

/// A size that no machine has: everything that makes shapes from numbers refuses it.
void absurd(Choices& c) {
  const int64_t n = (int64_t{1} << (45 + c.below(18))) + c.below(3);
  const Tensor x = Operand(c, c.shape(4)).make(float32, false);
  const int axis = static_cast<int>(c.below(4));
  Shape shape = x.shape(), before = Shape::filled(4, 0);
  shape[axis] = n;
  before[axis] = n;
  try {
    switch (c.below(9)) {
      case 0:
        resize(x, n, 1 + c.below(2), static_cast<Interpolation>(c.below(3)));
        break;
      case 1:
        expand(x, shape);
        break;
      case 2:
        pad(x, before, Shape::filled(4, c.below(2)));
        break;
      case 3:
        repeat_interleave(x, n, axis);
        break;
      case 4:
        adaptive_avg_pool2d(x, 1 + c.below(2), n);
        break;
      case 5:
        conv2d(x, x, {}, {.stride = {n, 1}, .padding = {n / 4, 0}, .dilation = {1, 1 + c.below(2)}, .groups = n});
        break;
      case 6:
        chunk(x, n, axis);
        break;
      case 7:
        unfold(x, axis, c.below(3), n);
        break;
      default:
        max_pool2d(x, {n, 1}, {1, n}, {n / 2, 0});
        break;
    }
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Choices c(data, std::min<size_t>(size, 256));
  if (c.once_in(16)) {
    absurd(c);
    return 0;
  }
  Operands operands;
  operands.emplace_back(c, c.shape(static_cast<int>(1 + c.below(5))));
  if (operands[0].shape.numel() > 4096) return 0;
  std::vector<Step> chain;
  Tensor y = operands[0].make(float64, true);
  bool smooth = true;  // whether the values of all steps after the first are comparable
  for (int64_t left = 1 + c.below(4); left > 0; --left) {
    const size_t first = operands.size();
    chain.push_back(make_step(c, y.shape(), operands));
    smooth = smooth && (chain.size() == 1 || chain.back().smooth);
    try {
      Tensors own;
      for (size_t i = first; i < operands.size(); ++i) own.push_back(operands[i].make(float64, true));
      y = chain.back().run(y, own.data());
    } catch (const Error&) {
      break;  // the chain ends with its error
    }
    if (y.numel() > 20000) break;
  }
  const Tensors expected = outcome(chain, operands, float64, true);
  const bool first = chain.size() == 1;
  const double comparable = first || smooth ? 1 : INFINITY;
  compare("float64, odd layouts", outcome(chain, operands, float64, false), expected, comparable * 1e-9);
  compare("float32, odd layouts", outcome(chain, operands, float32, false), expected,
          comparable * (first ? 1e-4 : 1e-2));
  return 0;
}
