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
/// Cores that a launcher gave to this process alone stay: mpirun --bind-to, srun --cpus-per-task; those that it gave to
/// several are divided among these. What Open MPI binds to when nobody says so, one core or a socket, is replaced by an
/// equal part of the CPUs that mpirun itself has (taskset mpirun ...), unless all processes of a machine have the same
/// ones (mpirun ... taskset). The threads of a core, and the cores of a package, stay together. Without a core for
/// each, nothing is bound. Call it before threads start; with one process nothing changes.
/// @param threads  wanted; 0: as many as there are cores in the part
/// @return threads to compute with; 0: as set_num_threads() has it
int place_process(const Group& group, int threads = 0);

/// The device of this process, as select_device() finds it for one: of the CUDA devices that it sees, the first that no
/// lower rank of its machine has. Devices are told apart by their PCI addresses: a launcher may show each process other
/// ones, under any numbers (CUDA_VISIBLE_DEVICES, cgroups). All ranks call it.
/// @param text  "cpu", "cuda" or "auto"
/// @throws Error on every rank when a machine has more processes than devices, when a process sees none but those of
///         others, or for "cuda:N"; and as select_device().
Device place_device(const Group& group, std::string_view text);

namespace detail {
/// A CPU by its number, and where it is. `core` is -1 where the system does not say.
struct Cpu {
  int number = 0, package = 0, core = -1;
};
/// Numbers of CPUs in the order in which they are handed out: by package and core, or by number where one's place is
/// not known.
std::vector<int> in_order(std::vector<Cpu> cpus);
/// The part of rank `rank` of these CPUs, an equal one among the ranks whose text (machine and CPUs) is its own; empty
/// when there are fewer CPUs than such ranks.
std::vector<int> part_of(const std::vector<int>& cpus, const std::vector<std::string>& ranks, int rank);

/// What a rank says of the devices that it sees, by their PCI addresses; none when it wants none.
struct Seen {
  std::string machine;
  std::vector<std::string> devices{};
};
/// The number of rank `rank`'s device among those that it sees: the first that no lower rank of its machine has taken.
/// @throws Error when a machine has more such ranks than devices, or a rank sees none that is left.
int device_index(const std::vector<Seen>& ranks, int rank);
}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::dist

#ifndef ATLAS_COMPILED_LIB
#include "atlas/dist/placement-inl.h"
#endif
