// Bodies of cascade.h.
#pragma once

#include <algorithm>
#include <string>

#include "atlas/models/heads/cascade.h"
#include "atlas/models/heads/rpn-inl.h"
#include "atlas/nn/finite_guard.h"
#include "atlas/ops/batch_share.h"
#include "atlas/ops/norm_group.h"
#include "atlas/ops/roi_align.h"
#include "atlas/ops/select.h"
#include "atlas/ops/softmax.h"

namespace atlas::inline ATLAS_ABI::models {

namespace detail {

/// Boxes of each image as regions [R, 5].
inline Tensor to_rois(const std::vector<Tensor>& boxes) {
  std::vector<Tensor> all;
  for (size_t i = 0; i < boxes.size(); ++i)
    all.push_back(
        cat({full({boxes[i].size(0), 1}, static_cast<double>(i), boxes[i].dtype(), boxes[i].device()), boxes[i]}, 1));
  return cat(all, 0);
}
/// The deltas of each row's class; those of all classes pass.   [n, 4 K], int64 [n] -> [n, 4]
inline Tensor by_class(const Tensor& deltas, const Tensor& labels) {
  const int64_t n = deltas.size(0), classes = deltas.size(1) / 4;
  if (classes == 1) return deltas;
  return index_select(deltas.reshape({n * classes, 4}), 0,
                      arange(n, int64, deltas.device()) * static_cast<double>(classes) + labels);
}
/// The map of each row's class.   [n, S, S, K], int64 [n] -> [n, S, S]
inline Tensor map_of_class(const Tensor& maps, const Tensor& labels) {
  const int64_t n = maps.size(0), side = maps.size(1);
  return gather(maps, 3, labels.reshape({n, 1, 1, 1}).expand({n, side, side, 1}).contiguous()).squeeze(3);
}
/// The class of largest score, without the background.
inline Tensor best_class(const Tensor& scores) { return argmax(scores.slice(1, 0, scores.size(1) - 1), 1); }

inline std::vector<int64_t> counts_of(const std::vector<Tensor>& lists) {
  std::vector<int64_t> counts;
  for (const Tensor& t : lists) counts.push_back(t.size(0));
  return counts;
}

}  // namespace detail

ATLAS_INLINE BBoxHead::BBoxHead(const CascadeSettings& s)
    : fc_cls(s.shared_fcs > 0 ? s.fc : s.channels * s.bins * s.bins, s.num_classes + 1),
      fc_reg(s.shared_fcs > 0 ? s.fc : s.channels * s.bins * s.bins, s.class_agnostic ? 4 : 4 * s.num_classes) {
  for (int64_t i = 0; i < s.shared_convs; ++i) shared_convs.add(s.channels, s.channels, 3);
  for (int64_t i = 0; i < s.shared_fcs; ++i) {
    Linear& fc1 = shared_fcs.add(i > 0 ? s.fc : s.channels * s.bins * s.bins, s.fc);
    xavier_uniform_(fc1.weight);
    constant_(fc1.bias, 0);
  }
  register_modules(
      {{"shared_convs", shared_convs}, {"shared_fcs", shared_fcs}, {"fc_cls", fc_cls}, {"fc_reg", fc_reg}});
  normal_(fc_cls.weight, 0, 0.01);
  normal_(fc_reg.weight, 0, 0.001);
  constant_(fc_cls.bias, 0);
  constant_(fc_reg.bias, 0);
}

ATLAS_INLINE BBoxHead::Outputs BBoxHead::run(const Tensor& input) const {
  const atlas::detail::SharedStatistics as_published;  // SyncBN, where processes work together
  Tensor x = input;
  for (const auto& conv : shared_convs) x = (*conv)(x);
  // Weights of the linear layer are published for channels first.
  x = x.permute({0, 3, 1, 2}).contiguous().reshape({x.size(0), x.size(1) * x.size(2) * x.size(3)});
  for (const auto& fc : shared_fcs) x = relu((*fc)(x));
  return {fc_cls(x), fc_reg(x)};
}

ATLAS_INLINE MaskHead::MaskHead(const CascadeSettings& s)
    : upsample(s.channels, s.channels, 2, {.stride = {2, 2}}), conv_logits(s.channels, s.num_classes, 1) {
  for (int i = 0; i < 4; ++i) convs.add(s.channels, s.channels, 3, false);
  register_modules({{"convs", convs}, {"upsample", upsample}, {"conv_logits", conv_logits}});
  kaiming_normal_(upsample.weight, 0, Layout::conv2d, true);
  kaiming_normal_(conv_logits.weight, 0, Layout::conv2d, true);
  constant_(upsample.bias, 0);
  constant_(conv_logits.bias, 0);
}

ATLAS_INLINE Tensor MaskHead::forward(const Tensor& input) const {
  Tensor x = input;
  for (const auto& conv : convs) x = (*conv)(x);
  return conv_logits(relu(upsample(x)));
}

ATLAS_INLINE CascadeRoIHead::CascadeRoIHead(const CascadeSettings& s) : settings_(s) {
  for (int64_t i = 0; i < s.stages(); ++i) bbox_head.add(s);
  for (int64_t i = 0; i < s.stages() && s.mask; ++i) mask_head.add(s);
  register_module("bbox_head", bbox_head);
  if (s.mask) register_module("mask_head", mask_head);
}

ATLAS_INLINE Tensor CascadeRoIHead::features(const std::vector<Tensor>& maps, const Tensor& rois, int64_t bins) const {
  const std::vector<Tensor> read(maps.begin(), maps.end() - 1);  // the last map is for proposals alone
  const std::vector<double> strides(settings_.strides.begin(), settings_.strides.end() - 1);
  return roi_align(read, rois, {.bins = bins, .strides = strides, .finest = settings_.finest_scale});
}

/// What a stage learns from: of each image the positives, then the negatives.
struct CascadeRoIHead::Sampled {
  std::vector<Tensor> boxes;                 // of each image
  std::vector<std::vector<int64_t>> which;   // truths of each image's positives
  std::vector<int64_t> labels;               // of all rows, K for the background
  std::vector<int64_t> positive;             // among all rows
  std::vector<std::vector<int64_t>> others;  // of each image, rows that are no truths themselves
};

ATLAS_INLINE CascadeRoIHead::Sampled CascadeRoIHead::sample(int64_t stage, const std::vector<Tensor>& boxes,
                                                            const std::vector<ObjectTruth>& truths,
                                                            Generator* generator, DetectionTrace* trace) const {
  Sampled out;
  const double iou = settings_.stage_iou[static_cast<size_t>(stage)];
  atlas::detail::ImageGenerators chance(generator);
  for (size_t i = 0; i < boxes.size(); ++i) {
    // The truths join the proposals, in front.
    const int64_t own = truths[i].boxes.size(0);
    const std::vector<int64_t> labels = to_vector<int64_t>(truths[i].labels);
    std::vector<int64_t> assigned(static_cast<size_t>(own));
    for (int64_t g = 0; g < own; ++g) assigned[static_cast<size_t>(g)] = g;
    for (const int64_t to : to_vector<int64_t>(assign_boxes(boxes[i], truths[i].boxes, {iou, iou, -1})))
      assigned.push_back(to);
    const BoxSamples samples =
        sample_boxes(from_vector(assigned, {std::ssize(assigned)}, Device{}), settings_.roi_samples,
                     settings_.roi_positive, chance.of(static_cast<int64_t>(i)));
    std::vector<int64_t> rows = samples.positive, others, which;
    rows.insert(rows.end(), samples.negative.begin(), samples.negative.end());
    for (const int64_t row : samples.positive) {
      which.push_back(assigned[static_cast<size_t>(row)]);
      out.positive.push_back(std::ssize(out.labels));
      out.labels.push_back(labels[static_cast<size_t>(which.back())]);
    }
    out.labels.insert(out.labels.end(), samples.negative.size(), settings_.num_classes);
    for (size_t k = 0; k < rows.size(); ++k)
      if (rows[k] >= own) others.push_back(static_cast<int64_t>(k));
    out.boxes.push_back(detail::rows_of(cat({truths[i].boxes, boxes[i]}, 0), rows));
    out.which.push_back(std::move(which));
    out.others.push_back(std::move(others));
    if (trace != nullptr) (*trace)["s" + std::to_string(stage) + ".rows" + std::to_string(i)] = from_vector(rows);
  }
  return out;
}

ATLAS_INLINE Tensor CascadeRoIHead::mask_loss(int64_t stage, const std::vector<Tensor>& maps, const Sampled& sampled,
                                              const std::vector<ObjectTruth>& truths,
                                              const std::vector<std::vector<int64_t>>& has_mask,
                                              DetectionTrace* trace) const {
  std::vector<int64_t> rows, labels;  // positives whose objects have masks, among all rows
  std::vector<Tensor> goals;
  size_t positive = 0;
  for (size_t i = 0; i < truths.size(); ++i) {
    std::vector<int64_t> own, which;  // their rows in the image, and their objects
    for (size_t k = 0; k < sampled.which[i].size(); ++k, ++positive) {
      const int64_t object = sampled.which[i][k], row = sampled.positive[positive];
      if (has_mask[i][static_cast<size_t>(object)] == 0) continue;
      own.push_back(static_cast<int64_t>(k)), which.push_back(object);
      rows.push_back(row), labels.push_back(sampled.labels[static_cast<size_t>(row)]);
    }
    const Tensor boxes = detail::rows_of(sampled.boxes[i], own);
    goals.push_back(mask_targets(truths[i].masks, boxes, detail::rows_like(which, boxes), 2 * settings_.mask_bins));
  }
  const Tensor rois = detail::rows_of(detail::to_rois(sampled.boxes), rows), goal = cat(goals, 0);
  const Tensor logits = mask_head[static_cast<size_t>(stage)](features(maps, rois, settings_.mask_bins));
  detail::note(trace, "s" + std::to_string(stage) + ".mask_logits", logits);
  detail::note(trace, "s" + std::to_string(stage) + ".mask_targets", goal);
  if (rows.empty()) return sum(logits);
  return bce_with_logits(detail::map_of_class(logits, detail::rows_like(labels, logits)), goal.to(logits.dtype()));
}

ATLAS_INLINE LossParts CascadeRoIHead::loss(const std::vector<Tensor>& maps, const std::vector<Tensor>& proposals,
                                            const std::vector<ObjectTruth>& truths, const std::vector<ImageSize>& sizes,
                                            Generator* generator, DetectionTrace* trace) const {
  LossParts losses;
  std::vector<Tensor> boxes = proposals;
  std::vector<std::vector<int64_t>> has_mask;  // of each image's objects: 0 where no pixel is set
  for (size_t i = 0; i < truths.size() && settings_.mask; ++i)
    has_mask.push_back(to_vector<int64_t>(any(truths[i].masks, {1, 2}).to(int64)));
  for (int64_t s = 0; s < settings_.stages(); ++s) {
    const std::string name = "s" + std::to_string(s) + ".";
    const double weight = settings_.stage_weights[static_cast<size_t>(s)];
    const BoxStds stds = settings_.stds(s);
    const Sampled sampled = sample(s, boxes, truths, generator, trace);
    const Tensor rois = detail::to_rois(sampled.boxes), labels = detail::rows_like(sampled.labels, rois);
    const Tensor x = features(maps, rois, settings_.bins);
    const auto [scores, deltas] = bbox_head[static_cast<size_t>(s)].run(x);
    for (const auto& [what, t] : std::vector<std::pair<const char*, Tensor>>{
             {"rois", rois}, {"labels", labels}, {"roi_features", x}, {"scores", scores}, {"deltas", deltas}})
      detail::note(trace, name + what, t);

    const int64_t rows = rois.size(0);
    const Tensor class_loss = rows > 0 ? cross_entropy(scores, labels) : sum(scores);
    losses.emplace_back(name + "loss_cls", class_loss * weight);

    std::vector<Tensor> found;
    for (size_t i = 0; i < truths.size(); ++i) found.push_back(detail::rows_of(truths[i].boxes, sampled.which[i]));
    const Tensor goals = cat(found, 0), from = detail::rows_of(rois.slice(1, 1, 5), sampled.positive);
    const Tensor own =
        detail::by_class(detail::rows_of(deltas, sampled.positive), detail::rows_of(labels, sampled.positive));
    const Tensor box_loss = settings_.giou ? 10 * giou_loss(decode_boxes(from, own, stds), goals, Reduction::sum)
                                           : smooth_l1_loss(own, encode_boxes(from, goals, stds), 1, Reduction::sum);
    losses.emplace_back(name + "loss_bbox", box_loss * (weight / static_cast<double>(std::max<int64_t>(rows, 1))));

    if (settings_.mask)
      losses.emplace_back(name + "loss_mask", mask_loss(s, maps, sampled, truths, has_mask, trace) * weight);
    if (s + 1 == settings_.stages()) break;

    // Boxes for the next stage: moved as their own class moves, background as its best class does. Truths leave again.
    const Tensor background = labels == static_cast<double>(settings_.num_classes);
    const Tensor moves =
        detail::by_class(deltas.detach(), where(background, detail::best_class(scores.detach()), labels));
    const std::vector<Tensor> parts = split(moves, detail::counts_of(sampled.boxes), 0);
    for (size_t i = 0; i < boxes.size(); ++i)
      boxes[i] = detail::rows_of(decode_boxes(sampled.boxes[i], parts[i], stds, sizes[i]), sampled.others[i]);
  }
  return losses;
}

ATLAS_INLINE Tensor CascadeRoIHead::mask_probabilities(const std::vector<Tensor>& maps, const Tensor& rois,
                                                       const Tensor& labels) const {
  const int64_t side = 2 * settings_.mask_bins;
  if (rois.size(0) == 0) return zeros({0, side, side}, rois.dtype(), rois.device());
  const Tensor x = features(maps, rois, settings_.mask_bins);
  Tensor all;
  for (int64_t s = 0; s < settings_.stages(); ++s) {
    const Tensor logits = detail::map_of_class(mask_head[static_cast<size_t>(s)](x), labels);
    // Before the sigmoid, which makes 0 or 1 of infinite ones.
    require_finite_output(logits, "roi_head.mask_head." + std::to_string(s) + ".conv_logits");
    const Tensor one = sigmoid(logits);
    all = all.defined() ? all + one : one;
  }
  return all / static_cast<double>(settings_.stages());
}

ATLAS_INLINE std::vector<Detections> CascadeRoIHead::predict(const std::vector<Tensor>& maps,
                                                             const std::vector<Tensor>& proposals,
                                                             const std::vector<ImageSize>& sizes,
                                                             const std::vector<ImageSize>& originals,
                                                             DetectionTrace* trace) const {
  const std::vector<int64_t> counts = detail::counts_of(proposals);
  std::vector<Tensor> boxes = proposals, moves;
  Tensor total;
  for (int64_t s = 0; s < settings_.stages(); ++s) {
    const std::string name = "s" + std::to_string(s) + ".";
    const Tensor rois = detail::to_rois(boxes);
    const auto out = bbox_head[static_cast<size_t>(s)].run(features(maps, rois, settings_.bins));
    detail::note(trace, name + "rois", rois);
    detail::note(trace, name + "scores", out.scores);
    detail::note(trace, name + "deltas", out.deltas);
    const std::string module = "roi_head.bbox_head." + std::to_string(s);
    require_finite_output(out.scores, module + ".fc_cls");
    require_finite_output(out.deltas, module + ".fc_reg");
    // Logits are averaged, not probabilities.
    const Tensor part = out.scores / static_cast<double>(settings_.stages());
    total = total.defined() ? total + part : part;
    moves = split(out.deltas, counts, 0);
    if (s + 1 == settings_.stages()) break;
    const std::vector<Tensor> own = split(detail::by_class(out.deltas, detail::best_class(out.scores)), counts, 0);
    for (size_t i = 0; i < boxes.size(); ++i) boxes[i] = decode_boxes(boxes[i], own[i], settings_.stds(s), sizes[i]);
  }
  const std::vector<Tensor> scores = split(softmax(total, 1), counts, 0);
  std::vector<Detections> found;
  std::vector<Tensor> kept, labels;
  for (size_t i = 0; i < boxes.size(); ++i) {
    const Tensor decoded = decode_boxes(boxes[i], moves[i], settings_.stds(settings_.stages() - 1), sizes[i]);
    const Tensor likely = scores[i].slice(1, 0, settings_.num_classes);
    const Tensor places = nonzero(likely > settings_.score_threshold);
    const Tensor label = places.select(1, 1).contiguous(), row = places.select(1, 0).contiguous();
    const Tensor b = detail::by_class(index_select(decoded, 0, row), label);
    const auto width = static_cast<double>(settings_.num_classes);
    const Tensor score = index_select(likely.contiguous().flatten(), 0, row * width + label);
    const Tensor keep = detail::first_rows(nms(b, score, settings_.nms, label), settings_.detections).contiguous();
    kept.push_back(index_select(b, 0, keep));
    labels.push_back(index_select(label, 0, keep));
    found.push_back({kept.back(), index_select(score, 0, keep), labels.back(), {}});
  }
  if (settings_.mask) {
    const Tensor masks = mask_probabilities(maps, detail::to_rois(kept), cat(labels, 0));
    detail::note(trace, "mask_probabilities", masks);
    const std::vector<Tensor> parts = split(masks, detail::counts_of(kept), 0);
    for (size_t i = 0; i < found.size(); ++i) found[i].masks = parts[i];
  }
  for (size_t i = 0; i < found.size(); ++i) {
    const double x = static_cast<double>(sizes[i][1]) / static_cast<double>(originals[i][1]),
                 y = static_cast<double>(sizes[i][0]) / static_cast<double>(originals[i][0]);
    const Tensor& b = found[i].boxes;
    found[i].boxes = b / from_vector<double>({x, y, x, y}, {4}, Device{}).to(b.dtype()).to(b.device());
  }
  return found;
}

}  // namespace atlas::inline ATLAS_ABI::models
