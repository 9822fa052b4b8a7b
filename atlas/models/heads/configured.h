// Configured: what every model that was made from a configuration says about itself.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "atlas/models/fields.h"
#include "atlas/models/model.h"

namespace atlas::inline ATLAS_ABI::models {

/// A model of the kind Base (Classifier, Segmenter, Detector) made from a configuration C, which has its fields listed
/// (models/fields.h), kFamily, num_classes and image_size().
template <class Base, class C>
class Configured : public Base {
 public:
  using Config = C;

  std::string family() const override { return std::string(C::kFamily); }
  std::string config_json() const override { return config_to_json(config_); }
  int64_t num_classes() const override { return config_.num_classes; }
  int64_t image_size() const override { return config_.image_size(); }
  const C& config() const { return config_; }

 protected:
  /// @throws Error for a configuration that does not fit together.
  explicit Configured(const C& config) : config_((validate(config), config)) {}

  /// Backbone::parts(), of a backbone that is registered as "backbone".
  std::vector<std::pair<std::string, std::string>> parts_below_backbone() const {
    auto all = this->backbone().parts();
    for (auto& [name, path] : all) path = "backbone." + path;
    return all;
  }

  C config_;
};

}  // namespace atlas::inline ATLAS_ABI::models
