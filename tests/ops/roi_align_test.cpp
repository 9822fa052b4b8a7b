// roi_align: golden values and gradients, the plain loops, pyramids, finite differences, threads, errors.
#include "atlas/ops/roi_align.h"

#include <doctest/doctest.h>

#include <cmath>

#include "atlas/autograd/gradcheck.h"
#include "atlas/kernels/kernel.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/boxes.h"
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

Tensor rois(const std::vector<double>& values) { return table(values, {static_cast<int64_t>(values.size()) / 5, 5}); }
/// Inside, across the border, empty, inverted, outside, huge.
Tensor odd_rois() {
  return rois({0, 1,  2, 7,  9, 1, -3, -2, 5,   4, 0, 3, 3, 3,   3,  1, 6,    6,    2,   2,
               0, 90, 3, 95, 8, 1, 0,  0,  1.5, 2, 0, 5, 1, 7.5, 12, 0, -1e5, -1e5, 1e5, 1e5});
}

}  // namespace

TEST_CASE("roi_align: golden values and gradients, float64 and float32") {
  const DenseGolden golden("op_roi_align");
  for (const DType dtype : {float64, float32}) {
    const double tolerance = dtype == float64 ? 5e-7 : 1e-5;  // the file holds float32
    for (const auto& [which, bins] :
         std::vector<std::pair<std::string, int64_t>>{{"bins7", 7}, {"bins14", 14}, {"bins2", 2}}) {
      const std::string name = which;
      CAPTURE(name);
      Tensor map = golden.map(name + ".map", dtype);
      map.set_requires_grad();
      const Tensor y = roi_align(map, golden.as(name + ".rois", dtype), bins,
                                 1 / static_cast<double>(golden.at(name + ".stride").item<int64_t>()));
      CHECK(difference(y, golden.map(name + ".y", dtype)) < tolerance);
      backward(sum(y * golden.map(name + ".weight", dtype)));
      CHECK(difference(map.grad(), golden.map(name + ".grad.map", dtype)) < 10 * tolerance);
    }
  }
}

TEST_CASE("roi_align: finite differences, and the same from plain loops") {
  const Tensor map = random({2, 6, 7, 3}, 1), where = odd_rois();
  for (const int64_t bins : {1, 2, 5}) {
    const Op op = [=](const std::vector<Tensor>& in) { return roi_align(in[0], where, bins, 0.5); };
    CHECK(gradcheck(op, {map}).checked > 0);
    CHECK(op_difference(op, op, {map}) < 1e-12);
    const std::vector<Tensor> fast = with_gradients(op, {map});
    const PlainKernels on;
    const std::vector<Tensor> plain = with_gradients(op, {map});
    CHECK(difference(fast[0], plain[0]) < 1e-12);
    CHECK(difference(fast[1], plain[1]) < 1e-11);
  }
}

TEST_CASE("roi_align: empty, inverted and far regions give zeros, no regions nothing, any number of threads the same") {
  const Tensor map = random({2, 6, 7, 3}, 2, float32);
  const Tensor y = roi_align(map, odd_rois(), 3, 0.5);
  for (const int64_t row : {2, 3, 4}) CHECK(sum(square(y[row])).item() == 0);
  CHECK(sum(square(y[0])).item() > 0);
  CHECK(roi_align(map, zeros({0, 5}), 3, 0.5).shape() == Shape{0, 3, 3, 3});
  Tensor leaf = random({2, 6, 7, 3}, 2, float32);
  leaf.set_requires_grad();
  backward(sum(roi_align(leaf, zeros({0, 5}), 3, 0.5)));
  CHECK(sum(square(leaf.grad())).item() == 0);
  CHECK(same_for_any_threads([&] {
    const Op op = [](const std::vector<Tensor>& in) { return roi_align(in[0], odd_rois(), 3, 0.5); };
    return with_gradients(op, {random({2, 40, 30, 8}, 3, float32)});
  }));
}

TEST_CASE("roi_align: masks of bytes") {
  Tensor mask = zeros({1, 4, 4, 1}, float64);
  mask.slice(1, 1, 3).slice(2, 1, 3).fill_(1);
  const Tensor box = rois({0, 0, 0, 4, 4});
  CHECK(same_bits(roi_align(mask.to(uint8), box, 2, 1), roi_align(mask, box, 2, 1)));
}

TEST_CASE("roi_align: a pyramid reads each region from the level of its size") {
  const DenseGolden golden("op_boxes");
  CHECK(same_bits(roi_levels(golden.at("levels.rois"), 4, 56), golden.at("levels")));
  const std::vector<Tensor> maps{random({1, 32, 32, 4}, 1), random({1, 16, 16, 4}, 2)};
  const Tensor where = rois({0, 0, 0, 20, 20, 0, 0, 0, 120, 120, 0, 4, 4, 4, 4});
  const RoiAlignOptions options{.bins = 2, .strides = {4, 8}, .finest = 56};
  const Op op = [&](const std::vector<Tensor>& in) { return roi_align(in, where, options); };
  const Tensor y = op(maps);
  CHECK(same_bits(y[0], roi_align(maps[0], where.slice(0, 0, 1), 2, 0.25)[0]));
  CHECK(same_bits(y[1], roi_align(maps[1], where.slice(0, 1, 2), 2, 0.125)[0]));
  CHECK(gradcheck(op, maps).checked > 0);
}

TEST_CASE("roi_align: a map without pixels gives zeros, and gradients of no elements") {
  const Tensor box = rois({0, 0, 0, 3, 3});
  for (const Shape& shape : {Shape{1, 0, 4, 2}, Shape{1, 4, 0, 2}, Shape{1, 0, 0, 2}, Shape{1, 4, 4, 0}}) {
    CAPTURE(shape.str());
    const Shape expected{1, 2, 2, shape[3]};
    const auto check_zeros = [&] {
      for (const DType dtype : {float32, float64, uint8}) {
        const Tensor y = roi_align(zeros(shape, dtype), box, 2, 1);
        CHECK(y.shape() == expected);
        CHECK(sum(square(y)).item() == 0);
      }
      Tensor map = zeros(shape, float32);
      map.set_requires_grad();
      const Tensor y = roi_align(map, box, 2, 1);
      CHECK(sum(square(y)).item() == 0);
      backward(sum(y));
      CHECK(map.grad().shape() == shape);
    };
    check_zeros();
    const PlainKernels on;
    check_zeros();
  }
  const Tensor maps[] = {ones({1, 4, 4, 2}), zeros({1, 0, 4, 2})};
  const Tensor where = rois({0, 0, 0, 3, 3, 0, 0, 0, 200, 200});
  const Tensor y = roi_align({maps[0], maps[1]}, where, {.bins = 2, .strides = {1, 2}, .finest = 56});
  CHECK(sum(y[0]).item() > 0);
  CHECK(sum(square(y[1])).item() == 0);
  for (const Shape& shape : {Shape{1, 0, 4}, Shape{1, 4, 0}})
    CHECK(sum(mask_targets(ones(shape, uint8), from_vector<float>({0, 0, 3, 3}, {1, 4}), zeros({1}, int64), 3)
                  .to(float32))
              .item() == 0);
}

TEST_CASE("roi_align: errors") {
  const Tensor map = zeros({1, 4, 4, 2});
  CHECK(error_of([&] {
          roi_align(map, zeros({3, 4}), 2, 1);
        }) == "[roi_align] rois must be [R, 5]: image, left, top, right, bottom, got float32[3,4]");
  CHECK(error_of([&] {
          roi_align(map[0], zeros({3, 5}), 2, 1);
        }) == "[roi_align] a map needs four axes [B, H, W, C], got float32[4,4,2]");
  CHECK(error_of([&] { roi_align(map, zeros({3, 5}), 0, 1); }) == "[roi_align] needs at least 1 bin a side, got 0");
  CHECK(error_of([&] { roi_align(map, zeros({3, 5}), 2, 0); }) == "[roi_align] a map's scale must be positive, got 0");
  CHECK(error_of([&] {
          roi_align({map, map}, zeros({3, 5}), {.strides = {4}});
        }) == "[roi_align] 2 maps, but 1 strides");
  if (!default_device().is_cuda())
    CHECK(error_of([&] { roi_align(map, ones({1, 5}), 2, 1); }) == "[roi_align] region 0 is of image 1, of 1 images");
}
