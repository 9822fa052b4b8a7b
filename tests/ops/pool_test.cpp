// max, average and adaptive average pooling: values of PyTorch (tools/reference/check_test_tables.py), ties, NaN,
// padding, gradients, errors.
#include "atlas/ops/pool.h"

#include <doctest/doctest.h>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/shape.h"
#include "tests/ops/formula_input.h"

using namespace atlas;
using namespace test;

namespace {

Op maximum_of(RowsColumns kernel, RowsColumns stride, RowsColumns padding) {
  return [=](const std::vector<Tensor>& in) { return max_pool2d(in[0], kernel, stride, padding); };
}
Op average_of(RowsColumns kernel, RowsColumns stride, RowsColumns padding, bool count = true) {
  return [=](const std::vector<Tensor>& in) { return avg_pool2d(in[0], kernel, stride, padding, count); };
}
Op adaptive(int64_t h, int64_t w) {
  return [=](const std::vector<Tensor>& in) { return adaptive_avg_pool2d(in[0], h, w); };
}

struct Case {
  Shape x;
  RowsColumns kernel, stride, padding;
};
const std::vector<Case> kCases{{{2, 6, 8, 3}, {2, 2}, {2, 2}, {0, 0}}, {{1, 7, 5, 2}, {3, 3}, {2, 2}, {1, 1}},
                               {{1, 5, 6, 1}, {3, 2}, {1, 2}, {1, 0}}, {{2, 4, 4, 5}, {1, 1}, {3, 2}, {0, 0}},
                               {{1, 9, 9, 2}, {4, 4}, {4, 4}, {2, 2}}, {{1, 1, 1, 3}, {2, 2}, {2, 2}, {1, 1}},
                               {{1, 5, 9, 2}, {2, 3}, {4, 5}, {0, 1}}};

}  // namespace

TEST_CASE("pooling: values and gradients of PyTorch") {
  const std::vector<Tensor> x{wave({1, 5, 4, 2}, 0.7, 0.3, 2)};
  const Shape out{1, 3, 2, 2}, in{1, 5, 4, 2};
  auto r = with_gradients(maximum_of({3, 3}, {2, 2}, {1, 1}), x);
  CHECK(difference(r[0], table({1.983329621, 1.978716493, 1.983329621, 1.978716493, 1.700873241, 1.978716493,
                                1.973543929, 1.978716493, -0.6849612369, 0.6866298576, 1.961526495, 1.967813389},
                               out)) < 1e-9);
  r = with_gradients(average_of({3, 3}, {2, 2}, {1, 1}), x);
  CHECK(difference(r[0], table({0.3919433273, 0.6261852834, 0.2097890127, -0.1748115387, -0.3106585341, 0.2839877538,
                                0.7495846372, 0.493980162, -0.6302699849, -0.4083195411, 0.3652668172, 0.5537763118},
                               out)) < 1e-9);
  r = with_gradients(average_of({3, 3}, {2, 2}, {1, 1}, false), x);
  CHECK(difference(r[0], table({0.8818724865, 1.408916888, 0.314683519, -0.262217308, -0.4659878011, 0.4259816307,
                                0.7495846372, 0.493980162, -1.418107466, -0.9187189674, 0.5479002258, 0.8306644678},
                               out)) < 1e-9);
  r = with_gradients(adaptive(3, 3), x);
  CHECK(difference(r[0], table({0.8818724865, 1.408916888, 1.273325662, 0.5388694808, -0.449025437, -1.225736676,
                                -0.4659878011, 0.4259816307, 1.117605245, 1.28360165, 0.845900142, 0.01035857951,
                                -1.418107466, -0.9187189674, 0.01275741679, 0.9382337886, 1.422444149, 1.2376568},
                               {1, 3, 3, 2})) < 1e-9);
  CHECK(difference(r[1],
                   table({0.09735458558, 0.2493737467,   0.2262299285,  0.1169147114,  -0.1201658093, -0.2259282014,
                          -0.2490411522, -0.09346916621, 0.206852352,   0.4110220485,  0.372876014,   0.1506153783,
                          -0.2362389112, -0.364929486,   -0.4022625732, -0.1045228158, 0.1094977665,  0.1616483018,
                          0.1466460855,  0.03370066685,  -0.1160731019, -0.1390012845, -0.1532214209, -0.01105364956,
                          0.3242882202,  0.3730850096,   0.3384598266,  0.01285637145, -0.3267966262, -0.3093237357,
                          -0.3409682326, 0.05090490244,  0.2147904537,  0.2114367078,  0.1918137412,  -0.0208442954,
                          -0.2107235242, -0.1703224512,  -0.1877468117, 0.061958552},
                         in)) < 1e-9);
}

TEST_CASE("max_pool2d: gradient of PyTorch, ties go to the first maximum") {
  // x = 2 sin(0.7 i + 0.3): dx of sum(y * wave) for kernel 3, stride 2, padding 1, as {index, value}.
  const auto r = with_gradients(maximum_of({3, 3}, {2, 2}, {1, 1}), {wave({1, 5, 4, 2}, 0.7, 0.3, 2)});
  Tensor expected = wave({1, 5, 4, 2}, 0);
  const std::vector<std::pair<int64_t, double>> places{{2, 0.9049197141},    {10, -0.9961646088}, {11, 1.063671992},
                                                       {20, 0.6569865987},   {26, 0.2228899141},  {27, -0.7676858098},
                                                       {29, -0.06632189735}, {38, -0.9193285257}};
  for (const auto& [at, value] : places) expected.flatten()[at].fill_(value);
  CHECK(difference(r[1], expected) < 1e-9);

  Tensor zeros_leaf = wave({1, 4, 4, 1}, 0).set_requires_grad();
  backward(max_pool2d(zeros_leaf, {3, 3}, {1, 1}, {1, 1}), wave({1, 4, 4, 1}, 0, 1.5707963267948966));
  CHECK(difference(zeros_leaf.grad(), table({4, 2, 2, 0, 2, 1, 1, 0, 2, 1, 1, 0, 0, 0, 0, 0}, {1, 4, 4, 1})) < 1e-12);
}

TEST_CASE("max_pool2d: NaN spreads, minus infinity is a value") {
  for (int64_t i = 0; i < 4; ++i) {
    Tensor x = wave({1, 2, 2, 1}, 1);
    x.flatten()[i].fill_(NAN);
    CHECK(std::isnan(max_pool2d(x, 2).item()));
  }
  Tensor x = wave({1, 2, 2, 1}, 0);
  x.fill_(-INFINITY);
  x.set_requires_grad();
  const Tensor y = max_pool2d(x, {2, 2}, {1, 1}, {1, 1});
  CHECK(y[0][1][1][0].item<double>() == -INFINITY);
  backward(y, wave({1, 3, 3, 1}, 0, 1.5707963267948966));
  CHECK(difference(x.grad(), table({4, 2, 2, 1}, {1, 2, 2, 1})) < 1e-12);
}

TEST_CASE("pooling: gradient check and composites") {
  for (const Case& c : kCases) {
    CAPTURE(c.x.str());
    CHECK(gradcheck(maximum_of(c.kernel, c.stride, c.padding), {random(c.x, 1)}).checked > 0);
    CHECK(gradcheck(average_of(c.kernel, c.stride, c.padding), {random(c.x, 1)}).checked > 0);
    CHECK(gradcheck(average_of(c.kernel, c.stride, c.padding, false), {random(c.x, 1)}).checked > 0);
    for (DType dtype : {float64, float32}) {
      const Tensor x = random(c.x, 1, dtype);
      CHECK(op_difference(maximum_of(c.kernel, c.stride, c.padding),
                          [&](const std::vector<Tensor>& in) {
                            return max_pool2d_reference(in[0], c.kernel, c.stride, c.padding);
                          },
                          {x}) < (dtype == float64 ? 1e-14 : 1e-6));
      CHECK(op_difference(average_of(c.kernel, c.stride, c.padding),
                          [&](const std::vector<Tensor>& in) {
                            return avg_pool2d_reference(in[0], c.kernel, c.stride, c.padding);
                          },
                          {x}) < (dtype == float64 ? 1e-13 : 1e-6));
    }
  }
  for (const RowsColumns& to : {RowsColumns{1, 1}, RowsColumns{3, 2}, RowsColumns{7, 5}, RowsColumns{9, 11}}) {
    const Op reference = [=](const std::vector<Tensor>& in) {
      return adaptive_avg_pool2d_reference(in[0], to[0], to[1]);
    };
    CHECK(gradcheck(adaptive(to[0], to[1]), {random({2, 7, 5, 3}, 1)}).checked > 0);
    CHECK(op_difference(adaptive(to[0], to[1]), reference, {random({2, 7, 5, 3}, 1)}) < 1e-13);
  }
  // A window of more than 256 pixels: positions no longer fit a byte.
  CHECK(op_difference(maximum_of({17, 17}, {5, 5}, {8, 8}),
                      [](const std::vector<Tensor>& in) {
                        return max_pool2d_reference(in[0], {17, 17}, {5, 5}, {8, 8});
                      },
                      {random({1, 20, 21, 2}, 1)}) < 1e-14);
  CHECK(same_bits(max_pool2d(random({1, 6, 6, 2}, 1), 3), max_pool2d(random({1, 6, 6, 2}, 1), {3, 3}, {3, 3})));
  CHECK(same_bits(avg_pool2d(random({1, 6, 6, 2}, 1), 3), avg_pool2d(random({1, 6, 6, 2}, 1), {3, 3}, {3, 3})));
}

TEST_CASE("pooling: zero-size batch and channels, threads") {
  for (const Shape& s : {Shape{0, 4, 4, 3}, Shape{2, 4, 4, 0}}) {
    for (const Op& op : {maximum_of({2, 2}, {2, 2}, {0, 0}), average_of({2, 2}, {2, 2}, {0, 0}), adaptive(2, 2)}) {
      const auto r = with_gradients(op, {random(s, 1)});
      CHECK(r[0].shape() == Shape{s[0], 2, 2, s[3]});
      CHECK(r[1].shape() == s);
    }
  }
  CHECK(same_for_any_threads([] {
    const std::vector<Tensor> x{random({2, 60, 61, 33}, 1, float32)};
    auto r = with_gradients(maximum_of({3, 3}, {2, 2}, {1, 1}), x);
    for (const Op& op : {average_of({3, 3}, {2, 2}, {1, 1}), adaptive(7, 1)})
      for (Tensor& t : with_gradients(op, x)) r.push_back(t);
    return r;
  }));
}

TEST_CASE("pooling: errors") {
  CHECK(error_of([] {
          max_pool2d(random({2, 3, 4}, 1), 2);
        }) == "[max_pool2d] x needs four axes [B, H, W, C], got float64[2,3,4]");
  CHECK(error_of([] {
          max_pool2d(random({1, 3, 4, 1}, 1), 4);
        }) == "[max_pool2d] x float64[1,3,4,1] axis 1 = 3 with padding 0 is shorter than the kernel, 4");
  CHECK(error_of([] {
          max_pool2d(random({1, 0, 4, 1}, 1), {2, 2}, {2, 2}, {1, 1});
        }) == "[max_pool2d] x float64[1,0,4,1] axis 1 = 0 with padding 1 is shorter than the kernel, 2");
  CHECK(error_of([] {
          max_pool2d(random({1, 4, 4, 1}, 1), {2, 2}, {2, 2}, {2, 1});
        }) == "[max_pool2d] padding 2 of axis 1 is outside [0, 1], half the kernel 2");
  CHECK(error_of([] {
          avg_pool2d(random({1, 4, 4, 1}, 1), {2, 2}, {2, 0});
        }) == "[avg_pool2d] kernel and stride need lengths in [1, 1073741824], got kernel 2, stride 0 for axis 2");
  CHECK(error_of([] {
          avg_pool2d(empty({1, 4, 4, 1}, uint8), 2);
        }) == "[avg_pool2d] needs float32 or float64, got uint8[1,4,4,1] (convert with .to(atlas::float32))");
  CHECK(error_of([] {
          adaptive_avg_pool2d(random({1, 4, 4, 1}, 1), 0, 1);
        }) == "[adaptive_avg_pool2d] the new size is 0 x 1, needs lengths in [1, 1073741823]");
  CHECK(error_of([] {
          adaptive_avg_pool2d(random({1, 4, 0, 1}, 1), 1, 1);
        }) == "[adaptive_avg_pool2d] x float64[1,4,0,1] has no pixels");
}

TEST_CASE("pooling: one number is both numbers of a pair") {
  const Tensor x = ones({1, 8, 8, 1});
  CHECK(max_pool2d(x, 3, 2, 1).shape() == Shape{1, 4, 4, 1});
  CHECK(max_pool2d(x, {3, 3}, {2, 2}, {1}).shape() == Shape{1, 4, 4, 1});
  CHECK(avg_pool2d(x, 2, {2, 1}).shape() == Shape{1, 4, 7, 1});
}
