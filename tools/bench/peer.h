// The other side of the pipe: starts tools/bench/torch_side.py and talks to it, a line each way.
#pragma once

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "atlas/core/error.h"
#include "atlas/tensor/print.h"

namespace bench {

/// Variables for a process, such as an allocator's settings.
using Environment = std::vector<std::pair<std::string, std::string>>;

/// A process with PyTorch in it. Ends with the object.
class Peer {
 public:
  /// @throws Error when it cannot be started, or does not say that torch is there
  Peer(const std::string& python, const std::string& script, int threads, const Environment& environment) {
    int to[2], from[2];
    atlas::check(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0, "bench", "no pipe: {}",
                 std::strerror(errno));
    const std::string count = std::to_string(threads);
    process_ = fork();
    atlas::check(process_ >= 0, "bench", "no process: {}", std::strerror(errno));
    if (process_ == 0) {
      dup2(to[0], 0);
      dup2(from[1], 1);
      for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
      setenv("OMP_NUM_THREADS", count.c_str(), 1);
      execlp(python.c_str(), python.c_str(), script.c_str(), count.c_str(), static_cast<char*>(nullptr));
      std::fprintf(stderr, "bench: cannot run %s: %s\n", python.c_str(), std::strerror(errno));
      _exit(127);
    }
    close(to[0]);
    close(from[1]);
    to_ = to[1];
    from_ = from[0];
    signal(SIGPIPE, SIG_IGN);  // a peer that died is an error of read_line
    try {
      const std::string hello = read_line(120);
      atlas::check(hello.starts_with("torch "), "bench", "{} said '{}' where the version of torch was expected", python,
                   hello);
      version_ = hello.substr(6);
    } catch (const atlas::Error&) {
      stop();
      throw atlas::Error("[bench] " + python + " did not start with PyTorch and NumPy (its own words are above)");
    }
  }
  ~Peer() { stop(); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  const std::string& version() const { return version_; }
  pid_t process() const { return process_; }

  /// Sends a line and returns what follows the first word of the answer.
  /// @throws Error when the answer is an error, does not begin with `expected` or takes longer than `seconds`
  std::string ask(const std::string& line, const std::string& expected, double seconds = 600) {
    const std::string sent = line + '\n';
    atlas::check(write(to_, sent.data(), sent.size()) == static_cast<ssize_t>(sent.size()), "bench",
                 "PyTorch's process is gone ('{}')", line);
    const std::string answer = read_line(seconds);
    atlas::check(answer.starts_with(expected), "bench", "PyTorch answers '{}' to '{}'", answer, line);
    return answer.size() > expected.size() ? answer.substr(expected.size() + 1) : "";
  }
  double ask_number(const std::string& line, const std::string& expected, double seconds = 600) {
    return std::strtod(ask(line, expected, seconds).c_str(), nullptr);
  }
  std::vector<double> ask_numbers(const std::string& line, const std::string& expected) {
    std::istringstream in(ask(line, expected));
    std::vector<double> all;
    for (double v; in >> v;) all.push_back(v);
    return all;
  }

 private:
  std::string read_line(double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    for (;;) {
      if (const size_t n = buffer_.find('\n'); n != std::string::npos) {
        std::string line = buffer_.substr(0, n);
        buffer_.erase(0, n + 1);
        return line;
      }
      const double left = std::chrono::duration<double>(end - std::chrono::steady_clock::now()).count();
      pollfd p{from_, POLLIN, 0};
      const int ready = left > 0 ? poll(&p, 1, static_cast<int>(left * 1e3) + 1) : 0;
      if (ready < 0 && errno == EINTR) continue;
      atlas::check(ready > 0, "bench", "PyTorch gave no answer within {:.0f} s", seconds);
      char some[65536];
      const ssize_t n = read(from_, some, sizeof some);
      atlas::check(n > 0, "bench", "PyTorch's process ended (out of memory?)");
      buffer_.append(some, static_cast<size_t>(n));
    }
  }
  void stop() {
    if (to_ >= 0) close(to_);
    if (from_ >= 0) close(from_);
    if (process_ > 0) {
      kill(process_, SIGKILL);  // it holds nothing worth waiting for, and may be compiling
      waitpid(process_, nullptr, 0);
    }
    to_ = from_ = -1;
    process_ = -1;
  }

  pid_t process_ = -1;
  int to_ = -1, from_ = -1;
  std::string version_, buffer_;
};

}  // namespace bench
