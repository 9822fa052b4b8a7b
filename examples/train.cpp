// Trains a vision model on images, from a toy on a laptop to the published recipes:
//
//   train --out runs/first                                    the toy Atlas on Fashion-MNIST
//   train --recipe toy --model mambavision-toy --out runs/mv  the toy MambaVision
//   train --model atlas-tiny --model.depths 2,2,2 --out runs/deeper   fields of its configuration; --help lists them
//   train --recipe atlas --data folder:photos --out runs/atlas-b
//   train --out runs/first --resume                           goes on where a run stopped
//   train --out runs/first --eval-only                        tests the best checkpoint of a run
//
// Everything it does is in atlas/train/; this file reads the command line.
//
// ctest: --data shapes:32 --limit-train 128 --limit-test 64 --batch-size 32 --epochs 1 --out run --resume
// ctest: --out run --eval-only
#include <CLI/CLI.hpp>

#include "atlas/core/program.h"
#include "atlas/data/text.h"
#include "atlas/models/field_options.h"
#include "atlas/train/run.h"
#include "atlas/train/settings_options.h"
#include "atlas/train/stored_settings.h"

namespace {

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& n : names) text += (text.empty() ? "" : ", ") + n;
  return text;
}

/// All options, bound to the fields of `config` and `run`, with their present values as defaults.
void add_options(CLI::App& app, atlas::train::TrainConfig& config, atlas::train::RunOptions& run, std::string& recipe,
                 std::string& file) {
  app.option_defaults()->always_capture_default()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  atlas::train::add_training_options(app, config, run);
  app.add_flag("--eval-only", run.eval_only, "test the best checkpoint in --out and write its pictures")->group("Run");
  app.add_option("--recipe", recipe, "settings to start from: " + listed(atlas::train::recipe_names()))->group("Run");
  app.add_option("--config", file, "JSON file with settings; beats the recipe, and is beaten by the command line")
      ->group("Run");
}

}  // namespace

int main(int argc, char** argv) {
  namespace train = atlas::train;
  train::TrainConfig config;
  train::RunOptions run;
  std::string recipe, file;
  std::map<std::string, std::string> fields;  // of the model's configuration
  CLI::App app("Trains a vision model on images.", "train");
  return atlas::run_program("train", [&] {
    // The recipe and the file set the defaults of everything else, so they are looked for first.
    try {
      train::TrainConfig given;
      CLI::App first;
      first.set_help_flag();
      add_options(first, given, run, recipe, file);
      first.allow_extras();
      first.parse(argc, argv);
      const bool has_model = first.get_option("--model")->count() > 0;
      if (!recipe.empty()) train::apply_recipe(config, recipe, has_model ? given.model.name : "");
      // A run that was killed before it wrote anything is resumed from the beginning.
      const bool stored = (run.eval_only || run.resume) && train::merge_stored_settings(config, run.out);
      atlas::check(!run.eval_only || stored, "out", "{} holds no run to test (no config.json, no checkpoint)", run.out);
      if (!file.empty()) train::merge_json(config, atlas::data::read_text(file), file);
    } catch (const CLI::ParseError&) {
      // The second pass says what is wrong.
    }
    add_options(app, config, run, recipe, file);
    atlas::models::add_model_fields(app, argc, argv, config.model.name, fields);
    return atlas::run_program<CLI::ParseError>(app, argc, argv, [&] {
      config.model.options = atlas::models::with_fields(config.model.name, config.model.options, fields);
      return train::run_training(config, run);
    });
  });
}
