// Bodies of task.h.
#pragma once

#include <limits>

#include "atlas/models/model.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/tasks/task.h"

namespace atlas::inline ATLAS_ABI::tasks {

namespace detail {
ATLAS_INLINE std::string made_for(const Module& model) {
  const auto* known = dynamic_cast<const models::Model*>(&model);
  return known == nullptr ? "" : " for " + known->task();
}
}  // namespace detail

ATLAS_INLINE const Tensor& at(const Named& tensors, std::string_view name) {
  std::string names;
  for (const auto& [key, value] : tensors) {
    if (key == name) return value;
    names += (names.empty() ? "" : ", ") + key;
  }
  fail("task", "the model gives no '{}'; it gives: {}", name, names.empty() ? "nothing" : names);
}

ATLAS_INLINE const Tensor& checked_logits(const Named& outputs, std::string_view name, int axes, int64_t classes,
                                          std::string_view task) {
  const Tensor& logits = at(outputs, name);
  check(logits.defined() && logits.dim() == axes, task, "needs {} {}, got {}: is this a model for {}?", name,
        axes == 2 ? fmt::format("[B,{}]", classes) : fmt::format("[B,h,w,{}]", classes), describe(logits), task);
  const int64_t theirs = logits.size(axes - 1);
  check(theirs == classes, task,
        "{} {} tell {} classes apart, but the task has {}: make the model with num_classes = {}, or name {} classes "
        "for the task",
        name, describe(logits), theirs, classes, classes, theirs);
  return logits;
}

ATLAS_INLINE Tensor total(const Named& losses) {
  check(!losses.empty(), "task", "a loss needs at least one part");
  Tensor sum = losses[0].second;
  for (size_t i = 1; i < losses.size(); ++i) sum = sum + losses[i].second;
  return sum;
}

ATLAS_INLINE double Meter::value(std::string_view name) const {
  std::string names;
  for (const Value& v : values()) {
    if (v.name == name) return v.value;
    names += (names.empty() ? "" : ", ") + v.name;
  }
  fail("meter", "there is no value '{}'; there are: {}", name, names);
}

ATLAS_INLINE double Meter::find(std::string_view name) const {
  for (const Value& v : values())
    if (v.name == name) return v.value;
  return std::numeric_limits<double>::quiet_NaN();
}

ATLAS_INLINE data::Collate collate_for(const Task& task, bool training) {
  return [&task, training](data::Batch& batch, data::Rng& rng) {
    task.arrange(batch);
    if (training) task.collate(batch, rng);
  };
}

}  // namespace atlas::inline ATLAS_ABI::tasks
