// Bodies of group_state.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <utility>

#include "atlas/core/hash.h"
#include "atlas/core/parallel.h"
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

namespace detail {

/// A hash of what is known of each image.   [images]
inline Tensor hashes_of(const data::Dataset& set, std::string (data::Dataset::*known)(int64_t) const) {
  Tensor hashes = empty({set.size()}, int64, Device{});
  auto* const to = hashes.data<int64_t>();
  parallel_for(set.size(), 1000, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = static_cast<int64_t>(fnv1a64((set.*known)(i)));
  });
  return hashes;
}

}  // namespace detail

ATLAS_INLINE void check_same_data(const dist::Group& group, const data::Dataset& set, const std::string& half) {
  if (group.size() == 1) return;
  const std::string what = "the " + half + " data";
  std::string classes;
  for (const std::string& name : set.classes()) classes += (classes.empty() ? "" : ", ") + name;
  dist::check_agree(
      group, what,
      {{"name", set.name()},
       {"images", std::to_string(set.size())},
       {"classes", classes},
       {"labels and files", fmt::format("{:016x} (hash over all images)",
                                        dist::hash_of(detail::hashes_of(set, &data::Dataset::known_of)))}});
  // The first image that any rank finds to be another.
  const Tensor own = detail::hashes_of(set, &data::Dataset::content_of), of_first = copy_of(own);
  group.broadcast(of_first);
  const auto* const mine = own.data<int64_t>();
  const Tensor first = empty({1}, int64, Device{});
  first.data<int64_t>()[0] = std::mismatch(mine, mine + own.numel(), of_first.data<int64_t>()).first - mine;
  group.all_reduce(first, dist::Reduce::min);
  if (const int64_t i = first.item<int64_t>(); i < set.size())
    dist::check_agree(group, what, {{set.where(i), set.content_of(i)}});
  // What costs more: the pixels and targets of some.
  constexpr int64_t kSome = 16;
  dist::Settings found;
  for (int64_t k = 0, last = -1; k < kSome; ++k) {
    const int64_t index = (set.size() - 1) * k / (kSome - 1);
    if (index == std::exchange(last, index)) continue;
    const data::Sample sample = set.get(index);
    uint64_t hash = sample.image.defined() ? dist::hash_of(on_host(sample.image)) : 0;
    for (const auto& [name, target] : sample.targets) hash = hash * 31 + dist::hash_of(on_host(target.value));
    found.emplace_back(set.where(index), fmt::format("{:016x} (hash of pixels and targets)", hash));
  }
  dist::check_agree(group, what, found);
}

}  // namespace atlas::inline ATLAS_ABI::train
