// Bodies of pixel_metrics.h.
#pragma once

#include <cmath>
#include <limits>
#include <numeric>

#include "atlas/ops/cast.h"
#include "atlas/tasks/pixel_metrics.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::tasks {

namespace detail {
/// Calls f(element, index) for every element of a tensor of uint8 or int64.
template <class F>
void for_each_class_number(std::string_view op, const Tensor& t, const F& f) {
  const Tensor x = on_host(t).contiguous();
  check(x.dtype() == uint8 || x.dtype() == int64, op, "needs class numbers, uint8 or int64, got {}", describe(t));
  if (x.dtype() == uint8) {
    for (int64_t i = 0; i < x.numel(); ++i) f(static_cast<int64_t>(x.data<uint8_t>()[i]), i);
  } else {
    for (int64_t i = 0; i < x.numel(); ++i) f(x.data<int64_t>()[i], i);
  }
}
}  // namespace detail

ATLAS_INLINE void PixelConfusion::add(const Tensor& prediction, const Tensor& label, int64_t ignored) {
  constexpr std::string_view op = "pixel confusion";
  check(prediction.defined() && label.defined() && prediction.shape() == label.shape(), op,
        "needs a label for each predicted pixel, got {} and {}", describe(prediction), describe(label));
  const int64_t n = classes();
  std::vector<int64_t> predicted(static_cast<size_t>(prediction.numel()));
  detail::for_each_class_number(op, prediction, [&](int64_t c, int64_t i) { predicted[static_cast<size_t>(i)] = c; });
  std::vector<int64_t> pixels(static_cast<size_t>(n * n));
  detail::for_each_class_number(op, label, [&](int64_t truth, int64_t i) {
    if (truth == ignored) return;
    const int64_t guess = predicted[static_cast<size_t>(i)];
    check(truth >= 0 && truth < n && guess >= 0 && guess < n, op,
          "pixel {} has the class {} and is taken for {}: there are {} classes", i, truth, guess, n);
    ++pixels[static_cast<size_t>(truth * n + guess)];
  });
  for (int64_t t = 0; t < n; ++t)
    for (int64_t p = 0; p < n; ++p) counts_.add(t, p, pixels[static_cast<size_t>(t * n + p)]);
}

ATLAS_INLINE double PixelConfusion::iou(int64_t c) const {
  int64_t either = counts_.images(c) - counts_.at(c, c);
  for (int64_t t = 0; t < classes(); ++t) either += counts_.at(t, c);
  if (either == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(counts_.at(c, c)) / static_cast<double>(either);
}

ATLAS_INLINE double PixelConfusion::accuracy(int64_t c) const {
  return counts_.images(c) == 0 ? std::numeric_limits<double>::quiet_NaN() : counts_.class_accuracy(c);
}

ATLAS_INLINE double PixelConfusion::mean(double (PixelConfusion::*value)(int64_t) const) const {
  double sum = 0, count = 0;
  for (int64_t c = 0; c < classes(); ++c) {
    const double v = (this->*value)(c);
    if (std::isnan(v)) continue;
    sum += v;
    ++count;
  }
  return count > 0 ? sum / count : 0;
}

ATLAS_INLINE Tensor PixelConfusion::state() const {
  Tensor t = empty({classes(), classes()}, int64, Device{});
  for (int64_t i = 0; i < t.numel(); ++i) t.data<int64_t>()[i] = counts_.at(i / classes(), i % classes());
  return t;
}

ATLAS_INLINE void PixelConfusion::load_state(const Tensor& state) {
  check(state.defined() && state.dtype() == int64 && state.shape() == Shape{classes(), classes()}, "meter",
        "the state of a meter of {} classes must be int64[{},{}], got {}", classes(), classes(), classes(),
        describe(state));
  counts_ = ConfusionMatrix(classes());
  const Tensor x = on_host(state).contiguous();
  for (int64_t i = 0; i < x.numel(); ++i) {
    check(x.data<int64_t>()[i] >= 0, "meter", "the state of a meter counts {} pixels of class {} as {}",
          x.data<int64_t>()[i], i / classes(), i % classes());
    counts_.add(i / classes(), i % classes(), x.data<int64_t>()[i]);
  }
}

ATLAS_INLINE std::string PixelConfusion::table(const std::vector<std::string>& names, int64_t max_rows) const {
  std::vector<int64_t> order(static_cast<size_t>(classes()));
  std::iota(order.begin(), order.end(), int64_t{0});
  if (classes() > max_rows) {
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      const auto key = [&](int64_t c) { return std::isnan(iou(c)) ? 2 : iou(c); };
      return key(a) < key(b);
    });
    order.resize(static_cast<size_t>(max_rows));
  }
  const auto name_of = [&](int64_t c) {
    return c < std::ssize(names) ? names[static_cast<size_t>(c)] : fmt::format("class {}", c);
  };
  int width = 5;
  for (int64_t c = 0; c < classes(); ++c) width = std::max(width, detail::text_width(name_of(c)));
  width = std::min(width, 24);
  double all = 0;
  for (int64_t c = 0; c < classes(); ++c) all += static_cast<double>(counts_.images(c));
  const auto percent = [](double v) { return std::isnan(v) ? std::string("-") : fmt::format("{:.2f} %", 100 * v); };
  const auto line = [&](const std::string& name, double share, double iou_value, double accuracy_value) {
    return fmt::format("{:<{}}  {:>9}  {:>9}  {:>9}", detail::shortened(name, width), width, percent(share),
                       percent(iou_value), percent(accuracy_value));
  };
  std::string text =
      fmt::format("{:<{}}  {:>9}  {:>9}  {:>9}  most often taken for\n", "class", width, "pixels", "IoU", "accuracy");
  for (const int64_t c : order) {
    int64_t worst = -1;
    for (int64_t p = 0; p < classes(); ++p)
      if (p != c && counts_.at(c, p) > 0 && (worst < 0 || counts_.at(c, p) > counts_.at(c, worst))) worst = p;
    const auto own = static_cast<double>(counts_.images(c));
    text += line(name_of(c), all > 0 ? own / all : 0, iou(c), accuracy(c)) + "  ";
    text += worst < 0
                ? "-\n"
                : fmt::format("{} ({})\n", name_of(worst), percent(static_cast<double>(counts_.at(c, worst)) / own));
  }
  if (classes() > max_rows) text += fmt::format("(the {} worst of {} classes)\n", order.size(), classes());
  return text + line("mean", 1, mean_iou(), mean_accuracy()) +
         fmt::format("  {} of all pixels are right\n", percent(all_accuracy()));
}

}  // namespace atlas::inline ATLAS_ABI::tasks
