// TrainConfig: every setting of a training run, in groups, described once. The command line, the JSON file and --help
// all come from the one list in for_each_setting(), whose names know no groups.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "atlas/core/config.h"
#include "atlas/core/error.h"
#include "atlas/tasks/registry.h"

namespace atlas::inline ATLAS_ABI::train {

/// Which model, and where its weights start from.
struct ModelSettings {
  std::string name = "atlas-toy";
  std::string options;
  std::string weights;
  std::string backbone_weights;
  bool keep_head = false;
  std::string freeze;
  double drop_path = 0;
};

/// What is learned.
struct TaskChoice {
  std::string name;  ///< empty: what the model is made for
  std::string options;
};

/// Which images, and how they are read.
struct DataSettings {
  std::string name = "fashion-mnist";
  std::string class_list;
  int64_t image_size = 32;
  int64_t limit_train = 0;
  int64_t limit_test = 0;
  bool strict = false;
  bool exact_decode = false;
  std::string normalization;
  int64_t workers = 1;
};

/// How long, in which batches, and how weights follow gradients.
struct OptimizationSettings {
  int64_t epochs = 6;
  int64_t batch_size = 128;
  int64_t eval_batch_size = 0;
  int64_t accumulate = 1;

  std::string optimizer = "adamw";
  double lr = 3e-3;
  double backbone_lr_scale = 1;
  std::string group;
  double momentum = 0.9;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.05;
  std::string no_decay;
  double clip_norm = 1;

  std::string schedule = "cosine";
  double warmup_epochs = 0.3;
  double warmup_lr = 0;
  double min_lr = 1e-6;
  double cooldown_epochs = 0;
  std::vector<double> milestones;
  double gamma = 0.1;
  double power = 1;

  double ema = 0;
  int64_t ema_ramp = 1;
  bool sync_batch_norm = false;
  std::string wire = "float32";
};

/// How the program computes.
struct ComputeSettings {
  int64_t seed = 0;
  int64_t threads = 0;
  std::string precision = "float32";
  int64_t checkpoint_steps = 0;
};

/// The settings of a run. Defaults train the toy Atlas; see apply_recipe() for the published ones.
struct TrainConfig {
  ModelSettings model;
  TaskChoice task;
  DataSettings data;
  OptimizationSettings optimization;
  tasks::Augmentation augmentation;
  ComputeSettings compute;
};

/// Keys as earlier versions wrote them, beside today's. Files and command lines with the former ones are read.
inline constexpr std::pair<const char*, const char*> kFormerNames[] = {{"normalisation", "normalization"}};

/// Calls visit(name, field, help) for every setting, in the order of the help text. `name` is the JSON key; the command
/// line writes it with dashes.
template <class Config, class Visitor>
void for_each_setting(Config& c, Visitor&& visit) {
  visit("model", c.model.name, "model preset; the names stand at the end of --help");
  visit("model_options", c.model.options,
        "JSON object that overrides fields of the model's configuration, e.g. '{\"dim\": 96}'");
  visit("task", c.task.name, "what is learned; empty: what the model is made for");
  visit("task_options", c.task.options, "JSON object that overrides settings of the task's own");
  visit("data", c.data.name, "images to learn from, SOURCE:FOLDER; the sources stand at the end of --help");
  visit("class_list", c.data.class_list,
        "of folder:FOLDER: a text file with the classes to use, a folder name a line, in the order of their numbers "
        "(empty = all folders, sorted)");
  visit("image_size", c.data.image_size, "side of the square images that the model sees, in pixels");
  visit("limit_train", c.data.limit_train, "use only this many training images, equally many of each class (0 = all)");
  visit("limit_test", c.data.limit_test, "use only this many test images, equally many of each class (0 = all)");
  visit("strict", c.data.strict, "an unreadable image is an error instead of being skipped and counted");
  visit("exact_decode", c.data.exact_decode,
        "decode photographs whole, which finds damage anywhere in a file; else what a crop needs of them");

  visit("weights", c.model.weights,
        "start from these weights instead of random ones (a checkpoint of this program or of PyTorch, or safetensors); "
        "the head starts fresh");
  visit("backbone_weights", c.model.backbone_weights,
        "start the backbone alone from the weights of a classifier (files as for weights); all else starts fresh");
  visit("keep_head", c.model.keep_head, "with weights: take the head from there too (the classes must be the same)");
  visit(
      "freeze", c.model.freeze,
      "parts that are not trained, separated by commas: stem, stages by number (0,1), backbone (all but the head), or "
      "paths of modules such as levels.2.blocks.0");
  visit("backbone_lr_scale", c.optimization.backbone_lr_scale,
        "the learning rate of all but the head is lr times this");
  visit("group", c.optimization.group,
        "learning rate and weight decay of parameters by path: 'PATTERN: lr x NUMBER, decay NUMBER', with * for any "
        "letters and backbone.* for all but the head; several, or with semicolons; later ones win");
  visit("normalization", c.data.normalization,
        "normalize pixels as for this data set, e.g. that of the weights: fashion-mnist, mnist, cifar, shapes or "
        "imagenet (empty = as for data)");

  visit("epochs", c.optimization.epochs, "passes over the training images");
  visit("batch_size", c.optimization.batch_size, "images per forward pass of each process");
  visit("eval_batch_size", c.optimization.eval_batch_size, "images per forward pass in evaluation (0 = batch_size)");
  visit("accumulate", c.optimization.accumulate,
        "forward passes per optimizer update; the effective batch is batch_size times this times the processes");

  visit("optimizer", c.optimization.optimizer, "adamw, adam, sgd (Nesterov) or lamb");
  visit("lr", c.optimization.lr, "peak learning rate");
  visit("momentum", c.optimization.momentum, "momentum of sgd");
  visit("beta1", c.optimization.beta1, "decay of the first moment");
  visit("beta2", c.optimization.beta2, "decay of the second moment");
  visit("eps", c.optimization.eps, "added to the root of the second moment");
  visit("weight_decay", c.optimization.weight_decay,
        "decay of tensors with two or more axes; biases and norms have none");
  visit("no_decay", c.optimization.no_decay,
        "not empty: all tensors decay but those with this text in their names, such as norm");
  visit("clip_norm", c.optimization.clip_norm, "largest global norm of the gradient (0 = no clipping)");

  visit("schedule", c.optimization.schedule, "cosine, polynomial, multistep or constant; stepped at every update");
  visit("warmup_epochs", c.optimization.warmup_epochs, "epochs of linear warm-up");
  visit("warmup_lr", c.optimization.warmup_lr, "learning rate at the start of the warm-up");
  visit("min_lr", c.optimization.min_lr, "learning rate at the end of cosine and polynomial and during the cool-down");
  visit("cooldown_epochs", c.optimization.cooldown_epochs, "epochs at min_lr at the end, counted within epochs");
  visit("milestones", c.optimization.milestones, "epochs at which multistep multiplies the rate by gamma");
  visit("gamma", c.optimization.gamma, "factor of multistep");
  visit("power", c.optimization.power, "exponent of polynomial");

  visit("crop", c.augmentation.crop, "training crop: pad (zero padding, random crop), random-resized, or none");
  visit("crop_padding", c.augmentation.crop_padding, "pixels of padding for crop = pad");
  visit("min_crop_scale", c.augmentation.min_crop_scale, "smallest share of the area for crop = random-resized");
  visit("flip", c.augmentation.flip, "probability of a horizontal flip");
  visit("interpolation", c.augmentation.interpolation,
        "of crop = random-resized and of rand_augment: bicubic, bilinear, or random (one of both for each image)");
  visit("rand_augment", c.augmentation.rand_augment,
        "policy of RandAugment, such as rand-m9-mstd0.5-inc1: m magnitude, n operations per image, p probability of "
        "each, mstd deviation of magnitudes, mmax the largest, inc effects grow with the magnitude (empty = off)");
  visit("color_jitter", c.augmentation.color_jitter,
        "strength of brightness, contrast and saturation jitter (0 = off); rand_augment takes its place");
  visit("erase", c.augmentation.erase, "probability of erasing a random rectangle");
  visit("mixup", c.augmentation.mixup, "alpha of mixup (0 = off)");
  visit("cutmix", c.augmentation.cutmix, "alpha of cutmix (0 = off)");
  visit("mix_prob", c.augmentation.mix_prob, "probability that a batch is mixed, when mixup or cutmix is on");
  visit("mix_switch", c.augmentation.mix_switch, "probability of cutmix when both are on");
  visit("label_smoothing", c.augmentation.label_smoothing, "share of the target spread over all classes, in [0, 1)");
  visit("mesa", c.augmentation.mesa,
        "weight of the distillation from the moving average of the weights (MESA), which needs ema (0 = off)");
  visit("mesa_start", c.augmentation.mesa_start, "share of the epochs that are trained without mesa, in [0, 1]");
  visit("drop_path", c.model.drop_path, "largest drop-path rate of the model");
  visit("ema", c.optimization.ema,
        "decay of the moving average of the weights, which is then what is evaluated (0 = off)");
  visit("ema_ramp", c.optimization.ema_ramp,
        "0: the decay is ema from the first update; 1: that of update t is min(ema, (1 + t) / (10 + t))");
  visit("sync_batch_norm", c.optimization.sync_batch_norm,
        "several processes: batch norms have the statistics of all; else each its own, averaged after every epoch");
  visit(
      "wire", c.optimization.wire,
      "several processes: gradients travel and are added up as float32, or as bf16, which halves the bytes and rounds");
  visit("eval_crop", c.augmentation.eval_crop,
        "test images are resized to image_size / eval_crop and center-cropped, in (0, 1]");
  visit("eval_squash", c.augmentation.eval_squash,
        "resize both sides of test images to that, which changes proportions, instead of the shorter one");

  visit("seed", c.compute.seed, "seed of weights, order, augmentation and dropout");
  visit("threads", c.compute.threads, "threads for computing (0 = all cores); results do not depend on it");
  visit("workers", c.data.workers, "threads that read and augment images (0 = none); results do not depend on it");
  visit("precision", c.compute.precision,
        "float32, or bf16: products, convolutions, attention and scans in bfloat16 (on CUDA devices; weights and their "
        "updates stay float32)");
  visit("checkpoint_steps", c.compute.checkpoint_steps,
        "also save a checkpoint every this many updates (0 = once per epoch)");
}

/// A recipe: settings by name, and where they were published.
struct Recipe {
  std::string name;
  std::string source;            ///< a paper, or what it is for; one line
  std::string settings;          ///< a JSON object; what it leaves out has its default
  std::string differences = {};  ///< from what was published, one a line
};

namespace detail {
/// Those that exist from the start (recipes-inl.h).
std::vector<Recipe> built_in_recipes();
}  // namespace detail

/// Makes a recipe known. Register before threads start. @throws Error when its name is empty or taken.
void register_recipe(Recipe recipe);
/// All recipes: those of recipes-inl.h, then those that were registered.
const std::vector<Recipe>& recipes();
/// Their names.
std::vector<std::string> recipe_names();
/// Sets all settings to those of a recipe.
/// @param model  where it is not empty, in the place of the recipe's own model
/// @throws Error for another name.
void apply_recipe(TrainConfig& c, const std::string& name, const std::string& model);

/// Every setting with its value and where that comes from: the recipe's source, a default, or what was given beside it;
/// then how the recipe differs from what was published.
/// @param processes  that train together, each with these settings
/// @throws Error for another recipe's name.
std::string explain(const TrainConfig& config, const std::string& recipe, int64_t processes = 1);

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
