// Bodies of placement.h.
#pragma once

#include <fmt/core.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "atlas/core/cuda.h"
#include "atlas/core/host_name.h"
#include "atlas/core/select_device.h"
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

namespace detail {

ATLAS_INLINE int device_index(const std::vector<std::string>& ranks, int rank) {
  for (const std::string& text : ranks) {
    const auto processes = std::count(ranks.begin(), ranks.end(), text);
    const int devices = std::atoi(text.c_str() + text.rfind(' ') + 1);
    check(processes <= devices || devices < 0, "device",
          "{} processes were started on a machine with {} CUDA device{}: each takes one of its own (start {}, or use "
          "--device cpu)",
          processes, devices, devices == 1 ? "" : "s", devices);
  }
  const auto own = ranks.begin() + rank;
  return static_cast<int>(std::count(ranks.begin(), own, *own));
}

}  // namespace detail

ATLAS_INLINE Device place_device(const Group& group, std::string_view text) {
  if (group.size() == 1) return select_device(text);
  Device chosen{};
  int devices = -1;  // none is wanted
  if (text != "auto") chosen = Device::parse(text);
  if constexpr (kWithCuda) {
    if (text == "auto" && cuda::device_count() > 0) chosen = {DeviceType::cuda, 0};
    if (chosen.is_cuda()) devices = cuda::device_count();
  }
  if (chosen.is_cuda() && devices <= 0) return select_device(text);  // says why there is none
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const std::vector<std::string> all =
      group.all_gather(fmt::format("{} {} {}", host_name(), visible == nullptr ? "all" : visible, devices));
  if (!chosen.is_cuda()) return chosen;
  check(chosen.index == 0, "device", "{} was asked for, but {} processes take a device each: --device cuda",
        chosen.str(), group.size());
  // The others are left alone: each process that touches one takes memory there.
  return select_device(fmt::format("cuda:{}", detail::device_index(all, group.rank())));
}

ATLAS_INLINE int place_process(const Group& group, int threads) {
  if (group.size() == 1) return threads;
  const char* const policy = std::getenv("OMPI_MCA_hwloc_base_binding_policy");  // set where somebody chose one
  if (policy == nullptr && std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE") != nullptr) {
    std::vector<int> all;
    for (int i = 0; i < CPU_SETSIZE; ++i) all.push_back(i);
    detail::use_cores(all);
  }
  std::vector<int> mine = detail::own_cores();
  const std::string here = host_name() + ":" + detail::text_of(mine);
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
