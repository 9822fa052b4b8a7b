// Model: a backbone and a head that were made by name, for one task.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "atlas/models/backbone.h"

namespace atlas::inline ATLAS_ABI::models {

/// A whole model: what training, checkpoints and tools need to know about it, whatever it is for.
class Model : public Module {
 public:
  virtual Backbone& backbone() = 0;
  virtual const Backbone& backbone() const = 0;
  /// Name of what it is made for, such as "classification" (tasks/registry.h).
  virtual std::string task() const = 0;
  /// The name under which the kind of model is registered (models/registry.h).
  virtual std::string family() const = 0;
  /// The configuration as a JSON object that make_model_from_config() understands.
  virtual std::string config_json() const = 0;
  /// Paths of the modules that belong to the classes it was trained for. With other classes they start fresh; the rest
  /// is the backbone to learning rates and to freezing.
  virtual std::vector<std::string> heads() const = 0;
  virtual int64_t num_classes() const = 0;
  /// Side of the square images the model was made for.
  virtual int64_t image_size() const = 0;

  /// Backbone::parts(), with their paths in the model. What stands between the last stage and the results has no name
  /// here.
  virtual std::vector<std::pair<std::string, std::string>> parts() const { return backbone().parts(); }
};

}  // namespace atlas::inline ATLAS_ABI::models
