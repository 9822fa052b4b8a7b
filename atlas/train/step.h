// Forward and backward of one batch, op by op or as a CUDA graph.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/core/cuda_graph.h"
#include "atlas/core/rng.h"
#include "atlas/data/loader.h"
#include "atlas/optim/optimizer.h"
#include "atlas/tasks/task.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::train {

/// What one batch gave. On a device, reading it waits.
struct StepResult {
  Tensor images;
  data::Targets targets{};
  tasks::Named outputs{}, losses{};
  Tensor loss{};                   ///< sum of the losses
  std::vector<int64_t> indices{};  ///< positions of the images in their set
  Generator generator{};           ///< before the forward pass
};

struct StepOptions {
  Device device;
  int64_t batch_size = 0;                ///< of full batches
  int64_t accumulate = 1;                ///< batches whose gradients are added up
  bool bf16 = false;                     ///< Autocast
  bool graph = false;                    ///< record the work on full batches, and replay it
  std::function<tasks::Moment()> now{};  ///< where training is, for Task::prepare()
  /// On the CPU, called between forward and backward: the loss is known there at no cost.
  std::function<void(const StepResult&)> on_loss{};
  /// Whether a batch fits a graph on all processes: a graph holds what they send each other, so all replay it or none.
  std::function<bool(bool fits)> on_all{};
};

/// Makes gradients of batches.
///
/// As a graph, the work is recorded after a few steps without one, for batches of the full size; others are done op by
/// op. Gradients then stay in the same memory from step to step. The update of the weights is not part of it: its
/// learning rate changes, and it is a few launches for all parameters.
class GradientStep {
 public:
  GradientStep(const Module& model, const tasks::Task& task, Optimizer& optimizer, StepOptions options)
      : model_(model), task_(task), optimizer_(optimizer), o_(std::move(options)) {}

  /// @param share  of the batch in its update: what its loss is multiplied by
  StepResult operator()(const data::Batch& batch, double share) {
    StepResult r{
        .images = batch.images, .targets = batch.targets, .indices = batch.indices, .generator = default_generator()};
    if (o_.accumulate > 1)  // the feed uses its memory again
      for (auto& [name, target] : r.targets) target.value = target.value.clone();
    {
      std::optional<Autocast> mixed;
      if (o_.bf16) mixed.emplace();
      task_.prepare(model_, r.images, r.targets, o_.now ? o_.now() : tasks::Moment{});
    }
    if (!o_.graph) {
      compute(r, share);
      return r;
    }
    const bool fits = r.images.size(0) == o_.batch_size && before_graph_ <= 0 && fits_graph(r);
    if (!(o_.on_all ? o_.on_all(fits) : fits)) {
      --before_graph_;
      optimizer_.zero_grad();
      compute(r, share);
      graph_.reset();  // gradients are elsewhere now
      return r;
    }
    if (!graph_) record(r);
    recorded_.images.copy_(r.images);
    for (auto& [name, target] : recorded_.targets) target.value.copy_(r.targets[name]);
    graph_->replay();
    recorded_.generator = r.generator;
    recorded_.indices = r.indices;
    return recorded_;
  }
  /// After an update: drops the gradients, unless they are a graph's.
  void forget_gradients() {
    if (!graph_) optimizer_.zero_grad();
  }

 private:
  void compute(StepResult& r, double share) {
    {
      std::optional<Autocast> mixed;
      if (o_.bf16) mixed.emplace();
      r.outputs = task_.outputs(model_, r.images, r.targets);
      r.losses = task_.loss(r.outputs, r.targets);
      r.loss = tasks::total(r.losses);
    }
    if (o_.on_loss && !o_.device.is_cuda()) o_.on_loss(r);
    backward(r.loss, full({}, share, r.loss.dtype(), r.loss.device()));
    for (auto& [name, output] : r.outputs) output = output.detach();
    for (auto& [name, loss] : r.losses) loss = loss.detach();
    r.loss = r.loss.detach();
  }
  /// A graph is of one shape: batches of objects, whose number varies, are done op by op.
  bool fits_graph(const StepResult& r) const {
    for (const auto& [name, target] : r.targets) {
      if (!target.offsets.empty()) return false;
      const data::Target* recorded = graph_ ? recorded_.targets.find(name) : nullptr;  // a task may add one later
      if (graph_ && (recorded == nullptr || recorded->value.shape() != target.value.shape())) return false;
    }
    return !graph_ || recorded_.images.shape() == r.images.shape();
  }
  void record(const StepResult& like) {
    recorded_ = {.images = like.images.clone(), .targets = like.targets};
    for (auto& [name, target] : recorded_.targets) target.value = target.value.clone();
    auto graph = std::make_unique<cuda::Graph>(o_.device);
    graph->capture([&] {
      optimizer_.zero_grad();
      compute(recorded_, 1);  // a graph does not add up batches
    });
    graph_ = std::move(graph);
  }

  const Module& model_;
  const tasks::Task& task_;
  Optimizer& optimizer_;
  StepOptions o_;
  int64_t before_graph_ = 3;
  StepResult recorded_{};  // inputs and results of the graph
  std::unique_ptr<cuda::Graph> graph_;
};

}  // namespace atlas::inline ATLAS_ABI::train
