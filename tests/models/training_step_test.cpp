// A whole training step: what it asks the system for, and that it does not depend on the number of threads.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "atlas/autograd/backward.h"
#include "atlas/core/parallel.h"
#include "atlas/io/formula.h"
#include "atlas/models/presets.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/loss.h"
#include "atlas/optim/adam.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

using namespace atlas;

namespace {

/// A toy with the formula's weights, its optimizer and a batch.
struct Trained {
  std::unique_ptr<models::Classifier> model;
  std::unique_ptr<AdamW> optimizer;
  Tensor images, labels;

  explicit Trained(const char* name, int64_t batch = 6) {
    model = models::make_model(name);
    io::formula_fill(*model);
    model->train();
    optimizer = std::make_unique<AdamW>(decay_groups(*model, 0.05), AdamOptions{.lr = 1e-3});
    images = io::formula_image(batch, 32, 32);
    std::vector<int64_t> classes;
    for (int64_t i = 0; i < batch; ++i) classes.push_back(i % model->num_classes());
    labels = from_vector(classes);
  }
  Tensor step() {
    const Tensor loss = cross_entropy((*model)(images), labels, 0.1);
    optimizer->zero_grad();
    loss.backward();
    optimizer->step();
    return loss.detach();
  }
};

std::vector<float> contents(const Tensor& t) { return to_vector<float>(t); }

}  // namespace

TEST_CASE("a training step after the first two asks the system for no memory") {
  const int threads = num_threads();
  set_num_threads(1);  // the scratch memory of other threads grows when they first get a piece of work of its size
  for (const char* name : {"atlas-toy", "mambavision-toy"}) {
    INFO(std::string(name));
    Trained trained(name);
    // The second step is the first that has gradients and moments from before.
    for (int i = 0; i < 2; ++i) trained.step();
    const MemoryStats before = memory_stats(default_device());
    for (int i = 0; i < 3; ++i) trained.step();
    const MemoryStats after = memory_stats(default_device());
    if (default_device().is_cuda()) {
      CHECK(after.system_calls <=
            before.system_calls + 3);  // lists of gradients for the optimizer, of which 32 are kept
      continue;
    }
    CHECK(after.system_calls == before.system_calls);
    CHECK(after.reserved == before.reserved);
    CHECK(after.current == before.current);
  }
  set_num_threads(threads);
}

TEST_CASE("two training steps give the same bits on 1, 2 and 4 threads") {
  if (default_device().is_cuda()) {
    MESSAGE("the device's results do not depend on threads of the host: not tried");
    return;
  }
  const int before = num_threads();
  for (const char* name : {"atlas-toy", "mambavision-toy"}) {
    INFO(std::string(name));
    std::vector<std::vector<float>> wanted;
    for (const int threads : {1, 2, 4}) {
      INFO(threads, " threads");
      set_num_threads(threads);
      Trained trained(name);
      std::vector<std::vector<float>> got;
      for (int i = 0; i < 2; ++i) got.push_back(contents(trained.step()));
      for (const StateEntry& e : trained.model->state_entries()) {
        if (e.tensor.dtype() != float32) continue;
        got.push_back(contents(e.tensor));
        if (e.is_parameter) got.push_back(contents(e.tensor.grad()));
      }
      if (wanted.empty()) wanted = got;
      REQUIRE(got.size() == wanted.size());
      int64_t different = 0;
      for (size_t i = 0; i < got.size(); ++i)
        different += got[i].size() != wanted[i].size() ||
                     std::memcmp(got[i].data(), wanted[i].data(), got[i].size() * sizeof(float)) != 0;
      CHECK(different == 0);
    }
    set_num_threads(before);
  }
}
