// Classifier: what training, evaluation and tools need to know about a model.
#pragma once

#include <fmt/core.h>

#include <string>
#include <utility>
#include <vector>

#include "atlas/nn/linear.h"
#include "atlas/nn/module.h"

/// Complete models with published configurations and parameter names.
namespace atlas::inline ATLAS_ABI::models {

/// An image classifier.   images [B, H, W, 3] -> logits [B, classes]
class Classifier : public Module {
 public:
  /// Logits of a batch of normalised images, channels last.
  /// @throws Error when the images' shape or dtype does not suit the model.
  Tensor forward(const Tensor& images) const override = 0;
  /// The vector that the head reads.   -> [B, C]
  /// @param maps  gets what feature_maps() gives, computed on the way, when it is not null
  virtual Tensor pooled_features(const Tensor& images, std::vector<Tensor>* maps = nullptr) const = 0;
  /// Feature maps from fine to coarse, each [B, H_i, W_i, C_i].
  virtual std::vector<Tensor> feature_maps(const Tensor& images) const = 0;

  /// The parts of the backbone in the order of computation, each with the path of its module: "stem", then the stages
  /// by number, "0" the finest. What stands between the last stage and the head has no name here.
  virtual std::vector<std::pair<std::string, std::string>> parts() const = 0;
  /// Path of the linear layer that makes logits: "head" or "fc".
  virtual std::string head_name() const = 0;

  /// "atlas" or "mambavision"
  virtual std::string family() const = 0;
  /// The configuration as a JSON object that make_model_from_config() understands.
  virtual std::string config_json() const = 0;
  virtual int64_t num_classes() const = 0;
  /// Side of the square images the model was made for.
  virtual int64_t image_size() const = 0;

 protected:
  /// Checks that `images` is [B, H, W, 3] and has the dtype and device of `weight`.
  static void check_images(const Tensor& images, const Tensor& weight, std::string_view model) {
    check(images.defined() && images.dim() == 4 && images.size(3) == 3, model,
          "needs images of shape [B, H, W, 3] (channels last), got {}", describe(images));
    check(images.dtype() == weight.dtype() && images.device() == weight.device(), model,
          "the images are {}, the weights {} on {}: convert one of them with .to(...)", describe(images),
          atlas::name(weight.dtype()), weight.device().str());
    check(images.size(1) > 0 && images.size(2) > 0, model, "the images are empty: {}", describe(images));
  }
};

namespace detail {
/// Drop-path rate of block i of n: 0 for the first, `last` for the last, linear between.
inline double drop_path_rate(double last, int64_t i, int64_t n) {
  return n > 1 ? last * static_cast<double>(i) / static_cast<double>(n - 1) : 0;
}
/// Hidden features of a block's perceptron.
inline int64_t hidden_size(int64_t dim, double ratio) { return static_cast<int64_t>(static_cast<double>(dim) * ratio); }

/// The model-wide rule of both families: linear layers start from a truncated normal of deviation 0.02 and zero biases.
inline void init_linears(Module& model) {
  for (const auto& [path, module] : model.named_modules()) {
    if (auto* layer = dynamic_cast<Linear*>(module); layer != nullptr) {
      trunc_normal_(layer->weight, 0.02);
      if (layer->bias.defined()) constant_(layer->bias, 0);
    }
  }
}

/// "[1, 2, 3]"
template <class List>
std::string json_list(const List& values) {
  std::string text = "[";
  for (const auto v : values) text += fmt::format("{}{}", text.size() > 1 ? ", " : "", v);
  return text + "]";
}
}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::models
