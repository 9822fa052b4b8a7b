// Bodies of registry.h.
#pragma once

#include "atlas/core/nearest.h"
#include "atlas/tasks/kinds-inl.h"
#include "atlas/tasks/registry.h"

namespace atlas::inline ATLAS_ABI::tasks {

namespace detail {
/// Those that exist from the start, and those that were registered.
inline std::vector<TaskKind>& kinds() {
  static std::vector<TaskKind> all = built_in_tasks();
  return all;
}
inline const std::string& models_of(const TaskKind& kind) { return kind.models.empty() ? kind.name : kind.models; }
}  // namespace detail

ATLAS_INLINE void register_task(TaskKind kind) {
  check(!kind.name.empty() && kind.make != nullptr && kind.pipeline != nullptr, "register_task",
        "a task needs a name, and how it and its pipeline are made");
  for (const TaskKind& other : detail::kinds())
    check(other.name != kind.name, "register_task", "there is a task '{}' already", kind.name);
  detail::kinds().push_back(std::move(kind));
}

ATLAS_INLINE std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const TaskKind& kind : detail::kinds()) names.push_back(kind.name);
  return names;
}

ATLAS_INLINE const TaskKind& find_task(const std::string& name) {
  for (const TaskKind& kind : detail::kinds())
    if (kind.name == name) return kind;
  fail("task", "there is no task '{}'; {}", name, known_names(name, task_names()));
}

ATLAS_INLINE const TaskKind& task_for(const std::string& name, const std::string& model) {
  const std::string made_for = models::task_of(model);
  const TaskKind& kind = find_task(name.empty() ? made_for : name);
  if (detail::models_of(kind) == made_for) return kind;
  std::string fitting;
  for (const std::string& preset : models::preset_names())
    if (models::task_of(preset) == detail::models_of(kind)) fitting += (fitting.empty() ? "" : ", ") + preset;
  fail("task", "{} is a model for {}, which cannot serve {}; models that do: {}", model, made_for, kind.name,
       fitting.empty() ? "none" : fitting);
}

}  // namespace atlas::inline ATLAS_ABI::tasks
