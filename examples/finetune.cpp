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
#include "atlas/models/published.h"
#include "atlas/nn/init.h"
#include "atlas/train/stored_settings.h"
#include "atlas/train/trained_model.h"
#include "tools/program/training.h"

namespace {

namespace train = atlas::train;

/// Settings that suit a model which knows much already.
train::TrainConfig gentle() {
  train::TrainConfig c;
  c.model.name.clear();
  c.data.image_size = 0;
  c.data.name.clear();
  c.optimization.epochs = 5;
  c.optimization.batch_size = 64;
  c.optimization.lr = 2e-3;
  c.optimization.backbone_lr_scale = 0.5;
  return c;
}

/// What belongs to the weights rather than to the new task: the model, and how pictures are brought to it.
void take_over(train::TrainConfig& c, const train::TrainConfig& before) {
  c.model.name = before.model.name;
  c.model.options = before.model.options;
  c.data.image_size = before.data.image_size;
  c.data.normalization = before.data.normalization.empty() ? before.data.name : before.data.normalization;
  c.augmentation.crop = before.augmentation.crop;
  c.augmentation.crop_padding = before.augmentation.crop_padding;
  c.augmentation.eval_crop = before.augmentation.eval_crop;
  c.augmentation.eval_squash = before.augmentation.eval_squash;
}

/// A published model, and the training crops and evaluation it is used to.
void take_over(train::TrainConfig& c, const std::string& model, const std::string& options) {
  const atlas::SkipInit only_asked_for_its_size;
  c.data.image_size = atlas::models::make_model(model, {.overrides = options})->image_size();
  c.augmentation.crop = "random-resized";
  c.augmentation.min_crop_scale = 0.4;
  c.augmentation.eval_crop = atlas::models::published_evaluation(model).crop;
  c.augmentation.eval_squash = atlas::models::published_evaluation(model).squash;
  c.data.normalization = "imagenet";
  c.optimization.lr = 5e-4;
}

}  // namespace

int main(int argc, char** argv) {
  std::string checkpoint;
  program::Training training{.config = gentle()};
  training.own = [&](program::CommandLine& line) {
    line.add("--checkpoint", checkpoint, "best.ckpt or last.ckpt of a training run: weights, and which model it is")
        .group(program::kRunGroup);
  };
  // The model sets the defaults of much else.
  training.choose = [&](const train::TrainConfig& given, bool, train::TrainConfig& config,
                        const train::RunOptions& run) {
    if (run.resume && train::merge_stored_settings(config, run.out)) {  // it goes on as it began
      atlas::check(checkpoint.empty() || checkpoint == config.model.weights, "finetune",
                   "the run in {} goes on from its own weights, not from {}: leave --checkpoint out", run.out,
                   checkpoint);
      return;
    }
    if (!checkpoint.empty()) {
      atlas::check(given.model.name.empty() && given.model.weights.empty(), "finetune",
                   "--checkpoint says which model it is and holds its weights: leave --model and --weights out");
      take_over(config, train::load_trained_model(checkpoint).config);
      config.model.weights = checkpoint;
    } else if (!given.model.name.empty()) {
      take_over(config, given.model.name, given.model.options);
    }
  };
  training.check = [](const train::TrainConfig& config) {
    atlas::check(!config.model.name.empty() && !config.model.weights.empty(), "finetune",
                 "say what to start from: --checkpoint FILE, or --model NAME --weights FILE");
    atlas::check(!config.data.name.empty(), "finetune",
                 "say what to learn: --data folder:DIR, with a subfolder per class");
  };
  return program::run_training_program("finetune", "Teaches a trained model other classes.", argc, argv,
                                       std::move(training));
}
