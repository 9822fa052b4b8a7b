// Parts of gradcheck().
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/core/rng.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// A copy of t in its own storage that keeps t's strides, so that ops meet the same layout. Overlapping elements, which
/// could not be changed one at a time, are laid out anew.
ATLAS_INLINE Tensor copy_with_layout(const Tensor& t) {
  if (t.numel() == 0 || t.is_contiguous() || overlaps(t)) return copy_of(t);
  int64_t span = 1;
  for (int i = 0; i < t.dim(); ++i) span += (t.shape()[i] - 1) * t.strides()[i];
  Tensor y = raw_view(zeros({span}, t.dtype(), t.device()), t.shape(), t.strides(), 0);
  copy_elements(y, t);
  return y;
}

/// The values of t with gaps between elements and the axes in reversed order in memory.
ATLAS_INLINE Tensor scattered(const Tensor& t) {
  Shape strides = t.shape();
  int64_t step = 2;
  for (int i = 0; i < t.dim(); ++i) {
    strides[i] = step;
    step *= std::max<int64_t>(t.shape()[i], 1);
  }
  Tensor y = raw_view(zeros({step}, t.dtype(), t.device()), t.shape(), strides, 0);
  copy_elements(y, t);
  return y;
}

/// Where element i of the row-major order of t is, as an index "[1,0,2]" and as an offset from data().
ATLAS_INLINE std::pair<Shape, int64_t> locate(const Tensor& t, int64_t i) {
  Shape index = t.shape();
  int64_t at = 0;
  for (int axis = t.dim() - 1; axis >= 0; --axis) {
    index[axis] = i % t.shape()[axis];
    i /= t.shape()[axis];
    at += index[axis] * t.strides()[axis];
  }
  return {index, at};
}

/// The largest relative difference of two gradients, 0 when both are absent.
ATLAS_INLINE double largest_difference(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined() ? 0 : std::numeric_limits<double>::infinity();
  const std::vector<double> x = to_vector<double>(a), y = to_vector<double>(b);
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double p = x[i], q = y[i];
    const double d = std::abs(p - q) / (1 + std::abs(p));
    worst = d > worst || std::isnan(d) ? d : worst;
    if (std::isnan(d)) break;
  }
  return worst;
}

/// sum_i cotangent[i] * y[i]
ATLAS_INLINE double project(const std::vector<double>& cotangent, const Tensor& y) {
  const std::vector<double> values = to_vector<double>(y);
  long double sum = 0;
  for (size_t i = 0; i < values.size(); ++i)
    sum += static_cast<long double>(cotangent[i]) * static_cast<long double>(values[i]);
  return static_cast<double>(sum);
}

}  // namespace detail

ATLAS_INLINE GradcheckResult gradcheck(const std::function<Tensor(const std::vector<Tensor>&)>& fn,
                                       const std::vector<Tensor>& inputs, const GradcheckOptions& options) {
  const Generator start = default_generator();
  std::vector<Tensor> leaves, wanted;
  std::vector<size_t> position;  // of wanted[k] among the inputs
  for (size_t i = 0; i < inputs.size(); ++i) {
    check(!is_floating(inputs[i].dtype()) || inputs[i].dtype() == float64, "gradcheck",
          "input {} is {}, needs float64 (float32 is too coarse for finite differences)", i, describe(inputs[i]));
    leaves.push_back(detail::copy_with_layout(inputs[i]));
    if (!is_floating(inputs[i].dtype())) continue;
    leaves.back().set_requires_grad();
    wanted.push_back(leaves.back());
    position.push_back(i);
  }
  const auto evaluate = [&] {
    default_generator() = start;
    return fn(leaves);
  };

  GradMode on(true);
  const Tensor y = evaluate();
  check(y.dtype() == float64, "gradcheck", "the function must give float64, got {}", describe(y));
  check(y.requires_grad(), "gradcheck", "the result {} depends on none of the {} inputs", describe(y), wanted.size());
  Generator random{options.seed, 0};
  const Tensor cotangent = randn(y.shape(), float64, random, y.device());
  const std::vector<double> c = to_vector<double>(cotangent);

  // Analytic gradients, for four layouts of dy.
  const std::vector<Tensor> analytic = grad({y}, wanted, {cotangent}, true);
  const std::vector<Tensor> from_scattered = grad({y}, wanted, {detail::scattered(cotangent)}, true);
  const Tensor same = full(y.shape(), 0.7, float64, y.device());
  // Zeros follow the one element: a backward that ignores strides reads those, not memory of others.
  const Tensor padded = zeros({std::max<int64_t>(y.numel(), 1)}, float64, y.device());
  Tensor only = raw_view(padded, {}, {}, 0);
  fill_elements(only, 0.7);
  const Tensor expanded = raw_view(padded, y.shape(), Shape::filled(y.dim(), 0), 0);
  const std::vector<Tensor> from_same = grad({y}, wanted, {same}, true), from_expanded = grad({y}, wanted, {expanded});
  for (size_t k = 0; k < wanted.size(); ++k) {
    const auto compare = [&](const Tensor& a, const Tensor& b, const char* layout) {
      const double d = detail::largest_difference(a, b);
      check(d <= 1e-9, "gradcheck",
            "the gradient of input {} ({}) changes by {} (relative) when dy is {}: backward must honor strides",
            position[k], describe(wanted[k]), d, layout);
    };
    compare(analytic[k], from_scattered[k], "not contiguous");
    compare(from_same[k], from_expanded[k], "expanded");
  }

  NoGrad off;
  const auto projected = [&] { return detail::project(c, evaluate()); };
  const double recorded = detail::project(c, y), first = projected(), again = projected();
  check(first == again || (std::isnan(first) && std::isnan(again)), "gradcheck",
        "two evaluations of the function differ: {} and {}", first, again);
  // Ops that are not recorded may be fused, and then round in another order.
  check(std::abs(recorded - first) <= 1e-11 * (1 + std::abs(first)) || (std::isnan(recorded) && std::isnan(first)),
        "gradcheck", "two evaluations of the function differ, recorded {} and not {}", recorded, first);

  GradcheckResult result;
  for (size_t k = 0; k < wanted.size(); ++k) {
    Tensor& x = wanted[k];
    const std::vector<double> dx = analytic[k].defined() ? to_vector<double>(analytic[k])
                                                         : std::vector<double>(static_cast<size_t>(x.numel()), 0.0);
    const int64_t n = x.numel(), count = std::min(n, options.max_elements);
    for (int64_t e = 0; e < count; ++e) {
      // One element of each of `count` equal stretches; its place is random, or steps of C would stay in one channel.
      const double place = Philox(options.seed, 1, static_cast<uint64_t>(e)).uniform_double(0) + static_cast<double>(e);
      const int64_t i =
          count == n
              ? e
              : std::min(n - 1, static_cast<int64_t>(place / static_cast<double>(count) * static_cast<double>(n)));
      const auto located = detail::locate(x, i);
      const auto& index = std::get<0>(located);
      const auto at = std::get<1>(located);
      Tensor element = raw_view(x, {}, {}, x.offset() + at);
      const double value = element.item();
      const auto move = [&](double to) {
        fill_elements(element, to);
        x.bump_version();
      };
      const auto moved = [&](double to) {
        move(to);
        return projected();
      };
      const double up = value + options.eps, down = value - options.eps;
      const double numeric = (moved(up) - moved(down)) / (up - down), ours = dx[static_cast<size_t>(i)];
      move(value);
      const double difference = std::abs(ours - numeric);
      check(difference <= options.atol + options.rtol * std::abs(numeric), "gradcheck",
            "input {} ({}), element {}: backward gives {}, finite differences give {}", position[k], describe(x), index,
            ours, numeric);
      result.max_difference = std::max(result.max_difference, difference);
      ++result.checked;
    }
  }
  return result;
}

}  // namespace atlas::inline ATLAS_ABI
