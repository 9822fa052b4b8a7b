// Pyramid: a backbone whose maps each go out through a layer norm of its own, for heads that say something about every
// pixel or box. ConvModule: the piece that such heads are built of.
#pragma once

#include <fmt/core.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/models/backbone.h"
#include "atlas/models/stem.h"
#include "atlas/nn/container.h"
#include "atlas/nn/conv_norm.h"
#include "atlas/nn/norm.h"

namespace atlas::inline ATLAS_ABI::models {

namespace detail {
/// Texts joined when the program is compiled: the names of families that stand on others.
template <const std::string_view&... Parts>
class Joined {
  static constexpr std::array<char, (Parts.size() + ...)> kChars = [] {
    std::array<char, (Parts.size() + ...)> chars{};
    size_t at = 0;
    const auto append = [&](std::string_view part) {
      for (const char c : part) chars[at++] = c;
    };
    (append(Parts), ...);
    return chars;
  }();

 public:
  static constexpr std::string_view value{kChars.data(), kChars.size()};
};
}  // namespace detail

/// The maps of a backbone B (Backbone::dense_maps()), each through its layer norm over channels.
///
/// Parameters have the names that the authors of MambaVision gave them: those of B, and outnorm0, outnorm1, ... from
/// fine to coarse. What a classifier has behind its last map (norm, head) is not there.
template <class B>
class Pyramid : public Backbone {
 public:
  using Config = typename B::Config;

  explicit Pyramid(const Config& config) : backbone_(config) {
    register_part(backbone_);
    for (const int64_t channels : backbone_.dense_channels()) norms_.add(channels);
    for (size_t i = 0; i < norms_.size(); ++i) register_module(fmt::format("outnorm{}", i), norms_[i]);
  }
  std::vector<Tensor> maps(const Tensor& images) const override {
    std::vector<Tensor> all = backbone_.dense_maps(images);
    for (size_t i = 0; i < all.size(); ++i) all[i] = norms_[i](all[i]);
    return all;
  }
  std::vector<int64_t> strides() const override { return backbone_.dense_strides(); }
  std::vector<int64_t> channels() const override { return backbone_.dense_channels(); }
  std::vector<std::pair<std::string, std::string>> parts() const override { return backbone_.parts(); }
  /// Without the norms.
  B& inner() { return backbone_; }

 private:
  B backbone_;
  ModuleList<LayerNorm> norms_;
};

/// Convolution of the same size, batch norm (then the convolution has no bias), ReLU.   x: [B, H, W, in] -> [B, H, W,
/// out]
class ConvModule : public Module {
 public:
  /// @param kernel  its side, odd
  /// @param norm, relu  whether they are there
  ConvModule(int64_t in, int64_t out, int64_t kernel, bool norm = true, bool relu = true)
      : conv(in, out, kernel, {.padding = {kernel / 2, kernel / 2}}, !norm),
        activation_(relu ? Activation::relu : Activation::none) {
    register_module("conv", conv);
    if (norm) {
      register_module("bn", bn.emplace(out));
      joined_.emplace(conv, *bn);
    }
    kaiming_normal_(conv.weight, 0, Layout::conv2d, true);
    if (conv.bias.defined()) constant_(conv.bias, 0);
  }
  Tensor forward(const Tensor& x) const override {
    return joined_ ? (*joined_)(x, activation_) : activate(conv(x), activation_);
  }

  Conv2d conv;
  std::optional<BatchNorm2d> bn;

 private:
  Activation activation_;
  std::optional<ConvNorm> joined_;
};

}  // namespace atlas::inline ATLAS_ABI::models
