// The command line that all programs which train have in common: what to do, the settings of a run, and the fields of
// the model's configuration.
// Not in atlas.h: include it by name.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "atlas/core/program.h"
#include "atlas/data/open.h"
#include "atlas/dist/one_speaks.h"
#include "atlas/models/field_options.h"
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
    // Its JSON key is another: in checkpoints, "classes" are the names themselves.
    if (name == "class_list") names = "--classes,--class-list";
    std::replace(names.begin(), names.end(), '_', '-');
    auto* option = add_field(app, names, field, help)->group("Settings");
    using Policy = std::decay_t<decltype(option->get_multi_option_policy())>;
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, std::vector<double>>)
      option->multi_option_policy(Policy::TakeAll);
    if (name == "group") option->multi_option_policy(Policy::Join);  // a rule a line
  });
}

/// Puts an option, or what is added next, among those about the run.
inline constexpr const char* kRunGroup = "Run";

/// Adds what every program that trains takes: the folder, the place and manner of computing, and all settings.
/// @param app  a CLI::App; its footer lists the models
template <class App>
void add_training_options(App& app, TrainConfig& config, RunOptions& run) {
  const auto add = [&](const char* name, auto& field, const char* help) {
    add_field(app, name, field, help)->group(kRunGroup);
  };
  add("--out", run.out, "folder for checkpoints, logs and pictures");
  add("--resume", run.resume, "go on from the last checkpoint in --out, with the settings stored there");
  add("--dry-run", run.dry_run, "say what the run comes to (updates, memory, time), draw its schedule, and stop");
  add("--device", run.device, "where to compute: cpu, cuda, cuda:N, or auto, the first GPU that is there");
  add("--augment", run.augment,
      "where images are cropped, mirrored, normalized, erased and mixed: host, device, or auto (on a GPU)");
  add("--cuda-graph", run.cuda_graph,
      "on CUDA devices: capture forward and backward once and replay them at every step");
  add("--processes", run.processes,
      "refuse to train with another number of processes than this (0: any); mpirun -n N starts N");
  add("--any-memory", run.any_memory, "train although steps seem to need more memory than there is");
  add("--tensorboard", run.tensorboard, "also write event files for TensorBoard into --out: numbers and pictures");
  add("--tensorboard-histograms", run.tensorboard_histograms,
      "with --tensorboard: histograms of weights and gradients every so many epochs (0 = none)");
  add_output(app, "--profile", run.profile, "file for a trace of every kernel; tables go to stderr at the end")
      ->group(kRunGroup);
  add_settings(app, config);
  std::string names;
  for (const std::string& n : models::preset_names()) names += (names.empty() ? "" : ", ") + n;
  app.footer("Models: " + names + "\nData: " + data::source_usages());
}

/// A whole program that trains. The command line is read twice: what it says about the model or a recipe sets the
/// defaults of everything else.
/// @tparam App     CLI::App   @tparam ParseError  CLI::ParseError
/// @param config   settings before the command line is read
/// @param own      own(app) adds the program's own options
/// @param choose   choose(given, has_model, config, run) sets defaults: `given` has what the command line says
/// @param checked  checked(config) refuses what cannot be trained
/// @return the program's exit status
template <class App, class ParseError, class Own, class Choose, class Checked>
int training_program(const std::string& name, const std::string& about, int argc, char** argv, TrainConfig config,
                     const Own& own, const Choose& choose, const Checked& checked) {
  RunOptions run;
  std::map<std::string, std::string> fields;  // of the model's configuration
  App app(about, name);
  const auto add = [&](App& to, TrainConfig& settings) {
    using Policy = std::decay_t<decltype(to.add_flag("")->get_multi_option_policy())>;
    to.option_defaults()->always_capture_default()->multi_option_policy(Policy::TakeLast);
    add_training_options(to, settings, run);
    own(to);
  };
  return run_program(name.c_str(), [&] {
    dist::one_speaks(dist::Group::world());
    TrainConfig given = config;
    App first;
    first.set_help_flag();
    add(first, given);
    first.allow_extras();
    bool understood = true;
    try {
      first.parse(argc, argv);
    } catch (const ParseError&) {
      understood = false;  // the second pass says what is wrong
    }
    if (understood) choose(given, first.get_option("--model")->count() > 0, config, run);
    add(app, config);
    models::add_model_fields(app, argc, argv, config.model.name, fields);
    return run_program<ParseError>(app, argc, argv, [&] {
      config.model.options = models::with_fields(config.model.name, config.model.options, fields);
      checked(config);
      return run_training(config, run);
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::train
