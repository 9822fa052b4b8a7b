// A training step as a CUDA graph: replays compute what the step itself computes, with new random numbers each time,
// and what a graph cannot do is said.
#include "atlas/core/cuda_graph.h"

#include <doctest/doctest.h>

#include <cmath>
#include <optional>
#include <vector>

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/backward.h"
#include "atlas/core/cuda.h"
#include "atlas/core/profile.h"
#include "atlas/core/rng.h"
#include "atlas/models/presets.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/dropout.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/unary.h"
#include "atlas/optim/sgd.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/cuda_device.h"

using namespace atlas;
using test::have_device;
using test::kDevice;
using test::message_of;

namespace {

/// A few training steps, plain or from a graph; the loss of each, and a weight in the end.
std::vector<double> train(const char* name, bool graph, bool bf16) {
  manual_seed(7);
  const auto model =
      models::make_model(name, {.image_size = 32, .num_classes = 3, .overrides = R"({"drop_path_rate": 0.3})"});
  model->to(kDevice);
  SGD optimizer(decay_groups(*model, 0.01), {.lr = 0.05, .momentum = 0.9, .nesterov = true});
  Tensor images = zeros({2, 32, 32, 3}, float32, kDevice), labels = zeros({2}, int64, kDevice), loss;
  const auto step = [&] {
    optimizer.zero_grad();
    {
      std::optional<Autocast> mixed;
      if (bf16) mixed.emplace();
      loss = cross_entropy((*model)(images), labels);
    }
    loss.backward();
    loss = loss.detach();
  };
  cuda::Graph recorded(kDevice);
  std::vector<double> all;
  Generator pictures{11};
  for (int i = 0; i < 4; ++i) {
    images.copy_(uniform({2, 32, 32, 3}, -1, 1, float32, pictures, Device{}));
    labels.copy_(from_vector<int64_t>({i % 3, (i + 1) % 3}));
    if (graph && i >= 1) {  // the first step makes what is made once
      if (!recorded.captured()) recorded.capture(step);
      recorded.replay();
    } else {
      step();
    }
    optimizer.set_lr(0.05 / (i + 1));
    optimizer.step();
    all.push_back(loss.item());
    if (i == 2)
      (void)randn({int64_t{1} << 20}, float32, pictures, kDevice);  // memory that was the step's must not be handed out
  }
  for (const auto& [parameter, value] : model->named_parameters())
    all.push_back(on_host(value.select(0, 0).sum()).item());
  return all;
}

}  // namespace

TEST_CASE("Replays of a training step give the numbers of the step" * doctest::skip(!have_device())) {
  for (const char* name : {"atlas-toy", "mambavision-toy"}) {
    CAPTURE(name);
    CHECK(train(name, true, false) == train(name, false, false));
  }
  CHECK(train("atlas-toy", true, true) == train("atlas-toy", false, true));
}

TEST_CASE("Random numbers of replays are those of the same calls without a graph" * doctest::skip(!have_device())) {
  const Tensor x = ones({64}, float32, kDevice);
  Tensor y;
  const auto work = [&] { y = dropout(x, 0.5, true) + dropout(x, 0.25, true); };
  manual_seed(5);
  std::vector<std::vector<float>> plain, replayed;
  for (int i = 0; i < 3; ++i) {
    work();
    plain.push_back(to_vector<float>(y));
  }
  const uint64_t drawn = default_generator().stream;
  manual_seed(5);
  cuda::Graph graph(kDevice);
  graph.capture(work);
  CHECK(default_generator().stream == 0);  // nothing was computed yet
  for (int i = 0; i < 3; ++i) {
    graph.replay();
    replayed.push_back(to_vector<float>(y));
  }
  CHECK(replayed == plain);
  CHECK(default_generator().stream == drawn);
  manual_seed(6);
  CHECK(message_of([&] { graph.replay(); }).find("the seed is 6, it was 5") != std::string::npos);
}

TEST_CASE("What a graph cannot do" * doctest::skip(!have_device())) {
  Tensor x = ones({4}, float32, kDevice);
  cuda::Graph graph(kDevice);
  CHECK(message_of([&] { graph.replay(); }) ==
        "[cuda-graph] nothing was recorded yet: capture() comes before replay()");
  CHECK(message_of([&] { graph.capture([&] { x.sum().item(); }); }).find("[cuda-graph] this work cannot be recorded") ==
        0);
  CHECK_FALSE(graph.captured());
  CHECK(message_of([&] {
          graph.capture([&] { ones({4}, float32, Device{}).to(kDevice); });
        }).find("cannot be recorded") != std::string::npos);
  CHECK(x.sum().item() == 4);  // the device goes on as before
  start_profile();
  CHECK(message_of([&] { graph.capture([&] { x.mul_(2); }); }).find("not profiled one by one") != std::string::npos);
  stop_profile();
  graph.capture([&] { x.mul_(2); });
  CHECK(x.sum().item() == 4);
  graph.replay();
  graph.replay();
  CHECK(x.sum().item() == 16);
  CHECK(message_of([] { cuda::Graph on_cpu{Device{}}; }) == "[cuda-graph] graphs are for CUDA devices, not for cpu");
}

TEST_CASE("Kernels of a device are profiled by its clock" * doctest::skip(!have_device())) {
  const Tensor x = ones({16, 16}, float32, kDevice);
  start_profile();
  const Tensor y = x + x;
  const auto records = profile_records();
  stop_profile();
  REQUIRE(records.size() == 1);
  CHECK(std::string(records[0].op) == "add");
  CHECK(records[0].thread == ProfileRecord::kDeviceThread);
  CHECK(records[0].time > 0);
  CHECK(records[0].bytes == 3 * 1024);
}

TEST_CASE("Moving a module takes parameters, buffers and the state of its optimizer along" *
          doctest::skip(!have_device())) {
  // Three steps with momentum, each where `places` says.
  const auto losses = [](const std::vector<Device>& places) {
    manual_seed(1);
    const auto model = models::make_model("mambavision-toy", {.image_size = 32, .num_classes = 3});
    model->to(Device{});
    SGD optimizer(decay_groups(*model, 0.01), {.lr = 0.01, .momentum = 0.9});
    const Tensor images = randn({2, 32, 32, 3}, float32, default_generator(), Device{});
    std::vector<double> all;
    for (const Device place : places) {
      model->to(place);
      CHECK(model->device() == place);
      for (const StateEntry& e : model->state_entries()) CHECK(e.tensor.device() == place);
      const Tensor loss = mean(square((*model)(images.to(place))));
      loss.backward();
      optimizer.step();
      optimizer.zero_grad();
      all.push_back(on_host(loss.detach()).item());
    }
    return all;
  };
  const std::vector<double> here = losses({Device{}, Device{}, Device{}}),
                            moved = losses({Device{}, kDevice, Device{}});
  for (size_t i = 0; i < here.size(); ++i) CHECK(moved[i] == doctest::Approx(here[i]).epsilon(1e-3));
}
