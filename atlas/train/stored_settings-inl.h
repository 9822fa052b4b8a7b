// Bodies of stored_settings.h.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "atlas/data/text.h"
#include "atlas/train/stored_settings.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {

/// Settings of a run as they are written now: those of earlier ones have class_weights as a text, "1,1,4".
inline std::string upgraded_settings(const std::string& text) {
  nlohmann::json settings = nlohmann::json::parse(text, nullptr, false);
  const auto options = settings.is_object() ? settings.find("task_options") : settings.end();
  if (options == settings.end() || !options->is_string()) return text;
  nlohmann::json inner = nlohmann::json::parse(options->get<std::string>(), nullptr, false);
  const auto weights = inner.is_object() ? inner.find("class_weights") : inner.end();
  if (weights == inner.end() || !weights->is_string()) return text;
  const nlohmann::json list = nlohmann::json::parse("[" + weights->get<std::string>() + "]", nullptr, false);
  if (!list.is_array()) return text;
  *weights = list;
  *options = inner.dump();
  return settings.dump();
}

}  // namespace detail

ATLAS_INLINE std::vector<std::string> merge_settings(TrainConfig& config, const io::Checkpoint& checkpoint,
                                                     const std::string& path) {
  nlohmann::json settings = nlohmann::json::parse(checkpoint.config_json, nullptr, false);
  check(settings.is_object() && checkpoint.config_json.find('\0') == std::string::npos, "checkpoint",
        "{} does not say how it was trained", path);
  std::vector<std::string> classes;
  if (const auto names = settings.find("classes"); names != settings.end()) {
    check(names->is_array(), "checkpoint", "{}: its classes are no list", path);
    for (const auto& name : *names) {
      check(name.is_string(), "checkpoint", "{}: a class name is {}", path, name.dump());
      classes.push_back(name.get<std::string>());
    }
    settings.erase(names);
  }
  merge_json(config, detail::upgraded_settings(settings.dump()), path);
  return classes;
}

ATLAS_INLINE bool merge_stored_settings(TrainConfig& config, const std::string& out) {
  namespace fs = std::filesystem;
  if (const std::string file = out + "/config.json"; fs::exists(file)) {
    merge_json(config, detail::upgraded_settings(data::read_text(file)), file);
    return true;
  }
  for (const char* name : {"/last.ckpt", "/best.ckpt"})
    if (const std::string file = out + name; fs::exists(file)) {
      merge_settings(config, io::load_checkpoint(file), file);
      return true;
    }
  return false;
}

}  // namespace atlas::inline ATLAS_ABI::train
