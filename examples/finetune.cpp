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
#include <filesystem>
#include <iostream>

#include "atlas/models/presets.h"
#include "atlas/models/published.h"
#include "atlas/nn/init.h"
#include "atlas/train/config.h"
#include "atlas/train/run_folder.h"
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
  c.normalisation = before.normalisation.empty() ? before.data : before.normalisation;
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
  c.normalisation = "imagenet";
  c.lr = 5e-4;
}

void add_options(CLI::App& app, train::TrainConfig& config, train::RunOptions& run, std::string& checkpoint) {
  app.option_defaults()->always_capture_default()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_option("--checkpoint", checkpoint, "best.ckpt or last.ckpt of a training run: weights, and which model it is")
      ->group("Run");
  app.add_option("--out", run.out, "folder for checkpoints, logs and pictures")->group("Run");
  app.add_option("--device", run.device, "where to compute: cpu, cuda, cuda:N, or auto, the first GPU that is there")
      ->group("Run");
  app.add_flag("--resume", run.resume, "go on from the last checkpoint in --out, with the settings stored there")
      ->group("Run");
  train::for_each_setting(config, [&](const char* key, auto& field, const char* help) {
    std::string name = std::string("--") + key;
    std::replace(name.begin(), name.end(), '_', '-');
    using Field = std::decay_t<decltype(field)>;
    if constexpr (std::is_same_v<Field, bool>)
      app.add_flag(name, field, help)->group("Settings");
    else if constexpr (std::is_same_v<Field, std::vector<double>>)
      app.add_option(name, field, help)
          ->delimiter(',')
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
          ->group("Settings");
    else
      app.add_option(name, field, help)->group("Settings");
  });
  std::string names;
  for (const std::string& n : atlas::models::preset_names()) names += (names.empty() ? "" : ", ") + n;
  app.footer("Models: " + names);
}

}  // namespace

int main(int argc, char** argv) {
  train::TrainConfig config = gentle();
  train::RunOptions run;
  std::string checkpoint;
  try {
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
      const std::string stored = run.out + "/config.json";
      if (run.resume && std::filesystem::exists(stored)) {
        const atlas::data::Bytes text = atlas::data::read_file(stored);
        train::merge_json(config, {text.begin(), text.end()}, stored);
      } else if (!checkpoint.empty()) {
        atlas::check(given.model.empty() && given.weights.empty(), "finetune",
                     "--checkpoint says which model it is and holds its weights: leave --model and --weights out");
        take_over(config, train::load_trained_model(checkpoint).config);
        config.weights = checkpoint;
      } else if (!given.model.empty()) {
        take_over(config, given.model, given.model_options);
      }
    }
    CLI::App app("Teaches a trained model other classes.", "finetune");
    add_options(app, config, run, checkpoint);
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
      if (e.get_exit_code() == 0) return app.exit(e);
      std::cerr << "finetune: " << e.what() << " (see finetune --help)\n";
      return 2;
    }
    atlas::check(!config.model.empty() && !config.weights.empty(), "finetune",
                 "say what to start from: --checkpoint FILE, or --model NAME --weights FILE");
    atlas::check(!config.data.empty(), "finetune", "say what to learn: --data folder:DIR, with a subfolder per class");
    return train::run_training(config, run);
  } catch (const train::TrainingStopped& e) {
    std::cerr << e.what() << '\n';
    return 1;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 2;
  }
}
