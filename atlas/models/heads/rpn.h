// The feature pyramid network, and the region proposal network over it.
//
// Lin et al., "Feature pyramid networks for object detection", CVPR 2017; Ren et al., "Faster R-CNN", NeurIPS 2015.
// Names of parameters are mmdetection's.
#pragma once

#include <string>
#include <vector>

#include "atlas/core/rng.h"
#include "atlas/models/heads/detect_config.h"
#include "atlas/nn/constants.h"
#include "atlas/ops/resize.h"

namespace atlas::inline ATLAS_ABI::models {

/// Maps of any channels to as many maps and one more of equal channels; the last is every second pixel of the one
/// before.
class FPN : public Module {
 public:
  FPN(const std::vector<int64_t>& in, int64_t channels) {
    for (const int64_t c : in) {
      lateral_convs.add(c, channels, 1, false, false);
      fpn_convs.add(channels, channels, 3, false, false);
    }
    register_modules({{"lateral_convs", lateral_convs}, {"fpn_convs", fpn_convs}});
    for (const auto& list : {&lateral_convs, &fpn_convs})
      for (const auto& conv : *list) xavier_uniform_(conv->conv.weight, 1, Layout::conv2d);
  }
  /// [B, H_i, W_i, C_i] -> [B, H_i, W_i, channels]
  std::vector<Tensor> run(const std::vector<Tensor>& maps) const {
    std::vector<Tensor> x;
    for (size_t i = 0; i < maps.size(); ++i) x.push_back(lateral_convs[i](maps[i]));
    for (size_t i = x.size() - 1; i-- > 0;)
      x[i] = x[i] + resize(x[i + 1], x[i].size(1), x[i].size(2), Interpolation::nearest);
    for (size_t i = 0; i < x.size(); ++i) x[i] = fpn_convs[i](x[i]);
    const Tensor& last = x.back();
    x.push_back(last.slice(1, 0, last.size(1), 2).slice(2, 0, last.size(2), 2).contiguous());
    return x;
  }

  ModuleList<ConvModule> lateral_convs, fpn_convs;
};

/// Finds places where there may be objects.
class RPNHead : public Module {
 public:
  explicit RPNHead(const CascadeSettings& settings);

  /// Of each map, with n = height width ratios anchors, cell by cell.
  struct Outputs {
    std::vector<Tensor> logits;   ///< [B, n]: object or not
    std::vector<Tensor> deltas;   ///< [B, n, 4]
    std::vector<Tensor> anchors;  ///< [n, 4]
  };
  Outputs run(const std::vector<Tensor>& maps) const;

  /// Binary cross-entropy and smooth L1 (beta 1/9) of sampled anchors, both over their number. Anchors that reach
  /// outside the image, or touch its right or lower edge, take no part.
  /// @param sizes      of the images before padding
  /// @param generator  for sampling; null for the fixed rule
  /// @return loss_rpn_cls, loss_rpn_bbox
  LossParts loss(const Outputs& outputs, const std::vector<ObjectTruth>& truths, const std::vector<ImageSize>& sizes,
                 Generator* generator, DetectionTrace* trace = nullptr) const;

  /// For each image: the `before` best anchors of each map, moved and clipped, suppressed map by map, and the `after`
  /// best of all; boxes [n, 4], outside the graph.
  std::vector<Tensor> proposals(const Outputs& outputs, const std::vector<ImageSize>& sizes, int64_t before,
                                int64_t after, DetectionTrace* trace = nullptr) const;

  Conv2d rpn_conv, rpn_cls, rpn_reg;

 private:
  CascadeSettings settings_;
  ConstantCache anchors_;
};

}  // namespace atlas::inline ATLAS_ABI::models

#ifndef ATLAS_COMPILED_LIB
#include "atlas/models/heads/rpn-inl.h"
#endif
