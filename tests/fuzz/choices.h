// Decisions and tensors out of a fuzzer's bytes, and comparison of what ops make of them.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "atlas/ops/cast.h"
#include "atlas/ops/shape.h"

namespace fuzz {

using namespace atlas;

/// Decisions out of the input, 0 when it has ended.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  int64_t below(int64_t n) { return at_ < size_ ? data_[at_++] % n : 0; }
  bool once_in(int64_t n) { return below(n) == n - 1; }
  /// Mostly small; 0 now and then.
  int64_t length() {
    static constexpr int64_t kLengths[] = {3, 1, 2, 4, 5, 0, 7, 1, 2, 3, 9, 17, 2, 3, 33, 4};
    return kLengths[below(16)];
  }
  Shape shape(int axes) {
    Shape s;
    while (s.size() < axes) s.push_back(s.numel() < 2000 ? length() : 1);
    return s;
  }
  uint64_t seed() { return ++seeds_; }

 private:
  const uint8_t* data_;
  size_t size_, at_ = 0;
  uint64_t seeds_ = 0;
};

/// An operand: its shape, how it lies in memory, and the seed of its values.
struct Operand {
  Shape shape;
  int64_t layout = 0, axis = 0;
  uint64_t seed = 0;

  Operand(Choices& c, const Shape& s) : shape(s), layout(c.below(6)), axis(s.empty() ? 0 : c.below(s.size())) {
    seed = c.seed();
  }
  /// Multiples of 1/8, which all types hold, and which are often equal.
  Tensor values(const Shape& s, DType dtype) const {
    Tensor t = empty(s, float64);
    uint64_t state = seed * 0x9e3779b97f4a7c15;
    for (int64_t i = 0; i < t.numel(); ++i) {
      state = state * 6364136223846793005 + 1442695040888963407;
      t.data<double>()[i] = static_cast<double>(static_cast<int64_t>(state >> 59)) / 8 - 2;
    }
    return t.to(dtype);
  }
  /// The operand in this layout, or contiguous with the same values.
  Tensor make(DType dtype, bool plain) const {
    const int k = static_cast<int>(axis);
    Tensor t;
    if (shape.empty() || layout == 0) {
      t = values(shape, dtype);
    } else if (layout == 1) {  // axes in the opposite order in memory
      Shape back, axes;
      for (int i = shape.size() - 1; i >= 0; --i) back.push_back(shape[i]), axes.push_back(i);
      t = values(back, dtype).permute(axes);
    } else if (layout == 2) {  // a step
      Shape wide = shape;
      wide[k] *= 2;
      t = values(wide, dtype).slice(k, 0, kEnd, 2);
    } else if (layout == 3) {  // a part
      Shape wide = shape;
      wide[k] += 3;
      t = values(wide, dtype).slice(k, 2, 2 + shape[k]);
    } else if (layout == 4) {  // repeated
      Shape narrow = shape;
      narrow[k] = 1;
      t = values(narrow, dtype).expand(shape);
    } else {  // one axis first in memory
      t = values(shape, dtype).transpose(0, k).contiguous().transpose(0, k);
    }
    return (plain ? t.contiguous() : t).detach();
  }
};

using Tensors = std::vector<Tensor>;

[[noreturn]] inline void differ(const char* what, const Tensors& a, const Tensors& b, size_t i, double by = 0) {
  std::fprintf(stderr, "%s: %zu and %zu tensors, number %zu differs by %g\n", what, a.size(), b.size(), i, by);
  for (const Tensors* t : {&a, &b})
    for (const Tensor& x : *t)
      std::fprintf(stderr, "  %s\n", x.defined() ? fmt::format("{}", describe(x)).c_str() : "none");
  std::abort();
}

/// Aborts when a has another shape than b, or is further from it than `tolerance` times b's largest number.
inline void compare(const char* what, const Tensors& a, const Tensors& b, double tolerance) {
  if (a.size() != b.size()) differ(what, a, b, 0);
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].defined() != b[i].defined()) differ(what, a, b, i);
    if (!a[i].defined()) continue;
    if (!(a[i].shape() == b[i].shape())) differ(what, a, b, i);
    const Tensor x = a[i].to(float64).contiguous(), y = b[i].to(float64).contiguous();
    double scale = 1;
    bool finite = true;
    for (int64_t k = 0; k < x.numel(); ++k) {
      const double v = y.data<double>()[k];
      finite = finite && std::isfinite(v) && std::abs(v) < 1e6;
      scale = std::max(scale, std::abs(v));
    }
    for (int64_t k = 0; finite && k < x.numel(); ++k) {
      const double by = std::abs(x.data<double>()[k] - y.data<double>()[k]);
      if (!(by <= tolerance * scale)) differ(what, a, b, i, by);
    }
  }
}

}  // namespace fuzz
