// Bodies of observers.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <string_view>
#include <vector>

#include "atlas/core/storage.h"
#include "atlas/train/observers.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE std::string Checkpoints::advice() const {
  return std::filesystem::exists(last()) ? "The last good checkpoint is " + last() + "."
                                         : std::string("No checkpoint was written yet.");
}

ATLAS_INLINE void EpochLog::on_epoch_end(Trainer& t, const EpochResult& result) {
  LogRow row = {{"epoch", result.epoch}, {"updates", t.step()}, {"lr", t.optimizer().lr()}};
  for (const tasks::Value& v : result.training.values()) row.emplace_back("train_" + v.name, v.value);
  for (const tasks::Value& v : result.test.values()) row.emplace_back("test_" + v.name, v.value);
  row.emplace_back("images_per_second", result.images_per_second);
  row.emplace_back("seconds", result.seconds);
  // With several processes; a run that goes on with another number of them keeps its columns.
  const auto has = [&](const char* name) {
    return std::ranges::find(log_.rows().back(), name, &LogRow::value_type::first) != log_.rows().back().end();
  };
  for (const auto& [name, value] : {std::pair<const char*, LogValue>{"fastest_step_seconds", result.fastest_step},
                                    {"slowest_step_seconds", result.slowest_step},
                                    {"slowest_rank", result.slowest_rank}})
    if (log_.rows().empty() ? t.ranks() > 1 : has(name)) row.emplace_back(name, value);
  row.emplace_back("peak_memory_mib", static_cast<double>(memory_stats(t.model().device()).peak) / (1 << 20));
  log_.write(row);
}

ATLAS_INLINE ProgressInfo ProgressBars::info(const tasks::Meter& meter, const std::vector<tasks::Value>& values,
                                             const tasks::Goal& goal, int64_t before, int64_t ranks) const {
  const auto find = [&](std::string_view name) {
    const auto found = std::ranges::find(values, name, &tasks::Value::name);
    return found == values.end() ? std::numeric_limits<double>::quiet_NaN() : found->value;
  };
  return {.loss = find("loss"),
          .measure = find(goal.value),
          .measure_name = goal.label.empty() ? goal.value : goal.label,
          .share = goal.share,
          .images = (meter.images() - before) * ranks};
}

ATLAS_INLINE std::string ProgressBars::label(const Trainer& t, const char* word) const {
  const int64_t epochs = t.options().epochs;
  return fmt::format("{} {:>{}}/{}", word, t.epoch() + 1, std::to_string(epochs).size(), epochs);
}

ATLAS_INLINE void ProgressBars::on_epoch_start(Trainer& t) {
  seen_ = t.meter().images();
  bar_ = std::make_unique<Progress>(label(t, "epoch"), t.epoch_end(), o_, t.position().images);
}

ATLAS_INLINE void ProgressBars::on_batch(Trainer& t, const data::Batch& batch) {
  bar_->update(batch.end, info(t.meter(), t.meter().values_so_far(), t.task().goal(), seen_, t.ranks()));
}

ATLAS_INLINE void ProgressBars::on_test_start(Trainer& t, int64_t batches) {
  const bool within = bar_ != nullptr && t.epoch() < t.options().epochs;
  if (bar_) bar_->finish();
  bar_ = std::make_unique<Progress>(within ? label(t, "test ") : "test", batches, o_);
  batches_ = batches;
  done_ = 0;
}

ATLAS_INLINE void ProgressBars::on_test_batch(Trainer& t, int64_t done, const tasks::Meter& so_far) {
  done_ = done;
  const std::vector<tasks::Value> values = done == batches_ ? so_far.values() : so_far.values_so_far();
  bar_->update(done, info(so_far, values, t.task().goal(), 0, t.ranks()));
}

ATLAS_INLINE void ProgressBars::on_test_end(Trainer&) {
  if (bar_ && done_ == batches_) bar_->finish();
  bar_.reset();
}

}  // namespace atlas::inline ATLAS_ABI::train
