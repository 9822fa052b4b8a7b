// Bodies of group_rules.h.
#pragma once

#include <algorithm>
#include <charconv>

#include "atlas/train/group_rules.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {
inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}
/// The pieces of a text between separators, without spaces around them.
inline std::vector<std::string_view> pieces(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> all;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find_first_of(separators, begin), text.size());
    all.push_back(trimmed(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return all;
}
}  // namespace detail

ATLAS_INLINE std::vector<GroupRule> parse_group_rules(std::string_view text) {
  std::vector<GroupRule> rules;
  for (const std::string_view line : detail::pieces(text, ";\n")) {
    if (line.empty()) continue;
    const size_t colon = line.find(':');
    check(colon != line.npos && colon > 0, "group", "'{}' needs a pattern and a colon: PATTERN: lr x 0.1, decay 0",
          line);
    GroupRule rule{std::string(detail::trimmed(line.substr(0, colon))), {}, {}};
    for (std::string_view part : detail::pieces(line.substr(colon + 1), ",")) {
      const std::string_view whole = part;
      std::optional<double>* into = nullptr;
      for (const auto& [word, field] : {std::pair{"lr", &rule.lr_scale}, {"decay", &rule.decay}})
        if (part.starts_with(word)) {
          part = detail::trimmed(part.substr(std::string_view(word).size()));
          into = field;
          break;
        }
      // "lr 1e-4" would read as a learning rate, which it is not.
      const bool times = part.starts_with('x');
      if (into == &rule.lr_scale && times) part = detail::trimmed(part.substr(1));
      double value = 0;
      const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
      check(into != nullptr && (into != &rule.lr_scale || times) && error == std::errc{} &&
                end == part.data() + part.size() && value >= 0 && value <= 1e6,
            "group", "'{}' in '{}' is neither 'lr x NUMBER' nor 'decay NUMBER'", whole, line);
      check(!into->has_value(), "group", "'{}' in '{}' says the same a second time", whole, line);
      *into = value;
    }
    rules.push_back(std::move(rule));
  }
  return rules;
}

ATLAS_INLINE bool fits_pattern(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = pattern.npos, from = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != pattern.npos) {
      p = star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == pattern.npos;
}

ATLAS_INLINE std::vector<ParameterGroup> apply_group_rules(std::vector<ParameterGroup> groups,
                                                           const std::vector<GroupRule>& rules,
                                                           const std::vector<std::string>& heads) {
  if (rules.empty()) return groups;
  const auto in_head = [&](const std::string& name) {
    return std::any_of(heads.begin(), heads.end(),
                       [&](const std::string& head) { return name == head || name.starts_with(head + "."); });
  };
  std::vector<int64_t> fitting(rules.size(), 0);
  std::vector<ParameterGroup> sorted;
  for (const ParameterGroup& group : groups)
    for (const Parameter& parameter : group.parameters) {
      double decay = group.weight_decay, lr_scale = group.lr_scale;
      for (size_t i = 0; i < rules.size(); ++i) {
        const GroupRule& rule = rules[i];
        if (!fits_pattern(rule.pattern, parameter.name) &&
            (in_head(parameter.name) || !fits_pattern(rule.pattern, "backbone." + parameter.name)))
          continue;
        ++fitting[i];
        if (rule.lr_scale) lr_scale = *rule.lr_scale;
        if (rule.decay && group.weight_decay > 0) decay = *rule.decay;
      }
      const auto same = std::find_if(sorted.begin(), sorted.end(), [&](const ParameterGroup& g) {
        return g.weight_decay == decay && g.lr_scale == lr_scale;
      });
      if (same != sorted.end())
        same->parameters.push_back(parameter);
      else
        sorted.push_back({{parameter}, decay, lr_scale});
    }
  for (size_t i = 0; i < rules.size(); ++i)
    check(fitting[i] > 0, "group", "no parameter that is trained fits '{}' (patterns are paths such as levels.2.*)",
          rules[i].pattern);
  return sorted;
}

}  // namespace atlas::inline ATLAS_ABI::train
