// Classifiers: a backbone, and a head that makes a vector of every image and logits of the vector.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "atlas/models/heads/configured.h"
#include "atlas/models/model.h"

namespace atlas::inline ATLAS_ABI::models {

/// The head of a classifier.
class ClassifyHead : public Module {
 public:
  /// What Backbone::features() gives, to a vector for each image.   -> [B, C]
  virtual Tensor pool(const std::vector<Tensor>& features) const = 0;
  /// Logits of the vectors.   pooled [B, C] -> [B, classes]
  Tensor forward(const Tensor& pooled) const override = 0;
};

/// An image classifier: what training, evaluation and tools need to know about a model.
///
/// images [B, H, W, 3] -> logits [B, classes]
class Classifier : public Model {
 public:
  /// Name of the task of all classifiers.
  static constexpr const char* kTask = "classification";
  virtual const ClassifyHead& head() const = 0;

  /// Logits of a batch of normalized images, channels last.
  /// @throws Error when the images' shape or dtype does not suit the model.
  Tensor forward(const Tensor& images) const override { return head().forward(pooled_features(images)); }
  /// The vector that the head's last layer reads.   -> [B, C]
  /// @param maps  gets what feature_maps() gives, computed on the way, when it is not null
  Tensor pooled_features(const Tensor& images, std::vector<Tensor>* maps = nullptr) const {
    return head().pool(backbone().features(images, maps));
  }
  /// Backbone::maps(): from fine to coarse, each [B, H_i, W_i, C_i].
  std::vector<Tensor> feature_maps(const Tensor& images) const { return backbone().maps(images); }
  /// Backbone::features(): what the head reads.
  std::vector<Tensor> forward_features(const Tensor& images) const { return backbone().features(images); }

  /// Path of the linear layer that makes logits, such as "head" or "fc".
  virtual std::string head_name() const = 0;
  std::string task() const override { return kTask; }
  std::vector<std::string> heads() const override { return {head_name()}; }
};

/// The classifier of a backbone B and a head H. Parameters keep their names: nothing stands before those of the
/// backbone, and H::kName, if there is one, before those of the head.
///
/// Both are built from one configuration, B::Config, which has its fields listed (models/fields.h), kFamily and kTitle,
/// num_classes and image_size(). H::kLinear is the path of the layer that makes logits.
template <class B, class H>
class ClassifierOf : public Configured<Classifier, typename B::Config> {
  using Made = Configured<Classifier, typename B::Config>;

 public:
  using typename Made::Config;
  static constexpr const char* kHeadName = H::kLinear;

  /// @throws Error for a configuration that does not fit together.
  explicit ClassifierOf(const Config& config = {}) : Made(config), backbone_(config_), head_(config_) {
    this->register_part(backbone_);
    if constexpr (requires { H::kName; })
      this->register_module(H::kName, head_);
    else
      this->register_part(head_);
  }

  B& backbone() override { return backbone_; }
  const B& backbone() const override { return backbone_; }
  const H& head() const override { return head_; }
  std::string head_name() const override { return kHeadName; }

 private:
  using Made::config_;

  B backbone_;
  H head_;
};

}  // namespace atlas::inline ATLAS_ABI::models
