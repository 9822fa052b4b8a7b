// The measurement: ours and PyTorch's steps in turn on the same cores, after both gave the same numbers.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "atlas/core/storage.h"
#include "choose.h"
#include "dense_work.h"
#include "machine.h"
#include "work.h"

namespace bench {

struct Spread {
  double median = 0, low = 0, high = 0;
};
inline Spread spread(std::vector<double> v) {
  if (v.empty()) return {};
  std::sort(v.begin(), v.end());
  const size_t n = v.size();
  return {n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2, v.front(), v.back()};
}

/// Seconds and bytes of one case. PyTorch's are zero when it did not take part.
struct Result {
  Spread ours, theirs, ratio;
  double our_memory = 0, their_memory = 0;  ///< largest resident set less what was resident before there was a model
  double our_tensors = 0;                   ///< largest sum of our live tensors and workspaces
  double difference = 0;                    ///< relative, of the numbers both gave
  double foreign = 0;                       ///< share of the machine that others used meanwhile
  double flops = 0;
};

struct MeasureOptions {
  int pairs = 7;
  double seconds = 0.3;  ///< least length of one side of a pair; short steps are repeated
  double tolerance = 0;  ///< largest relative difference of the answers; 0: 2e-4, of training 1e-3
};

inline double seconds_of(const std::function<void()>& f, int64_t times = 1) {
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < times; ++i) f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// |a - b| / |b| of two lists of numbers.
/// @throws Error when they have different lengths
inline double relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
  atlas::check(a.size() == b.size() && !a.empty(), "bench", "our step gives {} numbers, PyTorch's {}", a.size(),
               b.size());
  double away = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    away += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(away / size);
}

/// Measures one work. @param peer  null: ours alone. It has opened the work and run it once.
/// @param our_before, their_before  bytes resident before there was a model
/// @throws Error when the two sides do not give the same numbers
inline Result measure(const std::string& words, Peer* peer, const MeasureOptions& o, double their_before = 0) {
  Result r;
  const double before = memory_of_process("VmRSS");
  Work work;
  if (!make_dense_work(words, work)) work = make_work(words);
  r.flops = work.flops;
  const std::vector<double> ours = work.answer();
  if (peer != nullptr) {
    r.difference = relative_difference(ours, peer->ask_numbers("answer", "values"));
    const double most = o.tolerance > 0 ? o.tolerance : words.ends_with("train") ? 1e-3 : 2e-4;
    atlas::check(r.difference <= most, "bench",
                 "the two sides of '{}' differ by {:.1e} (tolerance {:.0e}): nothing to compare", words, r.difference,
                 most);
  }
  // Twice, so that what is packed at the second use is packed.
  for (int i = 0; i < 2; ++i) work.step();
  const auto repeats = [&](double once) {
    return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(o.seconds / std::max(once, 1e-9) - 0.5)));
  };
  const int64_t our_times = repeats(seconds_of(work.step));
  int64_t their_times = 1;
  if (peer != nullptr) {
    peer->ask_number("step 1", "time");
    their_times = repeats(peer->ask_number("step 1", "time"));
  }
  reset_resident_peak();
  atlas::reset_peak_memory();
  const ForeignLoad load(peer != nullptr ? peer->process() : 0);
  std::vector<double> mine, peers, ratios;
  const auto pause = [] { std::this_thread::sleep_for(std::chrono::milliseconds(10)); };  // waiting threads go to sleep
  const auto run_ours = [&] {
    pause();
    mine.push_back(seconds_of(work.step, our_times) / static_cast<double>(our_times));
  };
  const auto run_theirs = [&] {
    if (peer == nullptr) return;
    pause();
    peers.push_back(peer->ask_number(fmt::format("step {}", their_times), "time") / static_cast<double>(their_times));
  };
  for (int pair = 0; pair < o.pairs; ++pair) {
    if (pair % 2 == 0) run_ours();
    run_theirs();
    if (pair % 2 == 1) run_ours();
    if (peer != nullptr) ratios.push_back(peers.back() / mine.back());
  }
  r.foreign = load.share();
  r.ours = spread(mine);
  r.theirs = spread(peers);
  r.ratio = spread(ratios);
  r.our_memory = memory_of_process("VmHWM") - before;
  r.our_tensors = static_cast<double>(atlas::memory_stats().peak);
  if (peer != nullptr) r.their_memory = peer->ask_number("memory", "memory") - their_before;
  return r;
}

}  // namespace bench
