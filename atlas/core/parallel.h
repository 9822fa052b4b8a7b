// A small thread pool and parallel_for. Work is cut into pieces whose number does not depend on the thread count,
// so results do not either.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

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

  /// Calls task(i) for i in [0, count), in any order, on all threads; returns when all are done.
  /// The first exception thrown by a task is rethrown here.
  template <class F>
  void run(int64_t count, const F& task) {
    // Nested calls and calls beside a running one work alone: correct, and free of dead-locks.
    if (count <= 1 || threads_ == 1 || inside() || !submit_.try_lock()) {
      for (int64_t i = 0; i < count; ++i) task(i);
      return;
    }
    std::lock_guard one(submit_, std::adopt_lock);
    Job job{[](const void* f, int64_t i) { (*static_cast<const F*>(f))(i); }, &task, count};
    {
      std::lock_guard lock(mutex_);
      job_ = &job;
      ++generation_;
    }
    wake_.notify_all();
    inside() = true;
    work(job);
    inside() = false;
    std::unique_lock lock(mutex_);
    job_ = nullptr;  // a worker that wakes only now is not waited for
    done_.wait(lock, [&] { return active_ == 0; });
    if (job.error) std::rethrow_exception(job.error);
  }

 private:
  friend class SerialScope;
  struct Job {
    void (*call)(const void*, int64_t);
    const void* task;
    int64_t count;
    std::atomic<int64_t> next{0};
    std::exception_ptr error{};
    std::mutex error_mutex{};
  };

  ThreadPool() {
    const char* wanted = std::getenv("ATLAS_NUM_THREADS");
    const int n = wanted != nullptr ? std::atoi(wanted) : 0;
    start(n >= 1 && n <= 4096 ? n : static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  }
  static bool& inside() {
    thread_local bool flag = false;
    return flag;
  }
  static void work(Job& job) {
    for (int64_t i = job.next.fetch_add(1); i < job.count; i = job.next.fetch_add(1)) {
      try {
        job.call(job.task, i);
      } catch (...) {
        std::lock_guard lock(job.error_mutex);
        if (!job.error) job.error = std::current_exception();
        job.next = job.count;
      }
    }
  }
  void start(int threads) {
    stopping_ = false;
    try {
      for (int i = 1; i < threads; ++i) workers_.emplace_back([this, seen = generation_] { loop(seen); });
    } catch (const std::system_error&) {
      // The system gives no more threads: go on with those there are.
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
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || (job_ != nullptr && generation_ != seen); });
        if (stopping_) return;
        seen = generation_;
        job = job_;
        ++active_;
      }
      work(*job);
      std::lock_guard lock(mutex_);
      if (--active_ == 0) done_.notify_one();
    }
  }

  std::mutex submit_, mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  std::atomic<int> threads_{1};
  int active_ = 0;  // workers inside the present job
  uint64_t generation_ = 0;
  bool stopping_ = false;
  Job* job_ = nullptr;
};

/// While it lives, parallel_for on this thread works alone: for background threads (a data loader's workers), which
/// would otherwise keep the pool from the thread that computes.
class SerialScope {
 public:
  SerialScope() : before_(std::exchange(ThreadPool::inside(), true)) {}
  ~SerialScope() { ThreadPool::inside() = before_; }
  SerialScope(const SerialScope&) = delete;
  SerialScope& operator=(const SerialScope&) = delete;

 private:
  bool before_;
};

/// Threads used by kernels, the calling one included. Set by ATLAS_NUM_THREADS or set_num_threads; default all cores.
inline int num_threads() { return ThreadPool::instance().threads(); }
/// Sets the number of threads (at least 1). Results do not depend on it.
inline void set_num_threads(int n) { ThreadPool::instance().resize(n); }

/// Calls f(begin, end) on pieces of [0, n) of `grain` elements (the last may be shorter), in parallel.
/// The pieces depend on n and grain alone: a partial result per piece can be combined in order, whatever the threads.
template <class F>
void parallel_for(int64_t n, int64_t grain, const F& f) {
  if (n <= 0) return;
  if (grain >= n) {
    f(int64_t{0}, n);
    return;
  }
  grain = std::max<int64_t>(grain, 1);
  const int64_t pieces = (n - 1) / grain + 1;
  ThreadPool::instance().run(pieces, [&](int64_t i) { f(i * grain, i + 1 == pieces ? n : (i + 1) * grain); });
}

}  // namespace atlas::inline ATLAS_ABI
