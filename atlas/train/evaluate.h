// Testing a model on a data set.
// Not in atlas.h: include it by name.
#pragma once

#include <memory>

#include "atlas/autograd/node.h"
#include "atlas/data/feed.h"
#include "atlas/nn/module.h"
#include "atlas/ops/cast.h"
#include "atlas/tasks/task.h"
#include "atlas/tensor/memory.h"
#include "atlas/train/diagnose.h"

namespace atlas::inline ATLAS_ABI::train {

/// Runs the model over all batches of `loader` in inference mode (batch statistics and dropout off), and sets it back.
/// @param after  called after each batch with the number of batches behind and what they gave
/// @param stop   asked before each batch; true ends the pass early
/// @return what the task's meter for tests found
/// @throws Failure naming the module, for weights and results that are NaN or infinite.
template <class After, class Stop>
std::unique_ptr<tasks::Meter> evaluate(Module& model, const tasks::Task& task, data::Loader& loader, const After& after,
                                       const Stop& stop) {
  NoGrad off;
  require_finite_weights(model);
  const EvaluationScope inference(model);
  std::unique_ptr<tasks::Meter> meter = task.meter(false);
  data::Feed feed(loader, model.device());
  feed.start_epoch(0);
  for (data::Batch batch; !stop() && feed.next(batch);) {
    if (!batch.images.defined()) continue;  // other processes have its images
    // The batch is small after the model: the numbers are made on the host, which waits once for all of them.
    tasks::Named outputs = task.outputs(model, batch.images, batch.targets);
    for (auto& [name, output] : outputs) {
      output = on_host(is_floating(output.dtype()) ? output.to(float32) : output);
      if (is_floating(output.dtype()))
        require_finite(model, batch.images, output, [&] { task.outputs(model, batch.images, batch.targets); });
    }
    data::Targets targets = batch.targets;
    for (auto& [name, target] : targets) target.value = on_host(target.value);
    meter->add(outputs, targets, task.test_loss(outputs, targets), batch.indices);
    after(batch.number + 1, *meter);
  }
  return meter;
}

}  // namespace atlas::inline ATLAS_ABI::train
