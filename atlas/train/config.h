// TrainConfig: every setting of a training run, described once. The command line, the JSON file and --help all come
// from the one list in for_each_setting().
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "atlas/core/config.h"
#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::train {

/// The settings of a run. Defaults train the toy Atlas; see apply_recipe() for the published ones.
struct TrainConfig {
  // model and data
  std::string model = "atlas-toy";
  std::string model_options;
  std::string data = "fashion-mnist";
  int64_t image_size = 32;
  int64_t limit_train = 0;
  int64_t limit_test = 0;
  bool strict = false;

  // where to start from
  std::string weights;
  bool keep_head = false;
  std::string freeze;
  double backbone_lr_scale = 1;
  std::string normalization;

  // length and batches
  int64_t epochs = 6;
  int64_t batch_size = 128;
  int64_t eval_batch_size = 0;
  int64_t accumulate = 1;

  // optimizer
  std::string optimizer = "adamw";
  double lr = 3e-3;
  double momentum = 0.9;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.05;
  double clip_norm = 1;

  // schedule
  std::string schedule = "cosine";
  double warmup_epochs = 0.3;
  double warmup_lr = 0;
  double min_lr = 1e-6;
  double cooldown_epochs = 0;
  std::vector<double> milestones;
  double gamma = 0.1;

  // augmentation and regularization
  std::string crop = "pad";
  int64_t crop_padding = 2;
  double min_crop_scale = 0.08;
  double flip = 0.5;
  double color_jitter = 0;
  double erase = 0;
  double mixup = 0;
  double cutmix = 0;
  double mix_prob = 1;
  double mix_switch = 0.5;
  double label_smoothing = 0;
  double drop_path = 0;
  double ema = 0;
  double eval_crop = 1;

  // the run
  int64_t seed = 0;
  int64_t threads = 0;
  int64_t workers = 1;
  int64_t checkpoint_steps = 0;
  std::string precision = "float32";
};

/// Keys as earlier versions wrote them, beside today's. Files and command lines with the former ones are read.
inline constexpr std::pair<const char*, const char*> kFormerNames[] = {{"normalisation", "normalization"}};

/// Calls visit(name, field, help) for every setting, in the order of the help text. `name` is the JSON key; the command
/// line writes it with dashes.
template <class Config, class Visitor>
void for_each_setting(Config& c, Visitor&& visit) {
  visit("model", c.model, "model preset; the names stand at the end of --help");
  visit("model_options", c.model_options,
        "JSON object that overrides fields of the model's configuration, e.g. '{\"dim\": 96}'");
  visit("data", c.data, "fashion-mnist[:DIR], mnist:DIR, cifar10:DIR, cifar100:DIR, folder:DIR or shapes[:SIZE]");
  visit("image_size", c.image_size, "side of the square images that the model sees, in pixels");
  visit("limit_train", c.limit_train, "use only this many training images, equally many of each class (0 = all)");
  visit("limit_test", c.limit_test, "use only this many test images, equally many of each class (0 = all)");
  visit("strict", c.strict, "an unreadable image is an error instead of being skipped and counted");

  visit("weights", c.weights,
        "start from these weights instead of random ones (a checkpoint of this program or of PyTorch, or safetensors); "
        "the head starts fresh");
  visit("keep_head", c.keep_head, "with weights: take the head from there too (the classes must be the same)");
  visit(
      "freeze", c.freeze,
      "parts that are not trained, separated by commas: stem, stages by number (0,1), backbone (all but the head), or "
      "paths of modules such as levels.2.blocks.0");
  visit("backbone_lr_scale", c.backbone_lr_scale, "the learning rate of all but the head is lr times this");
  visit("normalization", c.normalization,
        "normalize pixels as for this data set, e.g. that of the weights: fashion-mnist, mnist, cifar, shapes or "
        "imagenet (empty = as for data)");

  visit("epochs", c.epochs, "passes over the training images");
  visit("batch_size", c.batch_size, "images per forward pass");
  visit("eval_batch_size", c.eval_batch_size, "images per forward pass in evaluation (0 = batch_size)");
  visit("accumulate", c.accumulate,
        "forward passes per optimizer update; the effective batch is batch_size times this");

  visit("optimizer", c.optimizer, "adamw, adam, sgd (Nesterov) or lamb");
  visit("lr", c.lr, "peak learning rate");
  visit("momentum", c.momentum, "momentum of sgd");
  visit("beta1", c.beta1, "decay of the first moment");
  visit("beta2", c.beta2, "decay of the second moment");
  visit("eps", c.eps, "added to the root of the second moment");
  visit("weight_decay", c.weight_decay, "decay of tensors with two or more axes; biases and norms have none");
  visit("clip_norm", c.clip_norm, "largest global norm of the gradient (0 = no clipping)");

  visit("schedule", c.schedule, "cosine, multistep or constant; stepped at every update");
  visit("warmup_epochs", c.warmup_epochs, "epochs of linear warm-up");
  visit("warmup_lr", c.warmup_lr, "learning rate at the start of the warm-up");
  visit("min_lr", c.min_lr, "learning rate at the end of the cosine and during the cool-down");
  visit("cooldown_epochs", c.cooldown_epochs, "epochs at min_lr at the end, counted within epochs");
  visit("milestones", c.milestones, "epochs at which multistep multiplies the rate by gamma");
  visit("gamma", c.gamma, "factor of multistep");

  visit("crop", c.crop, "training crop: pad (zero padding, random crop), random-resized, or none");
  visit("crop_padding", c.crop_padding, "pixels of padding for crop = pad");
  visit("min_crop_scale", c.min_crop_scale, "smallest share of the area for crop = random-resized");
  visit("flip", c.flip, "probability of a horizontal flip");
  visit("color_jitter", c.color_jitter, "strength of brightness, contrast and saturation jitter (0 = off)");
  visit("erase", c.erase, "probability of erasing a random rectangle");
  visit("mixup", c.mixup, "alpha of mixup (0 = off)");
  visit("cutmix", c.cutmix, "alpha of cutmix (0 = off)");
  visit("mix_prob", c.mix_prob, "probability that a batch is mixed, when mixup or cutmix is on");
  visit("mix_switch", c.mix_switch, "probability of cutmix when both are on");
  visit("label_smoothing", c.label_smoothing, "share of the target spread over all classes, in [0, 1)");
  visit("drop_path", c.drop_path, "largest drop-path rate of the model");
  visit("ema", c.ema, "decay of the moving average of the weights, which is then what is evaluated (0 = off)");
  visit("eval_crop", c.eval_crop, "test images are resized to image_size / eval_crop and center-cropped, in (0, 1]");

  visit("seed", c.seed, "seed of weights, order, augmentation and dropout");
  visit("threads", c.threads, "threads for computing (0 = all cores); results do not depend on it");
  visit("workers", c.workers, "threads that read and augment images (0 = none); results do not depend on it");
  visit("precision", c.precision,
        "float32, or bf16: products, convolutions, attention and scans in bfloat16 (on CUDA devices; weights and their "
        "updates stay float32)");
  visit("checkpoint_steps", c.checkpoint_steps, "also save a checkpoint every this many updates (0 = once per epoch)");
}

/// Names that apply_recipe() knows.
inline const std::vector<std::string>& recipe_names() {
  static const std::vector<std::string> names{"toy", "atlas", "mambavision"};
  return names;
}

/// Sets a published recipe (or the quick start's). `model` chooses between families for the toy recipe.
///
/// "atlas": AdamW 5e-4, 320 epochs, 30 warm-up, decay 0.24, mixup 0.8, cutmix 1 (Agrawal et al., arXiv 2503.12355).
/// "mambavision": LAMB 5e-3 at batch 4096, 310 epochs, EMA 0.9998 (Hatamizadeh & Kautz, arXiv 2407.08083).
/// Both without RandAugment (color jitter stands in), and mambavision without MESA's distillation term.
/// @throws Error for another name.
inline void apply_recipe(TrainConfig& c, const std::string& name, const std::string& model) {
  if (name == "toy") {
    c = TrainConfig{};
    c.model = model.empty() ? c.model : model;
    return;
  }
  c = TrainConfig{};
  c.clip_norm = 0;
  c.crop = "random-resized";
  c.erase = 0.25;
  c.mixup = 0.8;
  c.cutmix = 1;
  c.label_smoothing = 0.1;
  c.color_jitter = 0.4;
  if (name == "atlas") {
    c.model = model.empty() ? "atlas-b" : model;
    c.image_size = 1024;
    c.epochs = 320;
    c.warmup_epochs = 30;
    c.batch_size = 32;
    c.accumulate = 8;
    c.lr = 5e-4;
    c.weight_decay = 0.24;
    c.drop_path = 0.3;
  } else if (name == "mambavision") {
    c.model = model.empty() ? "mambavision-t" : model;
    c.image_size = 224;
    c.epochs = 310;
    c.warmup_epochs = 20;
    c.warmup_lr = 1e-6;
    c.cooldown_epochs = 10;
    c.min_lr = 5e-6;
    c.batch_size = 128;
    c.accumulate = 32;
    c.optimizer = "lamb";
    c.lr = 5e-3;
    c.weight_decay = 0.05;
    c.clip_norm = 5;
    c.ema = 0.9998;
    c.drop_path = 0.2;
  } else {
    fail("recipe", "'{}' is no recipe; there are toy, atlas and mambavision", name);
  }
}

/// The settings as JSON text. An inverse of merge_json().
std::string to_json(const TrainConfig& config);
/// Sets the fields that the JSON object `text` names. @throws Error naming `source` and the key that is unknown or has
/// a wrong type.
void merge_json(TrainConfig& config, const std::string& text, const std::string& source);
/// Checks ranges and combinations. @throws Error naming the setting, its value and what is allowed.
void validate(const TrainConfig& config);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/config-inl.h"
#endif
