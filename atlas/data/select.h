// Choosing some of many: by a hash of the position, never by counting steps, which beat with the order of the classes.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "atlas/data/dataset.h"

namespace atlas::inline ATLAS_ABI::data {

/// A number that looks random and is the same on every machine: SplitMix64 of `n`.
uint64_t stable_hash(uint64_t n);

/// The same of a text: FNV-1a.
uint64_t stable_hash(std::string_view text);

/// Positions [0, n) of which about equally many of each group are chosen, by a hash of the position.
///
/// Each group gets the same share as long as it has so many; what small groups leave goes to the others. Which group
/// has one more when the shares are not whole is up to the hash. A smaller count chooses a part of what a larger one
/// does.
/// @param groups  group number of each position, from 0
/// @param count   how many to choose; all when there are fewer
/// @return positions, ascending
std::vector<int64_t> choose_evenly(const std::vector<int64_t>& groups, int64_t count);

/// The class of every image of a set.
std::vector<int64_t> labels_of(const Dataset& set);

/// The targets of the first image of a set that can be read, of a hundred that are tried; none where none of them has.
Targets first_targets(const Dataset& set);

/// `count` images of a set, about equally many of each class (choose_evenly()), in the order of the set; all of them
/// when it has fewer.
DatasetPtr some_of_each_class(DatasetPtr whole, int64_t count);

/// `count` images of a set, all of them when it has fewer: about equally many of each class where images have one, and
/// otherwise by a hash of the position.
DatasetPtr some_of(DatasetPtr whole, int64_t count);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/select-inl.h"
#endif
