// The command line that all programs which train have in common: what to do, the settings of a run, and the fields of
// the model's configuration.
#pragma once

#include <functional>
#include <string>

#include "atlas/train/config.h"
#include "atlas/train/run_options.h"
#include "tools/program/command_line.h"

namespace program {

/// The heading of options about the run.
inline constexpr const char* kRunGroup = "Run";

/// Adds an option for every setting, bound to the fields of `config`, with their present values as defaults.
void add_settings(CommandLine& line, atlas::train::TrainConfig& config);

/// What a program that trains adds to the options and settings that all of them have.
struct Training {
  atlas::train::TrainConfig config = {};  ///< settings before the command line is read
  /// Adds the program's own options. It is called twice.
  std::function<void(CommandLine&)> own = [](CommandLine&) {};
  /// Sets defaults of the settings and of the run after a first look at the command line.
  /// @param given      what it says   @param has_model  whether it names a model
  std::function<void(const atlas::train::TrainConfig& given, bool has_model, atlas::train::TrainConfig& config,
                     atlas::train::RunOptions& run)>
      choose = [](const auto&, bool, auto&, auto&) {};
  /// Refuses what cannot be trained. @throws Error
  std::function<void(const atlas::train::TrainConfig&)> check = [](const atlas::train::TrainConfig&) {};
};

/// A whole program that trains. The command line is read twice: what it says about the model or a recipe sets the
/// defaults of everything else.
/// @return the program's exit status
int run_training_program(const std::string& name, const std::string& about, int argc, char** argv, Training training);

}  // namespace program
