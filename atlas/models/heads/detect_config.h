// What detectors over a pyramid are configured by, and what goes into and comes out of them.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/models/fields.h"
#include "atlas/models/heads/pyramid.h"

namespace atlas::inline ATLAS_ABI::models {

/// The heads of Cascade Mask R-CNN; the defaults are those of MambaVision's published detectors. fields() says what
/// they mean.
struct CascadeSettings {
  int64_t num_classes = 80;
  int64_t channels = 256;
  int64_t fc = 1024;
  int64_t shared_convs = 4;
  int64_t shared_fcs = 1;
  bool class_agnostic = false;
  bool giou = true;
  bool mask = true;
  double anchor_scale = 8;
  std::vector<double> anchor_ratios = {0.5, 1, 2};
  std::vector<double> strides = {4, 8, 16, 32, 64};
  double finest_scale = 56;
  int64_t bins = 7;
  int64_t mask_bins = 14;
  std::vector<double> stage_stds = {0.1, 0.1, 0.2, 0.2, 0.05, 0.05, 0.1, 0.1, 0.033, 0.033, 0.067, 0.067};
  std::vector<double> stage_iou = {0.5, 0.6, 0.7};
  std::vector<double> stage_weights = {1, 0.5, 0.25};
  int64_t rpn_samples = 256;
  double rpn_positive = 0.5;
  int64_t roi_samples = 512;
  double roi_positive = 0.25;
  int64_t train_pre = 2000, train_post = 2000;
  int64_t test_pre = 1000, test_post = 1000;
  double rpn_nms = 0.7;
  double score_threshold = 0.05;
  double nms = 0.5;
  int64_t detections = 100;

  int64_t stages() const { return std::ssize(stage_iou); }
  std::array<double, 4> stds(int64_t stage) const {
    std::array<double, 4> s{};
    for (size_t i = 0; i < 4; ++i) s[i] = stage_stds[4 * static_cast<size_t>(stage) + i];
    return s;
  }

  template <class Self, class Visitor>
  static void fields(Self& c, Visitor&& visit) {
    visit("num_classes", c.num_classes, "classes of objects", class_count());
    visit("channels", c.channels, "of the feature pyramid, the RPN and the heads' convolutions", length());
    visit("fc", c.fc, "features of the box heads' linear layers", length());
    visit("shared_convs", c.shared_convs, "convolutions with batch norm in each box head", few());
    visit("shared_fcs", c.shared_fcs, "linear layers in each box head", few());
    visit("class_agnostic", c.class_agnostic, "boxes are regressed once, not for each class", any_value());
    visit("giou", c.giou, "box loss: GIoU of decoded boxes (weight 10), else smooth L1 of deltas", any_value());
    visit("mask", c.mask, "whether there are mask heads; false for boxes alone", any_value());
    visit("anchor_scale", c.anchor_scale, "sides of anchors in strides of their map", positive());
    visit("anchor_ratios", c.anchor_ratios, "height / width of the anchors of a cell", positive());
    visit("strides", c.strides, "pixels per cell of the pyramid's five maps", positive());
    visit("finest_scale", c.finest_scale, "regions of twice this side are read from the second map", positive());
    visit("bins", c.bins, "side of what box heads read of a region", between(1, 1000));
    visit("mask_bins", c.mask_bins, "side of what mask heads read of a region; masks are twice as wide",
          between(1, 1000));
    visit("stage_stds", c.stage_stds, "what deltas are divided by: x, y, width, height of each stage", positive());
    visit("stage_iou", c.stage_iou, "IoU that makes a proposal positive, of each stage", between(0, 1));
    visit("stage_weights", c.stage_weights, "of each stage's losses", at_least(0));
    visit("rpn_samples", c.rpn_samples, "anchors per image that the RPN learns from", at_least(1));
    visit("rpn_positive", c.rpn_positive, "share of positive ones among them, at most", between(0, 1));
    visit("roi_samples", c.roi_samples, "proposals per image that each stage learns from", at_least(1));
    visit("roi_positive", c.roi_positive, "share of positive ones among them, at most", between(0, 1));
    visit("train_pre", c.train_pre, "training: proposals per map before suppression", at_least(1));
    visit("train_post", c.train_post, "training: proposals per image after suppression", at_least(1));
    visit("test_pre", c.test_pre, "tests: proposals per map before suppression", at_least(1));
    visit("test_post", c.test_post, "tests: proposals per image after suppression", at_least(1));
    visit("rpn_nms", c.rpn_nms, "IoU above which proposals suppress each other", between(0, 1));
    visit("score_threshold", c.score_threshold, "detections below are dropped", between(0, 1));
    visit("nms", c.nms, "IoU above which detections of a class suppress each other", between(0, 1));
    visit("detections", c.detections, "per image, at most", at_least(1));
  }
};

/// Heads over a backbone with the configuration B, whose fields it also has.
template <class B>
struct CascadeConfig : CascadeSettings {
  B backbone;

  static constexpr std::string_view kCascade = "cascade-mask-rcnn-", kOver = "Cascade Mask R-CNN over ";
  static constexpr std::string_view kFamily = detail::Joined<kCascade, B::kFamily>::value;
  static constexpr std::string_view kTitle = detail::Joined<kOver, B::kTitle>::value;
  int64_t& image_size() { return backbone.image_size(); }
  int64_t image_size() const { return backbone.image_size(); }

  template <class Self, class Visitor>
  static void fields(Self& c, Visitor&& visit) {
    CascadeSettings::fields(c, visit);
    B::fields(c.backbone, [&](const char* name, auto& field, const char* help, const Range& range) {
      if (std::string_view(name) != "num_classes") visit(name, field, help, range);
    });
  }
};

/// @throws Error naming the fields that do not go together.
inline void validate_heads(const CascadeSettings& c, std::string_view title) {
  check(c.stages() >= 1 && std::ssize(c.stage_weights) == c.stages() && std::ssize(c.stage_stds) == 4 * c.stages(),
        title,
        "{} stages by stage_iou need as many stage_weights (there are {}) and four times as many stage_stds ({})",
        c.stages(), c.stage_weights.size(), c.stage_stds.size());
  check(!c.anchor_ratios.empty(), title, "anchor_ratios is empty");
  check(c.strides.size() == 5, title, "strides must name five maps, got {}", c.strides.size());
}
template <class B>
void validate(const CascadeConfig<B>& c) {
  check_ranges(c, CascadeConfig<B>::kTitle);
  validate(c.backbone);
  validate_heads(c, CascadeConfig<B>::kTitle);
}

/// The objects of one image, in pixels of the network's input.
struct ObjectTruth {
  Tensor boxes;   ///< [G, 4]: left, top, right, bottom
  Tensor labels;  ///< int64 [G]
  Tensor masks;   ///< uint8 [G, H, W] of zeros and ones; objects of zeros alone have no mask to learn; may be undefined
                  ///< for boxes alone
};

/// What was found in one image, best first.
struct Detections {
  Tensor boxes;   ///< [n, 4] in pixels of the original image
  Tensor scores;  ///< [n]
  Tensor labels;  ///< int64 [n]
  Tensor masks;   ///< [n, S, S]: probabilities inside the boxes, for paste_masks(); undefined without mask heads
};

/// Height and width.
using ImageSize = std::array<int64_t, 2>;
/// Parts of a loss by name, in order.
using LossParts = std::vector<std::pair<std::string, Tensor>>;
/// What was computed on the way, by name, for tests that ask.
using DetectionTrace = std::map<std::string, Tensor>;

}  // namespace atlas::inline ATLAS_ABI::models
