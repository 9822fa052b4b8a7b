// Compares this library with golden data: runs every safetensors file of a folder and prints one line for each, with
// the largest relative error and where it is. Exit status 0 when all pass, 1 when one does not, 2 for wrong usage.
//
// tests/golden/README.md says what the files hold and how errors are measured.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/core/select_device.h"
#include "atlas/core/standard_output.h"
#include "atlas/io/formula.h"
#include "atlas/io/safetensors.h"
#include "atlas/kernels/kernel.h"
#include "atlas/models/presets.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/scan.h"
#include "atlas/optim/adam.h"
#include "atlas/optim/clip.h"
#include "atlas/optim/lamb.h"
#include "atlas/optim/sgd.h"
#include "atlas/tensor/memory.h"
#include "tools/golden/comparison.h"
#include "tools/golden/detect.h"
#include "tools/golden/segment.h"
#include "tools/program/command_line.h"

namespace {

using namespace atlas;
using golden::channels_first;
using golden::Comparison;
using golden::Place;

struct Settings {
  std::string folder;
  std::string device = "cpu";
  std::string dtype = "float32";
  std::string kernels = "fast";
  std::string filter;
  double tolerance = 0;  // 0: the kind's own
  bool list = false;
};

std::unique_ptr<models::Classifier> formula_model(const Comparison& c, Place place) {
  const SkipInit filled_below;
  auto model = models::make_model_from_config(c.meta("family"), c.meta("config"));
  model->to(place.dtype);
  io::formula_fill(*model);
  model->to(place.device);
  return model;
}
/// Logits, maps, loss, gradients and batch-norm buffers of a small model.
void check_small(Comparison& c, Place place) {
  const double tolerance = place.dtype == float64 ? 1e-6 : 1e-4;
  const auto model = formula_model(c, place);
  const StateDict state = model->state_dict();
  const bool with_state = !c.names("state.").empty();
  const auto is_counter = [](const std::string& name) { return name.ends_with("num_batches_tracked"); };
  if (with_state)
    for (const auto& [name, t] : state)
      if (!is_counter(name)) c.compare("state." + name, t, 1e-7);
  Tensor images =
      io::formula_image(c.number("batch"), c.number("height"), c.number("width"), place.dtype).to(place.device);

  model->eval();
  {
    const NoGrad off;
    c.compare("eval.logits", (*model)(images), tolerance);
    if (c.has("eval.scale0")) {
      const std::vector<Tensor> tokens = model->forward_features(images);
      for (size_t i = 0; i < tokens.size(); ++i) c.compare(fmt::format("eval.scale{}", i), tokens[i], tolerance);
    } else {
      const std::vector<Tensor> maps = model->feature_maps(images);
      for (size_t i = 0; i < maps.size(); ++i)
        c.compare(fmt::format("eval.stage{}", i), channels_first(maps[i]), tolerance);
    }
  }

  model->train();
  images.set_requires_grad();
  const Tensor logits = (*model)(images);
  const Tensor loss = cross_entropy(logits, c.tensor("target").to(place.device));
  backward(loss);
  c.compare("train.logits", logits, tolerance);
  c.compare("train.loss", loss, tolerance);
  const double floor = 0.01 * c.largest_norm("grad.");
  c.compare("grad.input", channels_first(images.grad()), tolerance, floor);
  for (const StateEntry& e : model->state_entries()) {
    if (e.is_parameter) {
      check(e.tensor.grad().defined(), "golden_check", "no gradient reached '{}'", e.name);
      c.compare("grad." + e.name, published_view(e.tensor.grad(), e.layout), tolerance, floor);
    } else if (!is_counter(e.name)) {
      c.compare("after." + e.name, e.tensor, tolerance);
    } else if (with_state) {
      c.compare("state." + e.name, e.tensor, 1e-7);  // the files hold the count after the training pass
    }
  }
}

/// Logits and parameter count of a published size.
void check_full(Comparison& c, Place place) {
  const auto model = formula_model(c, place);
  model->eval();
  const int64_t count = model->parameter_count();
  check(count == c.number("parameters"), "golden_check", "the model has {} parameters, the file says {}", count,
        c.meta("parameters"));
  const NoGrad off;
  const Tensor images =
      io::formula_image(c.number("batch"), c.number("side"), c.number("side"), place.dtype).to(place.device);
  c.compare("eval.logits", (*model)(images), place.dtype == float64 ? 1e-6 : 1e-4);
}

/// The selective scan and its gradients; the files have tokens last, the op has channels last.
void check_scan(Comparison& c, Place place) {
  const auto input = [&](const std::string& name, bool tokens_last) {
    Tensor t = c.tensor(name).to(place.dtype).to(place.device);
    if (tokens_last) t = t.transpose(1, 2).contiguous();
    return t.set_requires_grad();
  };
  const Tensor u = input("u", true), delta = input("delta", true), A = input("A", false), B = input("B", true),
               C = input("C", true), D = input("D", false), bias = input("delta_bias", false),
               weight = input("weight", true);
  const Tensor y = selective_scan(u, delta, A, B, C, D, bias);
  backward(sum(y * weight.detach()));
  c.compare("y", y.detach().transpose(1, 2), 1e-5);
  const double floor = 0.01 * c.largest_norm("grad.");
  for (const auto& [name, t] : {std::pair<const char*, Tensor>{"u", u}, {"delta", delta}, {"B", B}, {"C", C}})
    c.compare(fmt::format("grad.{}", name), t.grad().transpose(1, 2), 1e-5, floor);
  for (const auto& [name, t] : {std::pair<const char*, Tensor>{"A", A}, {"D", D}, {"delta_bias", bias}})
    c.compare(fmt::format("grad.{}", name), t.grad(), 1e-5, floor);
}

/// Ten optimizer steps: the loss before each, then logits.
void check_trajectory(Comparison& c, Place place) {
  const auto model = formula_model(c, place);
  const int64_t side = c.number("side");
  const std::string& kind = c.meta("optimizer");
  const auto groups = decay_groups(*model, 0.05);
  std::unique_ptr<Optimizer> optimizer;
  double lr = 0;
  if (kind == "adamw") {
    lr = 1e-3;
    optimizer = std::make_unique<AdamW>(groups, AdamOptions{.lr = lr});
  } else if (kind == "sgd") {
    lr = 1e-2;
    optimizer = std::make_unique<SGD>(groups, SgdOptions{.lr = lr, .momentum = 0.9, .nesterov = true});
  } else if (kind == "lamb") {
    lr = 5e-3;
    optimizer = std::make_unique<LAMB>(groups, LambOptions{.lr = lr, .max_grad_norm = 1});
  } else {
    fail("golden_check", "there is no optimizer '{}'", kind);
  }
  const Tensor losses = c.tensor("losses");
  for (int64_t step = 0; step < losses.numel(); ++step) {
    optimizer->set_lr(lr * static_cast<double>(step + 1) / 10);
    const Tensor images = io::formula_image(4, side, side, place.dtype, fmt::format("batch{}", step)).to(place.device);
    Tensor target = empty({4}, int64);
    for (int64_t i = 0; i < 4; ++i) target.at<int64_t>({i}) = (i + step) % model->num_classes();
    const Tensor loss = cross_entropy((*model)(images), target.to(place.device), 0.1);
    optimizer->zero_grad();
    backward(loss);
    clip_grad_norm(model->parameters(), 5.0);
    optimizer->step();
    const double want = static_cast<double>(losses.at<float>({step}));
    c.note(fmt::format("losses[{}]", step), std::abs(loss.detach().to(Device{}).item() - want) / std::abs(want), 1e-4);
  }
  model->eval();
  const NoGrad off;
  // Loose: Adam turns the sign of gradients that are zero up to rounding into full steps.
  c.compare("final.eval.logits", (*model)(io::formula_image(2, side, side, place.dtype, "probe").to(place.device)),
            5e-2);
}

std::string kind_of(const Comparison& c) {
  if (const std::string kind = golden::detection_kind(c); !kind.empty()) return kind;
  if (const std::string kind = golden::segmentation_kind(c); !kind.empty()) return kind;
  if (c.has_meta("optimizer")) return "trajectory";
  if (c.has_meta("parameters")) return "full";
  if (c.has_meta("family")) return "small";
  return c.has_meta("loss") && c.has("delta_bias") ? "scan" : "unknown";
}

/// Runs one file and prints its line.
bool run_file(const std::filesystem::path& path, const Settings& settings, Place place) {
  const std::string name = path.stem().string();
  const auto start = std::chrono::steady_clock::now();
  std::string text;
  bool good = false;
  try {
    Comparison c(io::load_safetensors(path.string()), settings.tolerance);
    const std::string kind = kind_of(c);
    if (kind == "small")
      check_small(c, place);
    else if (kind == "full")
      check_full(c, place);
    else if (kind == "scan")
      check_scan(c, place);
    else if (kind == "trajectory")
      check_trajectory(c, place);
    else if (!golden::check_segmentation(kind, c, place) && !golden::check_detection(kind, c, place))
      fail("golden_check", "{} is of no known kind", path.string());
    c.finish();
    good = c.passed();
    text = c.summary();
  } catch (const std::exception& e) {
    text = e.what();
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{} {:<32} {}, {:.1f} s\n", good ? "pass" : "FAIL", name, text, seconds);
  flush_standard_output();
  empty_cache();  // the next file has other shapes
  return good;
}

/// Largest resident set of this process so far, in GiB; 0 where the system does not tell.
double peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / (1 << 20);
  return 0;
}

int run(const Settings& settings) {
  const Place place{settings.dtype == "float64" ? float64 : float32, select_device(settings.device)};
  std::optional<PlainKernels> plain;
  if (settings.kernels == "reference") {
    check(!place.device.is_cuda(), "golden_check", "the reference kernels run on the CPU, not on {}",
          place.device.str());
    plain.emplace();
  }
  check(std::filesystem::is_directory(settings.folder), "golden_check", "{} is not a folder", settings.folder);
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(settings.folder))
    if (entry.path().extension() == ".safetensors" &&
        entry.path().stem().string().find(settings.filter) != std::string::npos)
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  check(!files.empty(), "golden_check", "no *.safetensors file in {}{}", settings.folder,
        settings.filter.empty() ? "" : fmt::format(" has '{}' in its name", settings.filter));
  if (settings.list) {
    for (const auto& f : files)
      fmt::print("{:<32} {}\n", f.stem().string(), kind_of(Comparison(io::load_safetensors(f.string()), 0)));
    return 0;
  }
  size_t passed = 0;
  for (const auto& f : files) passed += run_file(f, settings, place) ? 1 : 0;
  fmt::print("peak memory {:.2f} GiB\n{} passed, {} failed\n", peak_memory(), passed, files.size() - passed);
  return passed == files.size() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  // The repository this was built from, wherever it is called.
  settings.folder =
      (std::filesystem::path(__FILE__).parent_path().parent_path() / "tests" / "golden").lexically_normal().string();
  program::CommandLine app("Runs golden data and prints the largest relative error of every file.", "golden_check");
  app.add("folder", settings.folder, "folder of *.safetensors files");
  app.add("--device", settings.device, "cpu, cuda, cuda:N or auto");
  app.add("--dtype", settings.dtype, "element type to compute in").choices({"float32", "float64"});
  app.add("--kernels", settings.kernels, "fast, or reference: the plain loops of atlas/reference/, slow, on the CPU")
      .choices({"fast", "reference"});
  app.add("--filter", settings.filter, "only files with this text in their name");
  app.add("--tolerance", settings.tolerance, "one tolerance for all comparisons, in (0, 1]; default: each kind's own")
      .range(1e-30, 1.0)
      .shown_default("");
  app.add("--list", settings.list, "print the files and their kinds without running them");
  return app.run(argc, argv, [&] { return run(settings); });
}
