// Bodies of dry_run.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "atlas/core/cuda_memory.h"
#include "atlas/core/rng.h"
#include "atlas/core/storage.h"
#include "atlas/data/feed.h"
#include "atlas/data/plot.h"
#include "atlas/nn/init.h"
#include "atlas/optim/ema.h"
#include "atlas/train/dry_run.h"
#include "atlas/train/setup.h"
#include "atlas/train/start.h"
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
                                    data::LoaderOptions options, int64_t batch, const MeasureOptions& how) {
  const Device device = model.device();
  double seconds = 0;  // per image, of the last measurement
  const auto measure = [&](int64_t images) {
    options.batch_size = images;
    data::Loader loader(set, options, transform);
    data::Feed feed(loader, device);
    GradientStep step(model, task, optimizer,
                      {.device = device, .batch_size = images, .bf16 = how.bf16, .now = how.now});
    feed.start_epoch(0, 0);
    model.train();
    reset_peak_memory(device);
    int64_t timed = 0;
    auto begin = std::chrono::steady_clock::now();
    data::Batch next;
    for (int i = 0; i < (how.timed ? 3 : 2) && feed.next(next); ++i) {
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
  const double limit = how.limit > 0 ? static_cast<double>(how.limit) : std::numeric_limits<double>::infinity();
  const double patience = how.timed ? 5 : 0.25;  // seconds of a step
  StepCost cost;
  double peak = 0, each = 0;
  for (int64_t images = std::min<int64_t>(batch, 2);;) {
    const double before = peak;
    try {
      peak = measure(images);
    } catch (const Error& e) {
      // There is less than was said, or more goes elsewhere. What fewer images took tells that the batch does not fit.
      const bool short_of_it = std::string_view(e.what()).starts_with("[allocate] out of memory");
      if (!short_of_it || peak + each * static_cast<double>(batch - cost.images) <= limit) throw;
      optimizer.zero_grad();
      break;
    }
    // What is left between steps does not grow with the batch; the rest of a first measurement may.
    each = cost.images == 0 ? (peak - static_cast<double>(memory_stats(device).current)) / static_cast<double>(images)
                            : std::max(0.0, (peak - before) / static_cast<double>(images - cost.images));
    const bool first = std::exchange(cost.images, images) == 0;
    int64_t next = std::min(batch, 2 * images);
    // One number is a poor line, as much of it need not grow: a second one is worth a try.
    if (first && 2 * peak > limit) next = std::min(batch, images + 1);
    if (next == images || peak / static_cast<double>(images) * static_cast<double>(next) > limit) break;
    if (images >= 4 && seconds * static_cast<double>(next) > patience) break;
    images = next;
  }
  cost.seconds_per_image = seconds;
  cost.bytes = static_cast<int64_t>(peak + each * static_cast<double>(batch - cost.images));
  cost.bytes_per_image = static_cast<int64_t>(each);
  return cost;
}

ATLAS_INLINE StepCost measure_run(const TrainConfig& c, const data::DatasetPtr& training, Device device,
                                  MeasureOptions how) {
  struct Generators {  // the run draws what it would have drawn
    Generator before = default_generator();
    ~Generators() { default_generator() = before; }
  } const generators;
  const std::unique_ptr<models::Model> model = make_model(c, training->num_classes());
  const std::unique_ptr<tasks::Task> task = make_task(c, *training);
  freeze_parts(*model, c.model.freeze);
  model->to(device);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(c, *model);
  std::optional<Ema> average;
  if (c.optimization.ema > 0) average.emplace(*model, EmaOptions{.decay = c.optimization.ema});
  const auto on_average = [&](const std::function<void()>& body) {
    const EvaluationScope inference(*model);
    const Ema::Swapped swapped = average->swap();
    body();
  };
  const auto epochs = static_cast<double>(c.optimization.epochs);
  if (average) how.now = [&] { return tasks::Moment{epochs - 0.5, epochs, 0, on_average}; };
  data::LoaderOptions options = train_loader_options(c);
  const tasks::Pipeline pipeline = pipeline_of(c);
  options.collate = tasks::collate_for(*task, true);
  options.pad = pipeline.train_pad;
  return measure_steps(*model, *task, *optimizer, training, pipeline.train, options, c.optimization.batch_size, how);
}

ATLAS_INLINE int64_t usable_memory(Device device, int64_t processes_here) {
  if (!device.is_cuda()) return memory_limit() / processes_here;
  if constexpr (kWithCuda) return cuda::device_bytes(device).free + memory_stats(device).reserved;
  return 0;
}

ATLAS_INLINE bool may_need_more(const TrainConfig& c, int64_t classes, int64_t limit) {
  // Models here take 0.4 to 10 KiB for a pixel of a training image, and at most five numbers for a parameter: itself,
  // its gradient, two moments and the moving average.
  constexpr double kForPixel = 16 << 10, kForParameter = 5 * sizeof(float);
  const double side = static_cast<double>(c.data.image_size);
  const SkipInit only_counted;
  const auto parameters = static_cast<double>(make_model(c, classes)->parameter_count());
  return static_cast<double>(c.optimization.batch_size) * side * side * kForPixel + parameters * kForParameter >
         static_cast<double>(limit);
}

ATLAS_INLINE std::string memory_problem(const TrainConfig& c, const StepCost& cost, int64_t limit) {
  if (limit <= 0 || cost.bytes <= limit) return "";
  const OptimizationSettings& o = c.optimization;
  const int64_t update = o.batch_size * o.accumulate;
  const int64_t fits = fitting_batch(o.batch_size, cost.bytes, cost.bytes_per_image, limit, update);
  return fmt::format("a step of batch_size {} takes about {} ({} for each image), more than the {} there are: {}",
                     o.batch_size, bytes_text(cost.bytes), bytes_text(cost.bytes_per_image), bytes_text(limit),
                     fits > 0 ? fmt::format("--batch-size {} --accumulate {} would fit", fits, update / fits)
                              : std::string("not even one image fits; a smaller --image-size or --model would"));
}

ATLAS_INLINE std::string plan_text(const TrainConfig& c, const StepCost& cost, int64_t images, int64_t processes) {
  const OptimizationSettings& o = c.optimization;
  const int64_t own = o.batch_size * o.accumulate, update = own * processes, per_epoch = images / update;
  std::string text = fmt::format("schedule     {} updates in an epoch, {} in all; {} images an update, {} in all\n",
                                 per_epoch, per_epoch * o.epochs, update, per_epoch * o.epochs * update);
  text += fmt::format("memory       about {} for a step of {} images ({} for each)\n", bytes_text(cost.bytes),
                      o.batch_size, bytes_text(cost.bytes_per_image));
  const double seconds = static_cast<double>(per_epoch * own) * cost.seconds_per_image;  // of each process
  text += fmt::format("time         about {} an epoch, {} in all, without tests ({:.3g} images/s in steps of {}{})\n",
                      StepCost::duration(seconds), StepCost::duration(seconds * static_cast<double>(o.epochs)),
                      1 / cost.seconds_per_image, cost.images, processes > 1 ? " of each process" : "");
  return text;
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
