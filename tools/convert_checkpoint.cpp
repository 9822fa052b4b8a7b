// Turns a PyTorch checkpoint (.pth, .pt, .pth.tar, .ckpt) or a safetensors file into safetensors, or shows what it
// holds.
//
//   convert_checkpoint mambavision_tiny_1k.pth.tar tiny.safetensors
//   convert_checkpoint model.pth half.safetensors --dtype float16 --ema
//   convert_checkpoint model.pth --list
//
// Nothing in the file is executed. OUT is written under another name first: it holds all or nothing.
#include <fmt/core.h>

#include <cmath>
#include <set>

#include "atlas/data/output_names.h"
#include "atlas/io/safetensors.h"
#include "atlas/io/state_dict.h"
#include "atlas/models/presets.h"
#include "atlas/nn/init.h"
#include "atlas/ops/cast.h"
#include "atlas/train/start.h"
#include "tools/program/command_line.h"

namespace {

using atlas::Tensor;

struct Statistics {
  double least = INFINITY, most = -INFINITY, mean = 0, deviation = 0;
  int64_t not_finite = 0;
};

/// Of the finite elements, in two passes over the tensor as float64.
Statistics statistics(const Tensor& t) {
  const Tensor copy = t.to(atlas::float64).contiguous();
  const double* v = copy.data<double>();
  Statistics s;
  for (int64_t i = 0; i < copy.numel(); ++i) {
    if (!std::isfinite(v[i])) {
      ++s.not_finite;
      continue;
    }
    s.least = std::min(s.least, v[i]);
    s.most = std::max(s.most, v[i]);
    s.mean += v[i];
  }
  const double count = static_cast<double>(copy.numel() - s.not_finite);
  s.mean /= std::max(count, 1.0);
  for (int64_t i = 0; i < copy.numel(); ++i)
    if (std::isfinite(v[i])) s.deviation += (v[i] - s.mean) * (v[i] - s.mean);
  s.deviation = std::sqrt(s.deviation / std::max(count, 1.0));
  return s;
}

void list(const atlas::StateDict& tensors, const std::set<std::string>& rounded) {
  size_t width = 4;
  for (const auto& [name, t] : tensors) width = std::max(width, name.size());
  fmt::print("{:<{}}  {:<18} {:<9} {:>11} {:>11} {:>11} {:>11}\n", "name", width, "shape", "type", "least", "most",
             "mean", "deviation");
  for (const auto& [name, t] : tensors) {
    fmt::print("{:<{}}  {:<18} {:<9}", name, width, t.shape().str(),
               rounded.contains(name) ? "uint64" : atlas::name(t.dtype()));
    const Statistics s = statistics(t);
    if (s.least <= s.most) fmt::print(" {:>11.4g} {:>11.4g} {:>11.4g} {:>11.4g}", s.least, s.most, s.mean, s.deviation);
    if (s.not_finite > 0) fmt::print("  {} elements are not finite", s.not_finite);
    fmt::print("\n");
  }
}

/// Converts the floating tensors; says when numbers became infinite on the way.
void convert(atlas::StateDict& tensors, atlas::DType dtype) {
  for (auto& [name, t] : tensors) {
    if (!is_floating(t.dtype()) || t.dtype() == dtype) continue;
    const Tensor converted = t.to(dtype);
    if (atlas::item_size(dtype) < atlas::item_size(t.dtype()) || dtype == atlas::float16)
      if (const int64_t lost = statistics(converted).not_finite - statistics(t).not_finite; lost > 0)
        fmt::print("warning: {} elements of {} are too large for {} and became infinite\n", lost, name,
                   atlas::name(dtype));
    t = converted;
  }
}

/// Names as the model has them; what it has no place for is said and left out.
void fit(atlas::StateDict& tensors, const std::string& preset, const std::string& in) {
  const atlas::SkipInit only_names;
  const int64_t classes = atlas::train::classes_for(preset, tensors);
  const auto model = atlas::models::make_any_model(preset, {.num_classes = classes});
  const auto own = model->state_dict();
  atlas::io::FittedWeights fitted;
  try {
    fitted = atlas::io::fit_state_dict(tensors, own);
  } catch (const atlas::Error& e) {
    atlas::fail("convert", "{} is no {}: {}", in, preset, e.what());
  }
  atlas::check(fitted.missing.empty(), "convert", "{} is no {}: it has no {} and {} more tensors of it", in, preset,
               fitted.missing.empty() ? "" : fitted.missing[0], fitted.missing.size() - 1);
  for (const auto& [name, t] : fitted.tensors)
    atlas::check(t.shape() == own.at(name).shape(), "convert", "{} is no {}: {} has shape {} instead of {}", in, preset,
                 name, t.shape().str(), own.at(name).shape().str());
  if (!fitted.prefix.empty()) fmt::print("prefix '{}' stripped\n", fitted.prefix);
  for (const std::string& name : fitted.ignored) fmt::print("left out, {} does not use it: {}\n", preset, name);
  tensors = std::move(fitted.tensors);
}

}  // namespace

int main(int argc, char** argv) {
  std::string in, out, dtype = "keep", weights, model;
  bool show = false, ema = false;
  program::CommandLine app(
      "Turns a PyTorch checkpoint or a safetensors file into safetensors, or lists what it holds. The format is found "
      "by "
      "content. Numbers stay as they are, bit by bit, unless --dtype says otherwise; integers of 8 to 32 bits become "
      "int64.",
      "convert_checkpoint");
  app.add("in", in, "PyTorch checkpoint (.pth, .pt, .pth.tar, .ckpt) or safetensors file").required();
  app.add_output("out", out, "safetensors file to write (replaced when it exists)");
  app.add("--dtype", dtype, "type of the floating tensors in OUT")
      .choices({"keep", "float32", "float64", "float16", "bfloat16"});
  app.add("--ema", ema, "take the averaged weights (state_dict_ema, ema, model_ema)");
  app.add("--weights", weights,
          "take the dictionary of this name; default: state_dict, model, model_state_dict or the top level")
      .excludes("--ema");
  app.add("--model", model,
          "preset (classify, segment and detect --list-models list them): give the tensors its names, leave out "
          "all others");
  app.add("--list", show, "print names, shapes, types and statistics (of the finite elements)");
  return app.run(argc, argv, [&] {
    atlas::check(show || !out.empty(), "convert", "name the file to write, or use --list");
    atlas::data::check_inputs_stay({out}, {in}, "convert");
    std::set<std::string> rounded;  // uint64 beyond int64 can be shown, but not written
    auto loaded = atlas::io::load_state_dict(in, ema ? "ema" : weights, show && out.empty() ? &rounded : nullptr);
    if (!model.empty()) fit(loaded.tensors, model, in);
    if (dtype != "keep")
      for (const atlas::DType t : {atlas::float32, atlas::float64, atlas::float16, atlas::bfloat16})
        if (dtype == atlas::name(t)) convert(loaded.tensors, t);
    if (show) list(loaded.tensors, rounded);
    if (!out.empty()) atlas::io::save_safetensors(out, loaded.tensors, {{"format", "pt"}});
    int64_t elements = 0, bytes = 0;
    for (const auto& [name, t] : loaded.tensors) {
      elements += t.numel();
      bytes += t.numel() * atlas::item_size(t.dtype());
    }
    const std::string where = loaded.found_in.empty() ? "" : fmt::format(", from '{}'", loaded.found_in);
    fmt::print("{} file{}: {} tensors, {} elements, {:.2f} MB\n", loaded.format, where, loaded.tensors.size(), elements,
               static_cast<double>(bytes) / 1e6);
    if (!loaded.skipped.empty())
      fmt::print("beside them, not tensors: {}{}\n", loaded.skipped[0],
                 loaded.skipped.size() > 1 ? fmt::format(" and {} more", loaded.skipped.size() - 1) : "");
    if (!out.empty()) fmt::print("{} written\n", out);
    return 0;
  });
}
