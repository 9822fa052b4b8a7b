#include "tools/program/training.h"

#include <algorithm>
#include <map>
#include <type_traits>
#include <utility>
#include <vector>

#include "atlas/core/program.h"
#include "atlas/data/open.h"
#include "atlas/dist/one_speaks.h"
#include "atlas/models/presets.h"
#include "atlas/train/run.h"
#include "tools/program/model_options.h"

namespace program {

namespace train = atlas::train;

void add_settings(CommandLine& line, train::TrainConfig& config) {
  train::for_each_setting(config, [&](const std::string& name, auto& field, const char* help) {
    std::string names = "--" + name;
    for (const auto& [former, key] : train::kFormerNames)
      if (name == key) names += std::string(",--") + former;
    // Its JSON key is another: in checkpoints, "classes" are the names themselves.
    if (name == "class_list") names = "--classes,--class-list";
    std::replace(names.begin(), names.end(), '_', '-');
    Option option = line.add(names, field, help).group("Settings");
    if (std::is_same_v<std::decay_t<decltype(field)>, std::vector<double>>) option.all();
    if (name == "group") option.joined();  // a rule a line
  });
}

namespace {

/// What every program that trains takes: the folder, the place and manner of computing, and all settings.
void add_training_options(CommandLine& line, train::TrainConfig& config, train::RunOptions& run) {
  const auto add = [&](const char* name, auto& field, const char* help) {
    line.add(name, field, help).group(kRunGroup);
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
  line.add_output("--profile", run.profile, "file for a trace of every kernel; tables go to stderr at the end")
      .group(kRunGroup);
  add_settings(line, config);
  std::string names;
  for (const std::string& n : atlas::models::preset_names()) names += (names.empty() ? "" : ", ") + n;
  line.footer("Models: " + names + "\nData: " + atlas::data::source_usages());
}

}  // namespace

int run_training_program(const std::string& name, const std::string& about, int argc, char** argv, Training training) {
  train::TrainConfig& config = training.config;
  train::RunOptions run;
  std::map<std::string, std::string> fields;  // of the model's configuration
  const auto add = [&](CommandLine& to, train::TrainConfig& settings) {
    to.last_counts();
    add_training_options(to, settings, run);
    training.own(to);
  };
  return atlas::run_program(name.c_str(), [&] {
    atlas::dist::one_speaks(atlas::dist::Group::world());
    train::TrainConfig given = config;
    CommandLine first(about, name), line(about, name);
    add(first, given);
    // What is not understood is said when everything is read.
    if (first.peek(argc, argv)) training.choose(given, first.has("--model"), config, run);
    if (first.has("--accumulate")) run.share_accumulation = false;
    add(line, config);
    add_model_fields(line, argc, argv, config.model.name, fields);
    return line.run(argc, argv, [&] {
      config.model.options = atlas::models::with_fields(config.model.name, config.model.options, fields);
      training.check(config);
      return train::run_training(config, run);
    });
  });
}

}  // namespace program
