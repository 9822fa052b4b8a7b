// How a training checkpoint is written and read.
#pragma once

#include <signal.h>

#include <bit>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <string_view>

#include "atlas/core/output_file.h"
#include "atlas/core/rng.h"
#include "atlas/io/checkpoint.h"
#include "atlas/io/safetensors.h"
#include "atlas/nn/module.h"
#include "atlas/nn/state.h"

namespace atlas::inline ATLAS_ABI::io {

namespace detail {

inline void add_prefixed(StateDict& all, std::string_view prefix, const StateDict& part) {
  for (const auto& [name, t] : part) all[std::string(prefix) + name] = t;
}

ATLAS_INLINE Tensor take(StateDict& all, const std::string& name, DType dtype, const Shape& shape,
                         const std::string& path) {
  const auto it = all.find(name);
  check(it != all.end(), "checkpoint", "{}: the entry '{}' is missing", path, name);
  check(it->second.dtype() == dtype && it->second.shape() == shape, "checkpoint", "{}: '{}' should be {}{}, found {}",
        path, name, atlas::name(dtype), shape.str(), describe(it->second));
  const Tensor t = it->second;
  all.erase(it);
  return t;
}

/// Removes temporary files that a process killed while saving `path` has left.
inline void remove_stale_temporaries(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path target(resolved_path(path)), folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  const std::string start = target.filename().string() + ".tmp-";
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string file = entry.path().filename().string();
    if (file.rfind(start, 0) != 0) continue;
    pid_t owner = 0;
    const char* end = file.data() + file.size();
    const auto [stop, bad] = std::from_chars(file.data() + start.size(), end, owner);
    if (bad == std::errc{} && stop == end && owner > 0 && ::kill(owner, 0) != 0 && errno == ESRCH)
      fs::remove(entry.path(), ignored);
  }
}

}  // namespace detail

ATLAS_INLINE void save_checkpoint(const std::string& path, const Checkpoint& c) {
  StateDict all;
  detail::add_prefixed(all, "model.", c.model);
  detail::add_prefixed(all, "optim.", c.optimizer);
  detail::add_prefixed(all, "ema.", c.ema);
  detail::add_prefixed(all, "extra.", c.extra);
  const auto counter = [&](const char* name, int64_t value) {
    Tensor t = empty({}, int64, Device{});
    *t.data<int64_t>() = value;
    all[name] = t;
  };
  counter("counters.epoch", c.epoch);
  counter("counters.step", c.step);
  Tensor best = empty({}, float64, Device{});
  *best.data<double>() = c.best_metric;
  all["counters.best_metric"] = best;
  Tensor rng = empty({2}, int64, Device{});
  rng.data<int64_t>()[0] = std::bit_cast<int64_t>(c.generator.seed);
  rng.data<int64_t>()[1] = std::bit_cast<int64_t>(c.generator.stream);
  all["rng"] = rng;
  detail::remove_stale_temporaries(path);
  save_safetensors(path, all,
                   {{"format", detail::kCheckpointFormat},
                    {"version", detail::kCheckpointVersion},
                    {"model", c.model_name},
                    {"config", c.config_json}});
}

ATLAS_INLINE Checkpoint load_checkpoint(const std::string& path) {
  SafetensorsFile file = load_safetensors(path);
  const auto& meta = file.metadata;
  const auto text = [&](const char* key) {
    const auto it = meta.find(key);
    return it == meta.end() ? std::string() : it->second;
  };
  check(
      text("format") == detail::kCheckpointFormat, "checkpoint",
      "{} is a safetensors file but no training checkpoint of this program (load weights alone with load_safetensors)",
      path);
  check(text("version") == detail::kCheckpointVersion, "checkpoint",
        "{} has version '{}' of the format, this program reads {}", path, text("version"), detail::kCheckpointVersion);

  Checkpoint c;
  c.model_name = text("model");
  c.config_json = text("config");
  c.epoch = detail::take(file.tensors, "counters.epoch", int64, {}, path).item<int64_t>();
  c.step = detail::take(file.tensors, "counters.step", int64, {}, path).item<int64_t>();
  c.best_metric = detail::take(file.tensors, "counters.best_metric", float64, {}, path).item<double>();
  check(c.epoch >= 0 && c.step >= 0, "checkpoint", "{}: counts epoch {} and step {}", path, c.epoch, c.step);
  const Tensor rng = detail::take(file.tensors, "rng", int64, {2}, path);
  c.generator = {std::bit_cast<uint64_t>(rng.at<int64_t>({0})), std::bit_cast<uint64_t>(rng.at<int64_t>({1}))};
  for (const auto& entry : file.tensors) {  // no structured binding: clang below 16 cannot capture one
    const std::string& name = entry.first;
    const auto into = [&](std::string_view prefix, StateDict& part) {
      const bool fits = name.rfind(prefix, 0) == 0;
      if (fits) part[name.substr(prefix.size())] = entry.second;
      return fits;
    };
    check(into("model.", c.model) || into("optim.", c.optimizer) || into("ema.", c.ema) || into("extra.", c.extra),
          "checkpoint", "{}: '{}' belongs to no part of a checkpoint", path, name);
  }
  check(!c.model.empty(), "checkpoint", "{} holds no weights", path);
  return c;
}

ATLAS_INLINE void restore_model(Module& model, const Checkpoint& c, const std::string& path,
                                const std::string& model_name) {
  try {
    model.load_state_dict(c.model);
  } catch (const Error& e) {
    fail("checkpoint", "{} is a checkpoint of {}{} and does not fit {}: {}", path,
         c.model_name.empty() ? "an unnamed model" : c.model_name,
         c.model_name == model_name ? " with another configuration" : "", model_name, e.what());
  }
}

}  // namespace atlas::inline ATLAS_ABI::io
