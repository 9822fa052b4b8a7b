// Bodies of setup.h that need the JSON parser or the models.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "atlas/io/json_fields.h"
#include "atlas/models/presets.h"
#include "atlas/train/setup.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE std::unique_ptr<models::Model> make_model(const TrainConfig& c, int64_t classes) {
  nlohmann::json options = nlohmann::json::object();
  if (!c.model.options.empty()) {
    options = nlohmann::json::parse(c.model.options, nullptr, false);
    check(options.is_object() && c.model.options.find('\0') == std::string::npos, "config",
          "model_options must be a JSON object, got {}", c.model.options);
    io::JsonFields(c.model.options, "model_options");  // no name twice
  }
  for (const models::FieldText& field : models::fields_of(c.model.name))
    if (field.name == "drop_path_rate" && !options.contains(field.name)) options[field.name] = c.model.drop_path;
  return models::make_any_model(c.model.name,
                                {.image_size = c.data.image_size, .num_classes = classes, .overrides = options.dump()});
}

ATLAS_INLINE int64_t usual_image_size(const std::string& model) {
  const TrainConfig usual;
  const std::vector<std::string> known = models::preset_names();
  if (std::ranges::find(known, model) != known.end() && models::task_of(model) != models::task_of(usual.model.name))
    for (const models::FieldText& field : models::fields_of(model))
      if (field.has_option && field.name != "num_classes") return std::stoll(field.value);
  return usual.data.image_size;
}

}  // namespace atlas::inline ATLAS_ABI::train
