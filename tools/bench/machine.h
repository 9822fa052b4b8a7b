// What a measurement says about its machine: its description, what others ran on it, and memory.
#pragma once

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

namespace bench {

/// A line of /proc/self/status in bytes ("VmRSS", "VmHWM"); 0 where the system has none.
inline double memory_of_process(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field + ":")) return 1024 * std::stod(line.substr(field.size() + 1));
  return 0;
}
/// Forgets the largest resident set so far (Linux).
inline void reset_resident_peak() { std::ofstream("/proc/self/clear_refs") << 5; }

/// Share of the machine's processor time that neither this process nor `child` used, since construction.
class ForeignLoad {
 public:
  explicit ForeignLoad(pid_t child = 0) : child_(child), busy_(machine()), own_(own()), start_(Clock::now()) {}
  double share() const {
    const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
    const double cores = std::max(1u, std::thread::hardware_concurrency());
    return std::clamp((machine() - busy_ - (own() - own_)) / (elapsed * cores), 0.0, 1.0);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double ticks() { return static_cast<double>(sysconf(_SC_CLK_TCK)); }
  static double machine() {  // user nice system idle iowait irq softirq steal
    std::ifstream in("/proc/stat");
    std::string cpu;
    double v[8] = {};
    in >> cpu;
    for (double& x : v) in >> x;
    return (v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / ticks();
  }
  double own() const {
    rusage self{};
    getrusage(RUSAGE_SELF, &self);
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    double sum = seconds(self.ru_utime) + seconds(self.ru_stime);
    if (child_ > 0) {
      std::ifstream in(fmt::format("/proc/{}/stat", child_));
      std::string line;
      std::getline(in, line);
      std::istringstream fields(line.substr(std::min(line.size(), line.rfind(')') + 2)));
      std::string word;
      for (int i = 0; i < 11; ++i) fields >> word;
      double user = 0, system = 0;
      if (fields >> user >> system) sum += (user + system) / ticks();
    }
    return sum;
  }

  pid_t child_;
  double busy_, own_;
  Clock::time_point start_;
};

/// "AMD EPYC, 2 cores, avx2 fma avx512f avx512_bf16, L2 1024K, L3 32768K, 24 GiB".
inline std::string describe_machine() {
  const auto first_line = [](const std::string& path) {
    std::ifstream in(path);
    std::string line;
    std::getline(in, line);
    return line;
  };
  std::string cpu = "unknown processor", features, line;
  std::ifstream info("/proc/cpuinfo");
  while (std::getline(info, line)) {
    const std::string value = line.substr(std::min(line.size(), line.find(':') + 2));
    if (line.starts_with("model name")) cpu = value;
    if (line.starts_with("flags") || line.starts_with("Features")) {
      std::istringstream words(value);
      features.clear();
      for (std::string word; words >> word;)
        for (const char* known : {"avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16"})
          if (word == known) features += (features.empty() ? "" : " ") + word;
    }
  }
  std::string caches;
  for (const int i : {2, 3}) {
    const std::string size = first_line(fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/size", i));
    if (!size.empty()) caches += fmt::format(", L{} {}", i, size);
  }
  double memory = 0;
  std::ifstream meminfo("/proc/meminfo");
  while (std::getline(meminfo, line))
    if (line.starts_with("MemTotal:")) memory = std::stod(line.substr(9)) / (1 << 20);
  return fmt::format("{}, {} cores, {}{}, {:.0f} GiB", cpu, std::thread::hardware_concurrency(), features, caches,
                     memory);
}

/// The processor's name as a part of a marker: "amd-epyc".
inline std::string machine_key() {
  const std::string all = describe_machine();
  std::string key;
  for (const char c : all.substr(0, all.find(','))) {
    const bool part = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (part) key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (!part && !key.empty() && key.back() != '-') key += '-';
  }
  while (!key.empty() && key.back() == '-') key.pop_back();
  return key;
}

/// The compiler this was built with.
inline std::string describe_compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace bench
