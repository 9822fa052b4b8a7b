// How tensors are printed.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>

#include "atlas/tensor/memory.h"
#include "atlas/tensor/print.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// Prints one tensor: chooses one number format for all visible elements, then walks the axes.
class TensorPrinter {
 public:
  TensorPrinter(const Tensor& t, const PrintOptions& options) : t_(t), options_(options) {
    shorten_ = t.numel() > options.threshold;
    if (t.numel() != 0) {
      visit_visible(0, 0, [this](int64_t at) { look(at); });
      choose_format();
      visit_visible(0, 0, [this](int64_t at) { width_ = std::max(width_, element(at).size()); });
    }
  }

  std::string text() const {
    std::string s;
    if (t_.numel() != 0)
      print_axis(0, 0, 0, s);
    else
      s = "[]";
    return s;
  }

 private:
  // Indices of an axis that are shown; -1 stands for the gap.
  template <class F>
  void visible(int axis, const F& f) const {
    const int64_t n = t_.shape()[axis], edge = options_.edge_items;
    const bool gap = shorten_ && n > 2 * edge + 1;
    for (int64_t i = 0; i < n; ++i) {
      if (gap && i == edge) {
        f(int64_t{-1});
        i = n - edge;
      }
      if (i < n) f(i);
    }
  }
  template <class F>
  void visit_visible(int axis, int64_t at, const F& f) const {
    if (axis == t_.dim()) return f(at);
    visible(axis, [&](int64_t i) {
      if (i >= 0) visit_visible(axis + 1, at + i * t_.strides()[axis], f);
    });
  }

  double real(int64_t at) const {
    return visit_any(t_.dtype(), [&](auto tag) { return convert<double>(t_.data<decltype(tag)>()[at]); });
  }
  void look(int64_t at) {
    if (!is_floating(t_.dtype())) return;
    const double x = std::abs(real(at));
    if (!std::isfinite(x)) return;
    largest_ = std::max(largest_, x);
    if (x > 0) smallest_ = smallest_ == 0 ? x : std::min(smallest_, x);
    if (x != std::floor(x)) whole_ = false;
  }
  void choose_format() {
    if (!is_floating(t_.dtype())) return;
    scientific_ = largest_ >= 1e8 || (!whole_ && (smallest_ < 1e-4 || largest_ / smallest_ >= 1e5));
  }
  std::string element(int64_t at) const {
    if (t_.dtype() == boolean) return t_.data<bool>()[at] ? "true" : "false";
    if (t_.dtype() == int64) return fmt::format("{}", t_.data<int64_t>()[at]);
    if (t_.dtype() == uint8) return fmt::format("{}", t_.data<uint8_t>()[at]);
    const double x = real(at);
    if (!std::isfinite(x)) return fmt::format("{}", x);
    if (scientific_) return fmt::format("{:.{}e}", x, options_.precision);
    if (whole_) return fmt::format("{:.0f}.", x);
    return fmt::format("{:.{}f}", x, options_.precision);
  }

  void print_axis(int axis, int64_t at, int indent, std::string& s) const {
    if (axis == t_.dim()) {
      s += fmt::format("{:>{}}", element(at), width_);
      return;
    }
    const bool last = axis == t_.dim() - 1;
    s += '[';
    bool first = true;
    size_t column = static_cast<size_t>(indent) + 1;
    visible(axis, [&](int64_t i) {
      if (!first) {
        s += ',';
        if (!last) {
          s += std::string(static_cast<size_t>(t_.dim() - axis - 1), '\n') +
               std::string(static_cast<size_t>(indent) + 1, ' ');
        } else if (column + width_ + 2 > static_cast<size_t>(options_.width)) {
          s += '\n' + std::string(static_cast<size_t>(indent) + 1, ' ');
          column = static_cast<size_t>(indent) + 1;
        } else {
          s += ' ';
          ++column;
        }
      }
      first = false;
      if (i < 0)
        s += "...";
      else
        print_axis(axis + 1, at + i * t_.strides()[axis], indent + 1, s);
      column += (i < 0 ? 3 : width_) + 1;
    });
    s += ']';
  }

  const Tensor& t_;
  PrintOptions options_;
  bool shorten_ = false, whole_ = true, scientific_ = false;
  double largest_ = 0, smallest_ = 0;
  size_t width_ = 0;
};

}  // namespace detail

ATLAS_INLINE std::string to_string(const Tensor& t, const PrintOptions& options) {
  if (!t.defined()) return "undefined";
  Tensor host = t;
  if (t.device().is_cuda()) {
    host = empty(t.shape(), t.dtype(), Device{});
    copy_elements(host, t);
  }
  std::string s = detail::TensorPrinter(host, options).text() + " " + describe(t).str();
  if (t.requires_grad()) s += " requires_grad";
  return s;
}

ATLAS_INLINE std::ostream& operator<<(std::ostream& out, const Tensor& t) { return out << to_string(t); }

}  // namespace atlas::inline ATLAS_ABI
