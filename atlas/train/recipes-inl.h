// The recipes that exist from the start.
#pragma once

#include "atlas/train/config.h"

namespace atlas::inline ATLAS_ABI::train::detail {

inline constexpr const char* kAtlasSource = "Agrawal et al., arXiv 2503.12355";
inline constexpr const char* kMambaVisionSource = "Hatamizadeh & Kautz, arXiv 2407.08083, and its authors' settings";

/// Atlas-B on ImageNet-100 at 1024 px: 8 GPUs, 32 images each, 8 batches to an update.
inline Recipe atlas_recipe(const char* name) {
  return {
      name, kAtlasSource, R"({
      "model": "atlas-b", "image_size": 1024, "normalization": "imagenet", "epochs": 320, "warmup_epochs": 30,
      "warmup_lr": 0, "min_lr": 1e-6, "schedule": "cosine", "optimizer": "adamw", "lr": 5e-4, "beta1": 0.9,
      "beta2": 0.999, "weight_decay": 0.24, "clip_norm": 0, "batch_size": 32, "accumulate": 64, "sync_batch_norm": true,
      "crop": "random-resized", "interpolation": "bicubic", "flip": 0.5, "rand_augment": "rand-m9-mstd0.5-inc1",
      "erase": 0.25, "mixup": 0.8, "cutmix": 1, "mix_prob": 1, "mix_switch": 0.5, "label_smoothing": 0.1,
      "drop_path": 0.3, "eval_crop": 1, "eval_squash": true})",
      "the authors' 8 GPUs are accumulation here: 32 x 8 GPUs x 8 batches = 32 x 64, batch norms see 32 images; with 8 "
      "processes --accumulate 8 is theirs\n"
      "precision is float32 unless --precision bf16 is given, which needs a GPU; the authors' is bf16\n"
      "images are erased before they are mixed, so mixing may carry noise from one to the other; timm's loader erases "
      "what was mixed"};
}

/// One size of MambaVision on ImageNet-1K: 32 GPUs, 128 images each.
/// @param own  what differs from size to size, JSON fields
/// @param note  another difference, or empty
inline Recipe mambavision_recipe(const char* name, const std::string& own, const std::string& note = {}) {
  return {
      name, kMambaVisionSource, "{" + own + R"(,
      "normalization": "imagenet", "epochs": 310, "warmup_lr": 1e-6, "cooldown_epochs": 10, "min_lr": 5e-6,
      "schedule": "cosine", "batch_size": 128, "accumulate": 32, "optimizer": "lamb", "lr": 5e-3, "beta1": 0.9,
      "beta2": 0.999, "eps": 1e-8, "clip_norm": 5, "ema": 0.9998, "ema_ramp": 0, "mesa_start": 0.25,
      "crop": "random-resized", "min_crop_scale": 0.08, "interpolation": "random", "flip": 0.5,
      "rand_augment": "rand-m9-mstd0.5-inc1", "color_jitter": 0.4, "erase": 0.25, "mixup": 0.8, "cutmix": 1,
      "mix_prob": 1, "mix_switch": 0.5, "label_smoothing": 0.1, "sync_batch_norm": false, "eval_squash": false,
      "seed": 31})",
      "the authors' 32 GPUs are accumulation here: one process makes 32 batches of 128 to an update of 4096 images\n"
      "random numbers are this program's: the same seed draws others than the authors' does\n"
      "precision is float32 unless --precision bf16 is given, which needs a GPU\n"
      "images are erased before they are mixed, so mixing may carry noise from one to the other; timm's loader erases "
      "what was mixed\n"
      "running statistics of batch norms are averaged over processes after epochs, as the authors do over GPUs; one "
      "process has its own" +
          (note.empty() ? "" : "\n" + note)};
}

/// One size of MambaVision with Cascade Mask R-CNN on COCO, the "3x" schedule: 16 images an update, 36 epochs of 7,329
/// updates, of which the first 1,000 warm up from a thousandth of the rate.
inline Recipe detection_recipe(const char* name, const std::string& own) {
  return {
      name, "Hatamizadeh & Kautz, arXiv 2407.08083: Cascade Mask R-CNN on COCO, and its authors' settings",
      "{" + own + R"(,
      "data": "coco:coco", "image_size": 1333, "normalization": "imagenet", "epochs": 36, "batch_size": 16,
      "optimizer": "adamw", "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.05, "no_decay": "norm", "clip_norm": 0,
      "schedule": "multistep", "milestones": [27, 33], "gamma": 0.1, "warmup_epochs": 0.13645, "flip": 0.5})",
      "the authors compute in 16 bits with a scaled loss\n"
      "pictures are made smaller with antialiasing; mmcv's bilinear resize has none\n"
      "the backbone starts from a classifier's weights: --backbone-weights FILE\n"
      "the authors' 16 images of an update come from 8 GPUs with batch norms over all of them; --batch-size 2 in each "
      "of 8 processes is the same"};
}

/// One size of MambaVision with UPerNet on ADE20K: 160,000 updates of 16 images, of which the first 1,500 warm up from
/// a millionth of the rate.
/// @param own  what differs from size to size, JSON fields   @param differences  besides those of all sizes
inline Recipe segmentation_recipe(const char* name, const std::string& own, const std::string& differences) {
  return {name, "Hatamizadeh & Kautz, arXiv 2407.08083: UPerNet on ADE20K, and its authors' settings", "{" + own + R"(,
      "data": "ade20k:ADEChallengeData2016", "normalization": "imagenet", "epochs": 127, "batch_size": 16,
      "optimizer": "adamw", "beta1": 0.9, "beta2": 0.999, "no_decay": "norm", "clip_norm": 0,
      "schedule": "polynomial", "power": 1, "warmup_epochs": 1.188, "min_lr": 0, "flip": 0.5})",
          differences +
              "\nthe backbone starts from a classifier's weights: --backbone-weights FILE\n"
              "the authors' 160,000 updates are 127 epochs here, of 1,263 updates: 401 more\n"
              "random numbers are this program's: the same seed draws others than the authors' does"};
}

ATLAS_INLINE std::vector<Recipe> built_in_recipes() {
  const char* t = R"("model": "mambavision-t", "image_size": 224, "warmup_epochs": 20, "weight_decay": 0.05,
      "drop_path": 0.2, "mesa": 0.5, "eval_crop": 1)";
  const char* sixteen = "the authors compute in 16 bits with a scaled loss";
  const char* l3 = R"("model": "mambavision-l3-512", "image_size": 512, "warmup_epochs": 20, "weight_decay": 0.12,
      "drop_path": 0.5, "mesa": 6, "eval_crop": 1)";
  return {
      {"toy", "the quick start: small images on a laptop", "{}"},
      atlas_recipe("atlas"),
      atlas_recipe("atlas-b-1024"),
      mambavision_recipe("mambavision", t),
      mambavision_recipe("mambavision-t", t),
      mambavision_recipe("mambavision-t2", R"("model": "mambavision-t2", "image_size": 224, "warmup_epochs": 20,
          "weight_decay": 0.05, "drop_path": 0.2, "mesa": 0.75, "eval_crop": 0.98)"),
      mambavision_recipe("mambavision-s", R"("model": "mambavision-s", "image_size": 224, "warmup_epochs": 20,
          "weight_decay": 0.05, "drop_path": 0.2, "mesa": 1, "eval_crop": 0.93)"),
      mambavision_recipe("mambavision-b", R"("model": "mambavision-b", "image_size": 224, "warmup_epochs": 35,
          "weight_decay": 0.075, "drop_path": 0.3, "mesa": 1, "eval_crop": 1)"),
      mambavision_recipe("mambavision-l", R"("model": "mambavision-l", "image_size": 224, "warmup_epochs": 20,
          "weight_decay": 0.12, "drop_path": 0.3, "mesa": 6, "eval_crop": 1)"),
      mambavision_recipe("mambavision-l2", R"("model": "mambavision-l2", "image_size": 224, "warmup_epochs": 20,
          "weight_decay": 0.12, "drop_path": 0.3, "mesa": 6, "eval_crop": 1)"),
      mambavision_recipe(
          "mambavision-l3", l3,
          "published for L3 are its size, 512 px and drop path 0.5: what is named as the source of weight_decay, mesa "
          "and eval_crop is not, they are those of "
          "L2; the authors train it on ImageNet-21K first"),
      {"fine-tune", "this program's own choice; no paper has it", R"({
         "model": "mambavision-t", "image_size": 224, "normalization": "imagenet", "epochs": 20, "warmup_epochs": 1,
         "batch_size": 64, "optimizer": "adamw", "lr": 5e-4, "group": "backbone.*: lr x 0.1", "clip_norm": 1,
         "crop": "random-resized", "min_crop_scale": 0.4, "interpolation": "bicubic", "flip": 0.5, "erase": 0.1,
         "rand_augment": "rand-m5-mstd0.5-inc1", "label_smoothing": 0.1, "drop_path": 0.1, "eval_crop": 1})",
       "name the weights to start from with --weights, and their model with --model"},
      segmentation_recipe("segmentation", R"("model": "upernet-mambavision-t", "image_size": 512, "lr": 5e-5,
          "warmup_lr": 5e-11, "weight_decay": 0.01, "drop_path": 0.3)",
                          sixteen),
      segmentation_recipe("segmentation-s", R"("model": "upernet-mambavision-s", "image_size": 512, "lr": 6e-5,
          "warmup_lr": 6e-11, "weight_decay": 0.01, "drop_path": 0.7)",
                          sixteen),
      segmentation_recipe("segmentation-b", R"("model": "upernet-mambavision-b", "image_size": 512, "lr": 5e-5,
          "warmup_lr": 5e-11, "weight_decay": 0.01, "drop_path": 0.4)",
                          sixteen),
      segmentation_recipe("segmentation-l3-512", R"("model": "upernet-mambavision-l3-512", "image_size": 640,
          "lr": 8e-5, "warmup_lr": 8e-11, "weight_decay": 0.05, "drop_path": 0.8,
          "task_options": "{\"longer\": 2048, \"shorter\": 512}")",
                          "crops of 640 are known for L3, but not how it resizes: as the other sizes do"),
      {"segmentation-toy", "the quick start of segmentation: drawn scenes, a minute or two on two cores", R"({
         "model": "upernet-mambavision-toy", "data": "scenes:64", "image_size": 64, "epochs": 22, "batch_size": 8,
         "lr": 4e-3, "warmup_epochs": 1, "weight_decay": 0.01, "flip": 0.5,
         "task_options": "{\"ratio_low\": 0.8, \"ratio_high\": 1.25, \"distortion\": false}"})"},
      detection_recipe(
          "detection",
          R"("model": "cascade-mask-rcnn-mambavision-t", "drop_path": 0.2, "lr": 1e-4, "warmup_lr": 1e-7)"),
      detection_recipe(
          "detection-s",
          R"("model": "cascade-mask-rcnn-mambavision-s", "drop_path": 0.3, "lr": 1e-4, "warmup_lr": 1e-7)"),
      detection_recipe(
          "detection-b",
          R"("model": "cascade-mask-rcnn-mambavision-b", "drop_path": 0.5, "lr": 2e-4, "warmup_lr": 2e-7)"),
      {"detection-toy", "the quick start of detection: drawn objects, a minute or two on two cores", R"({
         "model": "cascade-mask-rcnn-mambavision-toy", "data": "objects", "image_size": 96, "epochs": 3,
         "batch_size": 8, "lr": 2e-3})"},
  };
}

}  // namespace atlas::inline ATLAS_ABI::train::detail
