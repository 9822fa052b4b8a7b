// What the processes of a training tell each other: meters and states.
// Not in atlas.h: include it by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "atlas/data/dataset.h"
#include "atlas/dist/group.h"
#include "atlas/nn/state.h"
#include "atlas/tasks/task.h"

namespace atlas::inline ATLAS_ABI::train {

/// The states of all ranks, on the host, in their order.
std::vector<StateDict> all_gather(const dist::Group& group, const StateDict& own);
/// A meter that has seen what meters with these states have seen.
/// @param training  as for Task::meter()
std::unique_ptr<tasks::Meter> joined(const tasks::Task& task, bool training, const std::vector<StateDict>& states);
/// What the meters of all ranks have found, in the order of the ranks; the same on every rank.
std::unique_ptr<tasks::Meter> merged(const dist::Group& group, const tasks::Task& task, bool training,
                                     std::unique_ptr<tasks::Meter> own);

/// What all ranks compare before they train: the program, the number and classes of the images, what is known of each
/// without opening it (labels, names and sizes of files: a second for some hundred thousand of them), and the pixels
/// and targets of 16.
/// @throws Error on every rank, naming the first rank that differs from rank 0 and the field in which it does.
void check_same_program(const dist::Group& group);
/// @param half  "training" or "test"
void check_same_data(const dist::Group& group, const data::Dataset& set, const std::string& half);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/group_state-inl.h"
#endif
