// Forward and backward of one batch, op by op or as a CUDA graph.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/core/cuda_graph.h"
#include "atlas/core/rng.h"
#include "atlas/data/loader.h"
#include "atlas/models/classifier.h"
#include "atlas/ops/loss.h"
#include "atlas/optim/optimizer.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::train {

/// What one batch gave. On a device, reading it waits.
struct StepResult {
  Tensor images, target{}, logits{}, loss{};
  Generator generator{};  ///< before the forward pass
};

struct StepOptions {
  Device device;
  int64_t batch_size = 0;  ///< of full batches
  int64_t accumulate = 1;  ///< batches whose gradients are added up
  bool bf16 = false;       ///< Autocast
  bool graph = false;      ///< record the work on full batches, and replay it
  /// On the CPU, called between forward and backward: the loss is known there at no cost.
  std::function<void(const StepResult&)> on_loss{};
};

/// Makes gradients of batches.
///
/// As a graph, the work is recorded after a few steps without one, for batches of the full size; others are done op by
/// op. Gradients then stay in the same memory from step to step. The update of the weights is not part of it: its
/// learning rate changes, and it is a few launches for all parameters.
class GradientStep {
 public:
  GradientStep(models::Classifier& model, Optimizer& optimizer, StepOptions options)
      : model_(model), optimizer_(optimizer), o_(std::move(options)) {}

  StepResult operator()(const data::Batch& batch) {
    StepResult r{.images = batch.images, .generator = default_generator()};
    r.target = batch.targets[batch.targets.contains(data::kSoftLabel) ? data::kSoftLabel : data::kLabel];
    if (o_.accumulate > 1) r.target = r.target.clone();  // the feed uses its memory again
    if (!o_.graph) {
      compute(r);
      return r;
    }
    if (r.images.size(0) != o_.batch_size || before_graph_ > 0) {
      --before_graph_;
      optimizer_.zero_grad();
      compute(r);
      graph_.reset();  // gradients are elsewhere now
      return r;
    }
    if (!graph_) record(r);
    recorded_.images.copy_(r.images);
    recorded_.target.copy_(r.target);
    graph_->replay();
    recorded_.generator = r.generator;
    return recorded_;
  }
  /// After an update: drops the gradients, unless they are a graph's.
  void forget_gradients() {
    if (!graph_) optimizer_.zero_grad();
  }

 private:
  void compute(StepResult& r) {
    {
      std::optional<Autocast> mixed;
      if (o_.bf16) mixed.emplace();
      r.logits = model_(r.images);
      r.loss = cross_entropy(r.logits, r.target);
    }
    if (o_.on_loss && !o_.device.is_cuda()) o_.on_loss(r);
    backward(r.loss, full({}, 1.0 / static_cast<double>(o_.accumulate), r.loss.dtype(), r.loss.device()));
    r.logits = r.logits.detach();
    r.loss = r.loss.detach();
  }
  void record(const StepResult& like) {
    recorded_ = {.images = like.images.clone(), .target = like.target.clone()};
    auto graph = std::make_unique<cuda::Graph>(o_.device);
    graph->capture([&] {
      optimizer_.zero_grad();
      compute(recorded_);
    });
    graph_ = std::move(graph);
  }

  models::Classifier& model_;
  Optimizer& optimizer_;
  StepOptions o_;
  int64_t before_graph_ = 3;
  StepResult recorded_{};  // inputs and results of the graph
  std::unique_ptr<cuda::Graph> graph_;
};

}  // namespace atlas::inline ATLAS_ABI::train
