// Bodies of group_state.h.
#pragma once

#include <fmt/core.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <utility>

#include "atlas/data/select.h"
#include "atlas/dist/data_parallel.h"
#include "atlas/io/safetensors.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "atlas/train/group_state.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE std::vector<StateDict> all_gather(const dist::Group& group, const StateDict& own) {
  std::vector<StateDict> all;
  for (const std::string& bytes : group.all_gather(io::safetensors_bytes(own)))
    all.push_back(io::parse_safetensors(std::as_bytes(std::span(bytes)), "the state of a rank").tensors);
  return all;
}

ATLAS_INLINE std::unique_ptr<tasks::Meter> joined(const tasks::Task& task, bool training,
                                                  const std::vector<StateDict>& states) {
  std::unique_ptr<tasks::Meter> all = task.meter(training);
  for (const StateDict& state : states) {
    const std::unique_ptr<tasks::Meter> part = task.meter(training);
    part->load_state(state);
    all->merge(*part);
  }
  return all;
}

ATLAS_INLINE std::unique_ptr<tasks::Meter> merged(const dist::Group& group, const tasks::Task& task, bool training,
                                                  std::unique_ptr<tasks::Meter> own) {
  return group.size() == 1 ? std::move(own) : joined(task, training, all_gather(group, own->state()));
}

ATLAS_INLINE void check_same_program(const dist::Group& group) {
  if (group.size() == 1) return;
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  Tensor whole = empty({static_cast<int64_t>(bytes.size())}, uint8, Device{});
  if (!bytes.empty()) std::memcpy(whole.raw(), bytes.data(), bytes.size());
  dist::check_agree(
      group, "the program",
      {{"version", fmt::format("{}.{}.{}", ATLAS_VERSION_MAJOR, ATLAS_VERSION_MINOR, ATLAS_VERSION_PATCH)},
       {"executable", fmt::format("{:016x} (hash of the file)", dist::hash_of(whole))}});
}

ATLAS_INLINE void check_same_data(const dist::Group& group, const data::Dataset& set, const std::string& half) {
  if (group.size() == 1) return;
  std::string classes;
  for (const std::string& name : set.classes()) classes += (classes.empty() ? "" : ", ") + name;
  dist::Settings found = {{"name", set.name()}, {"images", std::to_string(set.size())}, {"classes", classes}};
  for (const int64_t index : {int64_t{0}, set.size() / 2, set.size() - 1}) {
    const data::Sample sample = set.get(index);
    uint64_t hash = sample.image.defined() ? dist::hash_of(on_host(sample.image)) : 0;
    for (const auto& [name, target] : sample.targets) hash = hash * 31 + dist::hash_of(on_host(target.value));
    found.emplace_back(fmt::format("image {}", index), fmt::format("{:016x} (hash of pixels and targets)", hash));
  }
  uint64_t known = 0;
  for (int64_t i = 0; i < set.size(); ++i) known = known * 31 + data::stable_hash(set.known_of(i));
  found.emplace_back("labels and files", fmt::format("{:016x} (hash over all images)", known));
  dist::check_agree(group, "the " + half + " data", found);
}

}  // namespace atlas::inline ATLAS_ABI::train
