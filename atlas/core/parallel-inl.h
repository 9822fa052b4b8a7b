// The thread pool behind parallel_for. Work is cut into pieces whose number does not depend on the thread count, so
// results do not either.
//
// A model is thousands of short jobs with a few microseconds between them, and waking a sleeping thread takes some 5 us
// on a bare machine, 50-200 in a virtual one. So a worker that finds nothing to do keeps looking for kSpin before it
// sleeps, and so does a caller that waits for the last piece. Spinning takes time from others where cores are short:
// with more threads than cores nobody does, and one that finds a core taken away stops all of them for kCrowded.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "atlas/core/parallel.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE bool& detail::inside_parallel() {
  thread_local bool flag = false;
  return flag;
}

namespace detail {

/// Worker threads that wait for parallel_for. The calling thread works too, so `threads` counts it.
class ThreadPool {
 public:
  /// The pool. Its threads are joined at exit; the object stays, so that code that runs later still may use it (alone).
  static ThreadPool& instance() {
    static ThreadPool* pool = [] {
      auto* p = new ThreadPool;
      std::atexit([] { instance().finish(); });
      return p;
    }();
    return *pool;
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }
  /// @throws Error from inside a task: the pool cannot wait for itself.
  void resize(int threads) {
    check(threads >= 1 && threads <= 4096, "set_num_threads", "needs between 1 and 4096 threads, got {}", threads);
    check(!inside(), "set_num_threads", "cannot change the number of threads from inside parallel work");
    std::lock_guard one(submit_);
    stop();
    start(threads);
  }

  /// Calls piece(f, begin, end) for the pieces of [0, n), in any order, on all threads; returns when all are done.
  /// The first exception thrown by a piece is rethrown here.
  void run(int64_t n, int64_t grain, const void* f, detail::ParallelPiece piece) {
    Job job{piece, f, n, grain, (n - 1) / grain + 1};
    // Nested calls and calls beside a running one work alone: correct, and free of dead-locks.
    if (job.count <= 1 || threads_ == 1 || inside() || !submit_.try_lock()) {
      for (int64_t i = 0; i < job.count; ++i) job.call(i);
      return;
    }
    std::lock_guard one(submit_, std::adopt_lock);
    bool asleep = false;
    {
      std::lock_guard lock(mutex_);
      job_ = &job;
      ++generation_;
      asleep = sleeping_ > 0;
    }
    if (asleep) wake_.notify_all();
    const Clock::time_point begin = Clock::now();
    inside() = true;
    work(job);
    inside() = false;
    const Clock::time_point end = Clock::now();
    {
      std::lock_guard lock(mutex_);
      job_ = nullptr;  // a worker that wakes only now is not waited for
    }
    spin([&] { return active_ == 0; });
    {
      std::unique_lock lock(mutex_);  // also when there is nothing to wait for: the last worker has let go of the job
      done_.wait(lock, [&] { return active_ == 0; });
    }
    // A last piece that takes longer than all of this thread's together belongs to a worker that lost its core.
    if (const auto waited = Clock::now() - end; waited > kTaken && waited > end - begin) stop_spinning();
    if (job.error) std::rethrow_exception(job.error);
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Job {
    detail::ParallelPiece piece;
    const void* f;
    int64_t n, grain;
    int64_t count;  // of pieces
    std::atomic<int64_t> next{0};
    std::exception_ptr error{};
    std::mutex error_mutex{};

    void call(int64_t i) const { piece(f, i * grain, i + 1 == count ? n : (i + 1) * grain); }
  };

  ThreadPool() {
    const char* wanted = std::getenv("ATLAS_NUM_THREADS");
    const int n = wanted != nullptr ? std::atoi(wanted) : 0;
    start(n >= 1 && n <= 4096 ? n : static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  }
  static bool& inside() { return detail::inside_parallel(); }
  static void work(Job& job) {
    for (int64_t i = job.next.fetch_add(1); i < job.count; i = job.next.fetch_add(1)) {
      try {
        job.call(i);
      } catch (...) {
        std::lock_guard lock(job.error_mutex);
        if (!job.error) job.error = std::current_exception();
        job.next = job.count;
      }
    }
  }
  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  void stop_spinning() { spins_from_.store(Clock::now() + kCrowded, std::memory_order_relaxed); }
  /// Looks at `ready` until it holds, for kSpin at most.
  template <class F>
  void spin(const F& ready) {
    if (!spins_ || ready()) return;
    const Clock::time_point begin = Clock::now();
    if (begin < spins_from_.load(std::memory_order_relaxed)) return;
    for (Clock::time_point last = begin, now = begin; now - begin < kSpin; last = now) {
      for (int i = 0; i < 32; ++i) {
        if (ready()) return;
        pause();
      }
      now = Clock::now();
      if (now - last > kTaken) return stop_spinning();
    }
  }
  void start(int threads) {
    stopping_ = false;
    spins_ = threads <= static_cast<int>(std::thread::hardware_concurrency());
    try {
      for (int i = 1; i < threads; ++i) workers_.emplace_back([this, seen = generation_.load()] { loop(seen); });
    } catch (const std::system_error&) {
      // The system gives no more threads: go on with those there are.
    } catch (const std::bad_alloc&) {
      // Nor memory for one.
    }
    threads_ = static_cast<int>(workers_.size()) + 1;
  }
  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
    workers_.clear();
  }
  void finish() {
    if (inside()) return;  // exit() was called by a task
    std::lock_guard one(submit_);
    stop();
    threads_ = 1;
  }
  void loop(uint64_t seen) {
    inside() = true;
    for (;;) {
      Job* job = nullptr;
      spin([&] { return stopping_ || generation_ != seen; });
      {
        std::unique_lock lock(mutex_);
        if (!stopping_ && generation_ == seen) {
          ++sleeping_;
          wake_.wait(lock, [&] { return stopping_ || generation_ != seen; });
          --sleeping_;
        }
        if (stopping_) return;
        seen = generation_;
        job = job_;
        if (job == nullptr) continue;  // it came too late
        ++active_;
      }
      work(*job);
      std::lock_guard lock(mutex_);
      if (--active_ == 0) done_.notify_one();
    }
  }

  static constexpr std::chrono::microseconds kSpin{200}, kTaken{300}, kCrowded{100'000};

  std::mutex submit_, mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  std::atomic<int> threads_{1};
  // Written under mutex_; atomic for those who spin.
  std::atomic<int> active_{0};  // workers inside the present job
  std::atomic<uint64_t> generation_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<Clock::time_point> spins_from_{};  // when spinning may begin again
  bool spins_ = true;
  int sleeping_ = 0;
  Job* job_ = nullptr;
};

}  // namespace detail

ATLAS_INLINE void detail::run_pieces(int64_t n, int64_t grain, const void* f, ParallelPiece piece) {
  ThreadPool::instance().run(n, std::max<int64_t>(grain, 1), f, piece);
}
ATLAS_INLINE int num_threads() { return detail::ThreadPool::instance().threads(); }
ATLAS_INLINE void set_num_threads(int n) { detail::ThreadPool::instance().resize(n); }

}  // namespace atlas::inline ATLAS_ABI
