// Bodies of rle.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "atlas/data/rle.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// Height · width. @throws Error when a mask of that size has no place in 32 bits.
inline int64_t rle_pixels(int64_t height, int64_t width) {
  constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
  check(height >= 0 && width >= 0 && (height == 0 || width <= kMost / height), "rle",
        "a mask of {} x {} pixels is out of range", height, width);
  return height * width;
}
inline void check_rle(const Rle& rle) {
  int64_t sum = 0;
  for (const uint32_t n : rle.counts) sum += n;
  const int64_t pixels = rle_pixels(rle.height, rle.width);
  check(sum == pixels, "rle", "the runs of a mask sum up to {} pixels, which are not {} x {} = {}", sum, rle.height,
        rle.width, pixels);
}
inline void check_same_size(const Rle& a, const Rle& b) {
  check(a.height == b.height && a.width == b.width, "rle", "masks of {} x {} and {} x {} pixels", a.height, a.width,
        b.height, b.width);
}

/// Calls f(length, in a, in b) for the pieces in which neither mask changes.
template <class F>
void for_each_piece(const Rle& a, const Rle& b, const F& f) {
  size_t i = 0, j = 0;
  int64_t left_a = a.counts.empty() ? 0 : a.counts[0], left_b = b.counts.empty() ? 0 : b.counts[0];
  while (i < a.counts.size() && j < b.counts.size()) {
    const int64_t n = std::min(left_a, left_b);
    if (n > 0) f(n, (i & 1) != 0, (j & 1) != 0);
    left_a -= n, left_b -= n;
    if (left_a == 0 && ++i < a.counts.size()) left_a = a.counts[i];
    if (left_b == 0 && ++j < b.counts.size()) left_b = b.counts[j];
  }
}

/// Adds a piece of zeros or ones to runs that began with zeros.
inline void append_run(std::vector<uint32_t>& counts, bool one, int64_t n) {
  if (counts.empty()) counts.push_back(0);
  if (((counts.size() - 1) & 1) != (one ? 1u : 0u)) counts.push_back(0);
  counts.back() += static_cast<uint32_t>(n);
}

}  // namespace detail

ATLAS_INLINE int64_t Rle::area() const {
  int64_t sum = 0;
  for (size_t i = 1; i < counts.size(); i += 2) sum += counts[i];
  return sum;
}

ATLAS_INLINE std::array<double, 4> Rle::box() const {
  int64_t left = width, right = -1, top = height, bottom = -1, at = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const int64_t begin = at, end = at + counts[i];
    at = end;
    if ((i & 1) == 0 || begin == end) continue;
    const int64_t first = begin / height, last = (end - 1) / height;
    left = std::min(left, first);
    right = std::max(right, last);
    top = std::min(top, first == last ? begin % height : int64_t{0});
    bottom = std::max(bottom, first == last ? (end - 1) % height : height - 1);
  }
  if (right < 0) return {0, 0, 0, 0};
  return {static_cast<double>(left), static_cast<double>(top), static_cast<double>(right - left + 1),
          static_cast<double>(bottom - top + 1)};
}

ATLAS_INLINE Rle rle_encode(const Tensor& mask) {
  check(mask.defined() && mask.dim() == 2 && mask.dtype() == uint8, "rle", "a mask must be uint8 [H, W], got {}",
        describe(mask));
  const Tensor m = on_host(mask);
  Rle rle{m.size(0), m.size(1)};
  detail::rle_pixels(rle.height, rle.width);
  if (m.numel() == 0) return rle;
  const uint8_t* p = m.data<uint8_t>();
  bool one = false;
  uint32_t run = 0;
  for (int64_t x = 0; x < rle.width; ++x)
    for (int64_t y = 0; y < rle.height; ++y) {
      if ((p[y * rle.width + x] != 0) != one) {
        rle.counts.push_back(run);
        run = 0;
        one = !one;
      }
      ++run;
    }
  rle.counts.push_back(run);
  return rle;
}

ATLAS_INLINE Tensor rle_decode(const Rle& rle) {
  detail::check_rle(rle);
  Tensor mask = zeros({rle.height, rle.width}, uint8, Device{});
  if (mask.numel() == 0) return mask;
  uint8_t* p = mask.data<uint8_t>();
  int64_t x = 0, y = 0;
  for (size_t i = 0; i < rle.counts.size(); ++i) {
    for (int64_t left = rle.counts[i]; left > 0;) {
      const int64_t n = std::min(left, rle.height - y);
      if ((i & 1) != 0)
        for (int64_t k = 0; k < n; ++k) p[(y + k) * rle.width + x] = 1;
      left -= n;
      y += n;
      if (y == rle.height) y = 0, ++x;
    }
  }
  return mask;
}

ATLAS_INLINE std::string rle_to_string(const Rle& rle) {
  std::string text;
  for (size_t i = 0; i < rle.counts.size(); ++i) {
    int64_t x = rle.counts[i];
    if (i > 2) x -= rle.counts[i - 2];
    for (bool more = true; more;) {
      int64_t bits = x & 31;
      x >>= 5;  // keeps the sign
      more = (bits & 16) != 0 ? x != -1 : x != 0;
      if (more) bits |= 32;
      text += static_cast<char>(bits + 48);
    }
  }
  return text;
}

ATLAS_INLINE Rle rle_from_counts(std::vector<uint32_t> counts, int64_t height, int64_t width) {
  Rle rle{height, width, std::move(counts)};
  detail::check_rle(rle);
  return rle;
}

ATLAS_INLINE Rle rle_from_string(std::string_view text, int64_t height, int64_t width) {
  detail::rle_pixels(height, width);
  std::vector<uint32_t> counts;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    int64_t x = 0;
    int shift = 0;
    for (bool more = true; more; ++at, shift += 5) {
      check(at < text.size(), "rle", "the number at character {} of the runs is cut off", begin);
      const int bits = static_cast<unsigned char>(text[at]) - 48;
      check(bits >= 0 && bits < 64, "rle", "character {} of the runs has code {}, needs 48 to 111", at, bits + 48);
      check(shift < 40, "rle", "the number at character {} of the runs is too long", begin);
      x |= static_cast<int64_t>(bits & 31) << shift;
      more = (bits & 32) != 0;
      if (!more && (bits & 16) != 0) x -= int64_t{1} << (shift + 5);
    }
    if (counts.size() > 2) x += counts[counts.size() - 2];
    check(x >= 0 && x <= std::numeric_limits<uint32_t>::max(), "rle", "run {} is {} pixels long", counts.size(), x);
    counts.push_back(static_cast<uint32_t>(x));
  }
  return rle_from_counts(std::move(counts), height, width);
}

ATLAS_INLINE Rle rle_from_polygon(std::span<const double> corners, int64_t height, int64_t width) {
  constexpr double kFine = 5, kFar = 1e5;
  check(corners.size() % 2 == 0 && corners.size() >= 6, "rle",
        "a polygon needs x and y of at least three corners, got {} numbers", corners.size());
  const int64_t pixels = detail::rle_pixels(height, width);
  struct Point {
    int64_t x, y;
  };
  std::vector<Point> at;
  for (size_t i = 0; i < corners.size(); i += 2) {
    check(std::abs(corners[i]) <= kFar && std::abs(corners[i + 1]) <= kFar, "rle",
          "corner {}, {} of a polygon is out of range ({:.0f})", corners[i], corners[i + 1], kFar);
    // Truncation, not rounding down: so pycocotools has it, also left of the image.
    at.push_back({static_cast<int64_t>(detail::rounded_product(kFine, corners[i]) + 0.5),
                  static_cast<int64_t>(detail::rounded_product(kFine, corners[i + 1]) + 0.5)});
  }
  at.push_back(at.front());

  // The edges as points of the fine grid, each edge walked from its lower end of the longer axis and reversed if need
  // be. Where the line passes from one column of pixels' centers to the next, every pixel below changes sides.
  std::vector<int64_t> changes;
  Point before = at.front();
  const auto pass = [&](Point to) {
    const Point from = std::exchange(before, to);
    if (from.x == to.x) return;
    const double x = (static_cast<double>(to.x < from.x ? to.x : to.x - 1) + 0.5) / kFine - 0.5;
    if (std::floor(x) != x || x < 0 || x > static_cast<double>(width - 1)) return;
    const double y = (static_cast<double>(std::min(from.y, to.y)) + 0.5) / kFine - 0.5;
    changes.push_back(static_cast<int64_t>(x) * height +
                      static_cast<int64_t>(std::ceil(std::clamp(y, 0.0, static_cast<double>(height)))));
  };
  for (size_t i = 0; i + 1 < at.size(); ++i) {
    Point from = at[i], to = at[i + 1];
    const int64_t dx = std::abs(to.x - from.x), dy = std::abs(to.y - from.y);
    const bool wide = dx >= dy, turned = wide ? from.x > to.x : from.y > to.y;
    if (turned) std::swap(from, to);
    const int64_t n = std::max(dx, dy);
    const double slope =
        n == 0 ? 0 : static_cast<double>(wide ? to.y - from.y : to.x - from.x) / static_cast<double>(n);
    for (int64_t d = 0; d <= n; ++d) {
      const int64_t t = turned ? n - d : d;
      const double across =
          static_cast<double>(wide ? from.y : from.x) + detail::rounded_product(slope, static_cast<double>(t)) + 0.5;
      const auto other = static_cast<int64_t>(across);
      const Point here = wide ? Point{from.x + t, other} : Point{other, from.y + t};
      if (i == 0 && d == 0) before = here;
      pass(here);
    }
  }
  std::sort(changes.begin(), changes.end());
  changes.push_back(pixels);
  Rle rle{height, width};
  int64_t done = 0;
  bool one = false;
  for (const int64_t change : changes) {
    if (change > done) detail::append_run(rle.counts, one, change - done);
    done = change;
    one = !one;
  }
  return rle;
}

ATLAS_INLINE int64_t rle_intersection(const Rle& a, const Rle& b) {
  detail::check_same_size(a, b);
  int64_t sum = 0;
  detail::for_each_piece(a, b, [&](int64_t n, bool in_a, bool in_b) { sum += in_a && in_b ? n : 0; });
  return sum;
}

ATLAS_INLINE Rle rle_union(const std::vector<Rle>& masks) {
  check(!masks.empty(), "rle", "there is no mask to join");
  Rle all = masks.front();
  for (size_t i = 1; i < masks.size(); ++i) {
    detail::check_same_size(all, masks[i]);
    Rle both{all.height, all.width};
    detail::for_each_piece(all, masks[i],
                           [&](int64_t n, bool in_a, bool in_b) { detail::append_run(both.counts, in_a || in_b, n); });
    all = std::move(both);
  }
  return all;
}

}  // namespace atlas::inline ATLAS_ABI::data
