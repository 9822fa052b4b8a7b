// Bodies of core/cuda_graph.h. The emulation keeps a list of launches and copies instead of a graph.
#include <atomic>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "atlas/core/cuda_graph.h"
#include "atlas/core/profile.h"
#include "atlas/core/rng.h"
#include "atlas/cuda/device.h"
#include "atlas/cuda/launch.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

thread_local const uint64_t* offset_in_capture = nullptr;
thread_local std::vector<std::shared_ptr<void>>* kept_by_capture = nullptr;

__global__ void set_offset(View<uint64_t> offset, uint64_t value) { offset[0] = value; }

}  // namespace

struct Graph::State {
  Device device;
  int64_t pool = 0;  // of the allocator: blocks that the recorded work uses
  uint64_t* offset = nullptr;
  uint64_t seed = 0, start = 0, drawn = 0;  // random streams of the recording
  bool ready = false;
  std::vector<std::shared_ptr<void>> kept;  // by what is recorded
#if ATLAS_CUDA_EMULATE
  emulate::Recording recorded;
#else
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
#endif

  void begin() {
#if ATLAS_CUDA_EMULATE
    emulate::begin_recording(&recorded);
#else
    // Relaxed: other threads may ask the system for memory (pinned batches), and so may the work itself.
    check_status(cudaStreamBeginCapture(stream(device), cudaStreamCaptureModeRelaxed), "cuda-graph");
#endif
  }
  void end(bool good) {
#if ATLAS_CUDA_EMULATE
    emulate::end_recording();
    if (!good) recorded.clear();
#else
    const cudaError_t status = cudaStreamEndCapture(stream(device), &graph);
    if (!good) {
      cudaGetLastError();  // the error that the work met is on its way
      return;
    }
    check_status(status, "cuda-graph");
    check_status(cudaGraphInstantiate(&exec, graph, 0), "cuda-graph");
#endif
  }
  void start_all() {
#if ATLAS_CUDA_EMULATE
    emulate::replay(recorded);
#else
    check_status(cudaGraphLaunch(exec, stream(device)), "cuda-graph");
#endif
  }
  /// Waits for replays. What kernels found wrong is left to whoever waits next.
  void wait() {
#if !ATLAS_CUDA_EMULATE
    if (!capturing()) wait_for(stream(device), "cuda-graph");
#endif
  }
  void drop() {
#if ATLAS_CUDA_EMULATE
    recorded.clear();
#else
    if (exec != nullptr) cudaGraphExecDestroy(exec);
    if (graph != nullptr) cudaGraphDestroy(graph);
    exec = nullptr;
    graph = nullptr;
#endif
    kept.clear();
    ready = false;
  }
};

Graph::Graph(Device device) : state_(std::make_unique<State>()) {
  check(device.is_cuda(), "cuda-graph", "graphs are for CUDA devices, not for {}", device.str());
  check_device(device);
  state_->device = device;
  state_->offset = static_cast<uint64_t*>(allocate(device, sizeof(uint64_t)));
  state_->pool = new_pool(device);
}
Graph::~Graph() {
  try {
    state_->wait();         // it may be running
  } catch (const Error&) {  // the device is gone
  }
  state_->drop();
  deallocate(state_->device, state_->offset, sizeof(uint64_t));
  end_pool(state_->device, state_->pool);
}

void Graph::capture(const std::function<void()>& work) {
  State& s = *state_;
  check(!profiling(), "cuda-graph", "kernels of a graph are not profiled one by one: profile without it");
  check(!capturing(), "cuda-graph", "a graph is being recorded already");
  s.drop();
  Generator& g = default_generator();
  const Generator before = g;
  s.seed = g.seed;
  s.start = g.stream;
  use_pool(s.device, s.pool);
  bool begun = false;
  std::optional<std::string> failure;
  try {
    s.begin();
    begun = true;
    offset_in_capture = s.offset;
    kept_by_capture = &s.kept;
    work();
  } catch (const std::exception& e) {  // of any kind: the stream has to stop recording
    failure = e.what();
  }
  offset_in_capture = nullptr;
  kept_by_capture = nullptr;
  s.drawn = g.stream - s.start;
  g = before;
  try {
    if (begun) s.end(!failure);
  } catch (const Error& e) {
    failure = e.what();
  }
  use_pool(s.device, 0);
  if (failure) {
    s.drop();
    fail("cuda-graph", "this work cannot be recorded: {}", *failure);
  }
  s.ready = true;
}

void Graph::replay() {
  State& s = *state_;
  check(s.ready, "cuda-graph", "nothing was recorded yet: capture() comes before replay()");
  Generator& g = default_generator();
  check(g.seed == s.seed, "cuda-graph", "the seed is {}, it was {} when the graph was recorded: record it again",
        g.seed, s.seed);
  if (s.drawn > 0) {
    launch({s.device, "cuda-graph", dim3(1), dim3(1), 0, true}, set_offset, View<uint64_t>(s.offset, 1),
           g.stream - s.start);  // wraps around where streams were set back
    g.stream += s.drawn;
  }
  s.start_all();
}
bool Graph::captured() const { return state_->ready; }

void keep_with_graph(std::shared_ptr<void> what) {
  if (kept_by_capture != nullptr) kept_by_capture->push_back(std::move(what));
}
bool capturing() { return offset_in_capture != nullptr; }
void check_not_capturing(const char* op) {
  check(!capturing(), op, "waits for the device, which a CUDA graph cannot do: take it out of what is captured");
}
const uint64_t* random_offset(Device) { return offset_in_capture; }

}  // namespace atlas::inline ATLAS_ABI::cuda
