// The recipes that exist from the start.
#pragma once

#include "atlas/train/config.h"

namespace atlas::inline ATLAS_ABI::train::detail {

ATLAS_INLINE std::vector<Recipe> built_in_recipes() {
  return {
      {"toy", "the quick start: small images on a laptop", "{}"},
      // Without RandAugment, for which color jitter stands in.
      {"atlas", "Agrawal et al., arXiv 2503.12355", R"({
         "model": "atlas-b", "image_size": 1024, "epochs": 320, "warmup_epochs": 30, "batch_size": 32, "accumulate": 8,
         "lr": 5e-4, "weight_decay": 0.24, "drop_path": 0.3, "clip_norm": 0, "crop": "random-resized", "erase": 0.25,
         "mixup": 0.8, "cutmix": 1, "label_smoothing": 0.1, "color_jitter": 0.4})"},
      // Without RandAugment and without MESA's distillation term.
      {"mambavision", "Hatamizadeh & Kautz, arXiv 2407.08083", R"({
         "model": "mambavision-t", "image_size": 224, "epochs": 310, "warmup_epochs": 20, "warmup_lr": 1e-6,
         "cooldown_epochs": 10, "min_lr": 5e-6, "batch_size": 128, "accumulate": 32, "optimizer": "lamb", "lr": 5e-3,
         "weight_decay": 0.05, "clip_norm": 5, "ema": 0.9998, "drop_path": 0.2, "crop": "random-resized",
         "erase": 0.25, "mixup": 0.8, "cutmix": 1, "label_smoothing": 0.1, "color_jitter": 0.4})"},
      // 160,000 updates with 20,210 images; the authors compute in 16 bits.
      {"segmentation", "Hatamizadeh & Kautz, arXiv 2407.08083: UPerNet on ADE20K", R"({
         "model": "upernet-mambavision-t", "data": "ade20k:ADEChallengeData2016", "image_size": 512, "epochs": 127,
         "batch_size": 16, "optimizer": "adamw", "lr": 5e-5, "weight_decay": 0.01, "no_decay": "norm",
         "clip_norm": 0, "schedule": "polynomial", "warmup_epochs": 1.188, "warmup_lr": 5e-11, "min_lr": 0,
         "drop_path": 0.3, "flip": 0.5})"},
      {"segmentation-toy", "the quick start of segmentation: drawn scenes, a minute or two on two cores", R"({
         "model": "upernet-mambavision-toy", "data": "scenes:64", "image_size": 64, "epochs": 22, "batch_size": 8,
         "lr": 4e-3, "warmup_epochs": 1, "weight_decay": 0.01, "flip": 0.5,
         "task_options": "{\"ratio_low\": 0.8, \"ratio_high\": 1.25, \"distortion\": false}"})"},
      {"detection-toy", "the quick start of detection: drawn objects, a minute or two on two cores", R"({
         "model": "cascade-mask-rcnn-mambavision-toy", "data": "objects", "image_size": 96, "epochs": 3,
         "batch_size": 8, "lr": 2e-3})"},
  };
}

}  // namespace atlas::inline ATLAS_ABI::train::detail
