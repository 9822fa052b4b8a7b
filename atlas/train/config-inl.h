// Bodies of config.h that need the JSON parser.
#pragma once

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "atlas/core/nearest.h"
#include "atlas/data/evaluation.h"
#include "atlas/data/rand_augment.h"
#include "atlas/data/text.h"
#include "atlas/io/json_fields.h"
#include "atlas/io/utf8.h"
#include "atlas/train/config.h"
#include "atlas/train/group_rules.h"
#include "atlas/train/recipes-inl.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {
inline std::vector<Recipe>& all_recipes() {
  static std::vector<Recipe> all = built_in_recipes();
  return all;
}
}  // namespace detail

ATLAS_INLINE const std::vector<Recipe>& recipes() { return detail::all_recipes(); }

ATLAS_INLINE void register_recipe(Recipe recipe) {
  check(!recipe.name.empty(), "recipe", "a recipe needs a name");
  for (const Recipe& other : recipes())
    check(other.name != recipe.name, "recipe", "there is a recipe '{}' already", recipe.name);
  TrainConfig probe;
  merge_json(probe, recipe.settings, "recipe " + recipe.name);
  detail::all_recipes().push_back(std::move(recipe));
}

ATLAS_INLINE std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const Recipe& recipe : recipes()) names.push_back(recipe.name);
  return names;
}

ATLAS_INLINE void apply_recipe(TrainConfig& c, const std::string& name, const std::string& model) {
  for (const Recipe& recipe : recipes()) {
    if (recipe.name != name) continue;
    c = TrainConfig{};
    merge_json(c, recipe.settings, "recipe " + name);
    if (!model.empty()) c.model.name = model;
    return;
  }
  fail("recipe", "'{}' is no recipe; {}", name, known_names(name, recipe_names()));
}

ATLAS_INLINE std::string explain(const TrainConfig& config, const std::string& recipe, int64_t processes) {
  TrainConfig its;
  apply_recipe(its, recipe, "");
  const auto found =
      std::find_if(recipes().begin(), recipes().end(), [&](const Recipe& r) { return r.name == recipe; });
  const auto named = nlohmann::json::parse(found->settings), theirs = nlohmann::json::parse(to_json(its)),
             now = nlohmann::json::parse(to_json(config));
  const auto& o = config.optimization;
  const bool shared = processes > 1 && o.accumulate * processes == its.optimization.accumulate;
  std::string text = fmt::format("recipe {}: {}\n\n", recipe, found->source);
  for_each_setting(config, [&](const char* key, const auto&, const char*) {
    std::string source = now[key] != theirs[key] ? fmt::format("given; the recipe has {}", theirs[key].dump())
                         : named.contains(key)   ? found->source
                                                 : std::string("default of this program");
    if (shared && std::string_view(key) == "accumulate")
      source = fmt::format("{}, shared by {} processes", theirs[key].dump(), processes);
    text += fmt::format("{:<18} {:<28} {}\n", key, now[key].dump(), source);
  });
  text += fmt::format("\nimages per update  {} ({} x {}{})\n", o.batch_size * o.accumulate * processes, o.batch_size,
                      o.accumulate, processes > 1 ? fmt::format(" x {} processes", processes) : "");
  if (!found->differences.empty()) text += "\ndifferences from what was published:\n" + found->differences + "\n";
  return text;
}

ATLAS_INLINE std::string to_json(const TrainConfig& config) {
  nlohmann::ordered_json j = nlohmann::ordered_json::object();
  for_each_setting(config, [&](const char* key, const auto& field, const char*) { j[key] = field; });
  return j.dump(2);
}

ATLAS_INLINE void merge_json(TrainConfig& config, const std::string& text, const std::string& source) {
  // A NUL would end the parser: what stands behind it is no part of an object either.
  check(text.find('\0') == text.npos, "config", "{} is not valid JSON: it has a NUL byte", source);
  nlohmann::json j;
  try {
    j = nlohmann::json::parse(data::without_mark(text));
  } catch (const nlohmann::json::exception& e) {
    fail("config", "{} is not valid JSON: {}", source, io::json_reason(e.what()));
  }
  check(j.is_object(), "config", "{} must hold a JSON object, got {}", source, j.type_name());
  io::JsonFields(std::string(data::without_mark(text)), source);  // no name twice
  for (const auto& [former, key] : kFormerNames)
    if (const auto it = j.find(former); it != j.end()) {
      j[key] = *it;
      j.erase(former);
    }
  for_each_setting(config, [&](const char* key, auto& field, const char*) {
    const auto it = j.find(key);
    if (it == j.end()) return;
    using T = std::decay_t<decltype(field)>;
    const char* wanted = "";
    bool ok = false;
    if constexpr (std::is_same_v<T, bool>) {
      wanted = "true or false";
      ok = it->is_boolean();
    } else if constexpr (std::is_same_v<T, int64_t>) {
      check(!io::is_too_large(*it), "config", "{}: '{}': {} is {}", source, key, it->dump(), io::kTooLarge);
      wanted = "a whole number";
      ok = io::whole_number_in(*it).has_value();
    } else if constexpr (std::is_same_v<T, double>) {
      wanted = "a number";
      ok = it->is_number();
    } else if constexpr (std::is_same_v<T, std::string>) {
      // Options may be written as the object itself.
      wanted = "a string";
      ok = it->is_string();
      if (it->is_object() && std::string_view(key).ends_with("_options")) {
        field = it->dump();
        j.erase(it);
        return;
      }
    } else {
      wanted = "a list of numbers";
      ok = it->is_array() && std::all_of(it->begin(), it->end(), [](const auto& v) { return v.is_number(); });
    }
    check(ok, "config", "{}: '{}' must be {}, got {}", source, key, wanted, it->dump());
    field = it->template get<T>();
    j.erase(it);
  });
  if (j.empty()) return;
  std::vector<std::string> known;
  for_each_setting(config, [&](const char* key, const auto&, const char*) { known.push_back(key); });
  fail("config", "{}: '{}' is no setting{} (see --help for the names)", source, j.begin().key(),
       did_you_mean(j.begin().key(), known));
}

ATLAS_INLINE void validate(const TrainConfig& c) {
  const auto need = [](bool ok, const char* key, auto value, const char* allowed) {
    check(ok, "config", "{} = {} is out of range: {}", key, value, allowed);
  };
  for_each_setting(c, [&](const char* key, const auto& field, const char*) {
    using T = std::decay_t<decltype(field)>;
    if constexpr (std::is_same_v<T, double>)
      need(std::isfinite(field) && field >= 0, key, field, "it must be finite and not negative");
    if constexpr (std::is_same_v<T, int64_t>) {
      need(field >= 0, key, field, "it must not be negative");
      need(field <= int64_t{1} << 40, key, field, "it is too large, at most 2^40");
    }
    if constexpr (std::is_same_v<T, std::string>)
      check(io::is_utf8(field), "config", "{} '{}' is not UTF-8, which JSON needs", key, io::escaped(field));
  });
  need(c.data.image_size >= 4 && c.data.image_size <= 16384, "image_size", c.data.image_size, "between 4 and 16384");
  need(c.optimization.epochs >= 1, "epochs", c.optimization.epochs, "at least 1");
  need(c.optimization.batch_size >= 1, "batch_size", c.optimization.batch_size, "at least 1");
  need(c.optimization.accumulate >= 1, "accumulate", c.optimization.accumulate, "at least 1");
  need(c.optimization.lr > 0, "lr", c.optimization.lr, "above 0");
  need(c.optimization.beta1 < 1, "beta1", c.optimization.beta1, "in [0, 1)");
  need(c.optimization.beta2 < 1, "beta2", c.optimization.beta2, "in [0, 1)");
  need(c.optimization.momentum < 1, "momentum", c.optimization.momentum, "in [0, 1)");
  need(c.optimization.ema < 1, "ema", c.optimization.ema, "in [0, 1)");
  need(c.augmentation.label_smoothing < 1, "label_smoothing", c.augmentation.label_smoothing, "in [0, 1)");
  need(c.model.drop_path < 1, "drop_path", c.model.drop_path, "in [0, 1)");
  need(c.augmentation.eval_crop >= data::kLeastCrop && c.augmentation.eval_crop <= 1, "eval_crop",
       c.augmentation.eval_crop, "in [0.1, 1]");
  need(c.augmentation.min_crop_scale > 0 && c.augmentation.min_crop_scale <= 1, "min_crop_scale",
       c.augmentation.min_crop_scale, "in (0, 1]");
  need(c.augmentation.crop_padding <= c.data.image_size, "crop_padding", c.augmentation.crop_padding,
       "at most image_size, or crops show nothing of the image");
  need(c.augmentation.color_jitter <= 10, "color_jitter", c.augmentation.color_jitter, "at most 10");
  for (const auto& [key, alpha] : {std::pair{"mixup", c.augmentation.mixup}, {"cutmix", c.augmentation.cutmix}})
    need(alpha <= 1000, key, alpha, "at most 1000");
  for (const auto& [key, p] : {std::pair{"flip", c.augmentation.flip},
                               {"erase", c.augmentation.erase},
                               {"mix_prob", c.augmentation.mix_prob},
                               {"mix_switch", c.augmentation.mix_switch}})
    need(p <= 1, key, p, "a probability in [0, 1]");
  need(c.optimization.warmup_epochs + c.optimization.cooldown_epochs <= static_cast<double>(c.optimization.epochs),
       "warmup_epochs", c.optimization.warmup_epochs, "warm-up and cool-down must fit into the epochs");
  check(c.model.weights.empty() || c.model.backbone_weights.empty(), "config",
        "weights = {} and backbone_weights = {}: the backbone can start from one of them alone", c.model.weights,
        c.model.backbone_weights);
  need(c.model.weights.empty() ? !c.model.keep_head : true, "keep_head", c.model.keep_head,
       "it needs weights to take the head from");
  const auto one_of = [](const std::string& v, const char* key, const std::vector<std::string>& names) {
    if (std::find(names.begin(), names.end(), v) == names.end())
      fail("config", "{} = '{}' is unknown; {}", key, v, known_names(v, names));
  };
  one_of(c.optimization.optimizer, "optimizer", {"adamw", "adam", "sgd", "lamb"});
  one_of(c.optimization.schedule, "schedule", {"cosine", "polynomial", "multistep", "constant"});
  one_of(c.compute.precision, "precision", {"float32", "bf16"});
  one_of(c.optimization.wire, "wire", {"float32", "bf16"});
  one_of(c.augmentation.crop, "crop", {"pad", "random-resized", "none"});
  need(c.augmentation.mesa == 0 || c.optimization.ema > 0, "mesa", c.augmentation.mesa,
       "it distills from the moving average of the weights: ema must be above 0");
  need(c.augmentation.mesa_start <= 1, "mesa_start", c.augmentation.mesa_start, "in [0, 1]");
  need(c.optimization.ema_ramp <= 1, "ema_ramp", c.optimization.ema_ramp, "0 or 1");
  parse_group_rules(c.optimization.group);
  one_of(c.augmentation.interpolation, "interpolation", {"bicubic", "bilinear", "random"});
  if (!c.augmentation.rand_augment.empty()) data::RandAugmentPolicy::parse(c.augmentation.rand_augment);
  need(c.compute.threads <= 4096, "threads", c.compute.threads, "at most 4096");
  need(c.data.workers <= 256, "workers", c.data.workers, "at most 256");
}

}  // namespace atlas::inline ATLAS_ABI::train
