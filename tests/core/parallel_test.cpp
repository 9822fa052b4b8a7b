// The thread pool: every index once, exceptions, nesting, resizing, several callers.
// ctest-device: cpu
#include "atlas/core/parallel.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "atlas/core/workspace.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/reduce.h"

using namespace atlas;

namespace {
struct Threads {  // restores the number of threads
  explicit Threads(int n) : before(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before); }
  int before;
};
}  // namespace

TEST_CASE("parallel_for touches every element once, for any number of threads") {
  for (int threads : {1, 2, 4}) {
    const Threads t(threads);
    CHECK(num_threads() == threads);
    for (int64_t n : {0, 1, 7, 1000, 4097}) {
      for (int64_t grain : {int64_t{0}, int64_t{1}, int64_t{64}, int64_t{5000}, INT64_MAX}) {
        std::vector<int> hits(static_cast<size_t>(n));
        parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          CHECK_UNARY(begin < end);
          for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
        });
        CHECK(std::count(hits.begin(), hits.end(), 1) == n);
      }
    }
  }
}

TEST_CASE("the pieces do not depend on the number of threads") {
  const auto sum = [] {
    std::vector<float> part(100);
    parallel_for(100000, 1000, [&](int64_t begin, int64_t end) {
      float s = 0;
      for (int64_t i = begin; i < end; ++i) s += std::sin(static_cast<float>(i));
      part[static_cast<size_t>(begin / 1000)] = s;
    });
    return std::accumulate(part.begin(), part.end(), 0.0f);
  };
  const Threads one(1);
  const float expected = sum();
  for (int threads : {2, 3, 4}) {
    set_num_threads(threads);
    CHECK(sum() == expected);
  }
}

TEST_CASE("an exception in a task reaches the caller, and the pool works on") {
  for (int threads : {1, 2, 4}) {
    const Threads t(threads);
    for (int round = 0; round < 20; ++round) {
      CHECK_THROWS_WITH_AS(parallel_for(100, 1,
                                        [](int64_t begin, int64_t) {
                                          if (begin == 37) throw std::runtime_error("piece 37");
                                        }),
                           "piece 37", std::runtime_error);
      std::atomic<int> ran{0};
      parallel_for(100, 1, [&](int64_t, int64_t) { ++ran; });
      CHECK(ran == 100);
    }
  }
}

TEST_CASE("nested loops run, without dead-lock") {
  for (int threads : {1, 2, 4}) {
    const Threads t(threads);
    std::atomic<int64_t> total{0};
    parallel_for(20, 1, [&](int64_t, int64_t) { parallel_for(50, 1, [&](int64_t b, int64_t e) { total += e - b; }); });
    CHECK(total == 1000);
  }
}

TEST_CASE("workers that look for work and workers that sleep both find it") {
  for (int threads : {2, 5}) {  // 5 are more than some machines have: then nobody looks, all sleep at once
    const Threads t(threads);
    std::atomic<int64_t> total{0};
    for (int round = 0; round < 300; ++round) {
      if (round % 100 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // longer than they look
      parallel_for(8, 1, [&](int64_t b, int64_t e) { total += e - b; });
    }
    CHECK(total == 300 * 8);
  }
}

TEST_CASE("several threads may call at once") {
  const Threads t(4);
  std::atomic<int64_t> total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) parallel_for(64, 1, [&](int64_t b, int64_t e) { total += e - b; });
    });
  for (auto& c : callers) c.join();
  CHECK(total == 4 * 50 * 64);
}

TEST_CASE("the number of threads: bounds, and not from inside") {
  const Threads t(2);
  CHECK_THROWS_WITH_AS(set_num_threads(0), "[set_num_threads] needs between 1 and 4096 threads, got 0", Error);
  CHECK_THROWS_AS(set_num_threads(5000), Error);
  CHECK_THROWS_WITH_AS(parallel_for(8, 1, [](int64_t, int64_t) { set_num_threads(3); }),
                       "[set_num_threads] cannot change the number of threads from inside parallel work", Error);
  CHECK(num_threads() == 2);
}

TEST_CASE("SerialScope keeps a thread off the pool") {
  const Threads t(4);
  const auto me = std::this_thread::get_id();
  const SerialScope alone;
  parallel_for(64, 1, [&](int64_t, int64_t) { CHECK(std::this_thread::get_id() == me); });
}

TEST_CASE("workspace: aligned, kept, one per slot and thread") {
  float* a = workspace<float>(1000, 0);
  float* b = workspace<float>(1000, 1);
  CHECK(a != b);
  CHECK(reinterpret_cast<uintptr_t>(a) % 64 == 0);
  CHECK(workspace<float>(500, 0) == a);
  float* other = nullptr;
  std::thread([&] {
    other = workspace<float>(1000, 0);
    CHECK(other != a);
  }).join();
}
