// Bodies of event_file.h.
#pragma once

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "atlas/core/host_name.h"
#include "atlas/io/event_file.h"

namespace atlas::inline ATLAS_ABI::io {

namespace detail {

template <class T>
std::string little(T value) {
  static_assert(std::endian::native == std::endian::little);
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// A message of protocol buffers: fields one after the other, each a key (number and wire type) and a value. Fields
/// that have their default are written nevertheless, which readers take.
class Message {
 public:
  Message& whole(int field, int64_t value) {
    key(field, 0);
    varint(static_cast<uint64_t>(value));
    return *this;
  }
  Message& real(int field, double value) {
    key(field, 1);
    bytes_ += little(value);
    return *this;
  }
  Message& real32(int field, float value) {
    key(field, 5);
    bytes_ += little(value);
    return *this;
  }
  /// A text, bytes, or another message.
  Message& text(int field, std::string_view value) {
    key(field, 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& packed(int field, const std::vector<double>& values) {
    std::string all;
    for (const double v : values) all += little(v);
    return text(field, all);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void key(int field, int type) { varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(type)); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(0x80 | (value & 0x7f));
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

/// An Event with one value in its Summary.
inline std::string event_with(double wall, int64_t step, const Message& value) {
  const Message summary = Message().text(1, value.bytes());
  return Message().real(1, wall).whole(2, step).text(5, summary.bytes()).bytes();
}

}  // namespace detail

ATLAS_INLINE uint32_t crc32c(std::string_view bytes) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = (c & 1) != 0 ? c >> 1 ^ 0x82f63b78u : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  uint32_t c = ~uint32_t{0};
  for (const char b : bytes) c = table[(c ^ static_cast<uint8_t>(b)) & 0xff] ^ c >> 8;
  return ~c;
}

ATLAS_INLINE std::string tfrecord(std::string_view data) {
  const auto masked = [](std::string_view bytes) {
    const uint32_t c = crc32c(bytes);
    return detail::little((c >> 15 | c << 17) + 0xa282ead8u);
  };
  const std::string length = detail::little(static_cast<uint64_t>(data.size()));
  return length + masked(length) + std::string(data) + masked(data);
}

ATLAS_INLINE Histogram Histogram::of(std::span<const float> values, int64_t bars) {
  check(bars >= 1, "histogram", "needs at least one bar, got {}", bars);
  Histogram h;
  h.smallest = std::numeric_limits<double>::infinity();
  h.largest = -h.smallest;
  for (const float v : values) {
    if (!std::isfinite(v)) continue;
    const auto x = static_cast<double>(v);
    h.smallest = std::min(h.smallest, x);
    h.largest = std::max(h.largest, x);
    h.count += 1;
    h.sum += x;
    h.sum_of_squares += x * x;
  }
  if (h.count == 0) return {};
  const double width = h.largest - h.smallest;
  if (width == 0) {  // readers want bars that are wider than nothing
    const double half = std::max(std::abs(h.largest) * 1e-6, 1e-12);
    h.limits = {h.smallest - half, h.smallest + half};
    h.counts = {0, h.count};
    return h;
  }
  // The first bar is empty, and ends at the smallest value: readers take its limit for where the others begin.
  h.limits.push_back(h.smallest);
  for (int64_t i = 1; i <= bars; ++i)
    h.limits.push_back(i == bars ? h.largest : h.smallest + width * static_cast<double>(i) / static_cast<double>(bars));
  h.counts.resize(h.limits.size());
  for (const float v : values) {
    if (!std::isfinite(v)) continue;
    const double at = (static_cast<double>(v) - h.smallest) / width * static_cast<double>(bars);
    h.counts[static_cast<size_t>(std::clamp<int64_t>(static_cast<int64_t>(std::ceil(at)), 1, bars))] += 1;
  }
  return h;
}

namespace event {

ATLAS_INLINE std::string version(double wall) {
  return detail::Message().real(1, wall).text(3, "brain.Event:2").bytes();
}

ATLAS_INLINE std::string scalar(double wall, int64_t step, std::string_view tag, double value) {
  return detail::event_with(wall, step, detail::Message().text(1, tag).real32(2, static_cast<float>(value)));
}

ATLAS_INLINE std::string histogram(double wall, int64_t step, std::string_view tag, const Histogram& h) {
  const detail::Message message = detail::Message()
                                      .real(1, h.smallest)
                                      .real(2, h.largest)
                                      .real(3, h.count)
                                      .real(4, h.sum)
                                      .real(5, h.sum_of_squares)
                                      .packed(6, h.limits)
                                      .packed(7, h.counts);
  return detail::event_with(wall, step, detail::Message().text(1, tag).text(5, message.bytes()));
}

ATLAS_INLINE std::string picture(double wall, int64_t step, std::string_view tag, std::string_view png, int64_t width,
                                 int64_t height) {
  constexpr int64_t kRgb = 3;
  const detail::Message image = detail::Message().whole(1, height).whole(2, width).whole(3, kRgb).text(4, png);
  return detail::event_with(wall, step, detail::Message().text(1, tag).text(4, image.bytes()));
}

ATLAS_INLINE std::string session_start(double wall, int64_t step) {
  constexpr int64_t kStart = 1;
  return detail::Message().real(1, wall).whole(2, step).text(7, detail::Message().whole(1, kStart).bytes()).bytes();
}

}  // namespace event

ATLAS_INLINE EventFile::EventFile(const std::string& folder, std::function<double()> clock) : clock_(std::move(clock)) {
  if (!clock_)
    clock_ = [] { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); };
  static std::atomic<int> number{0};
  const double now = clock_();
  path_ = fmt::format("{}/events.out.tfevents.{:010}.{}.{}.{}", folder, static_cast<int64_t>(now), host_name(),
                      ::getpid(), number++);
  const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  check(fd >= 0, "tensorboard", "cannot write {}: {}", path_, std::strerror(errno));
  file_.reset(::fdopen(fd, "wb"));
  check(file_ != nullptr, "tensorboard", "cannot write {}: {}", path_, std::strerror(errno));
  append(event::version(now));
}

ATLAS_INLINE void EventFile::append(const std::string& message) {
  const std::string record = tfrecord(message);
  check(std::fwrite(record.data(), 1, record.size(), file_.get()) == record.size() && std::fflush(file_.get()) == 0,
        "tensorboard", "cannot write {}: {}", path_, std::strerror(errno));
}

}  // namespace atlas::inline ATLAS_ABI::io
