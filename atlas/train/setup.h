// From settings to the parts of a run: model, optimizer, schedule.
// Not in atlas.h: include it by name.
#pragma once

#include <memory>

#include "atlas/models/heads/classify.h"
#include "atlas/optim/adam.h"
#include "atlas/optim/lamb.h"
#include "atlas/optim/schedule.h"
#include "atlas/optim/sgd.h"
#include "atlas/tasks/classification.h"
#include "atlas/train/config.h"

namespace atlas::inline ATLAS_ABI::train {

/// The model that a configuration names, with fresh weights from default_generator().
/// @throws Error for an unknown preset, an option that is no field of its configuration, or an image size that does not
/// fit.
std::unique_ptr<models::Classifier> make_model(const TrainConfig& config, int64_t classes);

/// What a configuration learns from a set.
inline std::unique_ptr<tasks::Task> make_task(const TrainConfig& c, const data::Dataset& set) {
  return std::make_unique<tasks::Classification>(
      set.classes(), data::MixOptions{c.mixup, c.cutmix, c.mix_prob, c.mix_switch, c.label_smoothing});
}

/// Parameters by what they share: only tensors of two or more axes decay, all but the head learn backbone_lr_scale
/// times as fast, and what is frozen is left out.
inline std::vector<ParameterGroup> parameter_groups(const TrainConfig& c, const models::Classifier& model) {
  NamedTensors backbone, head;
  for (const auto& [name, value] : model.named_parameters()) {
    if (!value.requires_grad()) continue;
    const bool scaled = c.backbone_lr_scale != 1 && !name.starts_with(model.head_name() + ".");
    (scaled ? backbone : head).emplace_back(name, value);
  }
  std::vector<ParameterGroup> groups = decay_groups(head, c.weight_decay);
  if (backbone.empty()) return groups;
  for (ParameterGroup& group : decay_groups(backbone, c.weight_decay)) {
    group.lr_scale = c.backbone_lr_scale;
    groups.push_back(std::move(group));
  }
  return groups;
}

/// The optimizer that a configuration names, over the parameters of a model.
inline std::unique_ptr<Optimizer> make_optimizer(const TrainConfig& c, models::Classifier& model) {
  std::vector<ParameterGroup> groups = parameter_groups(c, model);
  const AdamOptions adam{.lr = c.lr, .beta1 = c.beta1, .beta2 = c.beta2, .eps = c.eps};
  if (c.optimizer == "adamw") return std::make_unique<AdamW>(std::move(groups), adam);
  if (c.optimizer == "adam") return std::make_unique<Adam>(std::move(groups), adam);
  if (c.optimizer == "sgd")
    return std::make_unique<SGD>(std::move(groups),
                                 SgdOptions{.lr = c.lr, .momentum = c.momentum, .nesterov = c.momentum > 0});
  return std::make_unique<LAMB>(std::move(groups),
                                LambOptions{.lr = c.lr, .beta1 = c.beta1, .beta2 = c.beta2, .eps = c.eps});
}

/// The learning-rate schedule of a configuration. @throws Error when its parts do not fit into the epochs.
inline Schedule make_schedule(const TrainConfig& c) {
  Schedule s;
  s.shape = c.schedule == "cosine"      ? Schedule::Shape::cosine
            : c.schedule == "multistep" ? Schedule::Shape::multi_step
                                        : Schedule::Shape::constant;
  s.peak = c.lr;
  s.epochs = static_cast<double>(c.epochs);
  s.warmup = c.warmup_epochs;
  s.warmup_lr = c.warmup_lr;
  s.min_lr = c.min_lr;
  s.cooldown = c.cooldown_epochs;
  s.milestones = c.milestones;
  s.gamma = c.gamma;
  s.validate();
  return s;
}

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/setup-inl.h"
#endif
