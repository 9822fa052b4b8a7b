// A small thread pool and parallel_for. Work is cut into pieces whose number does not depend on the thread count,
// so results do not either.
#pragma once

#include <cstdint>
#include <utility>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// A piece [begin, end) of the work that `f` points to.
using ParallelPiece = void (*)(const void* f, int64_t begin, int64_t end);

/// parallel_for() without the type of its function: `piece` is called for each piece, on all threads.
/// The first exception thrown by a piece is rethrown here.
void run_pieces(int64_t n, int64_t grain, const void* f, ParallelPiece piece);

/// Whether this thread is inside parallel work, and so works alone.
bool& inside_parallel();

}  // namespace detail

/// While it lives, parallel_for on this thread works alone: for background threads (a data loader's workers), which
/// would otherwise keep the pool from the thread that computes.
class SerialScope {
 public:
  SerialScope() : before_(std::exchange(detail::inside_parallel(), true)) {}
  ~SerialScope() { detail::inside_parallel() = before_; }
  SerialScope(const SerialScope&) = delete;
  SerialScope& operator=(const SerialScope&) = delete;

 private:
  bool before_;
};

/// Threads used by kernels, the calling one included. Set by ATLAS_NUM_THREADS or set_num_threads; default all cores.
int num_threads();
/// Sets the number of threads (at least 1). Results do not depend on it.
/// @throws Error from inside parallel work, and for numbers outside 1 to 4096.
void set_num_threads(int n);

/// Calls f(begin, end) on pieces of [0, n) of `grain` elements (the last may be shorter), in parallel.
/// The pieces depend on n and grain alone: a partial result per piece can be combined in order, whatever the threads.
template <class F>
void parallel_for(int64_t n, int64_t grain, const F& f) {
  if (n <= 0) return;
  if (grain >= n) {
    f(int64_t{0}, n);
    return;
  }
  detail::run_pieces(n, grain, &f,
                     [](const void* work, int64_t begin, int64_t end) { (*static_cast<const F*>(work))(begin, end); });
}

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/core/parallel-inl.h"
#endif
