// How time and memory grow with the size of the image: a model that is linear in pixels doubles with them.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include "atlas/core/parallel.h"
#include "measure.h"

namespace bench {

/// Least-squares slope of log y over log x: the exponent of y ~ x^exponent.
inline double fitted_exponent(const std::vector<double>& x, const std::vector<double>& y) {
  double mx = 0, my = 0, xx = 0, xy = 0;
  const double n = static_cast<double>(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    mx += std::log(x[i]) / n;
    my += std::log(y[i]) / n;
  }
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (std::log(x[i]) - mx) * (std::log(x[i]) - mx);
    xy += (std::log(x[i]) - mx) * (std::log(y[i]) - my);
  }
  return xx > 0 ? xy / xx : 0;
}

struct GrowthPoint {
  double seconds = 0, bytes = 0;  ///< 0: did not run (out of memory)
};

/// One size, in a process of its own: its memory is its own, and running out of it ends that process alone.
inline GrowthPoint growth_point(const std::string& words, int runs, int threads) {
  int ends[2];
  atlas::check(pipe(ends) == 0, "bench", "no pipe");
  std::fflush(stdout);
  const pid_t child = fork();
  atlas::check(child >= 0, "bench", "no process");
  if (child == 0) {
    close(ends[0]);
    GrowthPoint p;
    try {
      atlas::set_num_threads(threads);
      MeasureOptions o;
      o.pairs = runs;
      o.seconds = 0;
      const Result r = measure(words, nullptr, o);
      p = {r.ours.low, r.our_memory};
    } catch (const std::exception& e) {
      fmt::print(stderr, "{}: {}\n", words, e.what());
    }
    const bool sent = write(ends[1], &p, sizeof p) == sizeof p;
    _exit(sent ? 0 : 1);
  }
  close(ends[1]);
  GrowthPoint p;
  if (read(ends[0], &p, sizeof p) != sizeof p) p = {};
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return p;
}

/// A Markdown table of a model's forward pass or training step at batch 1. Sizes that do not run are left out.
inline std::string growth_table(const std::string& model, const std::string& mode, const std::vector<int64_t>& sides,
                                int runs, int threads) {
  std::string rows;
  std::vector<double> pixels, times, memory;
  for (const int64_t side : sides) {
    const GrowthPoint p = growth_point(fmt::format("model {} {} 1 {}", model, side, mode), runs, threads);
    if (p.seconds <= 0) {
      rows += fmt::format("| {} | {} | {} px | did not run | | | |\n", model, mode, side);
      continue;
    }
    const double mega = static_cast<double>(side * side) / (1 << 20);
    pixels.push_back(mega);
    times.push_back(p.seconds);
    memory.push_back(p.bytes);
    const std::string row =
        fmt::format("| {} | {} | {} px | {:.4g} s | {:.4g} s | {:.3f} GiB | {:.2f} GiB |\n", model, mode, side,
                    p.seconds, p.seconds / mega, p.bytes / (1 << 30), p.bytes / mega / (1 << 30));
    fmt::print("{}", row);
    std::fflush(stdout);
    rows += row;
  }
  if (pixels.size() > 1) {
    const std::string row = fmt::format("| {} | {} | **exponent in pixels** | **{:.2f}** | | **{:.2f}** | |\n", model,
                                        mode, fitted_exponent(pixels, times), fitted_exponent(pixels, memory));
    fmt::print("{}", row);
    rows += row;
  }
  return rows;
}

}  // namespace bench
