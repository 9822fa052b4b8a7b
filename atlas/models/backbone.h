// Backbone: what a model finds in images, before anybody says what it is for.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/core/rng.h"
#include "atlas/nn/init.h"
#include "atlas/nn/linear.h"
#include "atlas/nn/module.h"

/// Complete models with published configurations and parameter names.
namespace atlas::inline ATLAS_ABI::models {

/// A layer of attention, as pictures of attention (train/attention_picture.h) show it.
struct AttentionLayer {
  std::string path;            ///< of the module, within the backbone
  std::string name;            ///< in words, such as "stage 2, block 1"
  int64_t number = 0;          ///< by which it is asked for; several layers may share one
  bool by_default = true;      ///< shown when no number is asked for
  bool across_scales = false;  ///< a token reads windows of several scales; otherwise that which it lies in
};

/// Images [B, H, W, 3] to feature maps of several strides; heads (models/heads/) read them.
///
/// A model is a backbone and a head. A classifier takes over the names of both (`levels.0...`, `head.weight`), as its
/// published weights have them; another task may put a name before the backbone's.
class Backbone : public Module {
 public:
  /// Feature maps from fine to coarse, each [B, H / stride, W / stride, channels], rounded up or down as the model
  /// does.
  /// @throws Error when the images' shape or dtype does not suit the model.
  virtual std::vector<Tensor> maps(const Tensor& images) const = 0;
  /// Pixels of the image per cell of each map.
  virtual std::vector<int64_t> strides() const = 0;
  /// Channels of each map.
  virtual std::vector<int64_t> channels() const = 0;

  /// What a head for whole images reads: the coarsest map, or what the model makes of it.
  /// @param all  gets what maps() gives, computed on the way, when it is not null
  virtual std::vector<Tensor> features(const Tensor& images, std::vector<Tensor>* all = nullptr) const {
    std::vector<Tensor> every = maps(images);
    if (all != nullptr) *all = every;
    return {every.back()};
  }
  /// What heads for every pixel or box read, fine to coarse: maps(), and finer ones that the model makes on its way.
  virtual std::vector<Tensor> dense_maps(const Tensor& images) const { return maps(images); }
  /// Pixels of the image per cell of each of dense_maps().
  virtual std::vector<int64_t> dense_strides() const { return strides(); }
  /// Channels of each of dense_maps().
  virtual std::vector<int64_t> dense_channels() const { return channels(); }

  /// The parts in the order of computation, each with the path of its module: "stem", then the stages by number, "0"
  /// the finest.
  virtual std::vector<std::pair<std::string, std::string>> parts() const = 0;
  /// What can be shown of its attention, in the order of computation; nothing where it has none.
  virtual std::vector<AttentionLayer> attention_layers() const { return {}; }

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

/// Drop-path rate of block i of n: 0 for the first, `last` for the last, linear between.
inline double drop_path_rate(double last, int64_t i, int64_t n) {
  return n > 1 ? last * static_cast<double>(i) / static_cast<double>(n - 1) : 0;
}

/// The rule of most vision models: linear layers start from a truncated normal of deviation 0.02 and zero biases.
inline void init_linears(Module& part) {
  for (const auto& [path, module] : part.named_modules()) {
    if (auto* layer = dynamic_cast<Linear*>(module); layer != nullptr) {
      trunc_normal_(layer->weight, 0.02);
      if (layer->bias.defined()) constant_(layer->bias, 0);
    }
  }
}

namespace detail {
/// Hidden features of a block's perceptron.
inline int64_t hidden_size(int64_t dim, double ratio) { return static_cast<int64_t>(static_cast<double>(dim) * ratio); }

/// Takes the streams of random numbers that a head's linear layer took here before heads were parts of their own, so
/// that a seed still gives the weights it gave.
inline void skip_streams_of_head() {
  if (!atlas::detail::skip_init()) default_generator().stream += 2;
}
}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI::models
