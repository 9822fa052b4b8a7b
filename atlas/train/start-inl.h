// Bodies of start.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>

#include "atlas/core/input_file.h"
#include "atlas/io/state_dict.h"
#include "atlas/models/heads/detect.h"
#include "atlas/models/presets.h"
#include "atlas/train/diagnose.h"
#include "atlas/train/start.h"
#include "atlas/train/trained_model.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE bool is_training_checkpoint(const std::string& path) {
  std::string start(size_t{1} << 16, '\0');
  start.resize(InputFile(path).read(start.data(), start.size()));
  return start.find("atlas-training-checkpoint") != start.npos && start.find("__metadata__") != start.npos;
}

namespace detail {

/// The tensors of a file, by its own names.
inline StateDict read_weights(const std::string& path, bool ema) {
  if (is_training_checkpoint(path)) return load_saved_model(path).model->state_dict();
  return io::load_state_dict(path, ema ? "ema" : "").tensors;
}

/// True for "fc.weight" and "fc.bias" when `head` is "fc".
inline bool is_head(const std::string& name, const std::string& head) {
  return name == head + ".weight" || name == head + ".bias";
}
inline bool is_head(const std::string& name, const std::vector<std::string>& heads) {
  return std::any_of(heads.begin(), heads.end(), [&](const std::string& head) { return name.starts_with(head + "."); });
}

/// True for the path of a module that neither lies in a head nor holds one.
inline bool is_backbone(const std::string& path, const std::vector<std::string>& heads) {
  return std::none_of(heads.begin(), heads.end(), [&](const std::string& head) {
    return (head + ".").starts_with(path + ".") || path.starts_with(head + ".");
  });
}

/// "a, b, c and 4 more"
inline std::string some_of(const std::vector<std::string>& names) {
  constexpr size_t kShown = 4;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i > 0 ? ", " : "") + names[i];
  return names.size() > kShown ? fmt::format("{} and {} more", text, names.size() - kShown) : text;
}

}  // namespace detail

ATLAS_INLINE std::string load_weights(models::Model& model, const std::string& path, const WeightOptions& options) {
  const StateDict own = model.state_dict();
  const std::vector<std::string> heads = model.heads();
  std::string head;
  try {
    io::FittedWeights fitted = io::fit_state_dict(detail::read_weights(path, options.ema), own);
    check(!fitted.tensors.empty(), "weights", "none of its tensors has a name of this model's (looked for {})",
          detail::some_of(fitted.missing));
    if (!options.head)
      for (const auto& [name, t] : own) {
        if (!detail::is_head(name, heads)) continue;
        if (const auto it = fitted.tensors.find(name); it != fitted.tensors.end()) {
          if (dynamic_cast<const models::Classifier*>(&model) == nullptr)
            head = fmt::format("what it has of {} is left out", detail::some_of(heads));
          else if (it->second.dim() == 2)
            head = fmt::format("the head of {} classes is left out", it->second.size(0));
        }
        fitted.tensors.insert_or_assign(name, t);
      }
    for (const auto& [name, t] : fitted.tensors)
      if (heads.size() == 1 && detail::is_head(name, heads[0]) && t.dim() == 2)
        check(t.size(0) == model.num_classes(), "weights",
              "{} tells {} classes apart, the model {}: load it without the head, which then starts fresh "
              "(finetune without --keep-head)",
              name, t.size(0), model.num_classes());
    require_finite_entries(fitted.tensors);
    model.load_state_dict(fitted.tensors);
    if (fitted.ignored.empty()) return head;
    return fmt::format("{}{}the model has no place for {} of the file's tensors: {}", head, head.empty() ? "" : "; ",
                       fitted.ignored.size(), detail::some_of(fitted.ignored));
  } catch (const Failure&) {
    throw;
  } catch (const Error& e) {
    const std::string what = e.what();
    if (what.find(path) != what.npos) throw;  // the file itself cannot be read
    fail("weights", "{} does not fit the model: {}", path, what);
  }
}

ATLAS_INLINE std::string load_backbone_weights(models::Model& model, const std::string& path, bool ema) {
  models::Backbone& backbone = model.backbone();
  const StateDict own = backbone.state_dict();
  try {
    io::FittedWeights fitted = io::fit_state_dict(detail::read_weights(path, ema), own);
    check(!fitted.tensors.empty(), "weights", "none of its tensors has a name of this model's backbone (looked for {})",
          detail::some_of(fitted.missing));
    // What a classifier has no use for starts fresh: the norms behind each map of a pyramid.
    std::vector<std::string> missing;
    for (const std::string& name : fitted.missing) {
      if (!name.starts_with("outnorm")) missing.push_back(name);
      fitted.tensors.insert_or_assign(name, own.at(name));
    }
    check(missing.empty(), "weights", "{} of the backbone's tensors are not in it: {}", missing.size(),
          detail::some_of(missing));
    require_finite_entries(fitted.tensors);
    backbone.load_state_dict(fitted.tensors);
    const size_t fresh = fitted.missing.size();
    return fmt::format("{} tensors of the backbone{}{}", own.size() - fresh,
                       fresh > 0 ? fmt::format("; {} start fresh: {}", fresh, detail::some_of(fitted.missing)) : "",
                       fitted.ignored.empty() ? ""
                                              : fmt::format("; {} of the file are left out: {}", fitted.ignored.size(),
                                                            detail::some_of(fitted.ignored)));
  } catch (const Failure&) {
    throw;
  } catch (const Error& e) {
    const std::string what = e.what();
    if (what.find(path) != what.npos) throw;  // the file itself cannot be read
    fail("weights", "{} does not fit the model's backbone: {}", path, what);
  }
}

ATLAS_INLINE int64_t classes_in(const StateDict& dict, const std::string& head) {
  for (const auto& [name, t] : dict)
    if ((t.dim() == 2 || t.dim() == 4) && detail::is_head(io::without_prefixes(name), head)) return t.size(0);
  return 0;
}
ATLAS_INLINE int64_t classes_in(const std::string& path, const std::string& head, bool ema) {
  return classes_in(detail::read_weights(path, ema), head);
}
ATLAS_INLINE int64_t classes_for(const std::string& preset, const StateDict& dict) {
  const int64_t rows = classes_in(dict, models::head_name_of(preset));
  // A detector's last row is the background.
  return models::task_of(preset) == models::Detector::kTask ? std::max<int64_t>(rows - 1, 0) : rows;
}
ATLAS_INLINE int64_t classes_for(const std::string& preset, const std::string& path, bool ema) {
  models::task_of(preset);  // a wrong name is said before a file is read
  return classes_for(preset, detail::read_weights(path, ema));
}

ATLAS_INLINE void freeze_parts(models::Model& model, const std::string& parts) {
  const auto modules = model.named_modules();
  const auto named = model.parts();
  const std::vector<std::string> heads = model.heads();
  std::string known;
  for (const auto& [name, path] : named) known += name + ", ";
  for (size_t at = 0; at < parts.size();) {
    const size_t comma = std::min(parts.find(',', at), parts.size());
    std::string part = parts.substr(at, comma - at);
    std::erase(part, ' ');
    at = comma + 1;
    if (part.empty()) continue;
    if (part == "backbone") {
      // Not what holds a head, such as the model itself: it would no longer say that it is being trained.
      for (const auto& [path, module] : modules)
        if (!path.empty() && detail::is_backbone(path, heads)) module->freeze();
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
