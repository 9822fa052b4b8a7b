// Models by name: the published sizes and small ones for small images.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/models/atlas_net.h"
#include "atlas/models/heads/classify.h"
#include "atlas/models/mamba_vision.h"
#include "atlas/models/published.h"

namespace atlas::inline ATLAS_ABI::models {

/// What make_model() needs besides a name.
struct ModelOptions {
  int64_t image_size = 0;   ///< side of the images in pixels; 0 means the preset's own
  int64_t num_classes = 0;  ///< 0 means the preset's own
  /// A JSON object with fields of the configuration, such as {"drop_path_rate": 0.1}; may be empty.
  std::string overrides = {};
};

/// The names make_model() knows: those below, and those of families that the program registered (registry.h).
///
/// | name | images | |
/// |---|---|---|
/// | mambavision-t, -t2, -s, -b, -l, -l2 | 224 | as published; other sizes are padded to whole windows |
/// | mambavision-l2-512, -l3-512 / -l3-256 | 512 / 256 | as published |
/// | mambavision-tiny, -toy | 32 | stem stride 4, windows as large as the map (at most 14 and 7) |
/// | atlas-s, -b, -l | 1024 | dim 384, 768, 1024; patch 16, ratio 4; see below |
/// | atlas-tiny / -toy | 32 | patch 4 / 8, ratio 2 |
///
/// Atlas follows the image size: of 12 blocks, every macro stage but the last gets 2, with one macro stage per scale
/// (224: 12; 512 and 1024: 2, 10; 2048 and 4096: 2, 2, 8). Windows are 16 tokens wide where that fits (4 for tiny, 2
/// for toy), otherwise the nearest width from half to twice that does, otherwise as wide as published with padding at
/// the right and the bottom. Every size of image works, square or not (AtlasPyramid), also one that a model was not
/// made for: the size in the configuration fixes the number of scales, and so the weights.
/// @param task  Model::task() of those to name; empty: all
std::vector<std::string> preset_names(std::string_view task = {});

/// Builds a model with fresh weights from default_generator().
/// @throws Error for an unknown name (lists the known ones and the nearest), an override that is no field of the
///         configuration or of a wrong type, or values that do not go together.
std::unique_ptr<Classifier> make_model(const std::string& name, const ModelOptions& options = {});
/// The same of models for any task, where make_model() wants a classifier.
std::unique_ptr<Model> make_any_model(const std::string& name, const ModelOptions& options = {});
/// What the models called `name` are made for: Model::task(). @throws Error for an unknown name.
std::string task_of(const std::string& name);

/// Builds a classifier from Model::family() and Model::config_json(), as checkpoints hold them.
/// @param config  a JSON object; fields that are absent keep their defaults
/// @throws Error as make_model().
std::unique_ptr<Classifier> make_model_from_config(const std::string& family, const std::string& config);
/// The same of models for any task.
std::unique_ptr<Model> make_any_model_from_config(const std::string& family, const std::string& config);

/// Classifier::head_name() of the models called `name`, without building one; empty when they are no classifiers.
/// @throws Error for an unknown name.
std::string head_name_of(const std::string& name);

/// One field of a configuration, as command lines and --help show it.
struct FieldText {
  std::string name;         ///< as in JSON
  std::string value;        ///< the preset's, as JSON
  std::string help;         ///< what it means, and the range of its values
  bool has_option = false;  ///< it is the image size or the classes, for which programs have options of their own
};

/// The fields of the configuration of a preset, in order. @throws Error for an unknown name.
std::vector<FieldText> fields_of(const std::string& name);

/// ModelOptions::overrides with fields added that a command line gave as text: 96, 0.1, true, none, or 2,10 for a list.
/// They beat those of `overrides`.
/// @throws Error for an unknown preset, a name that is no field of it, or a text that is no value of the field.
std::string with_fields(const std::string& name, const std::string& overrides,
                        const std::map<std::string, std::string>& given);

/// How the preset `name` was evaluated; names without a publication get the defaults.
PublishedEvaluation published_evaluation(std::string_view name);
/// What the paper says of the preset `name`; some papers call the multiply-adds FLOPs.
PublishedSize published_size(std::string_view name);

}  // namespace atlas::inline ATLAS_ABI::models

#ifndef ATLAS_COMPILED_LIB
#include "atlas/models/registry.h"  // which brings the bodies
#endif
