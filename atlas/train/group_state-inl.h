// Bodies of group_state.h.
#pragma once

#include <fmt/core.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "atlas/dist/data_parallel.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "atlas/train/group_state.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE std::string pack_state(const StateDict& state) {
  std::string bytes;
  const auto put = [&](int64_t n) { bytes.append(reinterpret_cast<const char*>(&n), sizeof n); };
  for (const auto& [name, value] : state) {
    const Tensor t = on_host(value).contiguous();
    put(static_cast<int64_t>(name.size()));
    bytes += name;
    put(static_cast<int64_t>(t.dtype()));
    put(t.dim());
    for (int axis = 0; axis < t.dim(); ++axis) put(t.shape()[axis]);
    bytes.append(static_cast<const char*>(t.raw()), static_cast<size_t>(t.numel() * item_size(t.dtype())));
  }
  return bytes;
}

ATLAS_INLINE StateDict unpack_state(const std::string& bytes) {
  StateDict state;
  size_t at = 0;
  const auto take = [&] {
    int64_t n = 0;
    std::memcpy(&n, bytes.data() + at, sizeof n);
    at += sizeof n;
    return n;
  };
  while (at < bytes.size()) {
    const auto length = static_cast<size_t>(take());
    const std::string name = bytes.substr(at, length);
    at += length;
    const auto dtype = static_cast<DType>(take());
    std::vector<int64_t> sizes(static_cast<size_t>(take()));
    for (int64_t& n : sizes) n = take();
    Tensor t = empty(Shape(sizes), dtype, Device{});
    const auto size = static_cast<size_t>(t.numel() * item_size(dtype));
    if (size > 0) std::memcpy(t.raw(), bytes.data() + at, size);
    at += size;
    state[name] = t;
  }
  return state;
}

ATLAS_INLINE std::unique_ptr<tasks::Meter> merged(const dist::Group& group, const tasks::Task& task, bool training,
                                                  std::unique_ptr<tasks::Meter> own) {
  if (group.size() == 1) return own;
  std::unique_ptr<tasks::Meter> all = task.meter(training);
  for (const std::string& bytes : group.all_gather(pack_state(own->state()))) {
    const std::unique_ptr<tasks::Meter> part = task.meter(training);
    part->load_state(unpack_state(bytes));
    all->merge(*part);
  }
  return all;
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
  dist::check_agree(group, "the " + half + " data", found);
}

}  // namespace atlas::inline ATLAS_ABI::train
