// Tasks by name: one registration each, from which train and the tools know how to set one up.
//
// A kind of task says how it is made for a data set, what its images go through on their way, and which models serve
// it. Those that exist from the start are one line each in kinds-inl.h; a program registers its own:
//
//     tasks::register_task({.name = "depth", .make = make_depth, .pipeline = depth_pipeline});
//
// Register before threads start.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "atlas/data/dataset.h"
#include "atlas/tasks/settings.h"
#include "atlas/tasks/task.h"

namespace atlas::inline ATLAS_ABI::tasks {

/// A kind of task.
struct TaskKind {
  std::string name;
  std::unique_ptr<Task> (*make)(const data::Dataset& set, const TaskSettings& settings) = nullptr;
  Pipeline (*pipeline)(const TaskSettings& settings) = nullptr;
  std::string models = {};  ///< Model::task() of the models that serve it; empty: its own name
};

namespace detail {
/// Those that exist from the start (kinds-inl.h).
std::vector<TaskKind> built_in_tasks();
}  // namespace detail

/// Makes a kind of task known. @throws Error when its name is empty or taken.
void register_task(TaskKind kind);
/// The names of all kinds.
std::vector<std::string> task_names();
/// @throws Error for an unknown name: lists those there are, and the nearest.
const TaskKind& find_task(const std::string& name);
/// The task `name`, or where that is empty the task that the models called `model` are made for.
/// @throws Error for unknown names, and when the model does not serve the task.
const TaskKind& task_for(const std::string& name, const std::string& model);

}  // namespace atlas::inline ATLAS_ABI::tasks

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tasks/registry-inl.h"
#endif
