// PyTorch at its fastest: which of its variants and allocators wins a case. Asked once per case and kept in a file.
#pragma once

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "cases.h"
#include "peer.h"

namespace bench {

struct PeerOptions {
  std::string python, script;
  std::string precision = "float32";
  int threads = 1;
  double compile_limit = 900;          ///< seconds that torch.compile may take for one variant
  std::string folder;                  ///< for choices and compiled code
  std::vector<std::string> libraries;  ///< allocators to preload, besides the C library's
  bool again = false;                  ///< ignore a choice that was made before
};

/// How PyTorch runs a case.
struct Choice {
  std::string variant = "eager/contiguous";  ///< as `use` of torch_side.py takes it
  std::string allocator = "malloc-tuned";
  std::string remark = "";  ///< times of all that were tried
};

namespace detail {

/// What an allocator needs in the environment: the C library's as it comes or told to keep its pages, or a library
/// that is preloaded, with the settings that PyTorch's tuning guide gives for jemalloc.
inline Environment allocator_environment(const std::string& allocator, const PeerOptions& o) {
  const std::string compiled = o.folder + "/inductor";
  std::filesystem::create_directories(compiled);
  Environment e{{"TORCHINDUCTOR_CACHE_DIR", compiled}, {"ATLAS_BENCH_PRECISION", o.precision}};
  if (allocator == "malloc") return e;
  if (allocator == "malloc-tuned") {
    e.push_back({"MALLOC_MMAP_THRESHOLD_", "34359738368"});
    e.push_back({"MALLOC_TRIM_THRESHOLD_", "34359738368"});
    e.push_back({"MALLOC_TOP_PAD_", "67108864"});
    e.push_back({"GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"});
    return e;
  }
  e.push_back({"LD_PRELOAD", allocator});
  e.push_back({"MALLOC_CONF",
               "oversize_threshold:1,background_thread:true,metadata_thp:auto,dirty_decay_ms:9000000000,"
               "muzzy_decay_ms:9000000000"});
  return e;
}
inline std::string short_name(const std::string& allocator) {
  std::string name = std::filesystem::path(allocator).filename().string();
  return name.starts_with("lib") ? name.substr(3, name.find_first_of("._") - 3) : name;
}
/// Seconds of a step, the least of a few.
inline double quick_time(Peer& peer) {
  double best = 1e300, total = 0;
  for (int i = 0; i < 5 && (i < 2 || total < 2); ++i) {
    const double t = peer.ask_number("step 1", "time");
    best = std::min(best, t);
    total += t;
  }
  return best;
}

}  // namespace detail

/// A process with the first work of a case, run once as `choice` says.
/// @param before  receives the bytes of memory that PyTorch held before there was a model
inline std::unique_ptr<Peer> start_peer(const std::string& work, const Choice& choice, const PeerOptions& o,
                                        double* before = nullptr, double limit = 900) {
  auto peer = std::make_unique<Peer>(o.python, o.script, o.threads, detail::allocator_environment(choice.allocator, o));
  const double held = peer->ask_number("open " + work, "ok");
  if (before != nullptr) *before = held;
  peer->ask_number("use " + choice.variant, "ok", limit);
  return peer;
}

/// Tries eager and compiled code on both layouts, then the winner with every allocator. What fails or takes too long
/// to compile is left out, and the remark says so.
inline Choice choose(const Case& c, const PeerOptions& o) {
  // A peer that does not even start must not look like a variant that failed.
  const std::string version =
      Peer(o.python, o.script, o.threads, {}).version() + (o.precision == "float32" ? "" : "-" + o.precision);
  const std::string file = fmt::format("{}/choice-{}-{}-torch-{}.txt", o.folder, c.name, o.threads, version);
  Choice best;
  if (std::ifstream in(file); in && !o.again) {
    std::getline(in, best.variant);
    std::getline(in, best.allocator);
    std::getline(in, best.remark);
    const bool there = !best.allocator.starts_with("/") || std::filesystem::exists(best.allocator);
    if (there && !best.remark.empty()) return best;
    best = {};
  }
  double best_time = 1e300;
  std::string remark;
  const auto attempt = [&](const Choice& candidate) {
    std::string said;
    try {
      const auto peer = start_peer(c.works.front(), candidate, o, nullptr,
                                   candidate.variant.starts_with("compile") ? o.compile_limit : 600);
      const double t = detail::quick_time(*peer);
      said = fmt::format("{:.4g} ms", t * 1e3);
      if (t < best_time) {
        best_time = t;
        best = candidate;
      }
    } catch (const atlas::Error& e) {
      fmt::print(stderr, "{}: {}\n", candidate.variant, e.what());
      const bool slow = std::string(e.what()).find("no answer within") != std::string::npos;
      said = slow ? fmt::format("not done after {:.0f} s", o.compile_limit) : "failed";
    }
    remark += fmt::format("{}{} {}: {}", remark.empty() ? "" : "; ", candidate.variant,
                          detail::short_name(candidate.allocator), said);
    fmt::print(stderr, "  {} {}: {}\n", candidate.variant, detail::short_name(candidate.allocator), said);
  };
  const std::string kind = c.works.front().substr(0, c.works.front().find(' '));
  if (kind == "linear" || kind == "roi_align" || kind == "nms")
    attempt({});  // a single op: nothing to compile, no layout
  else if (kind == "segment" || kind == "detect")
    // Goals of these are against eager code; detectors do not compile as a whole.
    for (const char* variant : {"eager/contiguous", "eager/channels_last"}) attempt({variant});
  else
    for (const char* variant :
         {"eager/contiguous", "eager/channels_last", "compile/contiguous", "compile/channels_last"})
      attempt({variant});
  atlas::check(best_time < 1e300, "bench", "PyTorch runs no variant of {}", c.name);
  std::vector<std::string> others{"malloc"};
  others.insert(others.end(), o.libraries.begin(), o.libraries.end());
  const std::string variant = best.variant;
  for (const std::string& allocator : others) attempt({variant, allocator});
  best.remark = remark;
  std::ofstream(file) << best.variant << '\n' << best.allocator << '\n' << best.remark << '\n';
  return best;
}

}  // namespace bench
