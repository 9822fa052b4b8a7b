// Parameter groups by pattern: a line such as "backbone.*: lr x 0.1, decay 0" for the parameters it names.
// Not in atlas.h: include it by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/optim/optimizer.h"

namespace atlas::inline ATLAS_ABI::train {

/// What the parameters that a pattern names have of their own.
struct GroupRule {
  std::string pattern;             ///< a parameter's path, "*" for any letters; "backbone." stands for all but the head
  std::optional<double> lr_scale;  ///< times the learning rate
  std::optional<double> decay;     ///< weight decay of those that decay at all
};

/// Rules, one a line or with semicolons between: PATTERN: lr x NUMBER, decay NUMBER (either or both).
/// @throws Error naming the rule and what is wrong with it.
std::vector<GroupRule> parse_group_rules(std::string_view text);

/// True when `name` fits `pattern`, where "*" stands for any letters, also none.
bool fits_pattern(std::string_view pattern, std::string_view name);

/// Groups after the rules, in order: a later one wins where two name the same parameter.
/// @param heads  modules that are no backbone
/// @throws Error when a pattern fits no parameter that is trained.
std::vector<ParameterGroup> apply_group_rules(std::vector<ParameterGroup> groups, const std::vector<GroupRule>& rules,
                                              const std::vector<std::string>& heads);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/group_rules-inl.h"
#endif
