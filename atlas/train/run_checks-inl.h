// What a run is asked before it begins, and what it says of its images at the end: a part of run-inl.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "atlas/data/dataset.h"
#include "atlas/dist/data_parallel.h"
#include "atlas/dist/group.h"
#include "atlas/dist/placement.h"
#include "atlas/io/checkpoint.h"
#include "atlas/io/utf8.h"
#include "atlas/tensor/create.h"
#include "atlas/train/config.h"
#include "atlas/train/group_state.h"
#include "atlas/train/run_options.h"

namespace atlas::inline ATLAS_ABI::train::detail {

/// The settings of each process: where batches are accumulated for one, several share them.
/// @throws Error when they cannot be shared
inline TrainConfig shared_among(const dist::Group& group, TrainConfig c, const RunOptions& o) {
  int64_t& accumulate = c.optimization.accumulate;
  if (!o.share_accumulation || accumulate <= 1) return c;
  const int64_t processes = group.size(), batch = c.optimization.batch_size, images = batch * accumulate;
  check(accumulate % processes == 0, "accumulate",
        "an update of {} images (batch_size {} x accumulate {}) is not shared by {} processes: {}", images, batch,
        accumulate, processes,
        images % processes == 0 && images / processes < batch
            ? fmt::format("--batch-size {} --accumulate 1 would have as many images", images / processes)
            : std::string("choose --accumulate for each of them, or another number"));
  accumulate /= processes;
  return c;
}

/// What is asked for besides the settings. @return where to compute
inline Device checked_device(const TrainConfig& c, const RunOptions& o, const dist::Group& group) {
  check(o.processes >= 0, "processes", "needs a number >= 0, got {}", o.processes);
  check(o.processes == 0 || o.processes == group.size(), "processes",
        "{} were asked for, but {} started (mpirun -n {} train ...)", o.processes,
        group.size() == 1 ? "1 was" : std::to_string(group.size()) + " were", o.processes);
  const Device device = dist::place_device(group, o.device);
  check(c.compute.precision == "float32" || device.is_cuda(), "precision",
        "bf16 is for training on CUDA devices (--device cuda); on the CPU leave it at float32");
  check(o.augment == "auto" || o.augment == "host" || o.augment == "device", "augment",
        "'{}' is unknown; there are auto, host and device", o.augment);
  check(o.tensorboard_histograms >= 0, "tensorboard-histograms", "needs a number >= 0, got {}",
        o.tensorboard_histograms);
  check(!o.cuda_graph || c.optimization.accumulate == 1, "cuda-graph",
        "accumulate = {}: gradients of several batches are not added up in a graph; use a larger batch_size",
        c.optimization.accumulate);
  check(!o.cuda_graph || o.profile.empty(), "cuda-graph",
        "kernels of a graph are not profiled one by one: leave --profile or --cuda-graph out");
  check(!o.cuda_graph || device.is_cuda(), "cuda-graph", "a step can only be captured on a CUDA device, not on {}",
        device.str());
  return device;
}

/// All ranks were started alike, and see the same run. How many threads each has is its own business.
inline void check_same_settings(const TrainConfig& c, const RunOptions& o, const dist::Group& group, Device device) {
  if (group.size() == 1) return;
  dist::Settings settings;
  const nlohmann::json all = nlohmann::json::parse(to_json(c));
  for (const auto& [key, value] : all.items())
    if (key != "threads" && key != "workers") settings.emplace_back(key, value.dump());
  settings.emplace_back("--resume", o.resume ? "on" : "off");
  settings.emplace_back("--eval-only", o.eval_only ? "on" : "off");
  settings.emplace_back("--dry-run", o.dry_run ? "on" : "off");
  settings.emplace_back("--any-memory", o.any_memory ? "on" : "off");
  settings.emplace_back("--cuda-graph", o.cuda_graph ? "on" : "off");
  settings.emplace_back("--augment", o.augment);
  settings.emplace_back("device", device.is_cuda() ? "cuda" : "cpu");
  for (const char* name : {"/last.ckpt", "/best.ckpt"}) {
    const std::string file = o.out + name;
    settings.emplace_back(file, std::filesystem::exists(file) ? "there" : "missing");
  }
  dist::check_agree(group, "the start", settings);
}

/// All ranks have read the same weights and averages from a checkpoint that they test.
inline void check_same_checkpoint(const io::Checkpoint& saved, const std::string& file, const dist::Group& group) {
  if (group.size() == 1) return;
  dist::Settings found;
  for (const auto& [kind, state] : {std::pair{"model", &saved.model}, std::pair{"ema", &saved.ema}})
    for (const auto& [name, value] : *state)
      found.emplace_back(fmt::format("{}.{}", kind, name),
                         fmt::format("{:016x} (hash of its values)", dist::hash_of(value)));
  dist::check_agree(group, file, found);
}

/// Folders may have any name, but checkpoints and logs hold JSON, and tables are read by names: said before the first
/// epoch, not after it.
inline void check_class_names(const std::vector<std::string>& classes, const std::string& data) {
  std::map<std::string, size_t> seen;
  for (size_t i = 0; i < classes.size(); ++i) {
    const std::string& name = classes[i];
    check(io::is_utf8(name), "data", "the class '{}' of {} is not UTF-8, which checkpoints need: give it another name",
          io::escaped(name), data);
    check(name.find_first_not_of(" \t\r\n") != name.npos, "data", "class {} of {} has no name", i, data);
    const auto [earlier, fresh] = seen.emplace(name, i);
    check(fresh, "data", "classes {} and {} of {} are both named '{}': give one of them another name", earlier->second,
          i, data, name);
  }
}

/// Other data may have as many classes, but what the model says would then be read wrongly.
inline void check_classes(const io::Checkpoint& saved, const std::string& file, const std::vector<std::string>& classes,
                          const std::string& data) {
  const nlohmann::json config = nlohmann::json::parse(saved.config_json, nullptr, false);
  if (!config.is_object() || !config.contains("classes")) return;
  const nlohmann::json theirs = config["classes"], ours = classes;
  check(theirs.size() == ours.size(), "checkpoint", "{} was trained on {} classes, but {} has {}", file, theirs.size(),
        data, ours.size());
  for (size_t i = 0; i < ours.size(); ++i)
    check(theirs[i] == ours[i], "checkpoint",
          "{} was trained on other classes than those of {}: number {} is {}, not {}", file, data, i, theirs[i].dump(),
          ours[i].dump());
}

/// A line for runs that chose other images by their limits than are chosen now; else "".
///
/// Limits took every n-th image once, not equal shares of all classes. Checkpoints of that time have "epoch_so_far".
/// @param saved  as its file has it, before upgrade()
inline std::string limits_note(const io::Checkpoint& saved, const std::string& file, const TrainConfig& c,
                               bool trains) {
  if (!saved.extra.contains("epoch_so_far")) return "";
  std::string limits = trains && c.data.limit_train > 0 ? fmt::format("limit_train = {}", c.data.limit_train) : "";
  if (c.data.limit_test > 0) limits += fmt::format("{}limit_test = {}", limits.empty() ? "" : ", ", c.data.limit_test);
  if (limits.empty()) return "";
  return fmt::format("{}: {} was written when limits chose other images of the set than they do now\n", limits, file);
}

/// Images that any rank met and could not read.
inline int64_t skipped_of(const data::Dataset& set, const dist::Group& group) {
  if (group.size() == 1 || !group.any(set.skipped() > 0)) return set.skipped();
  const Tensor met = zeros({set.size()}, int64, Device{});
  for (int64_t i = 0; i < set.size(); ++i) met.data<int64_t>()[i] = set.was_skipped(i) ? 1 : 0;
  group.all_reduce(met, dist::Reduce::max);
  return std::count(met.data<int64_t>(), met.data<int64_t>() + set.size(), 1);
}

}  // namespace atlas::inline ATLAS_ABI::train::detail
