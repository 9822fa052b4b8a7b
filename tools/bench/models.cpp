// Times whole models: forward (inference) and training step, in images per second, with the peak memory of tensors.
//
//   models                                        a default list of small runs
//   models --model mambavision-t --image-size 224 --batch 8 --mode both --threads 2
//   models --model atlas-s --batch 1 --mode inference      what folding and keeping gain, both ways in turn
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>

#include "atlas/autograd/backward.h"
#include "atlas/core/precision.h"
#include "atlas/core/profile.h"
#include "atlas/models/presets.h"
#include "atlas/ops/loss.h"
#include "atlas/optim/adam.h"
#include "atlas/tensor/create.h"

namespace {

using namespace atlas;
using Clock = std::chrono::steady_clock;

struct Timing {
  double median = 0, best = 0;  // seconds
};

/// Runs f once to warm up, then at least `runs` times and `seconds` long.
template <class F>
Timing measure(F&& f, int runs, double seconds) {
  f();
  std::vector<double> times;
  double total = 0;
  while (static_cast<int>(times.size()) < runs || total < seconds) {
    const auto start = Clock::now();
    f();
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    total += times.back();
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front()};
}

void report(const std::string& model, int64_t size, int64_t batch, const char* mode, Timing t) {
  const double peak = static_cast<double>(memory_stats().peak) / (1 << 20);
  std::printf("%-16s %5lld px  batch %3lld  %-8s  %9.1f ms median  %9.1f ms best  %9.2f images/s  %8.0f MiB peak\n",
              model.c_str(), static_cast<long long>(size), static_cast<long long>(batch), mode, t.median * 1e3,
              t.best * 1e3, static_cast<double>(batch) / t.median, peak);
  std::fflush(stdout);
}

/// One forward pass; `layer_by_layer` as if somebody watched, so that nothing is folded or kept.
double forward_seconds(const models::Classifier& model, const Tensor& images, bool layer_by_layer) {
  const detail::ModuleObserver nobody = [](const Module&, const Tensor&) {};
  if (layer_by_layer) detail::module_observer() = &nobody;
  const auto start = Clock::now();
  model(images);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  detail::module_observer() = nullptr;
  return seconds;
}

/// Inference with batch norms folded and tables kept against layer by layer, in turns of one another. What is kept is
/// dropped by every pass layer by layer, so each side has a model.
void compare_inference(const std::string& name, int64_t size, int64_t batch, int runs, double seconds) {
  const NoGrad off;
  const Tensor images = randn({batch, size, size, 3});
  std::vector<double> times[2], ratios;
  int64_t activations[2], kept[2];
  std::unique_ptr<models::Classifier> both[2];
  for (const size_t plain : {0, 1}) {
    both[plain] = models::make_model(name, {.image_size = size, .num_classes = 100});
    both[plain]->eval();
    forward_seconds(*both[plain], images, true);  // scratch memory of the kernels stays
    const int64_t before = memory_stats().current;
    for (int i = 0; i < 2; ++i) forward_seconds(*both[plain], images, plain == 1);  // packed weights stay from then on
    kept[plain] = memory_stats().current - before;
    reset_peak_memory();
    forward_seconds(*both[plain], images, plain == 1);
    activations[plain] = memory_stats().peak - memory_stats().current;
  }
  for (double total = 0; static_cast<int>(ratios.size()) < runs || total < seconds;) {
    for (const size_t plain : {0, 1}) {
      times[plain].push_back(forward_seconds(*both[plain], images, plain == 1));
      total += times[plain].back();
    }
    ratios.push_back(times[1].back() / times[0].back());
  }
  const auto median = [](std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
  };
  std::printf(
      "%-16s %5lld px  batch %3lld  inference %.2f ms, layer by layer %.2f ms: %.3f times as fast (median of %zu "
      "pairs); activations %.2f and %.2f MiB, kept %.2f and %.2f MiB\n",
      name.c_str(), static_cast<long long>(size), static_cast<long long>(batch), median(times[0]) * 1e3,
      median(times[1]) * 1e3, median(ratios), ratios.size(), static_cast<double>(activations[0]) / (1 << 20),
      static_cast<double>(activations[1]) / (1 << 20), static_cast<double>(kept[0]) / (1 << 20),
      static_cast<double>(kept[1]) / (1 << 20));
  std::fflush(stdout);
}

void run(const std::string& name, int64_t size, int64_t batch, const std::string& mode, int runs, double seconds) {
  if (mode == "inference") return compare_inference(name, size, batch, runs, seconds);
  const auto model = models::make_model(name, {.image_size = size, .num_classes = 100});
  const Tensor images = randn({batch, size, size, 3});
  if (mode != "train") {
    model->eval();
    reset_peak_memory();
    NoGrad off;
    report(name, size, batch, "forward", measure([&] { (*model)(images); }, runs, seconds));
  }
  if (mode != "forward") {
    model->train();
    AdamW optimizer(decay_groups(*model, 0.05), {.lr = 1e-4});
    Tensor labels = zeros({batch}, int64);
    for (int64_t i = 0; i < batch; ++i) labels.at<int64_t>({i}) = i % 100;
    reset_peak_memory();
    report(name, size, batch, "training",
           measure(
               [&] {
                 const Tensor loss = cross_entropy((*model)(images), labels, 0.1);
                 loss.backward();
                 optimizer.step();
                 optimizer.zero_grad();
               },
               runs, seconds));
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string model, profile, mode = "both", precision = "float32";
  int64_t size = 224, batch = 8;
  int threads = 0, runs = 3;
  double seconds = 1;
  CLI::App app("Times forward passes and training steps of whole models.", "models");
  app.option_defaults()->always_capture_default();
  app.add_option("--model", model, "preset; none runs a default list");
  app.add_option("--image-size", size, "side of the images in pixels")->check(CLI::Range(8, 16384));
  app.add_option("--batch", batch, "images per step")->check(CLI::Range(1, 1 << 16));
  app.add_option("--mode", mode, "what to time")->check(CLI::IsMember({"forward", "train", "both", "inference"}));
  app.add_option("--profile", profile, "file for a trace of every kernel; tables by kernel and layer go to stderr");
  app.add_option("--precision", precision, "of products in forward passes: float32 or bf16");
  app.add_option("--threads", threads, "threads (0 = all cores)")->check(CLI::Range(0, 4096));
  app.add_option("--runs", runs, "fewest timed runs")->check(CLI::Range(1, 1000000));
  app.add_option("--seconds", seconds, "least time measured")->check(CLI::Range(0.0, 3600.0));
  try {
    app.parse(argc, argv);
    if (!profile.empty()) profile_program(profile);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    std::cerr << "models: " << e.what() << " (see --help)\n";
    return 2;
  }
  try {
    set_inference_precision(parse_precision(precision));
    if (threads > 0) set_num_threads(threads);
    std::printf("%d threads\n", num_threads());
    if (!model.empty()) {
      run(model, size, batch, mode, runs, seconds);
    } else {
      run("atlas-toy", 32, 128, mode, runs, seconds);
      run("mambavision-toy", 32, 128, mode, runs, seconds);
      run("atlas-s", 224, 8, mode, runs, seconds);
      run("mambavision-t", 224, 8, mode, runs, seconds);
    }
    return 0;
  } catch (const atlas::Error& e) {
    std::cerr << e.what() << '\n';
    return 2;
  }
}
