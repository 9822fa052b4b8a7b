// Bodies of rpn.h.
#pragma once

#include <algorithm>

#include "atlas/models/heads/rpn.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/batch_share.h"
#include "atlas/ops/boxes.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/index.h"
#include "atlas/ops/join.h"
#include "atlas/ops/logic.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/order.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::models {

namespace detail {

/// Row numbers as an index on the device of `like`.
inline Tensor rows_like(const std::vector<int64_t>& rows, const Tensor& like) {
  return from_vector(rows, {std::ssize(rows)}, like.device());
}
inline Tensor rows_of(const Tensor& x, const std::vector<int64_t>& rows) {
  return index_select(x, 0, rows_like(rows, x));
}
inline void note(DetectionTrace* trace, const std::string& name, const Tensor& t) {
  if (trace != nullptr) (*trace)[name] = t.detach();
}
/// The first n rows.
inline Tensor first_rows(const Tensor& x, int64_t n) { return x.slice(0, 0, std::min(n, x.size(0))); }

}  // namespace detail

ATLAS_INLINE RPNHead::RPNHead(const CascadeSettings& s)
    : rpn_conv(s.channels, s.channels, 3, {.padding = {1, 1}}),
      rpn_cls(s.channels, std::ssize(s.anchor_ratios), 1),
      rpn_reg(s.channels, 4 * std::ssize(s.anchor_ratios), 1),
      settings_(s) {
  register_modules({{"rpn_conv", rpn_conv}, {"rpn_cls", rpn_cls}, {"rpn_reg", rpn_reg}});
  for (Conv2d* conv : {&rpn_conv, &rpn_cls, &rpn_reg}) {
    normal_(conv->weight, 0, 0.01);
    constant_(conv->bias, 0);
  }
}

ATLAS_INLINE RPNHead::Outputs RPNHead::run(const std::vector<Tensor>& maps) const {
  Outputs out;
  for (size_t i = 0; i < maps.size(); ++i) {
    const int64_t b = maps[i].size(0), h = maps[i].size(1), w = maps[i].size(2);
    const Tensor x = relu(rpn_conv(maps[i]));
    const int64_t n = h * w * std::ssize(settings_.anchor_ratios);
    out.logits.push_back(rpn_cls(x).reshape({b, n}));
    out.deltas.push_back(rpn_reg(x).reshape({b, n, 4}));
    const Tensor anchors = anchors_.get(maps[i].device(), {static_cast<int64_t>(i), h, w}, [&] {
      return grid_anchors(h, w, settings_.strides[i], settings_.anchor_scale, settings_.anchor_ratios);
    });
    out.anchors.push_back(anchors.to(maps[i].dtype()));
  }
  return out;
}

ATLAS_INLINE LossParts RPNHead::loss(const Outputs& outputs, const std::vector<ObjectTruth>& truths,
                                     const std::vector<ImageSize>& sizes, Generator* generator,
                                     DetectionTrace* trace) const {
  const Tensor logits = cat(outputs.logits, 1), deltas = cat(outputs.deltas, 1), anchors = cat(outputs.anchors, 0);
  const std::vector<double> edges = to_vector<double>(anchors.to(float64));
  std::vector<Tensor> classes, boxes;
  int64_t count = 0;
  atlas::detail::ImageGenerators chance(generator);
  for (size_t i = 0; i < truths.size(); ++i) {
    const auto h = static_cast<double>(sizes[i][0]), w = static_cast<double>(sizes[i][1]);
    std::vector<int64_t> inside;
    for (size_t k = 0; k < edges.size(); k += 4)
      if (edges[k] >= 0 && edges[k + 1] >= 0 && edges[k + 2] < w && edges[k + 3] < h)
        inside.push_back(static_cast<int64_t>(k / 4));
    const Tensor assigned = on_host(assign_boxes(detail::rows_of(anchors, inside), truths[i].boxes, {0.7, 0.3, 0.3}));
    BoxSamples samples =
        sample_boxes(assigned, settings_.rpn_samples, settings_.rpn_positive, chance.of(static_cast<int64_t>(i)));
    std::vector<int64_t> which;
    for (int64_t& row : samples.positive) {
      which.push_back(assigned.data<int64_t>()[row]);
      row = inside[static_cast<size_t>(row)];
    }
    for (int64_t& row : samples.negative) row = inside[static_cast<size_t>(row)];
    if (trace != nullptr) {
      const std::string at = std::to_string(i);
      (*trace)["rpn_positive" + at] = from_vector(samples.positive);
      (*trace)["rpn_negative" + at] = from_vector(samples.negative);
      (*trace)["rpn_truth" + at] = from_vector(which);
    }
    const Tensor own = logits[static_cast<int64_t>(i)], moves = deltas[static_cast<int64_t>(i)];
    classes.push_back(sum(softplus(-detail::rows_of(own, samples.positive))) +
                      sum(softplus(detail::rows_of(own, samples.negative))));
    const Tensor goals =
        encode_boxes(detail::rows_of(anchors, samples.positive), detail::rows_of(truths[i].boxes, which));
    boxes.push_back(smooth_l1_loss(detail::rows_of(moves, samples.positive), goals.detach(), 1.0 / 9, Reduction::sum));
    count += std::max<int64_t>(std::ssize(samples.positive), 1) + std::max<int64_t>(std::ssize(samples.negative), 1);
  }
  const auto n = static_cast<double>(count);
  return {{"loss_rpn_cls", sum(stack(classes)) / n}, {"loss_rpn_bbox", sum(stack(boxes)) / n}};
}

ATLAS_INLINE std::vector<Tensor> RPNHead::proposals(const Outputs& outputs, const std::vector<ImageSize>& sizes,
                                                    int64_t before, int64_t after, DetectionTrace* trace) const {
  std::vector<Tensor> found;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const auto image = static_cast<int64_t>(i);
    std::vector<Tensor> boxes, scores, levels;
    for (size_t level = 0; level < outputs.logits.size(); ++level) {
      const Tensor s = sigmoid(outputs.logits[level].detach()[image]);
      const auto [best, index] = topk(s, std::min(before, s.size(0)));
      boxes.push_back(decode_boxes(index_select(outputs.anchors[level], 0, index),
                                   index_select(outputs.deltas[level].detach()[image], 0, index), {1, 1, 1, 1},
                                   sizes[i]));
      scores.push_back(best);
      levels.push_back(full({best.size(0)}, static_cast<double>(level), int64, best.device()));
    }
    const Tensor all = cat(boxes, 0);
    const Tensor real = nonzero(logical_and(all.select(1, 2) > all.select(1, 0), all.select(1, 3) > all.select(1, 1)));
    const Tensor rows = real.reshape({real.size(0)});
    const Tensor b = index_select(all, 0, rows), s = index_select(cat(scores, 0), 0, rows);
    const Tensor keep =
        detail::first_rows(nms(b, s, settings_.rpn_nms, index_select(cat(levels, 0), 0, rows)), after).contiguous();
    found.push_back(index_select(b, 0, keep));
    detail::note(trace, "proposals" + std::to_string(i), found.back());
    detail::note(trace, "proposal_scores" + std::to_string(i), index_select(s, 0, keep));
  }
  return found;
}

}  // namespace atlas::inline ATLAS_ABI::models
