// Bodies of dry_run.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "atlas/core/storage.h"
#include "atlas/data/feed.h"
#include "atlas/data/plot.h"
#include "atlas/train/dry_run.h"
#include "atlas/train/step.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE std::string StepCost::duration(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  if (seconds < 5400) return fmt::format("{:.1f} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{:.1f} h", seconds / 3600);
  return fmt::format("{:.1f} days", seconds / 86400);
}

ATLAS_INLINE StepCost measure_steps(Module& model, const tasks::Task& task, Optimizer& optimizer,
                                    const data::DatasetPtr& set, const data::Transform& transform,
                                    data::LoaderOptions options, int64_t batch, bool bf16) {
  const Device device = model.device();
  const auto measure = [&](int64_t images, double& seconds) {
    options.batch_size = images;
    data::Loader loader(set, options, transform);
    data::Feed feed(loader, device);
    GradientStep step(model, task, optimizer, {.device = device, .batch_size = images, .bf16 = bf16});
    feed.start_epoch(0, 0);
    model.train();
    reset_peak_memory(device);
    int64_t timed = 0;
    auto begin = std::chrono::steady_clock::now();
    data::Batch next;
    for (int i = 0; i < 3 && feed.next(next); ++i) {
      const double loss = step(next, 1).loss.item();  // waits for the device
      check(std::isfinite(loss), "dry-run", "the loss of step {} is not finite", i + 1);
      optimizer.set_lr(0);
      optimizer.step();
      step.forget_gradients();
      if (i == 0)
        begin = std::chrono::steady_clock::now();  // the first one makes room for the others
      else
        timed += images;
    }
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    seconds = timed > 0 ? took / static_cast<double>(timed) : 0;
    return static_cast<double>(memory_stats(device).peak);
  };
  StepCost cost;
  const int64_t few = std::min<int64_t>(batch, 2), more = std::min<int64_t>(batch, 4);
  double seconds = 0;
  const double small = measure(few, seconds);
  const double large = more > few ? measure(more, seconds) : small;
  const double each = more > few ? std::max(0.0, (large - small) / static_cast<double>(more - few)) : 0;
  cost.images = more;
  cost.seconds_per_image = seconds;
  cost.bytes = static_cast<int64_t>(large + each * static_cast<double>(batch - more));
  cost.bytes_per_image = static_cast<int64_t>(each);
  // Where whole batches are quick, they say it better.
  if (batch > more && seconds * static_cast<double>(batch) < 5 && (device.is_cuda() || cost.bytes < memory_limit())) {
    const double whole = measure(batch, seconds);
    if (seconds > 0) {
      cost.images = batch;
      cost.seconds_per_image = seconds;
      cost.bytes = static_cast<int64_t>(whole);
    }
  }
  return cost;
}

ATLAS_INLINE int64_t fitting_batch(int64_t batch, int64_t bytes, int64_t per_image, int64_t limit, int64_t update) {
  for (int64_t b = batch; b >= 1; --b)
    if (update % b == 0 && bytes - (batch - b) * per_image <= limit) return b;
  return 0;
}

ATLAS_INLINE Tensor schedule_picture(const Schedule& schedule, int64_t updates_per_epoch, int64_t epochs) {
  data::Series line{"learning rate", {}, {}};
  const int64_t all = std::max<int64_t>(1, updates_per_epoch * epochs), points = std::min<int64_t>(all, 2000);
  for (int64_t i = 0; i < points; ++i) {
    const int64_t update = points > 1 ? i * (all - 1) / (points - 1) : 0;
    line.x.push_back(static_cast<double>(update) / static_cast<double>(updates_per_epoch));
    line.y.push_back(schedule.lr(update, updates_per_epoch));
  }
  return data::line_chart({line}, {.title = "Learning rate", .x_label = "epoch", .y_label = "", .y_min = 0});
}

}  // namespace atlas::inline ATLAS_ABI::train
