// Bodies of placement.h.
#pragma once

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "atlas/dist/placement.h"

namespace atlas::inline ATLAS_ABI::dist {

namespace detail {

/// The cores that this process may use.
inline std::vector<int> own_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &set)) cores.push_back(i);
  return cores;
}

/// Restricts this process to cores; those that it must not use are left out by the system.
inline void use_cores(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  sched_setaffinity(0, sizeof set, &set);
}

/// "1,2,5", for comparing.
inline std::string text_of(const std::vector<int>& cores) {
  std::string text;
  for (const int core : cores) text += std::to_string(core) + ",";
  return text;
}

}  // namespace detail

ATLAS_INLINE int place_process(const Group& group, int threads) {
  if (group.size() == 1) return threads;
  const char* const policy = std::getenv("OMPI_MCA_hwloc_base_binding_policy");  // set where somebody chose one
  if (policy == nullptr && std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE") != nullptr) {
    std::vector<int> all;
    for (int i = 0; i < CPU_SETSIZE; ++i) all.push_back(i);
    detail::use_cores(all);
  }
  std::vector<int> mine = detail::own_cores();
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::string here = std::string(host.data()) + ":" + detail::text_of(mine);
  const std::vector<std::string> everywhere = group.all_gather(here);
  const auto like_me = std::count(everywhere.begin(), everywhere.end(), here);
  const auto cores = static_cast<int64_t>(mine.size()), count = static_cast<int64_t>(group.local_size());
  if (like_me < count) return threads > 0 ? threads : static_cast<int>(std::max<int64_t>(cores, 1));
  if (cores < count) return threads > 0 ? threads : 1;
  const auto begin = mine.begin() + detail::first_core(cores, group.local_rank(), count);
  const auto end = mine.begin() + detail::first_core(cores, group.local_rank() + 1, count);
  const std::vector<int> part(begin, end);
  const bool free = policy != nullptr && std::string(policy) == "none";
  if (!free && threads <= static_cast<int>(part.size())) detail::use_cores(part);
  return threads > 0 ? threads : static_cast<int>(part.size());
}

}  // namespace atlas::inline ATLAS_ABI::dist
