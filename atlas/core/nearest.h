// nearest_names: what somebody may have meant who wrote a name that is not there.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "atlas/core/config.h"

namespace atlas::inline ATLAS_ABI {

/// The number of letters to insert, delete, replace or swap with their neighbor to turn `a` into `b` (Damerau and
/// Levenshtein's distance, with no letter touched twice).
size_t edit_distance(std::string_view a, std::string_view b);

/// Those of `known` that are nearest to `name`, at most three, none when all of them are far away: up to a third of the
/// letters may differ, or one name starts with the other.
std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& known);

/// "; did you mean A or B?", of those of `known` that are nearest to `name`; "" when none is near.
/// @param prefix  stands before each name in the text, and does not count as letters of it ("--" of options)
std::string did_you_mean(std::string_view name, const std::vector<std::string>& known, std::string_view prefix = "");

/// "there are A, B, C", and where there is something near to `name`: "; did you mean B?"
std::string known_names(std::string_view name, const std::vector<std::string>& known);

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/core/nearest-inl.h"
#endif
