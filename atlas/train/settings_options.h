// The options that all programs which train have in common: what to do, and the settings of a run.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include "atlas/core/program.h"
#include "atlas/data/open.h"
#include "atlas/models/presets.h"
#include "atlas/train/config.h"
#include "atlas/train/run.h"

namespace atlas::inline ATLAS_ABI::train {

/// Adds an option for every setting, bound to the fields of `config`, with their present values as defaults.
/// @param app  a CLI::App
template <class App>
void add_settings(App& app, TrainConfig& config) {
  for_each_setting(config, [&](const std::string& name, auto& field, const char* help) {
    std::string names = "--" + name;
    for (const auto& [former, key] : kFormerNames)
      if (name == key) names += std::string(",--") + former;
    std::replace(names.begin(), names.end(), '_', '-');
    auto* option = add_field(app, names, field, help)->group("Settings");
    using Policy = std::decay_t<decltype(option->get_multi_option_policy())>;
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, std::vector<double>>)
      option->multi_option_policy(Policy::TakeAll);
  });
}

/// Adds what every program that trains takes: the folder, the place and manner of computing, and all settings.
/// @param app  a CLI::App; its footer lists the models
template <class App>
void add_training_options(App& app, TrainConfig& config, RunOptions& run) {
  const auto add = [&](const char* name, auto& field, const char* help) {
    add_field(app, name, field, help)->group("Run");
  };
  add("--out", run.out, "folder for checkpoints, logs and pictures");
  add("--resume", run.resume, "go on from the last checkpoint in --out, with the settings stored there");
  add("--device", run.device, "where to compute: cpu, cuda, cuda:N, or auto, the first GPU that is there");
  add("--augment", run.augment,
      "where images are cropped, mirrored, normalized, erased and mixed: host, device, or auto (on a GPU)");
  add("--cuda-graph", run.cuda_graph,
      "on CUDA devices: capture forward and backward once and replay them at every step");
  add("--profile", run.profile, "file for a trace of every kernel; tables go to stderr at the end");
  add_settings(app, config);
  std::string names;
  for (const std::string& n : models::preset_names()) names += (names.empty() ? "" : ", ") + n;
  app.footer("Models: " + names + "\nData: " + data::source_usages());
}

}  // namespace atlas::inline ATLAS_ABI::train
