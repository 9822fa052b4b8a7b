// Event files as TensorBoard reads them: numbers, histograms and pictures over the updates of a training.
//
// A file is a sequence of records (TensorFlow's TFRecord): the length of the data, 64 bits; a check sum of these eight
// bytes; the data; a check sum of it. Numbers are little-endian, check sums are CRC-32C, rotated and shifted so that
// data with check sums in it does not check itself. The data is a message of protocol buffers, `Event`: the time, the
// step, and what happened.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::io {

/// The check sum of iSCSI (Castagnoli's polynomial, reflected: 0x82f63b78): 0xe3069283 of "123456789".
uint32_t crc32c(std::string_view bytes);

/// A record with this data.
std::string tfrecord(std::string_view data);

/// How values are spread: bar i counts those in (limits[i - 1], limits[i]].
struct Histogram {
  double smallest = 0, largest = 0, count = 0, sum = 0, sum_of_squares = 0;
  std::vector<double> limits, counts;

  /// Bars of equal width between the smallest and the largest. Values that are not finite are left out.
  static Histogram of(std::span<const float> values, int64_t bars = 64);
};

/// Messages of an event file. `wall` is the time of day, seconds since 1970.
namespace event {
std::string version(double wall);
std::string scalar(double wall, int64_t step, std::string_view tag, double value);
std::string histogram(double wall, int64_t step, std::string_view tag, const Histogram& value);
/// @param png  the bytes of a PNG file of width x height pixels
std::string picture(double wall, int64_t step, std::string_view tag, std::string_view png, int64_t width,
                    int64_t height);
/// A session begins: what earlier files say of this step and later ones did not come to be.
std::string session_start(double wall, int64_t step);
}  // namespace event

/// An event file that grows: every event is in it when its function returns.
class EventFile {
 public:
  /// Makes a new file in `folder`, events.out.tfevents.SECONDS.HOST.PROCESS.NUMBER.
  /// @param clock  seconds since 1970; none: the system's
  /// @throws Error naming the file when it cannot be made or written to; so do the others.
  explicit EventFile(const std::string& folder, std::function<double()> clock = {});

  void scalar(int64_t step, std::string_view tag, double value) { append(event::scalar(clock_(), step, tag, value)); }
  void histogram(int64_t step, std::string_view tag, const Histogram& value) {
    append(event::histogram(clock_(), step, tag, value));
  }
  void picture(int64_t step, std::string_view tag, std::string_view png, int64_t width, int64_t height) {
    append(event::picture(clock_(), step, tag, png, width, height));
  }
  void session_start(int64_t step) { append(event::session_start(clock_(), step)); }

  const std::string& path() const { return path_; }

 private:
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  void append(const std::string& message);

  std::function<double()> clock_;
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace atlas::inline ATLAS_ABI::io

#ifndef ATLAS_COMPILED_LIB
#include "atlas/io/event_file-inl.h"
#endif
