// Which cores and which device a process of a group computes on.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/dist/group.h"

namespace atlas::inline ATLAS_ABI::dist {

/// Divides the cores of a machine among the processes of a group that run there, and binds this one to its part.
///
/// Cores that a launcher gave to this process alone stay: mpirun --bind-to, srun --cpus-per-task. What Open MPI binds
/// to when nobody says so, one core or a socket, is replaced by an equal part of all. Without a core for each, nothing
/// is bound. Call it before threads start; with one process nothing changes.
/// @param threads  wanted; 0: as many as there are cores in the part
/// @return threads to compute with; 0: as set_num_threads() has it
int place_process(const Group& group, int threads = 0);

/// The device of this process, as select_device() finds it for one: of the CUDA devices of a machine every process
/// there takes one, in the order of their ranks. Where a launcher shows each process other ones (CUDA_VISIBLE_DEVICES),
/// it is the first. All ranks call it.
/// @param text  "cpu", "cuda" or "auto"
/// @throws Error on every rank when a machine has more processes than devices, or for "cuda:N"; and as select_device().
Device place_device(const Group& group, std::string_view text);

namespace detail {
/// Where the part of process `index` of `count` begins among `cores` cores.
inline int64_t first_core(int64_t cores, int64_t index, int64_t count) { return cores * index / count; }

/// The number of rank `rank`'s device, where each rank's text says which devices it sees and, in its last word, how
/// many.
/// @throws Error when more ranks say the same than there are devices.
int device_index(const std::vector<std::string>& ranks, int rank);
}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::dist

#ifndef ATLAS_COMPILED_LIB
#include "atlas/dist/placement-inl.h"
#endif
