// Families of models: one registration each, from which everything follows that programs do with models by name.
//
// A family is a configuration with its fields listed (models/fields.h), the class that is built from it (ClassifierOf,
// or any Model with a Config and a kTask), and presets:
//
//     models::register_family<ConvNext>({{.name = "convnext-t", .config = {.depths = {3, 3, 9, 3}}}});
//
// From then on make_model(), train, classify, features and the tools know its presets, their --help shows the fields,
// and checkpoints of it are read. examples/05_your_own_model.cpp is a whole one. Register before threads start.
#pragma once

#include <fmt/core.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "atlas/core/nearest.h"
#include "atlas/io/json_fields.h"
#include "atlas/models/fields.h"
#include "atlas/models/preset.h"
#include "atlas/models/presets.h"

namespace atlas::inline ATLAS_ABI::models {

namespace detail {

/// A family without its types, as programs see it.
class AnyFamily {
 public:
  virtual ~AnyFamily() = default;
  virtual std::string name() const = 0;
  virtual std::string task() const = 0;
  virtual std::string head_name() const = 0;
  virtual std::vector<std::string> presets() const = 0;
  virtual std::pair<PublishedEvaluation, PublishedSize> published(std::string_view preset) const = 0;
  virtual std::vector<FieldText> fields(std::string_view preset) const = 0;
  /// The JSON of fields given as text.
  virtual std::map<std::string, std::string> to_json(const std::map<std::string, std::string>& given) const = 0;
  virtual std::unique_ptr<Model> make(std::string_view preset, const ModelOptions& options) const = 0;
  virtual std::unique_ptr<Model> from_config(const std::string& json) const = 0;
};

/// Those that exist from the start, and those that were registered.
std::vector<std::unique_ptr<AnyFamily>>& families();
/// Those that exist from the start (built_in-inl.h).
std::vector<std::unique_ptr<AnyFamily>> built_in_families();
/// @throws Error when its name or that of a preset is taken or empty.
void add_family(std::unique_ptr<AnyFamily> family);

/// The text of a command line as the JSON of a field like `kind`.
/// @param field  for messages: "model.dim"   @throws Error when the text is no such value.
std::string json_of_text(const std::string& field, const std::string& text, const int64_t& kind);
std::string json_of_text(const std::string& field, const std::string& text, const double& kind);
std::string json_of_text(const std::string& field, const std::string& text, const bool& kind);
std::string json_of_text(const std::string& field, const std::string& text, const std::string& kind);
std::string json_of_text(const std::string& field, const std::string& text, const std::optional<double>& kind);
std::string json_of_text(const std::string& field, const std::string& text, const std::vector<int64_t>& kind);
std::string json_of_text(const std::string& field, const std::string& text, const std::vector<double>& kind);
template <size_t N>
std::string json_of_text(const std::string& field, const std::string& text, const std::array<int64_t, N>&) {
  return json_of_text(field, text, std::vector<int64_t>());
}

/// Sets the fields that a JSON object names, and gives their names. @throws Error as io::JsonFields.
template <class Config>
std::set<std::string> merge_config(Config& c, const std::string& json) {
  io::JsonFields fields(json, std::string(Config::kTitle));
  for_each_field(c, [&](const char* name, auto& field, const char*, const Range&) { fields.read(name, field); });
  fields.finish();
  return fields.names();
}

template <class M>
class Family final : public AnyFamily {
 public:
  using Config = typename M::Config;

  explicit Family(std::vector<Preset<Config>> presets) : presets_(std::move(presets)) {}

  std::string name() const override { return std::string(Config::kFamily); }
  std::string task() const override { return M::kTask; }
  std::string head_name() const override {
    if constexpr (requires { M::kHeadName; }) return M::kHeadName;
    return {};
  }
  std::vector<std::string> presets() const override {
    std::vector<std::string> names;
    for (const auto& p : presets_) names.push_back(p.name);
    return names;
  }
  std::pair<PublishedEvaluation, PublishedSize> published(std::string_view preset) const override {
    const auto& p = of(preset);
    return {p.evaluation, p.size};
  }
  std::vector<FieldText> fields(std::string_view preset) const override {
    Config c = of(preset).config;
    if (of(preset).adapt) of(preset).adapt(c, {});
    std::vector<FieldText> all;
    for_each_field(c, [&](const char* field, auto& value, const char* help, const Range& range) {
      const void* const member = &value;
      all.push_back({field, json_text(value),
                     range.everything() ? help : fmt::format("{} (must {})", help, range.str()),
                     member == &c.image_size() || member == &c.num_classes});
    });
    return all;
  }
  std::map<std::string, std::string> to_json(const std::map<std::string, std::string>& given) const override {
    std::map<std::string, std::string> json;
    std::vector<std::string> known;
    const Config defaults;
    for_each_field(defaults, [&](const char* field, const auto& kind, const char*, const Range&) {
      known.emplace_back(field);
      if (const auto it = given.find(field); it != given.end())
        json[field] = json_of_text(std::string("model.") + field, it->second, kind);
    });
    for (const auto& [field, text] : given)
      check(json.contains(field), "config", "'{}' is no field of {}; {}", field, Config::kTitle,
            known_names(field, known));
    return json;
  }
  std::unique_ptr<Model> make(std::string_view preset, const ModelOptions& options) const override {
    const auto& p = of(preset);
    Config c = p.config;
    if (options.image_size > 0) c.image_size() = options.image_size;
    if (options.num_classes > 0) c.num_classes = options.num_classes;
    const std::set<std::string> given = merge_config(c, options.overrides.empty() ? "{}" : options.overrides);
    check_ranges(c, Config::kTitle);
    if (p.adapt) p.adapt(c, given);
    return std::make_unique<M>(c);
  }
  std::unique_ptr<Model> from_config(const std::string& json) const override {
    Config c;
    merge_config(c, json);
    return std::make_unique<M>(c);
  }

 private:
  const Preset<Config>& of(std::string_view preset) const {
    return *std::find_if(presets_.begin(), presets_.end(), [&](const auto& p) { return p.name == preset; });
  }

  std::vector<Preset<Config>> presets_;
};

}  // namespace detail

/// Makes a family of models known by the names of its presets.
/// @throws Error when the name of the family or of a preset is taken or empty.
template <class M>
void register_family(std::vector<Preset<typename M::Config>> presets) {
  detail::add_family(std::make_unique<detail::Family<M>>(std::move(presets)));
}

/// The names of all families.
std::vector<std::string> family_names();

}  // namespace atlas::inline ATLAS_ABI::models

#ifndef ATLAS_COMPILED_LIB
#include "atlas/models/registry-inl.h"
#endif
