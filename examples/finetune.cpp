// Teaches a trained model other classes: its head is replaced by a fresh one, the rest goes on from where it was.
//
//   finetune --checkpoint runs/first/best.ckpt --data folder:photos --out runs/photos
//   finetune --model mambavision-t --weights mambavision_tiny_1k.pth.tar --data folder:photos --out runs/photos
//   finetune --checkpoint runs/first/best.ckpt --data folder:photos --freeze backbone --out runs/head   the head alone
//
// A folder has one subfolder of pictures per class. What is learned lies in --out as after train: classify reads it,
// train --out runs/photos --resume goes on where it stopped. The loop is that of train (atlas/train/); this file only
// chooses settings.
//
// ctest-needs: train
// ctest: --checkpoint run/best.ckpt --data shapes:32 --limit-train 64 --epochs 1 --freeze stem,0 --out tuned --resume
#include <CLI/CLI.hpp>

#include "atlas/core/program.h"
#include "atlas/models/field_options.h"
#include "atlas/models/published.h"
#include "atlas/nn/init.h"
#include "atlas/train/settings_options.h"
#include "atlas/train/stored_settings.h"
#include "atlas/train/trained_model.h"
#include "atlas/train/trainer.h"

namespace {

namespace train = atlas::train;

/// Settings that suit a model which knows much already.
train::TrainConfig gentle() {
  train::TrainConfig c;
  c.model.clear();
  c.image_size = 0;
  c.data.clear();
  c.epochs = 5;
  c.batch_size = 64;
  c.lr = 2e-3;
  c.backbone_lr_scale = 0.5;
  return c;
}

/// What belongs to the weights rather than to the new task: the model, and how pictures are brought to it.
void take_over(train::TrainConfig& c, const train::TrainConfig& before) {
  c.model = before.model;
  c.model_options = before.model_options;
  c.image_size = before.image_size;
  c.normalization = before.normalization.empty() ? before.data : before.normalization;
  c.crop = before.crop;
  c.crop_padding = before.crop_padding;
  c.eval_crop = before.eval_crop;
}

/// A published model, and the training crops and evaluation it is used to.
void take_over(train::TrainConfig& c, const std::string& model, const std::string& options) {
  const atlas::SkipInit only_asked_for_its_size;
  c.image_size = atlas::models::make_model(model, {.overrides = options})->image_size();
  c.crop = "random-resized";
  c.min_crop_scale = 0.4;
  c.eval_crop = atlas::models::published_evaluation(model).crop;
  c.normalization = "imagenet";
  c.lr = 5e-4;
}

void add_options(CLI::App& app, train::TrainConfig& config, train::RunOptions& run, std::string& checkpoint) {
  app.option_defaults()->always_capture_default()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_option("--checkpoint", checkpoint, "best.ckpt or last.ckpt of a training run: weights, and which model it is")
      ->group("Run");
  train::add_training_options(app, config, run);
}

}  // namespace

int main(int argc, char** argv) {
  train::TrainConfig config = gentle();
  train::RunOptions run;
  std::string checkpoint;
  std::map<std::string, std::string> fields;  // of the model's configuration
  CLI::App app("Teaches a trained model other classes.", "finetune");
  return atlas::run_program("finetune", [&] {
    {  // The model sets the defaults of much else, so it is looked for first.
      train::TrainConfig given = gentle();
      CLI::App first;
      first.set_help_flag();
      add_options(first, given, run, checkpoint);
      first.allow_extras();
      try {
        first.parse(argc, argv);
      } catch (const CLI::ParseError&) {
        // The second pass says what is wrong.
      }
      if (run.resume && train::merge_stored_settings(config, run.out)) {
        // It goes on as it began.
      } else if (!checkpoint.empty()) {
        atlas::check(given.model.empty() && given.weights.empty(), "finetune",
                     "--checkpoint says which model it is and holds its weights: leave --model and --weights out");
        take_over(config, train::load_trained_model(checkpoint).config);
        config.weights = checkpoint;
      } else if (!given.model.empty()) {
        take_over(config, given.model, given.model_options);
      }
    }
    add_options(app, config, run, checkpoint);
    atlas::models::add_model_fields(app, argc, argv, config.model, fields);
    return atlas::run_program<CLI::ParseError>(app, argc, argv, [&] {
      config.model_options = atlas::models::with_fields(config.model, config.model_options, fields);
      atlas::check(!config.model.empty() && !config.weights.empty(), "finetune",
                   "say what to start from: --checkpoint FILE, or --model NAME --weights FILE");
      atlas::check(!config.data.empty(), "finetune",
                   "say what to learn: --data folder:DIR, with a subfolder per class");
      return train::run_training(config, run);
    });
  });
}
