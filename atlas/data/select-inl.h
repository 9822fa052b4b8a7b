// Bodies of select.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/core/hash.h"
#include "atlas/data/dataset.h"
#include "atlas/data/select.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE uint64_t stable_hash(uint64_t n) {
  n += 0x9e3779b97f4a7c15u;
  n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9u;
  n = (n ^ (n >> 27)) * 0x94d049bb133111ebu;
  return n ^ (n >> 31);
}

ATLAS_INLINE uint64_t stable_hash(std::string_view text) {
  uint64_t h = fnv1a64(text);
  // FNV's upper bits change little with the last letters, where file names differ.
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
  return h ^ (h >> 33);
}

ATLAS_INLINE std::vector<int64_t> choose_evenly(const std::vector<int64_t>& groups, int64_t count) {
  check(count >= 0, "choose_evenly", "needs count >= 0, got {}", count);
  // Every position gets a turn: its rank by hash within its group. The first turns are taken.
  std::vector<std::vector<std::pair<uint64_t, int64_t>>> members;
  for (size_t i = 0; i < groups.size(); ++i) {
    check(groups[i] >= 0, "choose_evenly", "position {} has group {}, groups count from 0", i, groups[i]);
    const auto group = static_cast<size_t>(groups[i]);
    if (group >= members.size()) members.resize(group + 1);
    members[group].emplace_back(stable_hash(static_cast<uint64_t>(i)), static_cast<int64_t>(i));
  }
  struct Turn {
    size_t rank;
    uint64_t hash;
    int64_t position;
  };
  std::vector<Turn> turns;
  for (auto& group : members) {
    std::sort(group.begin(), group.end());
    for (size_t rank = 0; rank < group.size(); ++rank) turns.push_back({rank, group[rank].first, group[rank].second});
  }
  std::sort(turns.begin(), turns.end(),
            [](const Turn& a, const Turn& b) { return a.rank != b.rank ? a.rank < b.rank : a.hash < b.hash; });
  turns.resize(std::min(turns.size(), static_cast<size_t>(count)));
  std::vector<int64_t> chosen;
  for (const Turn& t : turns) chosen.push_back(t.position);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

ATLAS_INLINE std::vector<int64_t> labels_of(const Dataset& set) {
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < set.size(); ++i) labels.push_back(set.label(i));
  return labels;
}

ATLAS_INLINE DatasetPtr some_of_each_class(DatasetPtr whole, int64_t count) {
  if (count >= whole->size()) return whole;
  std::vector<int64_t> chosen = choose_evenly(labels_of(*whole), count);
  return std::make_shared<Subset>(std::move(whole), std::move(chosen));
}

ATLAS_INLINE Targets first_targets(const Dataset& set) {
  constexpr int64_t kTried = 100;
  Targets targets;
  for (int64_t i = 0; i < std::min(set.size(), kTried) && targets.empty(); ++i) targets = set.get(i).targets;
  return targets;
}

ATLAS_INLINE DatasetPtr some_of(DatasetPtr whole, int64_t count) {
  if (count >= whole->size()) return whole;
  const Targets targets = first_targets(*whole);
  const Target* label = targets.find(kLabel);
  if (targets.empty() || (label != nullptr && label->value.dim() == 0))
    return some_of_each_class(std::move(whole), count);
  std::vector<int64_t> chosen = choose_evenly(std::vector<int64_t>(static_cast<size_t>(whole->size()), 0), count);
  return std::make_shared<Subset>(std::move(whole), std::move(chosen));
}

}  // namespace atlas::inline ATLAS_ABI::data
