// Bodies of trained_model.h.
#pragma once

#include <nlohmann/json.hpp>

#include "atlas/io/checkpoint.h"
#include "atlas/ops/softmax.h"
#include "atlas/optim/ema.h"
#include "atlas/train/pipeline.h"
#include "atlas/train/setup.h"
#include "atlas/train/trained_model.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE TrainedModel load_trained_model(const std::string& path) {
  const io::Checkpoint saved = io::load_checkpoint(path);
  TrainedModel t;
  nlohmann::json settings = nlohmann::json::parse(saved.config_json, nullptr, false);
  check(settings.is_object() && settings.contains("classes") && settings["classes"].is_array(), "checkpoint",
        "{} does not say which classes it was trained for", path);
  for (const auto& name : settings["classes"]) {
    check(name.is_string(), "checkpoint", "{}: a class name is {}", path, name.dump());
    t.classes.push_back(name.get<std::string>());
  }
  settings.erase("classes");
  merge_json(t.config, settings.dump(), path);
  validate(t.config);
  t.model = make_model(t.config, static_cast<int64_t>(t.classes.size()));
  io::restore_model(*t.model, saved, path, t.config.model);
  if (!saved.ema.empty()) {
    Ema average(*t.model);
    average.load_state_dict(saved.ema);
    average.apply();
  }
  t.model->eval();
  t.transform = test_transform(t.config);
  return t;
}

ATLAS_INLINE Tensor TrainedModel::classify(const Tensor& image) const {
  NoGrad off;
  data::Rng rng(0, data::Purpose::sample, 0, 0);
  const Tensor x = data::to_float(transform(image, rng));
  return softmax((*model)(x.unsqueeze(0))).select(0, 0);
}

}  // namespace atlas::inline ATLAS_ABI::train
