// The progress of an epoch: a bar that redraws itself on a terminal, plain lines anywhere else.
// Not in atlas.h: include it by name.
#pragma once

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "atlas/core/standard_output.h"

namespace atlas::inline ATLAS_ABI::train {

/// Prints. A standard output that is full or gone ends no training: run_program() says it at the end.
template <class... Args>
void say(fmt::format_string<Args...> text, Args&&... args) {
  const std::string line = fmt::format(text, std::forward<Args>(args)...);
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size()) atlas::detail::note_output_error(errno);
}

/// Seconds as "0:07", "12:34" or "1:02:03".
inline std::string duration_text(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  const auto s = static_cast<int64_t>(std::llround(seconds));
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

/// What a progress line tells. NaN leaves an entry out.
struct ProgressInfo {
  double loss = std::numeric_limits<double>::quiet_NaN();
  double measure = std::numeric_limits<double>::quiet_NaN();  ///< what the task is after
  std::string measure_name = "acc";
  bool share = true;   ///< the measure lies in [0, 1] and is shown in percent
  int64_t images = 0;  ///< images seen by this bar so far; 0 leaves the rate out
};

/// How and where progress is shown; the defaults ask the system.
struct ProgressOptions {
  enum class Style : uint8_t { automatic, terminal, plain, silent };

  Style style = Style::automatic;  ///< automatic: a bar when `out` is a terminal, lines otherwise
  std::FILE* out = stdout;
  int width = 0;                       ///< columns of the terminal; 0 asks it
  double plain_seconds = 15;           ///< a plain line at least this often ...
  double plain_percent = 25;           ///< ... and after each such part of the whole
  std::function<double()> clock = {};  ///< seconds; for tests
};

/// One line: label, bar, percentage, loss, accuracy, images per second, time left (or taken, at the end).
/// @param part     share done, in [0, 1]
/// @param elapsed  seconds since the start   @param left  seconds to go; negative when unknown
/// @param width    columns of the terminal, which the line does not exceed; 0 gives a line of any length without bar
inline std::string progress_line(std::string_view label, double part, double elapsed, double left,
                                 const ProgressInfo& info, int width, bool unicode) {
  std::string text = fmt::format("{:3.0f} %", std::floor(100 * part));
  if (!std::isnan(info.loss)) text += fmt::format("  loss {:.4f}", info.loss);
  if (!std::isnan(info.measure))
    text += info.share ? fmt::format("  {} {:5.2f} %", info.measure_name, 100 * info.measure)
                       : fmt::format("  {} {:.4f}", info.measure_name, info.measure);
  if (info.images > 0 && elapsed > 0) {
    const double rate = static_cast<double>(info.images) / elapsed;
    text += rate < 10 ? fmt::format("  {:.2f} images/s", rate) : fmt::format("  {:.0f} images/s", rate);
  }
  if (part >= 1)
    text += "  " + duration_text(elapsed);
  else if (left >= 0)
    text += "  ETA " + duration_text(left);

  std::string line(label);
  const int used = static_cast<int>(line.size() + text.size()) + 2, room = std::min(width - 1 - used - 2, 40);
  if (room >= 5) {
    const int full = static_cast<int>(part * room);
    line += "  ";
    for (int i = 0; i < room; ++i) {
      if (unicode)
        line += i < full ? "━" : "┄";
      else
        line += i < full ? '=' : i == full ? '>' : ' ';
    }
  }
  line += "  " + text;
  // A line that wraps could not be drawn over.
  if (width > 0 && room < 5 && used >= width) line.resize(static_cast<size_t>(width - 1));
  return line;
}

/// A progress display. Drawn at most ten times a second, so update() may be called for every batch.
///
/// Example: `Progress bar("epoch 1/10", batches); ... bar.update(i + 1, {.loss = l, .images = seen}); ...
/// bar.finish();`
class Progress {
 public:
  /// @param total  steps of the whole   @param first  steps done before (of a resumed epoch): they do not count for the
  /// speed
  Progress(std::string label, int64_t total, ProgressOptions options = {}, int64_t first = 0)
      : label_(std::move(label)), total_(total), first_(first), done_(first), options_(std::move(options)) {
    if (options_.style == ProgressOptions::Style::automatic)
      options_.style =
          isatty(fileno(options_.out)) != 0 ? ProgressOptions::Style::terminal : ProgressOptions::Style::plain;
    start_ = shown_ = now();
    next_part_ = options_.plain_percent;
    while (percent() >= next_part_ && options_.plain_percent > 0) next_part_ += options_.plain_percent;
  }
  /// Ends the terminal line, so that an error message starts on its own.
  ~Progress() {
    if (drawn_ && !finished_) std::fputc('\n', options_.out);
    flush_stream(options_.out);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` steps of the whole are behind us.
  void update(int64_t done, const ProgressInfo& info) {
    done_ = done;
    info_ = info;
    const double t = now();
    if (options_.style == ProgressOptions::Style::terminal) {
      if (!drawn_ || t - shown_ >= 0.1) draw(t);
    } else if (options_.style == ProgressOptions::Style::plain && done < total_) {
      const bool part = options_.plain_percent > 0 && percent() >= next_part_;
      if (part || t - shown_ >= options_.plain_seconds) print(t);
      while (options_.plain_percent > 0 && percent() >= next_part_) next_part_ += options_.plain_percent;
    }
  }
  /// Takes the bar off the terminal, so that other lines can be printed there; the next update() draws it again.
  void clear() {
    if (options_.style != ProgressOptions::Style::terminal || !drawn_ || finished_) return;
    std::fputs("\r\033[K", options_.out);
    flush_stream(options_.out);
    drawn_ = false;
  }
  /// Shows the final state, once; `note` is added at the end of the line.
  void finish(std::string_view note = "") {
    if (std::exchange(finished_, true)) return;
    const double t = now();
    if (options_.style == ProgressOptions::Style::terminal)
      draw(t, note, "\n");
    else if (options_.style == ProgressOptions::Style::plain)
      print(t, note);
  }

 private:
  double now() const {
    if (options_.clock) return options_.clock();
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  double percent() const { return total_ > 0 ? 100 * static_cast<double>(done_) / static_cast<double>(total_) : 100; }
  std::string line(double t, int width) const {
    // Steps done before a resume took none of this bar's time.
    const double elapsed = t - start_, here = static_cast<double>(done_ - first_);
    const double left = here > 0 ? elapsed / here * static_cast<double>(total_ - done_) : -1;
    return progress_line(label_, std::clamp(percent() / 100, 0.0, 1.0), elapsed, left, info_, width, unicode());
  }
  void draw(double t, std::string_view note = "", const char* end = "") {
    int width = options_.width;
    if (width == 0) {
      winsize size{};
      width = ioctl(fileno(options_.out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    }
    std::string s = line(t, width);
    if (!note.empty()) s += "  " + std::string(note);
    write("\r" + s + "\x1b[K" + end);
    flush_stream(options_.out);
    shown_ = t;
    drawn_ = true;
  }
  void print(double t, std::string_view note = "") {
    write(fmt::format("{}{}{}\n", line(t, 0), note.empty() ? "" : "  ", note));
    flush_stream(options_.out);
    shown_ = t;
  }
  /// A display that cannot be written to (its terminal is gone, its disk is full) is no reason to end the work: whoever
  /// has to know asks ferror(), as run_program() does.
  void write(const std::string& text) const {
    const bool whole = std::fwrite(text.data(), 1, text.size(), options_.out) == text.size();
    if (!whole && options_.out == stdout) atlas::detail::note_output_error(errno);
  }
  static bool unicode() {
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
      const char* value = std::getenv(name);
      if (value == nullptr || *value == '\0') continue;
      const std::string_view v(value);
      return v.find("UTF-8") != v.npos || v.find("utf8") != v.npos || v.find("utf-8") != v.npos;
    }
    return false;
  }

  std::string label_;
  int64_t total_, first_, done_;
  ProgressOptions options_;
  ProgressInfo info_;
  double start_ = 0, shown_ = 0, next_part_ = 0;
  bool drawn_ = false, finished_ = false;
};

}  // namespace atlas::inline ATLAS_ABI::train
