// Times whole models: forward (inference) and training step, in images per second, with the peak memory of tensors.
//
//   models                                        a default list of small runs
//   models --model mambavision-t --image-size 224 --batch 8 --mode both --threads 2
//   models --model atlas-s --batch 1 --mode inference      what folding and keeping gain, both ways in turn
//   models --model atlas-b --image-size 1024 --batch 32 --device cuda --precision bf16 --cuda-graph
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/core/cuda_graph.h"
#include "atlas/core/parallel.h"
#include "atlas/core/precision.h"
#include "atlas/core/profile.h"
#include "atlas/core/select_device.h"
#include "atlas/models/presets.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/shape.h"
#include "atlas/optim/adam.h"
#include "atlas/tensor/create.h"
#include "tools/program/command_line.h"

namespace {

using namespace atlas;
using Clock = std::chrono::steady_clock;

struct Timing {
  double median = 0, best = 0;  // seconds
};

/// Where and how models run.
struct Place {
  Device device;
  bool bf16 = false, graph = false;
  const char* precision() const { return bf16 || inference_precision() == bfloat16 ? "bf16" : "float32"; }
  /// Waits until the device has done everything.
  void wait() const {
    if constexpr (kWithCuda)
      if (device.is_cuda()) cuda::synchronize(device);
  }
  MemoryStats memory() const {
    if constexpr (kWithCuda)
      if (device.is_cuda()) return cuda::memory_stats(device);
    return memory_stats();
  }
  void forget_peak() const {
    if constexpr (kWithCuda)
      if (device.is_cuda()) return cuda::reset_peak_memory(device);
    reset_peak_memory();
  }
};
Place place;
std::vector<bool> ways_bf16{false}, ways_graph{false};  // what is timed, one after the other
bool failed = false;

/// `step` as a graph of the device when that is wanted, after it has run without one.
std::function<void()> in_graph(std::function<void()> step) {
  if (!place.graph) return step;
  for (int i = 0; i < 3; ++i) step();
  const auto graph = std::make_shared<cuda::Graph>(place.device);
  graph->capture(step);
  return [graph] { graph->replay(); };
}

/// Runs f once to warm up, then at least `runs` times and `seconds` long.
template <class F>
Timing measure(F&& f, int runs, double seconds) {
  f();
  place.wait();
  std::vector<double> times;
  double total = 0;
  while (static_cast<int>(times.size()) < runs || total < seconds) {
    const auto start = Clock::now();
    f();
    place.wait();
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    total += times.back();
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front()};
}

/// Seconds that kernels of one op take in a step, gradients included: by profile, of the device where that is a GPU.
double seconds_of(const std::string& op, const std::function<void()>& step) {
  constexpr int kSteps = 3;
  start_profile();
  for (int i = 0; i < kSteps; ++i) step();
  double total = 0;
  for (const ProfileRecord& r : profile_records())
    if (std::string(r.op).find(op) != std::string::npos) total += r.time;
  stop_profile();
  return total / kSteps;
}
std::string left_out;  // an op whose time is taken off
Timing without(Timing t, const std::function<void()>& step) {
  if (left_out.empty()) return t;
  const double part = seconds_of(left_out, step);
  return {t.median - part, t.best - part};
}

void report(const std::string& model, int64_t size, int64_t batch, const char* mode, Timing t) {
  const double peak = static_cast<double>(place.memory().peak) / (1 << 20);
  std::printf(
      "%-16s %5lld px  batch %3lld  %-8s  %-8s%s  %10.3f ms median  %10.3f ms best  %9.2f images/s  %8.0f MiB peak\n",
      model.c_str(), static_cast<long long>(size), static_cast<long long>(batch), mode, place.precision(),
      place.graph ? " as a graph" : "", t.median * 1e3, t.best * 1e3, static_cast<double>(batch) / t.median, peak);
  std::fflush(stdout);
}

/// A way that does not fit into memory, say, is a line; the others go on.
void report_error(const std::string& model, int64_t size, int64_t batch, const char* mode, const Error& e) {
  std::printf("%-16s %5lld px  batch %3lld  %-8s  %-8s%s  failed\n", model.c_str(), static_cast<long long>(size),
              static_cast<long long>(batch), mode, place.precision(), place.graph ? " as a graph" : "");
  std::fflush(stdout);
  std::cerr << e.what() << '\n';
  failed = true;
}

/// One forward pass; `layer_by_layer` as if somebody watched, so that nothing is folded or kept.
double forward_seconds(const models::Classifier& model, const Tensor& images, bool layer_by_layer) {
  std::optional<LayerWatch> nobody;
  if (layer_by_layer) nobody.emplace([](const void*, const Tensor&) {});
  const auto start = Clock::now();
  model(images);
  place.wait();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Inference with batch norms folded and tables kept against layer by layer, in turns of one another. What is kept is
/// dropped by every pass layer by layer, so each side has a model.
void compare_inference(const std::string& name, int64_t size, int64_t batch, int runs, double seconds) {
  const NoGrad off;
  const Tensor images = randn({batch, size, size, 3}).to(place.device);
  std::vector<double> times[2], ratios;
  int64_t activations[2], kept[2];
  std::unique_ptr<models::Classifier> both[2];
  for (const size_t plain : {0, 1}) {
    both[plain] = models::make_model(name, {.image_size = size, .num_classes = 100});
    both[plain]->to(place.device).eval();
    forward_seconds(*both[plain], images, true);  // scratch memory of the kernels stays
    const int64_t before = place.memory().current;
    for (int i = 0; i < 2; ++i) forward_seconds(*both[plain], images, plain == 1);  // packed weights stay from then on
    kept[plain] = place.memory().current - before;
    place.forget_peak();
    forward_seconds(*both[plain], images, plain == 1);
    activations[plain] = place.memory().peak - place.memory().current;
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

/// Calls f for every precision, kernel by kernel and as a graph.
template <class F>
void every_way(const std::string& name, int64_t size, int64_t batch, const char* mode, F&& f) {
  for (const bool bf16 : ways_bf16) {
    for (const bool graph : ways_graph) {
      place.bf16 = bf16 && place.device.is_cuda();
      place.graph = graph;
      place.forget_peak();
      try {
        report(name, size, batch, mode, f());
      } catch (const Error& e) {
        report_error(name, size, batch, mode, e);
      }
    }
  }
}

void run(const std::string& name, int64_t size, int64_t batch, const std::string& mode, int runs, double seconds) {
  if (mode == "inference") return compare_inference(name, size, batch, runs, seconds);
  const auto model = models::make_model(name, {.image_size = size, .num_classes = 100});
  model->to(place.device);
  // The host makes one image, and the device repeats it.
  const Tensor images = contiguous(expand(randn({1, size, size, 3}).to(place.device), {batch, size, size, 3}));
  if (mode != "train") {
    model->eval();
    const NoGrad off;
    every_way(name, size, batch, "forward", [&] {
      const auto step = in_graph([&] {
        std::optional<Autocast> mixed;
        if (place.bf16) mixed.emplace();
        (*model)(images);
      });
      return without(measure(step, runs, seconds), step);
    });
  }
  if (mode != "forward") {
    model->train();
    AdamW optimizer(decay_groups(*model, 0.05), {.lr = 1e-4});
    std::vector<int64_t> classes;
    for (int64_t i = 0; i < batch; ++i) classes.push_back(i % 100);
    const Tensor labels = from_vector(classes).to(place.device);
    every_way(name, size, batch, "training", [&] {
      // The update is not part of a graph, as in the train program.
      const auto gradients = in_graph([&] {
        optimizer.zero_grad();
        Tensor loss;
        {
          std::optional<Autocast> mixed;
          if (place.bf16) mixed.emplace();
          loss = cross_entropy((*model)(images), labels, 0.1);
        }
        loss.backward();
      });
      const std::function<void()> step = [&] {
        gradients();
        optimizer.step();
      };
      return without(measure(step, runs, seconds), step);
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string model, profile, mode = "both", device = "cpu", precision = "float32", graph = "no";
  int64_t size = 224, batch = 8;
  int threads = 0, runs = 3;
  double seconds = 1;
  program::CommandLine app("Times forward passes and training steps of whole models.", "models");
  app.add("--model", model, "preset; none runs a default list");
  app.add("--image-size", size, "side of the images in pixels").range(8, 16384);
  app.add("--batch", batch, "images per step").range(1, 1 << 16);
  app.add("--mode", mode, "what to time").choices({"forward", "train", "both", "inference"});
  app.add("--device", device, "where to compute: cpu, cuda, cuda:N or auto");
  app.add("--precision", precision,
          "float32, bf16 (heavy ops in bfloat16; on the CPU the products of forward passes), or both in turn")
      .choices({"float32", "bf16", "both"});
  app.add("--leave-out", left_out, "take off the time of kernels whose name holds this, such as selective_scan");
  app.add_flag("--cuda-graph{yes}", graph,
               "record forward (and backward) once and replay it, on CUDA devices; =both without and with")
      .choices({"yes", "no", "both"});
  app.add_output("--profile", profile, "file for a trace of every kernel; tables by kernel and layer go to stderr");
  app.add("--threads", threads, "threads (0 = all cores)").range(0, 4096);
  app.add("--runs", runs, "fewest timed runs").range(1, 1000000);
  app.add("--seconds", seconds, "least time measured").range(0.0, 3600.0);
  return app.run(argc, argv, [&] {
    if (!profile.empty()) profile_program(profile);
    if (threads > 0) set_num_threads(threads);
    place.device = select_device(device);
    check(place.device.is_cuda() || graph == "no", "models", "--cuda-graph is for CUDA devices");
    check(left_out.empty() || graph == "no", "models",
          "kernels of a graph are not timed one by one: --leave-out goes without it");
    if (precision == "both") {
      check(place.device.is_cuda(), "models", "--precision both is for CUDA devices");
      ways_bf16 = {false, true};
    } else {
      ways_bf16 = {precision == "bf16"};
      if (!place.device.is_cuda()) set_inference_precision(parse_precision(precision));
    }
    if (graph == "both") ways_graph = {false, true};
    if (graph == "yes") ways_graph = {true};
    if (place.device.is_cuda()) {
      if constexpr (kWithCuda) std::printf("%s\n", cuda::describe_device(place.device).c_str());
    } else {
      std::printf("%d threads\n", num_threads());
    }
    if (!model.empty()) {
      run(model, size, batch, mode, runs, seconds);
    } else {
      run("atlas-toy", 32, 128, mode, runs, seconds);
      run("mambavision-toy", 32, 128, mode, runs, seconds);
      run("atlas-s", 224, 8, mode, runs, seconds);
      run("mambavision-t", 224, 8, mode, runs, seconds);
    }
    return failed ? 1 : 0;
  });
}
