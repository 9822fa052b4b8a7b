// Preset: a named configuration of a family of models.
#pragma once

#include <set>
#include <string>

#include "atlas/models/published.h"

namespace atlas::inline ATLAS_ABI::models {

/// A named configuration.
template <class Config>
struct Preset {
  std::string name;
  Config config = {};
  /// Called when the image size, the classes and the user's fields are set: may change fields that are not among those
  /// of the user, whose names it gets.
  void (*adapt)(Config&, const std::set<std::string>& given) = nullptr;
  PublishedEvaluation evaluation = {};
  PublishedSize size = {};
};

}  // namespace atlas::inline ATLAS_ABI::models
