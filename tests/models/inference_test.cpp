// Inference: with batch norms folded and tables kept, models give the logits of the layers one by one, also after their
// weights changed in any way.
// ctest-device: cpu
#include <thread>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/core/parallel.h"
#include "atlas/nn/finite_guard.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/unary.h"
#include "atlas/optim/sgd.h"
#include "atlas/tensor/create.h"
#include "tests/models/golden_state.h"

using namespace atlas;

namespace {

/// Logits with every layer run by itself: a module that is watched keeps and folds nothing.
Tensor plain(models::Classifier& model, const Tensor& images) {
  const NoGrad off;
  const FiniteGuard watched(model);
  return model(images);
}
Tensor inferred(const models::Classifier& model, const Tensor& images) {
  const NoGrad off;
  return model(images);
}
/// Largest difference of the logits relative to the largest of them.
double error(models::Classifier& model, const Tensor& images) {
  const Tensor want = plain(model, images);
  return golden::largest_difference(inferred(model, images), want) / max(abs(want)).item();
}
/// The models of two golden files, with weights from the formula: running statistics are far from 0 and 1.
std::unique_ptr<models::Classifier> formula_model(const char* file) {
  const auto golden = golden::load(file);
  auto model = models::make_model_from_config(golden.metadata.at("family"), golden.metadata.at("config"));
  io::formula_fill(*model);
  model->eval();
  return model;
}

}  // namespace

TEST_CASE("inference agrees with the unfolded model, and follows every change of its weights") {
  for (const char* file : {"mambavision_37x53", "atlas_patch4_37x53", "atlas_patch8", "atlas_1scale"}) {
    CAPTURE(file);
    const auto model = formula_model(file);
    const Tensor images = io::formula_image(2, 64, 48);
    CHECK(golden::largest_difference(plain(*model, images), (*model)(images)) == 0);  // recording: no folding either
    const Tensor before = inferred(*model, images);
    CHECK(golden::largest_difference(before, plain(*model, images)) > 0);  // or nothing was folded
    CHECK(error(*model, images) < 1e-5);
    CHECK(golden::largest_difference(inferred(*model, images), before) == 0);
    CHECK_FALSE(before.requires_grad());
    const auto changed = [&](const char* how) {
      CAPTURE(how);
      CHECK(error(*model, images) < 1e-5);
      CHECK(golden::largest_difference(inferred(*model, images), before) > 1e-4);
    };

    model->train();  // a training pass moves the running statistics, a step the weights
    SGD optimizer(decay_groups(*model, 0), {.lr = 0.01});
    Tensor target = zeros({2}, int64);
    for (int step = 0; step < 2; ++step) {
      backward(cross_entropy((*model)(images), target));
      model->eval();
      changed("a training pass");
      model->train();
      optimizer.step();
      optimizer.zero_grad();
      model->eval();
      changed("an optimizer's step");
      model->train();
    }
    model->eval();
    for (const auto& [name, parameter] : model->named_parameters()) {
      if (parameter.dim() != 1) continue;
      Tensor t = parameter.detach();
      t.mul_(1.01);
    }
    changed("editing in place");

    io::formula_fill(*model);
    CHECK(golden::largest_difference(inferred(*model, images), before) == 0);
    model->to(float64);
    const Tensor exact = inferred(*model, images.to(float64));
    CHECK(golden::largest_difference(exact, plain(*model, images.to(float64))) < 1e-11);
    model->to(float32);
    CHECK(golden::largest_difference(inferred(*model, images), before) < 1e-5);
    const auto other = formula_model(file);
    for (const auto& [name, parameter] : other->named_parameters()) {
      Tensor t = parameter.detach();
      t.mul_(1.1);
    }
    model->load_state_dict(other->state_dict());
    changed("load_state_dict");
    CHECK(golden::largest_difference(inferred(*model, images), inferred(*other, images)) == 0);
  }
}

TEST_CASE("inference at one size after another") {
  const auto model = formula_model("atlas_patch4_37x53");
  const Tensor small = io::formula_image(1, 20, 20), large = io::formula_image(1, 61, 40);
  const Tensor first = inferred(*model, small);
  inferred(*model, large);
  CHECK(golden::largest_difference(inferred(*model, small), first) == 0);
  CHECK(error(*model, large) < 1e-5);
}

TEST_CASE("a model may infer in several threads") {
  for (const char* file : {"mambavision_37x53", "atlas_patch4_37x53"}) {
    const auto model = formula_model(file);
    const Tensor images = io::formula_image(1, 64, 48), want = inferred(*formula_model(file), images);
    std::vector<Tensor> got(3);
    std::vector<std::thread> threads;
    for (Tensor& logits : got) threads.emplace_back([&] { logits = inferred(*model, images); });
    for (auto& t : threads) t.join();
    for (const Tensor& logits : got) CHECK(golden::largest_difference(logits, want) == 0);
  }
}

TEST_CASE("inference needs less memory for activations, and nothing grows") {
  const int before = num_threads();
  set_num_threads(1);  // the scratch memory of other threads grows when they first get a piece of work
  {
    const auto model = formula_model("atlas_patch8");  // the stem takes most
    const Tensor images = io::formula_image(2, 96, 96);
    plain(*model, images);
    const int64_t nothing_kept = memory_stats(default_device()).current;
    for (int i = 0; i < 2; ++i) inferred(*model, images);  // some is kept from the second use on
    const int64_t kept = memory_stats(default_device()).current;
    if (!default_device().is_cuda()) CHECK(kept > nothing_kept);  // packed weights
    reset_peak_memory(default_device());
    inferred(*model, images);
    CHECK(memory_stats(default_device()).current == kept);
    const int64_t peak = memory_stats(default_device()).peak - kept;
    plain(*model, images);
    CHECK(memory_stats(default_device()).current == nothing_kept);
    reset_peak_memory(default_device());
    plain(*model, images);
    CHECK(peak < memory_stats(default_device()).peak - nothing_kept);
  }
  set_num_threads(before);
}
