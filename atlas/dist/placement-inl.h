// Bodies of placement.h.
#pragma once

#include <fmt/core.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "atlas/core/cuda.h"
#include "atlas/core/host_name.h"
#include "atlas/core/select_device.h"
#include "atlas/dist/placement.h"

namespace atlas::inline ATLAS_ABI::dist {

namespace detail {

/// The CPUs that a process may use (0: this one), and where they are.
inline std::vector<Cpu> cpus_of(pid_t process) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<Cpu> cpus;
  if (sched_getaffinity(process, sizeof set, &set) != 0) return cpus;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (!CPU_ISSET(i, &set)) continue;
    Cpu cpu{.number = i};
    const std::string folder = fmt::format("/sys/devices/system/cpu/cpu{}/topology/", i);
    std::ifstream package(folder + "physical_package_id"), core(folder + "core_id");
    if (!(package >> cpu.package) || !(core >> cpu.core)) cpu.core = -1;
    cpus.push_back(cpu);
  }
  return cpus;
}

/// Restricts this process to CPUs; those that the system keeps from it are left out.
inline void use_cpus(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

/// The CPUs of Open MPI's mpirun, or of its like on another machine; all where they cannot be found out.
inline std::vector<int> cpus_of_launcher() {
  const auto started_by_it = [](pid_t process) {  // with a program in between, such as a shell
    std::ifstream environment(fmt::format("/proc/{}/environ", process));
    for (std::string entry; std::getline(environment, entry, '\0');)
      if (entry.starts_with("OMPI_COMM_WORLD_RANK=")) return true;
    return false;
  };
  pid_t process = ::getppid();
  while (process > 1 && started_by_it(process)) {
    std::ifstream status(fmt::format("/proc/{}/status", process));
    process = 0;
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("PPid:")) process = std::atoi(line.c_str() + 5);
  }
  std::vector<int> numbers;
  if (process > 1)
    for (const Cpu& cpu : cpus_of(process)) numbers.push_back(cpu.number);
  if (numbers.empty())
    for (int i = 0; i < CPU_SETSIZE; ++i) numbers.push_back(i);
  return numbers;
}

/// "1,2,5", for comparing.
inline std::string text_of(const std::vector<int>& numbers) {
  std::string text;
  for (const int number : numbers) text += std::to_string(number) + ",";
  return text;
}

ATLAS_INLINE std::vector<int> in_order(std::vector<Cpu> cpus) {
  const bool known = std::ranges::all_of(cpus, [](const Cpu& c) { return c.core >= 0; });
  const auto place = [known](const Cpu& c) { return std::tuple(known ? c.package : 0, known ? c.core : 0, c.number); };
  std::ranges::sort(cpus, {}, place);
  std::vector<int> numbers;
  for (const Cpu& c : cpus) numbers.push_back(c.number);
  return numbers;
}

ATLAS_INLINE std::vector<int> part_of(const std::vector<int>& cpus, const std::vector<std::string>& ranks, int rank) {
  const auto own = ranks.begin() + rank;
  const auto all = std::ssize(cpus), sharing = std::count(ranks.begin(), ranks.end(), *own);
  const auto before = std::count(ranks.begin(), own, *own);
  if (all < sharing) return {};
  return {cpus.begin() + all * before / sharing, cpus.begin() + all * (before + 1) / sharing};
}

ATLAS_INLINE int device_index(const std::vector<Seen>& ranks, int rank) {
  struct Machine {
    size_t processes = 0;
    std::set<std::string> devices, taken;
  };
  std::map<std::string, Machine> machines;
  for (const Seen& seen : ranks) {
    if (seen.devices.empty()) continue;
    Machine& m = machines[seen.machine];
    ++m.processes;
    m.devices.insert(seen.devices.begin(), seen.devices.end());
  }
  for (const auto& [name, m] : machines)
    check(m.processes <= m.devices.size(), "device",
          "{} processes were started on a machine with {} CUDA device{}: each takes one of its own (start {}, or use "
          "--device cpu)",
          m.processes, m.devices.size(), m.devices.size() == 1 ? "" : "s", m.devices.size());
  int found = 0;
  for (size_t r = 0; r < ranks.size(); ++r) {
    const std::vector<std::string>& devices = ranks[r].devices;
    if (devices.empty()) continue;
    std::set<std::string>& taken = machines[ranks[r].machine].taken;
    const auto own = std::ranges::find_if(devices, [&](const std::string& d) { return !taken.contains(d); });
    check(own != devices.end(), "device",
          "rank {} sees {} CUDA device{}, which lower ranks of its machine take: let it see another one "
          "(CUDA_VISIBLE_DEVICES)",
          r, devices.size(), devices.size() == 1 ? "" : "s");
    taken.insert(*own);
    if (static_cast<int>(r) == rank) found = static_cast<int>(own - devices.begin());
  }
  return found;
}

}  // namespace detail

ATLAS_INLINE Device place_device(const Group& group, std::string_view text) {
  if (group.size() == 1) return select_device(text);
  Device chosen{};
  int devices = 0;
  if (text != "auto") chosen = Device::parse(text);
  std::string seen = host_name();
  if constexpr (kWithCuda) {
    if (text == "auto" && cuda::device_count() > 0) chosen = {DeviceType::cuda, 0};
    if (chosen.is_cuda()) devices = cuda::device_count();
    for (int i = 0; i < devices; ++i) seen += '\n' + cuda::pci_address({DeviceType::cuda, i});
  }
  if (chosen.is_cuda() && devices <= 0) return select_device(text);  // says why there is none
  std::vector<detail::Seen> all;
  for (const std::string& of_rank : group.all_gather(seen)) {
    std::istringstream lines(of_rank);
    std::getline(lines, all.emplace_back().machine);
    for (std::string device; std::getline(lines, device);) all.back().devices.push_back(device);
  }
  if (!chosen.is_cuda()) return chosen;
  check(chosen.index == 0, "device", "{} was asked for, but {} processes take a device each: --device cuda",
        chosen.str(), group.size());
  // The others are left alone: each process that touches one takes memory there.
  return select_device(fmt::format("cuda:{}", detail::device_index(all, group.rank())));
}

ATLAS_INLINE int place_process(const Group& group, int threads) {
  if (group.size() == 1) return threads;
  const char* const policy = std::getenv("OMPI_MCA_hwloc_base_binding_policy");  // set where somebody chose one
  std::vector<int> mine = detail::in_order(detail::cpus_of(0));
  const auto of_all = [&] { return group.all_gather(host_name() + ":" + detail::text_of(mine)); };
  const std::vector<std::string> given = of_all();
  if (policy == nullptr && std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE") != nullptr) {
    // Of itself Open MPI gives all processes of a machine the same CPUs only where these are all: others are a choice.
    const auto alike = std::ranges::count(given, given[static_cast<size_t>(group.rank())]);
    std::vector<int> wanted = detail::cpus_of_launcher();
    if (alike > 1 && alike == group.local_size())
      std::erase_if(wanted, [&](int cpu) { return std::ranges::find(mine, cpu) == mine.end(); });
    detail::use_cpus(wanted);
    mine = detail::in_order(detail::cpus_of(0));
  }
  const std::vector<int> part = detail::part_of(mine, of_all(), group.rank());
  const bool free = policy != nullptr && std::string(policy) == "none";
  if (!part.empty() && !free && threads <= static_cast<int>(part.size())) detail::use_cpus(part);
  return threads > 0 ? threads : std::max(1, static_cast<int>(part.size()));
}

}  // namespace atlas::inline ATLAS_ABI::dist
