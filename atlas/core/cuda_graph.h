// CUDA graphs: work of a device that is queued once, recorded, and then started again and again with one call.
// Bodies: atlas/cuda/graph.cu; this header needs no toolkit.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "atlas/core/config.h"
#include "atlas/core/device.h"

namespace atlas::inline ATLAS_ABI::cuda {

/// A piece of work, such as forward and backward of a training step, recorded on a device.
///
/// Small models spend their time in starting kernels one by one; a graph starts all of them at once. Its rules:
/// - the work reads and writes the same memory each time: inputs are copied into tensors that stay, and results are
///   read where the recording left them, until the next replay;
/// - the host decides nothing in it: reading a number (item(), printing) is an error, and so is copying from the host;
/// - dropout draws new masks each time, the same ones that the work would draw without a graph.
/// Memory that the work used stays with the graph as long as that lives.
///
/// Example: `graph.capture([&] { loss = step(static_images); }); for (...) { static_images.copy_(b); graph.replay(); }`
class Graph {
 public:
  explicit Graph(Device device);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  /// Records what `work` queues; nothing is computed yet. Work of this kind should have run before, so that everything
  /// that is made once (tables, handles of libraries, compiled kernels) is there.
  /// @throws Error when the work does what a graph cannot; there is no graph then, and the device is as before.
  void capture(const std::function<void()>& work);
  /// Queues the recorded work. @throws Error before capture(), and when the seed was changed since.
  void replay();
  bool captured() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// True while this thread records a graph: nothing may wait for the device then.
bool capturing();
/// While a graph is recorded: keeps `what`, which the recorded work uses, for as long as the graph.
void keep_with_graph(std::shared_ptr<void> what);
/// @throws Error that names `op` while a graph is recorded: `op` needs the host.
void check_not_capturing(const char* op);
/// While a graph is recorded: device memory with the number that kernels add to a random stream's, which every replay
/// sets; else null.
const uint64_t* random_offset(Device device);

#if !ATLAS_WITH_CUDA
struct Graph::State {};
inline Graph::Graph(Device) { fail_no_cuda("cuda-graph"); }
inline Graph::~Graph() = default;
inline void Graph::capture(const std::function<void()>&) {}
inline void Graph::replay() {}
inline bool Graph::captured() const { return false; }
inline void keep_with_graph(std::shared_ptr<void>) {}
#endif

}  // namespace atlas::inline ATLAS_ABI::cuda
