// From settings to the parts of a run: data and its pipeline, task, model, optimizer, schedule. Every part can be made
// and used alone.
// Not in atlas.h: include it by name.
#pragma once

#include <memory>

#include "atlas/data/device_augment.h"
#include "atlas/data/loader.h"
#include "atlas/data/open.h"
#include "atlas/data/select.h"
#include "atlas/models/model.h"
#include "atlas/optim/adam.h"
#include "atlas/optim/lamb.h"
#include "atlas/optim/schedule.h"
#include "atlas/optim/sgd.h"
#include "atlas/tasks/registry.h"
#include "atlas/train/config.h"
#include "atlas/train/group_rules.h"

namespace atlas::inline ATLAS_ABI::train {

/// The model that a configuration names, with fresh weights from default_generator().
/// @throws Error for an unknown preset, an option that is no field of its configuration, or an image size that does not
/// fit.
std::unique_ptr<models::Model> make_model(const TrainConfig& config, int64_t classes);

/// The image size of a run where nobody says one: for models of the same task as the default one, the default of all
/// settings; for others the preset's own. Names of no preset get the default.
int64_t usual_image_size(const std::string& model);

/// Channel means and standard deviations of a configuration's data, or of what its weights are used to.
inline data::Normalize normalization_of(const TrainConfig& c) {
  return data::normalization_of(c.data.normalization.empty() ? c.data.name : c.data.normalization);
}

/// What a configuration says to its task.
inline tasks::TaskSettings task_settings(const TrainConfig& c) {
  return {.image_size = c.data.image_size,
          .normalize = normalization_of(c),
          .augmentation = c.augmentation,
          .options = c.task.options};
}
/// The kind of task: the one named, or that of the model.
inline const tasks::TaskKind& task_kind(const TrainConfig& c) { return tasks::task_for(c.task.name, c.model.name); }

/// What a configuration learns from a set.
inline std::unique_ptr<tasks::Task> make_task(const TrainConfig& c, const data::Dataset& set) {
  return task_kind(c).make(set, task_settings(c));
}
/// What images go through in training and in tests.
inline tasks::Pipeline pipeline_of(const TrainConfig& c) { return task_kind(c).pipeline(task_settings(c)); }

/// Both halves of the data that `c` names, cut to limit_train and limit_test (about equally many images of each class,
/// where images have classes).
/// @param processes  that share an update
/// @throws Error when there is no such data, limit_train is below the number of classes, or there are too few training
/// images for one update.
inline data::DataPair open_data(const TrainConfig& c, int64_t processes = 1) {
  data::FolderOptions options;
  options.strict = c.data.strict;
  options.exact_decode = c.data.exact_decode;
  options.class_list = c.data.class_list;
  data::DataPair sets = data::open_data(c.data.name, options);
  if (c.data.limit_train > 0) {
    const data::Targets targets = data::first_targets(*sets.train);
    const data::Target* label = targets.find(data::kLabel);
    check(label == nullptr || label->value.dim() > 0 || c.data.limit_train >= sets.train->num_classes(), "limit_train",
          "{} images are fewer than one of each of the {} classes", c.data.limit_train, sets.train->num_classes());
  }
  if (c.data.limit_train > 0) sets.train = data::some_of(sets.train, c.data.limit_train);
  if (c.data.limit_test > 0) sets.test = data::some_of(sets.test, c.data.limit_test);
  check(sets.train->size() >= c.optimization.batch_size * c.optimization.accumulate * processes, "train",
        "{} training images are fewer than batch_size {} x accumulate {}{} (one update)", sets.train->size(),
        c.optimization.batch_size, c.optimization.accumulate,
        processes > 1 ? " x " + std::to_string(processes) + " processes" : std::string());
  return sets;
}

/// Loader options of the training images.
inline data::LoaderOptions train_loader_options(const TrainConfig& c) {
  data::LoaderOptions o;
  o.batch_size = c.optimization.batch_size;
  o.shuffle = true;
  o.drop_last = true;
  o.workers = static_cast<int>(c.data.workers);
  o.seed = static_cast<uint64_t>(c.compute.seed);
  return o;
}

/// Leaves as much of a pipeline to the device as that can do.
inline void leave_to_device(data::Transform& transform, data::LoaderOptions& options) {
  const auto cut = data::cut_for_device(transform);
  if (!cut) return;
  transform = cut->host;
  options.on_device = std::make_shared<const data::DeviceAugment>(cut->device);
}

/// Loader options of the test images.
inline data::LoaderOptions test_loader_options(const TrainConfig& c) {
  data::LoaderOptions o;
  o.batch_size = c.optimization.eval_batch_size > 0 ? c.optimization.eval_batch_size : c.optimization.batch_size;
  o.workers = static_cast<int>(c.data.workers);
  return o;
}

/// True for what lies in one of the modules `heads`.
inline bool is_in_head(const std::string& name, const std::vector<std::string>& heads) {
  for (const std::string& head : heads)
    if (name == head || name.starts_with(head + ".")) return true;
  return false;
}

/// Parameters in two groups, those that decay and those that do not, as weight_decay and no_decay say.
inline std::vector<ParameterGroup> decay_groups_of(const OptimizationSettings& o, const NamedTensors& parameters) {
  if (o.no_decay.empty()) return decay_groups(parameters, o.weight_decay);
  ParameterGroup decay{{}, o.weight_decay, 1}, plain{{}, 0, 1};
  for (const auto& [name, value] : parameters)
    (name.find(o.no_decay) == name.npos ? decay : plain).parameters.push_back({name, value});
  return {std::move(decay), std::move(plain)};
}

/// Parameters by what they share: those that decay (see no_decay), all but the head learn backbone_lr_scale times as
/// fast, what `group` says, and what is frozen is left out.
inline std::vector<ParameterGroup> parameter_groups(const TrainConfig& c, const models::Model& model) {
  const OptimizationSettings& o = c.optimization;
  const std::vector<std::string> heads = model.heads();
  NamedTensors backbone, head;
  for (const auto& [name, value] : model.named_parameters()) {
    if (!value.requires_grad()) continue;
    (o.backbone_lr_scale != 1 && !is_in_head(name, heads) ? backbone : head).emplace_back(name, value);
  }
  std::vector<ParameterGroup> groups = decay_groups_of(o, head);
  if (!backbone.empty())
    for (ParameterGroup& group : decay_groups_of(o, backbone)) {
      group.lr_scale = o.backbone_lr_scale;
      groups.push_back(std::move(group));
    }
  return apply_group_rules(std::move(groups), parse_group_rules(o.group), heads);
}

/// The optimizer that a configuration names, over the parameters of a model.
inline std::unique_ptr<Optimizer> make_optimizer(const TrainConfig& c, const models::Model& model) {
  const OptimizationSettings& o = c.optimization;
  std::vector<ParameterGroup> groups = parameter_groups(c, model);
  const AdamOptions adam{.lr = o.lr, .beta1 = o.beta1, .beta2 = o.beta2, .eps = o.eps};
  if (o.optimizer == "adamw") return std::make_unique<AdamW>(std::move(groups), adam);
  if (o.optimizer == "adam") return std::make_unique<Adam>(std::move(groups), adam);
  if (o.optimizer == "sgd")
    return std::make_unique<SGD>(std::move(groups),
                                 SgdOptions{.lr = o.lr, .momentum = o.momentum, .nesterov = o.momentum > 0});
  return std::make_unique<LAMB>(std::move(groups),
                                LambOptions{.lr = o.lr, .beta1 = o.beta1, .beta2 = o.beta2, .eps = o.eps});
}

/// The learning-rate schedule of a configuration. @throws Error when its parts do not fit into the epochs.
inline Schedule make_schedule(const TrainConfig& c) {
  const OptimizationSettings& o = c.optimization;
  Schedule s;
  s.shape = o.schedule == "cosine"       ? Schedule::Shape::cosine
            : o.schedule == "multistep"  ? Schedule::Shape::multi_step
            : o.schedule == "polynomial" ? Schedule::Shape::polynomial
                                         : Schedule::Shape::constant;
  s.peak = o.lr;
  s.epochs = static_cast<double>(o.epochs);
  s.warmup = o.warmup_epochs;
  s.warmup_lr = o.warmup_lr;
  s.min_lr = o.min_lr;
  s.cooldown = o.cooldown_epochs;
  s.milestones = o.milestones;
  s.gamma = o.gamma;
  s.power = o.power;
  s.validate();
  return s;
}

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/setup-inl.h"
#endif
