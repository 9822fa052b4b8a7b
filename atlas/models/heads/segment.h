// Semantic segmentation: UPerNet's heads over the pyramid of a backbone, and what segmenters have in common.
//
// Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV 2018, arXiv 1807.10221. Names of parameters
// are those of MambaVision's published checkpoints (mmsegmentation's EncoderDecoder).
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/models/fields.h"
#include "atlas/models/heads/configured.h"
#include "atlas/models/heads/pyramid.h"
#include "atlas/models/model.h"
#include "atlas/nn/activation.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/norm_group.h"
#include "atlas/ops/pool.h"
#include "atlas/ops/resize.h"

namespace atlas::inline ATLAS_ABI::models {

/// Bilinear, centers of pixels at half-integers.   [B, h, w, C] -> [B, height, width, C]
inline Tensor resize_map(const Tensor& x, int64_t height, int64_t width) {
  return x.size(1) == height && x.size(2) == width ? x : resize(x, height, width, Interpolation::bilinear);
}

/// Drops whole channels of each image, and makes logits of the classes of what is left.   [B, H, W, C] -> [B, H, W,
/// classes]
class PixelClassifier : public Module {
 public:
  PixelClassifier(int64_t channels, int64_t classes, double dropout)
      : dropout_(dropout), conv_seg(channels, classes, 1) {
    register_module("conv_seg", conv_seg);
    normal_(conv_seg.weight, 0, 0.01);
    constant_(conv_seg.bias, 0);
  }

 protected:
  Tensor classify(const Tensor& x) const {
    if (!training() || dropout_ == 0) return conv_seg(x);
    const Tensor keep = dropout(ones({x.size(0), 1, 1, x.size(3)}, x.dtype(), x.device()), dropout_, true);
    return conv_seg(x * keep);
  }

 private:
  double dropout_;

 public:
  Conv2d conv_seg;
};

/// UPerNet's decoder: pyramid pooling of the coarsest map, then a feature pyramid, all levels joined at the finest.
class UPerHead : public PixelClassifier {
 public:
  /// @param in        channels of the maps, from fine to coarse; two or more
  /// @param channels  of the decoder
  /// @param pools     sides that the coarsest map is averaged to
  UPerHead(const std::vector<int64_t>& in, int64_t channels, int64_t classes, const std::vector<int64_t>& pools,
           double dropout)
      : PixelClassifier(channels, classes, dropout),
        bottleneck(in.back() + std::ssize(pools) * channels, channels, 3),
        fpn_bottleneck(std::ssize(in) * channels, channels, 3),
        pools_(pools) {
    for (size_t i = 0; i < pools.size(); ++i) psp_modules.add(in.back(), channels);
    for (size_t i = 0; i + 1 < in.size(); ++i) {
      lateral_convs.add(in[i], channels, 1);
      fpn_convs.add(channels, channels, 3);
    }
    register_modules({{"psp_modules", psp_modules},
                      {"bottleneck", bottleneck},
                      {"lateral_convs", lateral_convs},
                      {"fpn_convs", fpn_convs},
                      {"fpn_bottleneck", fpn_bottleneck}});
  }
  /// Logits at the size of the finest map.   maps [B, H_i, W_i, C_i] -> [B, H_0, W_0, classes]
  Tensor run(const std::vector<Tensor>& maps) const {
    const atlas::detail::SharedStatistics as_published;  // SyncBN, where processes work together
    return classify(features(maps));
  }

  /// One side of the pyramid pooling: "0" is the pooling, which has no parameters, "1" the convolution.
  class Pool : public Module {
   public:
    Pool(int64_t in, int64_t channels) : conv(in, channels, 1) { register_module("1", conv); }
    ConvModule conv;
  };

  ModuleList<Pool> psp_modules;
  ConvModule bottleneck;
  ModuleList<ConvModule> lateral_convs, fpn_convs;
  ConvModule fpn_bottleneck;

 private:
  Tensor features(const std::vector<Tensor>& maps) const {
    const size_t last = maps.size() - 1;
    std::vector<Tensor> levels;
    for (size_t i = 0; i < last; ++i) levels.push_back(lateral_convs[i](maps[i]));
    {
      const Tensor& top = maps[last];
      std::vector<Tensor> parts{top};
      for (size_t i = 0; i < pools_.size(); ++i)
        parts.push_back(psp_modules[i].conv(adaptive_avg_pool2d(top, pools_[i], pools_[i])));
      levels.push_back(bottleneck(resize_cat(parts, top.size(1), top.size(2), Interpolation::bilinear)));
    }
    for (size_t i = last; i-- > 0;)
      levels[i] = levels[i] + resize_map(levels[i + 1], levels[i].size(1), levels[i].size(2));
    for (size_t i = 0; i < last; ++i) levels[i] = fpn_convs[i](levels[i]);
    const Tensor joined = resize_cat(levels, maps[0].size(1), maps[0].size(2), Interpolation::bilinear);
    levels.clear();
    return fpn_bottleneck(joined);
  }

  std::vector<int64_t> pools_;
};

/// The auxiliary head of training: one 3x3 convolution on one map (Zhao et al., "Pyramid Scene Parsing Network", 2017).
class FCNHead : public PixelClassifier {
 public:
  /// @param in     channels of the maps
  /// @param index  of the map that it reads
  FCNHead(const std::vector<int64_t>& in, int64_t channels, int64_t classes, int64_t index, double dropout)
      : PixelClassifier(channels, classes, dropout), index_(static_cast<size_t>(index)) {
    convs.add<ConvModule>(in[index_], channels, 3);
    register_module("convs", convs);
  }
  /// Logits at the size of its map.
  Tensor run(const std::vector<Tensor>& maps) const {
    const atlas::detail::SharedStatistics as_published;
    return classify(convs(maps[index_]));
  }

  Sequential convs;

 private:
  size_t index_;
};

/// A model that gives every pixel a class.
///
/// images [B, H, W, 3] of any size -> logits [B, h, w, classes] at the size of its finest map
class Segmenter : public Model {
 public:
  static constexpr const char* kTask = "segmentation";
  std::string task() const override { return kTask; }

  /// Logits, each at the size of the map that they were made from.
  struct Logits {
    Tensor main;
    Tensor auxiliary;  ///< for training alone
  };
  virtual Logits logits(const Tensor& images) const = 0;
  /// Hears images and the logits that the model made from them.
  using SeenLogits = std::function<void(const Tensor& images, const Tensor& logits)>;
  /// Hears the logits of some rows of a result, [B, rows.count, width, classes], one strip after the other.
  using LogitRows = std::function<void(RowSpan rows, const Tensor& logits)>;
  /// The share that the auxiliary head's loss has in training.
  virtual double auxiliary_weight() const = 0;

  /// Logits at the size of the images.   [B, H, W, 3] -> [B, H, W, classes]
  Tensor whole(const Tensor& images) const { return resize_map((*this)(images), images.size(1), images.size(2)); }
  /// The mean of the logits of crop x crop pieces, `stride` apart; the last of each row and column are moved inside the
  /// image. For inference: no gradient flows back.   [B, H, W, 3] -> [B, H, W, classes]
  Tensor slide(const Tensor& images, int64_t crop, int64_t stride) const;
  /// The class of every pixel of a picture of height x width, of which the images are versions of another size: logits
  /// are resized to the images' size, then to height x width, and the largest is taken. Rows are made in strips, so
  /// that never more than `strip_bytes` of resized logits are there at a time, of pieces neither: besides, only the
  /// model's own small logits of the pieces that a strip lies in.
  /// @param crop, stride  as slide(); crop 0: the whole image at once
  /// @param seen          hears what the model was given and said, for the whole or each piece
  /// @param strips        hears the logits that the classes are taken from
  /// @return int64 [B, height, width]
  Tensor predict(const Tensor& images, int64_t height, int64_t width, int64_t crop = 0, int64_t stride = 0,
                 int64_t strip_bytes = int64_t{1} << 25, const SeenLogits& seen = {},
                 const LogitRows& strips = {}) const;
};

/// Number of the largest of each pixel's logits, once they are resized to each of `sizes` in turn.
/// @param logits  [B, h, w, classes]   @param sizes  heights and widths, one or two of them
/// @param strip_bytes, strips  as Segmenter::predict()
/// @return int64 [B, height, width] of the last size
Tensor class_map(const Tensor& logits, const std::vector<std::array<int64_t, 2>>& sizes,
                 int64_t strip_bytes = int64_t{1} << 25, const Segmenter::LogitRows& strips = {});

/// Configuration of UPerNet over a backbone with the configuration B, whose fields it also has; the defaults are the
/// published ones.
template <class B>
struct UPerNetConfig {
  B backbone;
  int64_t num_classes = 150;
  int64_t channels = 512;
  int64_t aux_channels = 256;
  int64_t aux_index = 2;
  double aux_weight = 0.4;
  double dropout = 0.1;
  std::vector<int64_t> pools = {1, 2, 3, 6};

  static constexpr std::string_view kUPerNet = "upernet-", kOver = "UPerNet over ";
  static constexpr std::string_view kFamily = detail::Joined<kUPerNet, B::kFamily>::value;
  static constexpr std::string_view kTitle = detail::Joined<kOver, B::kTitle>::value;
  int64_t& image_size() { return backbone.image_size(); }
  int64_t image_size() const { return backbone.image_size(); }

  template <class Self, class Visitor>
  static void fields(Self& c, Visitor&& visit) {
    visit("num_classes", c.num_classes, "classes that pixels are told apart by", class_count());
    visit("channels", c.channels, "channels of the decoder", length());
    visit("aux_channels", c.aux_channels, "channels of the auxiliary head", length());
    visit("aux_index", c.aux_index, "which map of the pyramid the auxiliary head reads, 0 the finest", at_least(0));
    visit("aux_weight", c.aux_weight, "share of the auxiliary head's loss", within(0, 100));
    visit("dropout", c.dropout, "of channels, before the logits", Range{.least = 0, .most = 1, .most_itself = false});
    visit("pools", c.pools, "sides that the coarsest map is averaged to", length());
    B::fields(c.backbone, [&](const char* name, auto& field, const char* help, const Range& range) {
      if (std::string_view(name) != "num_classes") visit(name, field, help, range);
    });
  }
};

/// @throws Error naming the field that is out of range, or those that do not go together.
template <class B>
void validate(const UPerNetConfig<B>& c) {
  check_ranges(c, UPerNetConfig<B>::kTitle);
  validate(c.backbone);
}

/// UPerNet over the pyramid of a backbone B.
template <class B>
class UPerNet : public Configured<Segmenter, UPerNetConfig<typename B::Config>> {
  using Made = Configured<Segmenter, UPerNetConfig<typename B::Config>>;

 public:
  using typename Made::Config;
  static constexpr const char* kHeadName = "decode_head.conv_seg";

  /// @throws Error for a configuration that does not fit together.
  explicit UPerNet(const Config& config = {})
      : Made(config),
        backbone_(config_.backbone),
        decode_head_(backbone_.channels(), config_.channels, config_.num_classes, config_.pools, config_.dropout),
        auxiliary_head_(backbone_.channels(), config_.aux_channels, config_.num_classes, aux_index(), config_.dropout) {
    this->register_modules(
        {{"backbone", backbone_}, {"decode_head", decode_head_}, {"auxiliary_head", auxiliary_head_}});
  }

  Tensor forward(const Tensor& images) const override { return decode_head_.run(backbone_.maps(images)); }
  Segmenter::Logits logits(const Tensor& images) const override {
    const std::vector<Tensor> maps = backbone_.maps(images);
    return {decode_head_.run(maps), auxiliary_head_.run(maps)};
  }
  double auxiliary_weight() const override { return config_.aux_weight; }

  Pyramid<B>& backbone() override { return backbone_; }
  const Pyramid<B>& backbone() const override { return backbone_; }
  std::vector<std::pair<std::string, std::string>> parts() const override { return this->parts_below_backbone(); }
  const UPerHead& decode_head() const { return decode_head_; }
  const FCNHead& auxiliary_head() const { return auxiliary_head_; }
  std::vector<std::string> heads() const override { return {"decode_head", "auxiliary_head"}; }

 private:
  int64_t aux_index() const {
    const int64_t maps = std::ssize(backbone_.channels());
    check(config_.aux_index < maps, Config::kTitle, "aux_index {} is no map of the backbone, which has {}",
          config_.aux_index, maps);
    return config_.aux_index;
  }

  using Made::config_;

  Pyramid<B> backbone_;
  UPerHead decode_head_;
  FCNHead auxiliary_head_;
};

}  // namespace atlas::inline ATLAS_ABI::models

#ifndef ATLAS_COMPILED_LIB
#include "atlas/models/heads/segment-inl.h"
#endif
