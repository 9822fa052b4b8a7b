// Measures one case against PyTorch and records it. tools/bench/run.sh is how people call it, one process per case.
//
//   bench --case mambavision-t-224-train --torch python3 --record tools/bench/RESULTS.md
#include <fmt/core.h>

#include <ctime>

#include "atlas/core/isa.h"
#include "atlas/core/parallel.h"
#include "atlas/core/precision.h"
#include "growth.h"
#include "measure.h"
#include "peak.h"
#include "record.h"
#include "tools/program/command_line.h"

namespace {

using namespace bench;

struct Settings {
  std::string name, record, commit = "-";
  int threads = 0;
  bool list = false, choose_only = false, growth = false;
  std::vector<std::string> models{"atlas-s", "mambavision-t"};  // of the tables of growth
  std::vector<int64_t> sides;
  int growth_runs = 2;
  MeasureOptions measure;
  PeerOptions peer;
};

std::string today() {
  char text[32];
  const std::time_t now = std::time(nullptr);
  std::strftime(text, sizeof text, "%Y-%m-%d", std::localtime(&now));
  return text;
}
std::string time_text(double seconds) {
  return seconds >= 1 ? fmt::format("{:.2f} s", seconds) : fmt::format("{:.3g} ms", seconds * 1e3);
}
std::string memory_text(double bytes) { return fmt::format("{:.2f}", bytes / (1 << 30)); }

/// Each processor has its own sections: what one was measured to do stays when another is.
std::string section_name(const std::string& what) { return what + "-on-" + machine_key(); }

/// "PyTorch 2.15.0 from ..., ..."; empty without PyTorch.
std::string machine_lines(const Settings& s) {
  atlas::set_num_threads(1);
  const double one = fma_peak(0.1);
  atlas::set_num_threads(s.threads);
  const double all = fma_peak(0.1);
  return fmt::format(
      "{} threads of the {} instruction set; float32 multiply-adds on registers: {:.0f} GFLOP/s on 1 thread, {:.0f} on "
      "{}. {}.",
      s.threads, name(atlas::cpu_isa()), one / 1e9, all / 1e9, s.threads, describe_compiler());
}

/// One row of the table of models and convolutions.
void run_ratio(const Case& c, const Settings& s) {
  std::unique_ptr<Peer> peer;
  Choice choice;
  double before = 0;
  if (!s.peer.python.empty() && !c.works.front().starts_with("coco")) {  // PyTorch reads no annotations
    choice = choose(c, s.peer);
    if (s.choose_only) return;
    peer = start_peer(c.works.front(), choice, s.peer, &before);
  }
  const Result r = measure(c.works.front(), peer.get(), s.measure, before);
  fmt::print("{}: ours {} ({} to {})", c.name, time_text(r.ours.median), time_text(r.ours.low), time_text(r.ours.high));
  if (r.flops > 0) fmt::print(", {:.0f} GFLOP/s", r.flops / r.ours.median / 1e9);
  if (peer)
    fmt::print(", PyTorch {} ({} to {}): {:.2f} times as fast ({:.2f} to {:.2f}), answers differ by {:.1e}",
               time_text(r.theirs.median), time_text(r.theirs.low), time_text(r.theirs.high), r.ratio.median,
               r.ratio.low, r.ratio.high, r.difference);
  fmt::print("; peak memory {} GiB (tensors {})", memory_text(r.our_memory), memory_text(r.our_tensors));
  if (peer) fmt::print(", PyTorch {}", memory_text(r.their_memory));
  fmt::print("; others used {:.0f} % of the machine\n", r.foreign * 100);
  if (s.record.empty()) return;
  const std::string header = fmt::format(
      "\n{}{}\nRatio: PyTorch's time by ours, median of {} or more pairs in turn on the same cores (lowest to "
      "highest). "
      "Memory: largest resident set less what was\nresident before there was a model, GiB, in brackets our tensors. "
      "Load: "
      "what other processes took of the machine.\n\n"
      "| case | ours | PyTorch | ratio | goal, stretch | memory: ours, PyTorch | PyTorch ran as | load | date, commit "
      "|\n"
      "|---|---|---|---|---|---|---|---|---|\n",
      machine_lines(s), peer ? fmt::format("\nPyTorch {}, both in {}.", peer->version(), s.peer.precision) : "", 7);
  const std::string goal = c.goal > 0 ? fmt::format("{:.1f}x, {:.1f}x", c.goal, c.stretch) : "-";
  const std::string row = peer ? fmt::format(
                                     "| {} (`{}`) | {} | {} | {}**{:.2f}x** ({:.2f} to {:.2f}) | {} | {} ({}), {} | {} "
                                     "{} | {:.0f} % | {} {} |\n",
                                     c.title, c.name, time_text(r.ours.median), time_text(r.theirs.median),
                                     c.goal == 0                   ? ""
                                     : r.ratio.median >= c.stretch ? "stretch: "
                                     : r.ratio.median >= c.goal    ? "goal: "
                                                                   : "",
                                     r.ratio.median, r.ratio.low, r.ratio.high, goal, memory_text(r.our_memory),
                                     memory_text(r.our_tensors), memory_text(r.their_memory), choice.variant,
                                     bench::detail::short_name(choice.allocator), r.foreign * 100, today(), s.commit)
                               : fmt::format("| {} (`{}`) | {} | - | - | {} | {} ({}), - | - | {:.0f} % | {} {} |\n",
                                             c.title, c.name, time_text(r.ours.median), goal, memory_text(r.our_memory),
                                             memory_text(r.our_tensors), r.foreign * 100, today(), s.commit);
  write_row(s.record, section_name(s.peer.precision == "float32" ? "models" : "models-" + s.peer.precision),
            describe_machine(), header, c.name, row);
}

/// A table of products as shares of the measured peak.
void run_products(const Case& c, const Settings& s) {
  std::unique_ptr<Peer> peer;
  Choice choice;
  if (!s.peer.python.empty()) {
    choice = choose(c, s.peer);
    if (s.choose_only) return;
    peer = start_peer(c.works.front(), choice, s.peer);
  }
  MeasureOptions options = s.measure;
  options.seconds = std::min(options.seconds, 0.02);
  std::string rows;
  double our_time = 0, their_time = 0, peak_time = 0, worst = 1e9, foreign = 0;
  std::string worst_words;
  for (const std::string& words : c.works) {
    if (peer) {
      peer->ask("open " + words, "ok");
      peer->ask("use " + choice.variant, "ok");
    }
    const double peak_before = fma_peak();
    const Result r = measure(words, peer.get(), options);
    const double peak = std::max(peak_before, fma_peak());
    const double share = r.flops / r.ours.median / peak;
    our_time += r.ours.median;
    their_time += r.theirs.median;
    peak_time += r.flops / peak;
    foreign = std::max(foreign, r.foreign);
    if (share < worst) {
      worst = share;
      worst_words = words;
    }
    const std::string theirs =
        peer ? fmt::format("{:.1f} % | {:.2f}x", 100 * r.flops / r.theirs.median / peak, r.ratio.median) : "- | -";
    rows += fmt::format("| {} | {:.3g} ms | {:.0f} | {:.1f} % | {} |\n", words.substr(words.find(' ') + 1),
                        r.ours.median * 1e3, r.flops / r.ours.median / 1e9, 100 * share, theirs);
    fmt::print("{}: {:.3g} ms, {:.0f} GFLOP/s, {:.1f} % of the peak; PyTorch {}\n", words, r.ours.median * 1e3,
               r.flops / r.ours.median / 1e9, 100 * share, theirs);
  }
  const std::string all = fmt::format(
      "| **all** | {:.4g} ms | | **{:.1f} %** | {} |\n", our_time * 1e3, 100 * peak_time / our_time,
      peer ? fmt::format("{:.1f} % | {:.2f}x", 100 * peak_time / their_time, their_time / our_time) : "- | -");
  fmt::print("{}: {:.1f} % of the peak over all, worst {:.1f} % ({})\n", c.name, 100 * peak_time / our_time,
             100 * worst, worst_words);
  if (s.record.empty()) return;
  write_section(
      s.record, section_name(c.name),
      fmt::format("{}\n\n{}, goal {:.0f} %, stretch {:.0f} % of the measured peak.{} {} {}. Others used at most "
                  "{:.0f} % of the machine.\n\n"
                  "| rows, in, out | ours | GFLOP/s | of the peak | PyTorch of the peak | ratio |\n"
                  "|---|---|---|---|---|---|\n{}{}",
                  describe_machine(), c.title, 100 * c.goal, 100 * c.stretch,
                  peer ? fmt::format(" PyTorch {}.", peer->version()) : "", today(), s.commit, 100 * foreign, rows,
                  all));
}

/// The tables of growth: 256 to 2048 pixels, forward also 4096, or those that were asked for.
void run_growth(const Settings& s) {
  const int threads = s.threads > 0 ? s.threads : static_cast<int>(std::thread::hardware_concurrency());
  std::string rows;
  for (const std::string& model : s.models)
    for (const char* mode : {"forward", "train"}) {
      std::vector<int64_t> sides = s.sides;
      if (sides.empty()) {
        sides = {256, 512, 1024, 2048};
        if (std::string(mode) == "forward") sides.push_back(4096);
      }
      rows += growth_table(model, mode, sides, s.growth_runs, threads);
    }
  if (s.record.empty()) return;
  // The parent has started no threads: the children do, and a fork with threads would not have them.
  write_section(
      s.record, section_name("growth"),
      fmt::format("{}, {} threads, batch 1, float32, best of {} runs, {} {}. Memory: largest resident set less "
                  "what was resident before there was a model.\n\n"
                  "| model | | image | time | per Mpx | memory | per Mpx |\n|---|---|---|---|---|---|---|\n{}",
                  describe_machine(), threads, s.growth_runs, today(), s.commit, rows));
}

void run(Settings s) {
  const Case* c = find_case(s.name);
  atlas::check(c != nullptr, "bench", "there is no case '{}' (--list shows them)", s.name);
  if (c->threads > 0) s.threads = c->threads;
  if (s.threads <= 0) s.threads = static_cast<int>(std::thread::hardware_concurrency());
  s.peer.threads = s.threads;
  atlas::set_num_threads(s.threads);
  const bool rounded = s.peer.precision == "bf16";
  atlas::check(!rounded || (c->works.front().starts_with("model ") && c->works.front().ends_with(" forward")), "bench",
               "{} is no forward pass of a model: only those have a precision", s.name);
  atlas::set_inference_precision(atlas::parse_precision(s.peer.precision));
  if (rounded && s.measure.tolerance == 0) s.measure.tolerance = 5e-2;
  std::filesystem::create_directories(s.peer.folder);
  if (c->works.front().starts_with("linear"))
    run_products(*c, s);
  else
    run_ratio(*c, s);
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  s.peer.script = "tools/bench/torch_side.py";
  s.peer.folder = "bench";
  program::CommandLine app("Measures one case of the benchmark (tools/bench/run.sh runs them all).", "bench");
  app.add("--case", s.name, "which case");
  app.add("--list", s.list, "print the cases");
  app.add("--growth", s.growth, "instead of a case: time and memory over the size of the image");
  app.add("--growth-models", s.models, "models of the tables of growth");
  app.add("--growth-sizes", s.sides, "sides in pixels (none: 256 to 2048, forward to 4096)");
  app.add("--torch", s.peer.python, "a Python with PyTorch and NumPy; without it ours is timed alone");
  app.add("--script", s.peer.script, "the program of PyTorch's side");
  app.add("--threads", s.threads, "threads of both sides (0 = all cores)").range(0, 4096);
  app.add("--pairs", s.measure.pairs, "pairs of runs").range(1, 10000);
  app.add("--seconds", s.measure.seconds, "least length of one side of a pair").range(0.0, 600.0);
  app.add("--tolerance", s.measure.tolerance, "largest relative difference of the answers (0 = the case's own)")
      .range(0.0, 1.0);
  app.add("--precision", s.peer.precision, "of forward passes, both sides: float32 or bf16")
      .choices({"float32", "bf16"});
  app.add("--record", s.record, "Markdown file whose marked section gets the result");
  app.add("--commit", s.commit, "what the record calls this version");
  app.add("--folder", s.peer.folder, "folder for PyTorch's chosen variants and compiled code");
  app.add("--preload", s.peer.libraries, "an allocator's library that PyTorch may be faster with");
  app.add("--compile-limit", s.peer.compile_limit, "seconds that torch.compile may take");
  app.add("--choose-again", s.peer.again, "find PyTorch's fastest variant again");
  app.add("--choose-only", s.choose_only, "find PyTorch's fastest variant and stop");
  return app.run(argc, argv, [&] {
    if (s.list) {
      for (const Case& c : cases())
        fmt::print("{:<32} {}{}\n", c.name, c.title, c.by_default ? "" : "   (only when named)");
      return 0;
    }
    if (s.growth) {
      run_growth(s);
      return 0;
    }
    atlas::check(!s.name.empty(), "bench", "which case? (--list shows them)");
    run(s);
    return 0;
  });
}
