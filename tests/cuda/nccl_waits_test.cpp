// How long devices wait for those of other ranks. As nccl_test.cpp, for any number of processes.
#include <doctest/doctest.h>
#include <unistd.h>

#include "atlas/core/cuda_graph.h"
#include "atlas/tensor/create.h"
#include "tests/compare.h"
#include "tests/cuda/own_device.h"
#include "tests/dist/slow_rank.h"

using namespace atlas;
using dist::Group;

namespace {

/// Seconds that this rank waits for others during `what`, with which the last rank begins 0.8 s later.
template <class F>
double waited(const Group& group, const F& what) {
  group.barrier();
  const double before = group.waited();
  if (group.rank() == group.size() - 1) usleep(800'000);
  what();
  return group.waited() - before;
}

}  // namespace

TEST_CASE("what a device waits for other ranks is known, in graphs too") {
  const Group group = Group::world();
  const Device device = test::own_device(group);
  group.use(device);
  const bool late = group.rank() == group.size() - 1;
  Tensor x = ones({2}, float32, device);
  const auto check_waited = [&](double seconds) {
    if (late)
      CHECK(seconds < 0.4);
    else
      CHECK(seconds > 0.6);
    CHECK(seconds < 5);
  };
  check_waited(waited(group, [&] { group.all_reduce(x); }));
  check_waited(waited(group, [&] {
    group.broadcast(x);
    group.all_gather(x);
    group.reduce_scatter(ones({group.size()}, float32, device));
  }));
#if !ATLAS_CUDA_EMULATE  // where the host does what is beside computing, before it goes on
  check_waited(waited(group, [&] { group.start_all_reduce(x).wait(); }));
#endif
  for (int recording = 0; recording < 2; ++recording) {  // the first graph is gone when the second is used
    cuda::Graph graph(device);
    graph.capture([&] { group.all_reduce(x); });
    check_waited(waited(group, [&] { graph.replay(); }));
    CHECK(waited(group, [] {}) < 0.1);  // what was counted counts no more
    check_waited(waited(group, [&] { graph.replay(); }));
  }
}

TEST_CASE("the slow rank of several is found on devices") {
  const Group group = Group::world();
  const test::StepTimes times = test::times_with_slow_rank(group, test::own_device(group), 0.5);
  CHECK(times.slowest >= 0.5);
  CHECK(times.slowest_rank == group.size() - 1);
  if (group.size() > 1)
    CHECK(times.fastest < times.slowest - 0.3);
  else
    CHECK(times.fastest == times.slowest);
}
