// Bodies of run_state.h.
#pragma once

#include <array>
#include <limits>

#include "atlas/core/error.h"
#include "atlas/tensor/create.h"
#include "atlas/train/run_state.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {

inline Tensor whole_number(int64_t value) {
  Tensor t = empty({}, int64, Device{});
  *t.data<int64_t>() = value;
  return t;
}

/// Removes the entry `name` and gives it when it has that type and length; else undefined.
inline Tensor take_row(StateDict& from, const char* name, DType dtype, int64_t size) {
  const auto it = from.find(name);
  if (it == from.end() || it->second.dtype() != dtype || it->second.shape() != Shape{size}) return {};
  const Tensor t = it->second;
  from.erase(it);
  return t;
}

}  // namespace detail

ATLAS_INLINE StateDict entries_of(const StateDict& all, std::string_view name) {
  const std::string start = std::string(name) + ".";
  StateDict part;
  for (const auto& [key, value] : all)
    if (key.starts_with(start)) part[key.substr(start.size())] = value;
  return part;
}

ATLAS_INLINE void add_entries(StateDict& all, std::string_view name, const StateDict& part) {
  for (const auto& [key, value] : part) all[std::string(name) + "." + key] = value;
}

ATLAS_INLINE void RunState::save(StateDict& to) const {
  to["state.version"] = detail::whole_number(kStateVersion);
  to["epoch_position.images"] = detail::whole_number(position.images);
  to["epoch_position.of"] = detail::whole_number(position.of);
  to["epoch_position.seed"] = detail::whole_number(position.seed);
  to["epoch_position.per_update"] = detail::whole_number(position.per_update);
  if (processes > 1) to["state.processes"] = detail::whole_number(processes);
  add_entries(to, "meter", meter);
}

ATLAS_INLINE RunState RunState::load(const StateDict& from, const std::string& file) {
  const auto number = [&](const char* name) {
    const auto it = from.find(name);
    check(it != from.end() && it->second.dtype() == int64 && it->second.dim() == 0, "checkpoint",
          "{} does not say how far its epoch was: it has no whole number '{}'", file, name);
    return it->second.item<int64_t>();
  };
  RunState s;
  s.position = {number("epoch_position.images"), number("epoch_position.of"), number("epoch_position.seed")};
  if (from.contains("epoch_position.per_update")) s.position.per_update = number("epoch_position.per_update");
  if (from.contains("state.processes")) s.processes = number("state.processes");
  check(s.processes >= 1, "checkpoint", "{} was written by {} processes", file, s.processes);
  const EpochPosition& p = s.position;
  check(p.images >= 0 && (p.of < 0 || p.images <= p.of), "checkpoint", "{} is {} images into an epoch of {}", file,
        p.images, p.of);
  s.meter = entries_of(from, "meter");
  return s;
}

ATLAS_INLINE void upgrade(io::Checkpoint& saved, const std::string& file, int64_t batch_size) {
  StateDict& extra = saved.extra;
  if (const auto version = extra.find("state.version"); version != extra.end()) {
    check(version->second.dtype() == int64 && version->second.dim() == 0 &&
              version->second.item<int64_t>() == kStateVersion,
          "checkpoint", "{} has a state of another version; this program reads version {}: it is newer", file,
          kStateVersion);
    return;
  }
  RunState s;
  Tensor sums = detail::take_row(extra, "epoch_sums", float64, 3);
  if (const Tensor place = detail::take_row(extra, "epoch_position", int64, 3); place.defined()) {
    const int64_t* n = place.data<int64_t>();
    s.position = {n[0], n[1], n[2]};
    s.meter = entries_of(extra, "meter");
  } else {
    const Tensor old = detail::take_row(extra, "epoch_so_far", float64, 4);
    check(old.defined(), "checkpoint", "{} does not say how far its epoch was", file);
    s.position = {static_cast<int64_t>(old.data<double>()[0]) * batch_size};
    sums = old.slice(0, 1, 4);
  }
  if (sums.defined())
    for (int64_t i = 0; i < 3; ++i)
      s.meter[std::array{"loss_sum", "right", "images"}[static_cast<size_t>(i)]] =
          full({}, sums.data<double>()[i], float64, Device{});
  check(!s.meter.empty(), "checkpoint", "{} does not say how far its epoch was", file);
  s.save(extra);
  // There, -1 stood for no epoch yet.
  if (saved.best_metric == -1) saved.best_metric = std::numeric_limits<double>::quiet_NaN();
}

}  // namespace atlas::inline ATLAS_ABI::train
