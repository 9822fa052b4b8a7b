// The stages of Cascade Mask R-CNN: box heads, each trained on what the one before it made of the proposals, and mask
// heads.
//
// Cai and Vasconcelos, "Cascade R-CNN", arXiv 1906.09756; He et al., "Mask R-CNN", arXiv 1703.06870. Names of
// parameters are mmdetection's.
#pragma once

#include <vector>

#include "atlas/core/rng.h"
#include "atlas/models/heads/detect_config.h"
#include "atlas/nn/conv_transpose.h"
#include "atlas/nn/linear.h"

namespace atlas::inline ATLAS_ABI::models {

/// Class and move of regions.   [R, bins, bins, C] -> scores [R, K + 1], of which K is the background; deltas [R, 4 K],
/// or [R, 4] of all classes
class BBoxHead : public Module {
 public:
  explicit BBoxHead(const CascadeSettings& settings);

  struct Outputs {
    Tensor scores, deltas;
  };
  Outputs run(const Tensor& x) const;

  ModuleList<ConvModule> shared_convs;
  ModuleList<Linear> shared_fcs;
  Linear fc_cls, fc_reg;
};

/// A mask for each class.   [R, bins, bins, C] -> logits [R, 2 bins, 2 bins, K]
class MaskHead : public Module {
 public:
  explicit MaskHead(const CascadeSettings& settings);
  ATLAS_INLINE Tensor forward(const Tensor& x) const override;

  ModuleList<ConvModule> convs;
  ConvTranspose2d upsample;
  Conv2d conv_logits;
};

/// All stages.
class CascadeRoIHead : public Module {
 public:
  explicit CascadeRoIHead(const CascadeSettings& settings);

  /// @param maps       of the feature pyramid
  /// @param proposals  [n, 4] of each image
  /// @param sizes      of the images before padding
  /// @param generator  for sampling; null for the fixed rule
  /// @return s0.loss_cls, s0.loss_bbox, s0.loss_mask, s1.loss_cls, ..., weighted by stage; masks are learned from the
  /// objects that have one
  LossParts loss(const std::vector<Tensor>& maps, const std::vector<Tensor>& proposals,
                 const std::vector<ObjectTruth>& truths, const std::vector<ImageSize>& sizes, Generator* generator,
                 DetectionTrace* trace = nullptr) const;

  /// @param originals  sizes of the images before they were resized to `sizes`
  std::vector<Detections> predict(const std::vector<Tensor>& maps, const std::vector<Tensor>& proposals,
                                  const std::vector<ImageSize>& sizes, const std::vector<ImageSize>& originals,
                                  DetectionTrace* trace = nullptr) const;

  ModuleList<BBoxHead> bbox_head;
  ModuleList<MaskHead> mask_head;

 private:
  struct Sampled;
  Tensor features(const std::vector<Tensor>& maps, const Tensor& rois, int64_t bins) const;
  Sampled sample(int64_t stage, const std::vector<Tensor>& boxes, const std::vector<ObjectTruth>& truths,
                 Generator* generator, DetectionTrace* trace) const;
  Tensor mask_loss(int64_t stage, const std::vector<Tensor>& maps, const Sampled& sampled,
                   const std::vector<ObjectTruth>& truths, const std::vector<std::vector<int64_t>>& has_mask,
                   DetectionTrace* trace) const;
  Tensor mask_probabilities(const std::vector<Tensor>& maps, const Tensor& rois, const Tensor& labels) const;

  CascadeSettings settings_;
};

}  // namespace atlas::inline ATLAS_ABI::models

#ifndef ATLAS_COMPILED_LIB
#include "atlas/models/heads/cascade-inl.h"
#endif
