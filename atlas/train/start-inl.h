// Bodies of start.h.
#pragma once

#include <algorithm>
#include <fstream>
#include <iterator>

#include "atlas/io/safetensors.h"
#include "atlas/train/start.h"
#include "atlas/train/trained_model.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {

/// True for files that run_training() wrote. Whether they are sound shows when they are read.
inline bool is_training_checkpoint(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string start(size_t{1} << 16, '\0');
  in.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<size_t>(in.gcount()));
  return start.find("atlas-training-checkpoint") != start.npos && start.find("__metadata__") != start.npos;
}

inline StateDict read_weights(const std::string& path, bool /*ema*/) {
  if (is_training_checkpoint(path)) return load_trained_model(path).model->state_dict();
  return io::load_safetensors(path).tensors;
}

inline bool is_head(const std::string& name, const std::string& head) {
  const auto ends = [&](std::string_view leaf) {
    const std::string whole = head + std::string(leaf);
    return name == whole || name.ends_with("." + whole);
  };
  return ends(".weight") || ends(".bias");
}

}  // namespace detail

ATLAS_INLINE std::string load_weights(models::Classifier& model, const std::string& path,
                                      const WeightOptions& options) {
  StateDict dict = detail::read_weights(path, options.ema);
  if (!options.head) {
    std::erase_if(dict, [&](const auto& entry) { return detail::is_head(entry.first, model.head_name()); });
    for (const auto& [name, t] : model.state_dict())
      if (detail::is_head(name, model.head_name())) dict.emplace(name, t);
  }
  try {
    model.load_state_dict(dict);
  } catch (const Error& e) {
    fail("weights", "{} does not fit the model: {}", path, e.what());
  }
  return "";
}

ATLAS_INLINE int64_t classes_in(const std::string& path) {
  for (const auto& [name, t] : detail::read_weights(path, false))
    for (const char* head : {"head", "fc"})
      if (t.dim() == 2 && detail::is_head(name, head)) return t.size(0);
  return 0;
}

ATLAS_INLINE void freeze_parts(models::Classifier& model, const std::string& parts) {
  const auto modules = model.named_modules();
  const auto named = model.parts();
  std::string known;
  for (const auto& [name, path] : named) known += name + ", ";
  for (size_t at = 0; at < parts.size();) {
    const size_t comma = std::min(parts.find(',', at), parts.size());
    std::string part = parts.substr(at, comma - at);
    std::erase(part, ' ');
    at = comma + 1;
    if (part.empty()) continue;
    if (part == "backbone") {
      // Not the model itself: it would no longer say that it is being trained.
      for (const auto& [path, module] : modules)
        if (!path.empty() && path.find('.') == path.npos && path != model.head_name()) module->freeze();
      continue;
    }
    const auto of_name = std::find_if(named.begin(), named.end(), [&](const auto& p) { return p.first == part; });
    const std::string& wanted = of_name != named.end() ? of_name->second : part;
    const auto found = std::find_if(modules.begin(), modules.end(), [&](const auto& m) { return m.first == wanted; });
    check(found != modules.end(), "freeze", "'{}' is no part of this model; there are {}backbone, and paths of modules",
          part, known);
    found->second->freeze();
  }
}

}  // namespace atlas::inline ATLAS_ABI::train
