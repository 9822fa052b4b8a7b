// Trains a vision model on images, from a toy on a laptop to the published recipes:
//
//   train --out runs/first                                    the toy Atlas on Fashion-MNIST
//   train --recipe toy --model mambavision-toy --out runs/mv  the toy MambaVision
//   train --model atlas-tiny --model.depths 2,2,2 --out runs/deeper   fields of its configuration; --help lists them
//   train --recipe mambavision-t --explain                    every number of a recipe, and its source
//   train --recipe fine-tune --data folder:photos --dry-run   updates, memory and time, before a long run
//   train --recipe atlas --data folder:photos --out runs/atlas-b
//   train --out runs/first --resume                           goes on where a run stopped
//   train --out runs/first --eval-only                        tests the best checkpoint of a run
//
// Everything it does is in atlas/train/; this file reads the command line.
//
// ctest: --data shapes:32 --limit-train 128 --limit-test 64 --batch-size 32 --epochs 1 --out run --resume
// ctest: --out run --eval-only
#include "atlas/data/text.h"
#include "atlas/train/setup.h"
#include "atlas/train/stored_settings.h"
#include "tools/program/training.h"

int main(int argc, char** argv) {
  namespace train = atlas::train;
  std::string recipe, file;
  bool eval_only = false, explain = false;
  program::Training training;
  training.own = [&](program::CommandLine& line) {
    std::string names;
    for (const std::string& n : train::recipe_names()) names += (names.empty() ? "" : ", ") + n;
    const auto add = [&](const char* name, auto& field, const std::string& help) {
      line.add(name, field, help).group(program::kRunGroup);
    };
    add("--eval-only", eval_only, "test the best checkpoint in --out and write its pictures");
    add("--recipe", recipe, "settings to start from: " + names);
    add("--explain", explain, "print every setting with its source, and stop");
    add("--config", file, "JSON file with settings; beats the recipe, and is beaten by the command line");
  };
  // The recipe and the file set the defaults of everything else.
  training.choose = [&](const train::TrainConfig& given, bool has_model, train::TrainConfig& config,
                        train::RunOptions& run) {
    run.eval_only = eval_only;
    if (explain) run.explain = recipe.empty() ? "toy" : recipe;
    if (!recipe.empty())
      train::apply_recipe(config, recipe, has_model ? given.model.name : "");
    else
      config.data.image_size = 0;  // nobody has said it yet
    const int64_t of_recipe = config.optimization.accumulate;
    // A run that was killed before it wrote anything is resumed from the beginning.
    const bool stored = (run.eval_only || run.resume) && train::merge_stored_settings(config, run.out);
    atlas::check(!run.eval_only || stored, "out", "{} holds no run to test (no config.json, no checkpoint)", run.out);
    if (!file.empty()) train::merge_json(config, atlas::data::read_text(file), file);
    if (config.data.image_size == 0)
      config.data.image_size = train::usual_image_size(has_model ? given.model.name : config.model.name);
    // The images of a recipe's updates are those of all processes together.
    run.share_accumulation = !recipe.empty() && !stored && config.optimization.accumulate == of_recipe;
  };
  return program::run_training_program("train", "Trains a vision model on images.", argc, argv, std::move(training));
}
