// Bodies of setup.h that need the JSON parser or the models.
#pragma once

#include <nlohmann/json.hpp>

#include "atlas/models/presets.h"
#include "atlas/train/setup.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE std::unique_ptr<models::Classifier> make_model(const TrainConfig& c, int64_t classes) {
  nlohmann::json options = nlohmann::json::object();
  if (!c.model_options.empty()) {
    options = nlohmann::json::parse(c.model_options, nullptr, false);
    check(options.is_object(), "config", "model_options must be a JSON object, got {}", c.model_options);
  }
  for (const models::FieldText& field : models::fields_of(c.model))
    if (field.name == "drop_path_rate" && !options.contains(field.name)) options[field.name] = c.drop_path;
  return models::make_model(c.model, {.image_size = c.image_size, .num_classes = classes, .overrides = options.dump()});
}

}  // namespace atlas::inline ATLAS_ABI::train
