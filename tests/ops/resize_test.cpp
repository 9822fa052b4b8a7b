// resize: values and gradients of PyTorch for every mode, antialias, composites, uint8 images, errors.
#include "atlas/ops/resize.h"

#include <doctest/doctest.h>

#include "atlas/autograd/gradcheck.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/join.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/ops/formula_input.h"

using namespace atlas;
using namespace test;

namespace {

constexpr auto kNearest = Interpolation::nearest, kBilinear = Interpolation::bilinear,
               kBicubic = Interpolation::bicubic;

Op to_size(int64_t h, int64_t w, Interpolation mode, bool antialias) {
  return [=](const std::vector<Tensor>& in) { return resize(in[0], h, w, mode, antialias); };
}

struct Case {
  int64_t h, w;
  Interpolation mode;
  bool antialias;
  std::vector<double> y, dx;
};
// Of x = 2 sin(0.7 i + 0.3), [1, 5, 4, 1].
const std::vector<Case> kCases{
    {3,
     7,
     Interpolation::nearest,
     false,
     {0.5910404133,  0.5910404133,  1.68294197,    1.68294197,    1.983329621,  1.983329621,  1.350926361,
      0.08316132487, 0.08316132487, -1.223715782,  -1.223715782,  -1.955060235, -1.955060235, -1.766909311,
      1.32593846,    1.32593846,    0.04955085091, 0.04955085091, -1.250141298, -1.250141298, -1.96187246},
     {1.386913329,
      -0.01433476909,
      -1.370041274,
      0.6569865987,
      1.192779725,
      -1.687014335,
      0.7928399175,
      0.8457468311,
      0,
      0,
      0,
      0,
      -1.021030863,
      -0.5031530388,
      1.613243114,
      -0.3975556831,
      0,
      0,
      0,
      0}},
    {3,
     7,
     Interpolation::bilinear,
     false,
     {0.4217473838,  0.5261433369,  0.6931768618,  0.6922945273,  0.6448983451,  0.4398210888, 0.3116478036,
      -0.7477533297, -0.2581690237, 0.5251658658,  1.161977984,   1.720719188,   1.87948676,   1.978716493,
      -0.7252900795, -0.6309443699, -0.4799912346, -0.2206016365, 0.05360973246, 0.3231370354, 0.4915915998},
     {0.711657764,  0.3800066562,  -0.8823036298, 0.2303217995,  0.355828882,  0.1900033281,  -0.4411518149,
      0.1151608998, 1.058341483,   -1.092911831,  -0.2144053765, 1.393327862,  -0.2476142682, -0.3017527337,
      0.4192290278, 0.02730581713, -0.4952285364, -0.6035054674, 0.8384580556, 0.05461163426}},
    {3,
     7,
     Interpolation::bilinear,
     true,
     {0.3733779468,  0.3961827889,   0.4326705363,  0.3663398793,  0.2753955982,  0.1149743518,  0.01471107287,
      -0.1022852309, -0.03531495903, 0.07183747598, 0.1589470507,  0.2353772996,  0.257095127,   0.2706687692,
      -0.432257431,  -0.4165114967,  -0.3913180019, -0.2748435775, -0.1399029776, 0.03301992189, 0.1410967341},
     {0.6099923691, 0.325719991,  -0.7562602541, 0.1974186853,  0.6926812732, 0.001420697465, -0.6148408298,
      0.4576924278, 0.5879674908, -0.6071732395, -0.1191140981, 0.7740710346, -0.08317420564, -0.6308370963,
      0.4913631108, 0.344735893,  -0.4244816026, -0.5172904006, 0.7186783334, 0.04680997222}},
    {3,
     7,
     Interpolation::bicubic,
     false,
     {0.4586648907,  0.5490461403,  0.6602988336,  0.6559802009,  0.51289986,     0.2827760207, 0.1236858302,
      -0.8837628473, -0.3469316956, 0.4948643566,  1.26444606,    1.766555216,    1.950324988,  2.006283121,
      -0.6829275915, -0.6370831508, -0.5347225917, -0.3351157413, -0.06462072607, 0.2121363311, 0.3854263967},
     {0.7981222737, 0.4294962013,   -1.09663971,   0.32091723,    0.4314174453, 0.2321601088,  -0.5927782216,
      0.173468773,  1.233931178,    -1.338219987,  -0.3224205009, 1.551559925,  -0.2887997684, -0.3868314788,
      0.5555128832, 0.005860411741, -0.5342795715, -0.7156382358, 1.027698834,  0.01084176172}},
    {3,
     7,
     Interpolation::bicubic,
     true,
     {0.3343357816,   0.374620647,   0.435504565,   0.4034394785,  0.3103487594,   0.1373004951, 0.04089233998,
      -0.05065437109, -0.0221684511, 0.03122192891, 0.07276094247, 0.1032938875,   0.1144942317, 0.1183273511,
      -0.4405810117,  -0.4211179608, -0.370017995,  -0.2508267246, -0.09369454771, 0.102845927,  0.2072938751},
     {0.640143332,  0.3779150787, -0.8717645498, 0.196693404,   0.8498491643, -0.04083196013, -0.8026847889,
      0.5795050102, 0.7122689474, -0.759019447,  -0.1989415701, 0.9110130803, -0.08974462557, -0.7691628161,
      0.5903824123, 0.3926912082, -0.5116167975, -0.5148775835, 0.835866213,  -0.03230415968}},
    {8,
     2,
     Interpolation::nearest,
     false,
     {0.5910404133, 1.983329621, 0.5910404133, 1.983329621, 0.08316132487, -1.955060235, 0.08316132487, -1.955060235,
      -0.7477533297, 1.700873241, 1.32593846, -1.250141298, 1.32593846, -1.250141298, -1.750904349, 0.6549488783},
     {0.9049197141,  0, 0.4676588457,   0, -0.3391780101, 0, 0.596013146,    0, 0.2228899141,  0,
      -0.7676858098, 0, -0.06016671081, 0, 0.7794249338,  0, -0.09190685023, 0, -0.9291240127, 0}},
    {8,
     2,
     Interpolation::bilinear,
     false,
     {1.136991191, 1.667127991, 0.3900612577, 0.1235786566, -0.5385308581, -1.629686046, -0.2210671536, 0.6833012296,
      0.1720646852, 0.7629818216, 0.6408646582, -1.39064427, -0.3930575327, -0.03514511667, -1.233681457, 1.186636254},
     {0.339693932,   0.339693932,   0.3497310787, 0.3497310787, -0.2515320793, -0.2515320793, -0.1396110595,
      -0.1396110595, 0.2425983908,  0.2425983908, 0.0557514203, 0.0557514203,  -0.2081670503, -0.2081670503,
      0.03396782215, 0.03396782215, 0.1956858353, 0.1956858353, -0.2266957101, -0.2266957101}},
    {8,
     2,
     Interpolation::bilinear,
     true,
     {1.257896681, 1.669387131, 0.3715216579, 0.1646787347, -0.7082499345, -1.555201021, -0.1097155559, 0.5922522243,
      0.258724187, 0.717392135, 0.3970692943, -1.179781289, -0.3624104672, -0.08460002075, -0.9638771233, 0.9147655656},
     {0.2911662274,   0.3910893927,  0.3968249051, 0.299769496,  -0.2155989251, -0.2554877992, -0.1915329308,
      -0.1196666224,  0.2079414779,  0.2238704551, 0.1171007576, 0.04778693169, -0.1784289003, -0.1687238082,
      -0.03036102396, 0.02911527613, 0.167730716,  0.1029605131, -0.13840037,   -0.1943106087}},
    {8,
     2,
     Interpolation::bicubic,
     false,
     {1.258343809, 2.031799225, 0.389282396, -0.1752323624, -0.5539289797, -1.876519757, -0.4511750512, 1.033185964,
      0.2679188155, 1.143791741, 0.8516575373, -1.660322683, -0.350205789, -0.2889750454, -1.563872684, 1.597706453},
     {0.3637312745,  0.3611913741,  0.3798173101, 0.3772774097,  -0.2788399064, -0.3014785856, -0.1354616044,
      -0.1581002837, 0.2543388721,  0.2910681304, 0.02172023644, 0.0584494947,  -0.229000531,  -0.2796994522,
      0.09209263655, 0.04139371536, 0.2080493194, 0.2931604639,  -0.3309879291, -0.2458767846}},
    {8,
     2,
     Interpolation::bicubic,
     true,
     {1.368767138, 1.965634319, 0.4330877453, 0.117594956, -0.7172008623, -1.81435507, -0.2351817827, 0.9219222704,
      0.3165709032, 1.072626318, 0.5836269619, -1.45905092, -0.4331452955, -0.1190052984, -1.237395802, 1.253794911},
     {0.3099921719,   0.4240425263,  0.4211932035, 0.3058224312, -0.26278219,   -0.313751569,  -0.2206929114,
      -0.1265987886,  0.2529764189,  0.2732568564, 0.1265880696, 0.03833917004, -0.2320898475, -0.2207930255,
      -0.02693845372, 0.05159976976, 0.2184379939, 0.1467504612, -0.1567695275, -0.2257375993}}};

}  // namespace

TEST_CASE("resize: values and gradients of PyTorch") {
  for (const Case& c : kCases) {
    CAPTURE(c.h);
    CAPTURE(static_cast<int>(c.mode));
    CAPTURE(c.antialias);
    const auto r = with_gradients(to_size(c.h, c.w, c.mode, c.antialias), {wave({1, 5, 4, 1}, 0.7, 0.3, 2)});
    CHECK(difference(r[0], table(c.y, {1, c.h, c.w, 1})) < 1e-9);
    CHECK(difference(r[1], table(c.dx, {1, 5, 4, 1})) < 1e-9);
  }
}

TEST_CASE("resize: nearest picks PyTorch's pixels") {
  struct Pick {
    int64_t in, out, sum;  // of (k + 1) * source[k]
  };
  for (const Pick& p : {Pick{7, 49, 5047}, {49, 7, 784}, {10, 3, 24}, {3, 10, 72}, {224, 100, 744160}, {5, 10, 150}}) {
    const Tensor y = resize(arange(p.in, float64).reshape({1, 1, p.in, 1}), 1, p.out, kNearest);
    double sum = 0;
    for (int64_t k = 0; k < p.out; ++k) sum += static_cast<double>(k + 1) * y[0][0][k][0].item<double>();
    CAPTURE(p.in);
    CHECK(sum == static_cast<double>(p.sum));
  }
}

TEST_CASE("resize: gradient check and composite, up and down, from and to one pixel") {
  struct Size {
    int64_t h, w, to_h, to_w;
  };
  for (const Size& s : {Size{5, 7, 3, 9}, {8, 6, 16, 2}, {1, 1, 3, 4}, {6, 5, 1, 1}, {4, 4, 4, 4}, {23, 9, 4, 2}}) {
    for (Interpolation mode : {kNearest, kBilinear, kBicubic}) {
      for (bool antialias : {false, true}) {
        if (mode == kNearest && antialias) continue;
        CAPTURE(s.h);
        CAPTURE(static_cast<int>(mode));
        const Op reference = [&](const std::vector<Tensor>& in) {
          return resize_reference(in[0], s.to_h, s.to_w, mode, antialias);
        };
        const Op fused = to_size(s.to_h, s.to_w, mode, antialias);
        CHECK(gradcheck(fused, {random({2, s.h, s.w, 3}, 1)}).checked > 0);
        CHECK(op_difference(fused, reference, {random({2, s.h, s.w, 3}, 1)}) < 1e-13);
        CHECK(op_difference(fused, reference, {random({2, s.h, s.w, 3}, 1, float32)}) < 2e-6);
      }
    }
  }
}

TEST_CASE("resize: the same size changes nothing, constants stay constant") {
  const Tensor x = random({2, 4, 5, 3}, 1);
  for (Interpolation mode : {kNearest, kBilinear, kBicubic}) {
    CHECK(difference(resize(x, 4, 5, mode), x) < 1e-15);
    CHECK(difference(resize(full({1, 4, 5, 2}, 0.75, float64), 9, 3, mode), full({1, 9, 3, 2}, 0.75, float64)) < 1e-14);
  }
  CHECK(difference(resize(full({1, 9, 8, 2}, 0.75, float64), 4, 3, kBicubic, true), full({1, 4, 3, 2}, 0.75, float64)) <
        1e-14);
}

TEST_CASE("resize: uint8 images are rounded and clamped") {
  std::vector<uint8_t> pixels;
  for (int i = 0; i < 30; ++i) pixels.push_back(static_cast<uint8_t>(i * 37 % 256));
  const Tensor x = from_vector(pixels, {1, 5, 6, 1});
  const auto same = [](const Tensor& t, const std::vector<uint8_t>& expected) {
    return to_vector<uint8_t>(t) == expected;
  };
  CHECK(same(resize(x, 3, 4, kBilinear, true), {68, 51, 105, 157, 181, 96, 58, 103, 148, 188, 108, 50}));
  CHECK(same(resize(x, 3, 4, kBicubic, true), {66, 39, 109, 162, 194, 93, 44, 106, 146, 204, 103, 42}));
  // Bicubic overshoots at an edge: 0 and 255 stay 0 and 255.
  const Tensor edge = from_vector<uint8_t>({0, 0, 255, 255}, {1, 1, 4, 1});
  const Tensor wide = resize(edge, 1, 16, kBicubic);
  CHECK(wide[0][0][5][0].item<uint8_t>() == 0);
  CHECK(wide[0][0][10][0].item<uint8_t>() == 255);
  CHECK(same_bits(resize(edge, 1, 4, kBilinear), edge));
}

TEST_CASE("resize: corners aligned") {
  const Tensor x = random({2, 5, 4, 3}, 1);
  for (Interpolation mode : {kBilinear, kBicubic})
    for (const auto& size : {std::pair<int64_t, int64_t>{9, 7}, {3, 2}, {1, 1}, {5, 4}, {2, 11}}) {
      const auto op = [&](const std::vector<Tensor>& in) {
        return resize(in[0], size.first, size.second, mode, false, true);
      };
      CHECK(op_difference(
                op, [&](const auto& in) { return resize_reference(in[0], size.first, size.second, mode, false, true); },
                {x}) < 1e-12);
      gradcheck(op, {scattered(x)});
      if (size.first > 1) {  // the corners keep their pixels
        const Tensor y = op({x});
        CHECK(difference(y.select(1, 0).select(1, 0), x.select(1, 0).select(1, 0)) < 1e-12);
        CHECK(difference(y.select(1, -1).select(1, -1), x.select(1, -1).select(1, -1)) < 1e-12);
      }
    }
  CHECK(difference(resize(from_vector<float>({0, 2, 4}, {1, 1, 3, 1}), 1, 5, kBilinear, false, true),
                   from_vector<float>({0, 1, 2, 3, 4}, {1, 1, 5, 1})) < 1e-6);
}

TEST_CASE("resize: zero-size batch and channels, threads") {
  CHECK(with_gradients(to_size(3, 3, kBilinear, true), {random({0, 4, 4, 2}, 1)})[1].shape() == Shape{0, 4, 4, 2});
  CHECK(with_gradients(to_size(3, 3, kBilinear, true), {random({2, 4, 4, 0}, 1)})[0].shape() == Shape{2, 3, 3, 0});
  CHECK(same_for_any_threads([] {
    return with_gradients(to_size(70, 33, kBicubic, true), {random({3, 50, 60, 9}, 1, float32)});
  }));
}

TEST_CASE("resize: errors") {
  CHECK(error_of([] {
          resize(random({4, 4, 3}, 1), 2, 2, kNearest);
        }) == "[resize] x needs four axes [B, H, W, C], got float64[4,4,3]");
  CHECK(error_of([] {
          resize(random({1, 4, 4, 3}, 1), 2, 0, kNearest);
        }) == "[resize] the new size is 2 x 0, needs at least 1 x 1");
  CHECK(error_of([] {
          resize(random({1, 0, 4, 3}, 1), 2, 2, kNearest);
        }) == "[resize] x float64[1,0,4,3] has no pixels to resize from");
  CHECK(error_of([] {
          resize(random({1, 4, 4, 3}, 1), 2, 2, kNearest, true);
        }) == "[resize] antialias needs bilinear or bicubic interpolation");
  CHECK(error_of([] {
          resize(random({1, 4, 4, 3}, 1), 2, 2, kNearest, false, true);
        }) == "[resize] align_corners needs bilinear or bicubic interpolation without antialias");
  CHECK(error_of([] {
          resize(empty({1, 4, 4, 3}, int64), 2, 2, kBilinear);
        }) == "[resize] needs float32, float64 or uint8, got int64[1,4,4,3] (convert with .to(atlas::float32))");
}

TEST_CASE("resize_cat is cat of resize, values and gradients, and names a map that does not fit") {
  for (const DType dtype : {float32, float64}) {
    const Tensor a = wave({2, 3, 5, 2}, 0.7, 0.3, 1, dtype), b = wave({2, 6, 7, 3}, 0.9, 0.1, 1, dtype),
                 c = wave({2, 1, 1, 4}, 1.3, 0.2, 1, dtype);
    const Tensor joined = resize_cat({a, b, c}, 6, 7, kBilinear);
    CHECK(same_bits(joined, cat({resize(a, 6, 7, kBilinear), b, resize(c, 6, 7, kBilinear)}, 3)));
  }
  const Op fused = [](const std::vector<Tensor>& in) { return resize_cat(in, 4, 6, kBilinear); };
  const Op composite = [](const std::vector<Tensor>& in) {
    std::vector<Tensor> resized;
    for (const Tensor& x : in) resized.push_back(resize(x, 4, 6, kBilinear));
    return cat(resized, 3);
  };
  const std::vector<Tensor> maps{random({2, 3, 5, 2}, 1), random({2, 4, 6, 3}, 2), random({2, 9, 2, 1}, 3)};
  CHECK(gradcheck(fused, maps).checked > 0);
  CHECK(op_difference(fused, composite, maps) == 0);
  CHECK(resize_cat({zeros({0, 2, 2, 3}), zeros({0, 4, 4, 1})}, 4, 4, kBilinear).shape() == Shape{0, 4, 4, 4});
  CHECK(message_of([] { resize_cat({}, 4, 4, kBilinear); }) == "[resize_cat] needs at least one map");
  CHECK(message_of([] {
          resize_cat({zeros({2, 2, 2, 3}), zeros({1, 4, 4, 1})}, 4, 4, kBilinear);
        }) == "[resize_cat] map 1 is float32[1,4,4,1], map 0 is float32[2,2,2,3]: dtype, device and batch must agree");
}
