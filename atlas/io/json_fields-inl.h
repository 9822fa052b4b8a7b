// Body of json_fields.h: the one place where its JSON is parsed.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "atlas/io/json_fields.h"

namespace atlas::inline ATLAS_ABI::io {

ATLAS_INLINE JsonFields::JsonFields(const std::string& text, std::string what) : what_(std::move(what)) {
  check(text.find('\0') == text.npos, "config", "the configuration of {} has a NUL byte", what_);  // ends the parser
  std::vector<std::set<std::string>> names;  // of the objects that are open: of two values, the parser would keep one
  const auto watch = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) names.emplace_back();
    if (event == Event::object_end) names.pop_back();
    if (event == Event::key)
      check(names.back().insert(value.get<std::string>()).second, "config", "the configuration of {} has '{}' twice",
            what_, value.get_ref<const std::string&>());
    return true;
  };
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(text, watch);
  } catch (const nlohmann::json::exception& e) {
    fail("config", "the configuration of {} is not JSON: {}", what_, json_reason(e.what()));
  }
  check(object.is_object(), "config", "the configuration of {} is no JSON object: {}", what_, text);
  const auto whole = [](const nlohmann::json& j) { return whole_number_in(j).has_value(); };
  for (const auto& [name, j] : object.items()) {
    Value v;
    v.text = j.dump();
    v.integer = whole_number_in(j);
    v.too_large = is_too_large(j);
    if (j.is_number()) v.number = j.get<double>();
    if (j.is_array() && std::all_of(j.begin(), j.end(), whole)) v.list = j.get<std::vector<int64_t>>();
    const auto number = [](const nlohmann::json& k) { return k.is_number(); };
    if (j.is_array() && std::all_of(j.begin(), j.end(), number)) v.numbers = j.get<std::vector<double>>();
    if (j.is_string()) v.string = j.get<std::string>();
    values_.emplace(name, std::move(v));
  }
}

ATLAS_INLINE std::vector<std::string> json_strings(const std::string& text, const std::string& what) {
  const nlohmann::json list = nlohmann::json::parse(text.substr(0, text.find('\0')), nullptr, false);
  check(list.is_array() && std::all_of(list.begin(), list.end(), [](const auto& j) { return j.is_string(); }), "json",
        "{}: must be a JSON list of strings, such as [\"background\", \"leaf\"]", what);
  return list.get<std::vector<std::string>>();
}

}  // namespace atlas::inline ATLAS_ABI::io
