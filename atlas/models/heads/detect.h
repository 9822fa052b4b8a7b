// Detectors: Cascade Mask R-CNN over the pyramid of a backbone.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "atlas/models/heads/cascade.h"
#include "atlas/models/heads/configured.h"
#include "atlas/models/heads/rpn.h"
#include "atlas/models/model.h"
#include "atlas/nn/finite_guard.h"
#include "atlas/ops/join.h"

namespace atlas::inline ATLAS_ABI::models {

/// A model that finds objects.
///
/// Images of a batch are padded with zeros at the right and the bottom to one size, a multiple of 32; `sizes` are
/// theirs before that, `originals` those before they were resized.
class Detector : public Model {
 public:
  static constexpr const char* kTask = "detection";
  std::string task() const override { return kTask; }

  /// The parts of the loss of a batch, in training.
  /// @param images     [B, H, W, 3]
  /// @param truths     B of them, in pixels of the images; crowds left out
  /// @param sizes      B of them
  /// @param generator  for sampling; null for a fixed rule
  /// @param trace      gets what is computed on the way, when it is not null
  /// @param extra      boxes put behind each image's proposals, for tests
  /// @throws Error when there is not one truth and one size for each image.
  virtual LossParts losses(const Tensor& images, const std::vector<ObjectTruth>& truths,
                           const std::vector<ImageSize>& sizes, Generator* generator, DetectionTrace* trace = nullptr,
                           const std::vector<Tensor>& extra = {}) const = 0;
  /// What is in the images, in pixels of the originals.
  /// @throws Failure naming the module, where numbers on the way are NaN or infinite: such boxes would just be missing.
  virtual std::vector<Detections> predict(const Tensor& images, const std::vector<ImageSize>& sizes,
                                          const std::vector<ImageSize>& originals,
                                          DetectionTrace* trace = nullptr) const = 0;
  /// Whether it gives masks.
  virtual bool with_masks() const = 0;
};

/// Cascade Mask R-CNN over the pyramid of a backbone B.
template <class B>
class CascadeMaskRCNN : public Configured<Detector, CascadeConfig<typename B::Config>> {
  using Made = Configured<Detector, CascadeConfig<typename B::Config>>;

 public:
  using typename Made::Config;
  static constexpr const char* kHeadName = "roi_head.bbox_head.0.fc_cls";

  /// @throws Error for a configuration that does not fit together.
  explicit CascadeMaskRCNN(const Config& config = {})
      : Made(config),
        backbone_(config_.backbone),
        neck_(four(backbone_.channels()), config_.channels),
        rpn_head_(config_),
        roi_head_(config_) {
    this->register_modules(
        {{"backbone", backbone_}, {"neck", neck_}, {"rpn_head", rpn_head_}, {"roi_head", roi_head_}});
  }

  LossParts losses(const Tensor& images, const std::vector<ObjectTruth>& truths, const std::vector<ImageSize>& sizes,
                   Generator* generator, DetectionTrace* trace = nullptr,
                   const std::vector<Tensor>& extra = {}) const override {
    check_lists(images, sizes.size(), truths.size());
    const Module::LayerScope layer(*this);
    const std::vector<Tensor> maps = neck_.run(backbone_.maps(images));
    const RPNHead::Outputs outputs = rpn_head_.run(maps);
    LossParts all = rpn_head_.loss(outputs, truths, sizes, generator, trace);
    std::vector<Tensor> boxes = rpn_head_.proposals(outputs, sizes, config_.train_pre, config_.train_post, trace);
    for (size_t i = 0; i < extra.size(); ++i) boxes[i] = cat({boxes[i], extra[i]}, 0);
    for (auto& part : roi_head_.loss(maps, boxes, truths, sizes, generator, trace)) all.push_back(std::move(part));
    return all;
  }
  std::vector<Detections> predict(const Tensor& images, const std::vector<ImageSize>& sizes,
                                  const std::vector<ImageSize>& originals,
                                  DetectionTrace* trace = nullptr) const override {
    check_lists(images, sizes.size(), originals.size());
    const Module::LayerScope layer(*this);
    const std::vector<Tensor> maps = neck_.run(backbone_.maps(images));
    const RPNHead::Outputs outputs = rpn_head_.run(maps);
    if (trace != nullptr) note(*trace, maps, outputs);
    for (size_t i = 0; i < maps.size(); ++i) {
      require_finite_output(maps[i], "neck");
      require_finite_output(outputs.logits[i], "rpn_head.rpn_cls");
      require_finite_output(outputs.deltas[i], "rpn_head.rpn_reg");
    }
    return roi_head_.predict(maps, rpn_head_.proposals(outputs, sizes, config_.test_pre, config_.test_post, trace),
                             sizes, originals, trace);
  }
  bool with_masks() const override { return config_.mask; }

  Pyramid<B>& backbone() override { return backbone_; }
  const Pyramid<B>& backbone() const override { return backbone_; }
  std::vector<std::pair<std::string, std::string>> parts() const override { return this->parts_below_backbone(); }
  std::vector<std::string> heads() const override { return {"roi_head"}; }

 private:
  static std::vector<int64_t> four(const std::vector<int64_t>& channels) {
    check(channels.size() == 4, Config::kTitle, "needs a backbone of four maps, got {}", channels.size());
    return channels;
  }
  static void check_lists(const Tensor& images, size_t sizes, size_t others) {
    const auto batch = static_cast<size_t>(images.size(0));
    check(sizes == batch && others == batch, Config::kTitle, "{} images, but {} sizes and {} truths or original sizes",
          batch, sizes, others);
  }
  static void note(DetectionTrace& trace, const std::vector<Tensor>& maps, const RPNHead::Outputs& outputs) {
    for (size_t i = 0; i < maps.size(); ++i) {
      const std::string rpn = "rpn" + std::to_string(i);
      trace["fpn" + std::to_string(i)] = maps[i].detach();
      trace[rpn + ".logits"] = outputs.logits[i].detach();
      trace[rpn + ".deltas"] = outputs.deltas[i].detach();
      trace[rpn + ".anchors"] = outputs.anchors[i];
    }
  }

  using Made::config_;

  Pyramid<B> backbone_;
  FPN neck_;
  RPNHead rpn_head_;
  CascadeRoIHead roi_head_;
};

}  // namespace atlas::inline ATLAS_ABI::models
