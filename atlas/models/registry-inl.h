// Bodies of presets.h, published.h and registry.h.
#pragma once

#include <charconv>
#include <cmath>

#include "atlas/core/whole_number.h"
#include "atlas/models/built_in-inl.h"
#include "atlas/models/registry.h"

namespace atlas::inline ATLAS_ABI::models {

namespace detail {

ATLAS_INLINE std::vector<std::unique_ptr<AnyFamily>>& families() {
  static std::vector<std::unique_ptr<AnyFamily>> all = built_in_families();
  return all;
}

/// The family that a preset belongs to; null when there is none.
inline const AnyFamily* find_family(std::string_view preset) {
  for (const auto& family : families())
    for (const std::string& name : family->presets())
      if (name == preset) return family.get();
  return nullptr;
}
inline const AnyFamily& family_of(const std::string& preset) {
  const AnyFamily* const family = find_family(preset);
  check(family != nullptr, "make_model", "there is no preset '{}'; {}", preset, known_names(preset, preset_names()));
  return *family;
}

ATLAS_INLINE void add_family(std::unique_ptr<AnyFamily> family) {
  constexpr const char* op = "register_family";
  for (const auto& other : families())
    check(other->name() != family->name(), op, "there is a family '{}' already", family->name());
  std::set<std::string> names;
  check(!family->name().empty(), op, "a family must have a name");
  for (const std::string& preset : family->presets())
    check(!preset.empty() && find_family(preset) == nullptr && names.insert(preset).second, op,
          "'{}' is no name for a preset of {}: it is empty or taken", preset, family->name());
  families().push_back(std::move(family));
}

/// The whole text as one finite number.
inline bool read_number(const std::string& text, double& value) {
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), value);
  return bad == std::errc{} && end == text.data() + text.size() && std::isfinite(value);
}

ATLAS_INLINE std::string json_of_text(const std::string& field, const std::string& text, const int64_t&) {
  return json_text(whole_number(text, field));
}
ATLAS_INLINE std::string json_of_text(const std::string& field, const std::string& text, const double&) {
  double value = 0;
  check(read_number(text, value), field, "'{}' is no number", text);
  return json_text(value);
}
ATLAS_INLINE std::string json_of_text(const std::string& field, const std::string& text, const bool&) {
  check(text == "true" || text == "false", field, "'{}' is neither true nor false", text);
  return text;
}
ATLAS_INLINE std::string json_of_text(const std::string&, const std::string& text, const std::string&) {
  return json_text(text);
}
ATLAS_INLINE std::string json_of_text(const std::string& field, const std::string& text, const std::optional<double>&) {
  return text == "none" || text == "null" ? "null" : json_of_text(field, text, double());
}
/// The parts of a list with commas, with or without brackets.
inline std::vector<std::string> parts_of_list(const std::string& text) {
  const bool brackets = text.size() >= 2 && text.starts_with('[') && text.ends_with(']');
  std::vector<std::string> parts;
  std::string one;
  for (const char c : (brackets ? text.substr(1, text.size() - 2) : text) + ",") {
    if (c == ',') {
      parts.push_back(one);
      one.clear();
    } else if (c != ' ') {
      one += c;
    }
  }
  return parts;
}
ATLAS_INLINE std::string json_of_text(const std::string& field, const std::string& text, const std::vector<int64_t>&) {
  std::vector<int64_t> values;
  for (const std::string& part : parts_of_list(text)) values.push_back(whole_number(part, field));
  return json_text(values);
}
ATLAS_INLINE std::string json_of_text(const std::string& field, const std::string& text, const std::vector<double>&) {
  std::string all;
  for (const std::string& part : parts_of_list(text))
    all += (all.empty() ? "" : ", ") + json_of_text(field, part, double());
  return "[" + all + "]";
}

}  // namespace detail

ATLAS_INLINE std::vector<std::string> family_names() {
  std::vector<std::string> all;
  for (const auto& family : detail::families()) all.push_back(family->name());
  return all;
}

ATLAS_INLINE std::vector<std::string> preset_names(std::string_view task) {
  std::vector<std::string> all;
  for (const auto& family : detail::families())
    if (task.empty() || family->task() == task)
      for (std::string& name : family->presets()) all.push_back(std::move(name));
  return all;
}

namespace detail {
/// The same model as what it is. @throws Error when it is no classifier.
inline std::unique_ptr<Classifier> classifier(std::unique_ptr<Model> model, const std::string& name) {
  auto* const it = dynamic_cast<Classifier*>(model.get());
  check(it != nullptr, "make_model", "{} is made for {}, and {} is asked for", name, model->task(), Classifier::kTask);
  static_cast<void>(model.release());
  return std::unique_ptr<Classifier>(it);
}
}  // namespace detail

ATLAS_INLINE std::unique_ptr<Model> make_any_model(const std::string& name, const ModelOptions& options) {
  check(options.image_size >= 0 && options.num_classes >= 0, "make_model",
        "image_size and num_classes must not be negative, got {} and {}", options.image_size, options.num_classes);
  return detail::family_of(name).make(name, options);
}
ATLAS_INLINE std::unique_ptr<Classifier> make_model(const std::string& name, const ModelOptions& options) {
  return detail::classifier(make_any_model(name, options), name);
}

ATLAS_INLINE std::unique_ptr<Model> make_any_model_from_config(const std::string& family, const std::string& config) {
  for (const auto& known : detail::families())
    if (known->name() == family) return known->from_config(config);
  fail("make_model", "'{}' is no family of models; {}", family, known_names(family, family_names()));
}
ATLAS_INLINE std::unique_ptr<Classifier> make_model_from_config(const std::string& family, const std::string& config) {
  return detail::classifier(make_any_model_from_config(family, config), family);
}

ATLAS_INLINE std::string task_of(const std::string& name) { return detail::family_of(name).task(); }

ATLAS_INLINE std::string head_name_of(const std::string& name) { return detail::family_of(name).head_name(); }

ATLAS_INLINE std::vector<FieldText> fields_of(const std::string& name) { return detail::family_of(name).fields(name); }

ATLAS_INLINE std::string with_fields(const std::string& name, const std::string& overrides,
                                     const std::map<std::string, std::string>& given) {
  if (given.empty()) return overrides;
  std::map<std::string, std::string> all = detail::family_of(name).to_json(given);
  if (!overrides.empty()) all.merge(io::JsonFields(overrides, "the model").texts());
  std::string text;
  for (const auto& [field, value] : all)
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", detail::json_text(field), value);
  return "{" + text + "}";
}

ATLAS_INLINE PublishedEvaluation published_evaluation(std::string_view name) {
  const auto* const family = detail::find_family(name);
  return family != nullptr ? family->published(name).first : PublishedEvaluation{};
}
ATLAS_INLINE PublishedSize published_size(std::string_view name) {
  const auto* const family = detail::find_family(name);
  return family != nullptr ? family->published(name).second : PublishedSize{};
}

}  // namespace atlas::inline ATLAS_ABI::models
