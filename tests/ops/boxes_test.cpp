// Boxes: golden values of every operation, finite differences, the plain loops, ties, emptiness, randomness, errors.
#include "atlas/ops/boxes.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "atlas/autograd/gradcheck.h"
#include "atlas/kernels/kernel.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"
#include "tests/ops/dense_golden.h"
#include "tests/ops/formula_input.h"

using namespace atlas;
using namespace test;

namespace {

constexpr BoxStds kStds{0.1, 0.1, 0.2, 0.2};

Tensor numbers(const std::vector<int64_t>& values) {
  return on_device(from_vector(values, {std::ssize(values)}, Device{}));
}
/// Boxes of whole numbers: many equal overlaps.
Tensor grid_boxes(int64_t n, uint64_t seed, DType dtype) {
  std::vector<double> all;
  for (int64_t i = 0; i < n; ++i) {
    const Philox p(seed, 1, static_cast<uint64_t>(i));
    const double x = p.v[0] % 12, y = p.v[1] % 12;
    for (const double v : {x, y, x + 1 + p.v[2] % 12, y + 1 + p.v[3] % 12}) all.push_back(v);
  }
  return table(all, {n, 4}).to(dtype);
}

}  // namespace

TEST_CASE("boxes: golden IoU, GIoU with its gradient, coder, anchors") {
  const DenseGolden golden("op_boxes");
  for (const DType dtype : {float64, float32}) {
    const double tolerance = dtype == float64 ? 1e-6 : 1e-5;
    const Tensor a = golden.as("a", dtype), b = golden.as("b", dtype), deltas = golden.as("deltas", dtype);
    CHECK(difference(pairwise_iou(a, b), golden.at("iou")) < tolerance);
    CHECK(difference(box_iou(a, a), ones({40}, dtype)) < tolerance);
    CHECK(difference(encode_boxes(a, b, kStds), golden.at("encoded")) < tolerance);
    CHECK(difference(decode_boxes(a, deltas, kStds), golden.at("decoded")) < 5 * tolerance);
    CHECK(difference(decode_boxes(a, deltas, kStds, {70, 80}), golden.at("decoded_clipped_70x80")) < 5 * tolerance);
    Tensor p = golden.as("giou.a", dtype), q = golden.as("giou.b", dtype);
    p.set_requires_grad(), q.set_requires_grad();
    const Tensor y = generalized_iou(p, q);
    CHECK(difference(y, golden.at("giou.y")) < tolerance);
    backward(sum(y * golden.as("giou.weight", dtype)));
    CHECK(difference(p.grad(), golden.at("giou.grad.a")) < tolerance);
    CHECK(difference(q.grad(), golden.at("giou.grad.b")) < tolerance);
  }
  CHECK(difference(grid_anchors(3, 4, 8, 8, {0.5, 1, 2}), golden.at("anchors_h3_w4_stride8_scale8")) < 1e-6);
  CHECK(grid_anchors(5, 0, 8, 8, {1}).shape() == Shape{0, 4});
  CHECK_THROWS_AS(grid_anchors(int64_t{1} << 62, 4, 16, 8, {1}), Error);
  CHECK_THROWS_AS(grid_anchors(int64_t{1} << 32, int64_t{1} << 32, 16, 8, {1}), Error);
}

TEST_CASE("boxes: finite differences; decode undoes encode") {
  const DenseGolden golden("op_boxes");
  const Tensor a = golden.as("giou.a", float64).slice(0, 0, 6), b = golden.as("giou.b", float64).slice(0, 0, 6);
  CHECK(gradcheck([](const std::vector<Tensor>& in) { return giou_loss(in[0], in[1]); }, {a, b}).checked > 0);
  CHECK(
      gradcheck([](const std::vector<Tensor>& in) { return iou_loss(in[0], in[1], Reduction::sum); }, {a, b}).checked >
      0);
  CHECK(gradcheck([](const std::vector<Tensor>& in) { return pairwise_iou(in[0], in[1]); }, {a, b}).checked > 0);
  CHECK(gradcheck([](const std::vector<Tensor>& in) { return encode_boxes(in[0], in[1], kStds); }, {a, b}).checked > 0);
  CHECK(
      gradcheck([](const std::vector<Tensor>& in) { return decode_boxes(in[0], in[1], kStds); }, {a, random({6, 8}, 3)})
          .checked > 0);
  CHECK(difference(decode_boxes(a, encode_boxes(a, b, kStds), kStds), b) < 1e-12);
  CHECK(giou_loss(a, b, Reduction::none).shape() == Shape{6});
}

TEST_CASE("nms: golden, plain and in groups, both precisions") {
  const DenseGolden golden("op_nms");
  for (const DType dtype : {float64, float32})
    for (const std::string name : {"random", "equal_scores", "zero_area", "exactly_half", "none"})
      for (const int percent : {30, 50, 70}) {
        CAPTURE(name);
        CAPTURE(percent);
        const Tensor boxes = golden.as(name + ".boxes", dtype), scores = golden.as(name + ".scores", dtype);
        const double threshold = percent / 100.0;
        const std::string which = std::to_string(percent);
        CHECK(same_bits(nms(boxes, scores, threshold), golden.at(name + ".keep" + which)));
        CHECK(same_bits(nms(boxes, scores, threshold, golden.at(name + ".groups")),
                        golden.at(name + ".grouped" + which)));
      }
}

TEST_CASE("nms and assign_boxes: many boxes as the plain loops, any number of threads") {
  const bool emulated = default_device().is_cuda();
  for (const DType dtype : {float64, float32}) {
    const int64_t n = emulated ? 700 : 6000;
    const Tensor boxes = grid_boxes(n, 5, dtype) + random({n, 4}, 8, dtype) * 0.01, scores = random({n}, 6, dtype);
    const Tensor groups = clamp(random({n}, 7) * 2, 0, 3).to(int64);
    const auto both = [&] {
      return std::vector<Tensor>{nms(boxes, scores, 0.6), nms(boxes, scores, 0.4, groups),
                                 assign_boxes(boxes, grid_boxes(17, 9, dtype), {0.6, 0.3, 0.3})};
    };
    const std::vector<Tensor> fast = both();
    CHECK(fast[0].numel() > 20);
    CHECK(same_for_any_threads(both));
    const PlainKernels on;
    const std::vector<Tensor> plain = both();
    for (size_t i = 0; i < fast.size(); ++i) CHECK(same_bits(fast[i], plain[i]));
  }
}

TEST_CASE("assign_boxes and sample_boxes by rule: golden, with ties") {
  const DenseGolden golden("op_boxes");
  struct Case {
    const char* name;
    AssignOptions options;
  };
  for (const DType dtype : {float64, float32})
    for (const Case& c : {Case{"assign_71_31_low", {0.71, 0.31, 0.31}}, Case{"assign_51_51_none", {0.51, 0.51, -1}},
                          Case{"assign_61_61_none", {0.61, 0.61, -1}}}) {
      CAPTURE(c.name);
      const Tensor assigned =
          assign_boxes(golden.as("assign.boxes", dtype), golden.as("assign.truths", dtype), c.options);
      CHECK(same_bits(assigned, golden.at(c.name)));
      const BoxSamples samples = sample_boxes(assigned, 32, 0.25);
      CHECK(samples.positive == to_vector<int64_t>(golden.at(std::string(c.name) + ".positive_of_32_quarter")));
      CHECK(samples.negative == to_vector<int64_t>(golden.at(std::string(c.name) + ".negative_of_32_quarter")));
    }
  CHECK(to_vector<int64_t>(assign_boxes(grid_boxes(3, 1, float32), zeros({0, 4}))) == std::vector<int64_t>{-1, -1, -1});
  CHECK(assign_boxes(zeros({0, 4}), grid_boxes(3, 1, float32)).numel() == 0);
}

TEST_CASE("sample_boxes by chance: of the seed alone, every candidate alike") {
  std::vector<int64_t> to(400);
  for (size_t i = 0; i < to.size(); ++i) to[i] = i % 8 == 0 ? 1 : i % 8 == 1 ? kNeither : kBackground;
  const Tensor assigned = numbers(to);
  Generator one{5, 0}, two{5, 0};
  const BoxSamples a = sample_boxes(assigned, 64, 0.25, &one), b = sample_boxes(assigned, 64, 0.25, &two);
  CHECK(a.positive == b.positive);
  CHECK(a.negative == b.negative);
  CHECK(a.positive.size() == 16);
  CHECK(a.negative.size() == 48);
  CHECK(std::is_sorted(a.negative.begin(), a.negative.end()));
  for (const int64_t i : a.positive) CHECK(to[static_cast<size_t>(i)] == 1);
  for (const int64_t i : a.negative) CHECK(to[static_cast<size_t>(i)] == kBackground);
  CHECK(sample_boxes(assigned, 64, 0.25, &one).negative != a.negative);
  // 50 candidates, 16 taken, 400 draws: each 128 times, give or take.
  std::vector<int> times(400, 0);
  for (int i = 0; i < 400; ++i)
    for (const int64_t row : sample_boxes(assigned, 64, 0.25, &one).positive) ++times[static_cast<size_t>(row)];
  for (size_t i = 0; i < 400; i += 8) CHECK((times[i] > 80 && times[i] < 180));
}

TEST_CASE("mask_targets and paste_masks: golden, plain loops, empty boxes") {
  const DenseGolden golden("op_boxes");
  CHECK(same_bits(mask_targets(golden.at("mask_targets.masks"), golden.at("mask_targets.boxes"),
                               golden.at("mask_targets.which"), 28),
                  golden.at("mask_targets.size28")));
  for (const DType dtype : {float64, float32}) {
    const Tensor masks = golden.as("paste.masks", dtype), boxes = golden.as("paste.boxes", dtype);
    const Tensor y = paste_masks(masks, boxes, 60, 70);
    CHECK(difference(y, golden.at("paste.60x70")) < 1e-6);
    const Tensor flags = paste_masks(masks, boxes, 60, 70, 0.5);
    CHECK(same_bits(flags, (y.to(float64) >= 0.5).to(uint8)));
    {
      const PlainKernels on;
      CHECK(difference(paste_masks(masks, boxes, 60, 70), y) < 1e-6);
      CHECK(same_bits(paste_masks(masks, boxes, 60, 70, 0.5), flags));
    }
  }
  const Tensor none = table({3, 3, 3, 9}, {1, 4});
  CHECK(sum(paste_masks(ones({1, 4, 4}), none, 12, 12)).item() == 0);
  CHECK(paste_masks(ones({0, 4, 4}), zeros({0, 4}), 12, 12).shape() == Shape{0, 12, 12});
  CHECK(mask_targets(zeros({0, 5, 5}, uint8), zeros({0, 4}), zeros({0}, int64), 7).shape() == Shape{0, 7, 7});
}

TEST_CASE("boxes: errors") {
  const Tensor a = zeros({3, 4});
  CHECK(error_of([&] {
          box_area(zeros({3, 5}));
        }) == "[box_area] boxes must be [..., 4]: left, top, right, bottom, got float32[3,5]");
  CHECK(error_of([&] {
          generalized_iou(a, zeros({2, 4}));
        }) == "[generalized_iou] needs as many boxes in b float32[2,4] as in a float32[3,4]");
  CHECK(error_of([&] {
          pairwise_iou(a, zeros({2, 4}, float64));
        }) == "[pairwise_iou] needs two lists of boxes [N, 4] of one dtype, got float32[3,4] and float64[2,4]");
  CHECK(error_of([&] {
          decode_boxes(a, zeros({3, 6}));
        }) ==
        "[decode_boxes] deltas must be [N, 4 K] for boxes [N, 4], of one dtype, got float32[3,6] and float32[3,4]");
  CHECK(error_of([&] { nms(a, zeros({2}), 0.5); }) ==
        "[nms] needs boxes [N, 4] and scores [N], got float32[3,4] and float32[2]");
  CHECK(error_of([&] { nms(a, zeros({3}), 1.5); }) == "[nms] the threshold must be in [0, 1], got 1.5");
  for (const double ratio : {0.0, -1.0, std::nan("")})
    CHECK(error_of([&] {
            grid_anchors(2, 3, 1, 1, {1, ratio});
          }).starts_with("[grid_anchors] a ratio must be positive, got "));
  const Tensor none = zeros({0, 4});
  CHECK(error_of([&] { iou_loss(none, none); }) == "[iou_loss] the mean over nothing is undefined: float32[0]");
  CHECK(error_of([&] { giou_loss(none, none); }) == "[giou_loss] the mean over nothing is undefined: float32[0]");
  CHECK(giou_loss(none, none, Reduction::sum).item() == 0);
  CHECK(error_of([&] {
          mask_targets(zeros({2, 5, 5}), a, zeros({3}, int64), 7);
        }) == "[mask_targets] masks must be uint8 [G, H, W], got float32[2,5,5]");
  CHECK(error_of([&] {
          paste_masks(ones({2, 4, 4}), a, 5, 5);
        }) == "[paste_masks] boxes must be [2, 4], got float32[3,4]");
}
