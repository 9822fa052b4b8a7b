// Images of any size: how Atlas cuts them, and that padding and other images have no influence. The numbers themselves
// are held to a reference without padding by the golden files (atlas_patch4_37x53 and its neighbors).
#include "atlas/autograd/gradcheck.h"
#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/join.h"
#include "atlas/ops/select.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/models/golden_state.h"

using namespace atlas;
using models::AtlasBlock;
using models::AtlasConfig;
using models::AtlasPyramid;

namespace {

AtlasConfig small_config() {
  return {.image = 64,
          .dim = 8,
          .num_heads = 2,
          .depths = {1, 1, 1},
          .window = 4,
          .ratio = 2,
          .drop_path_rate = 0,
          .num_classes = 5,
          .stem_dim = 4,
          .patch = 4};
}
Tensor filled_padding(const Tensor& windows, const AtlasPyramid& scales, size_t s, double value) {
  const Tensor& mask = scales.padding(s);
  if (!mask.defined()) return windows;
  const int64_t batch = windows.size(0) / mask.size(0);
  const Tensor all = windows.reshape({batch, mask.size(0), mask.size(1), windows.size(2)});
  return masked_fill(all, mask.reshape({1, mask.size(0), mask.size(1), 1}), value).reshape(windows.shape());
}

}  // namespace

TEST_CASE("a pyramid: published maps are cut as published") {
  for (const auto& [tokens_, window, ratio] :
       {std::array<int64_t, 3>{64, 16, 4}, {256, 16, 4}, {32, 4, 2}, {14, 16, 4}, {34, 17, 4}, {10, 5, 4}}) {
    const auto& tokens = tokens_;  // clang below 16 captures no structured binding
    CAPTURE(tokens);
    const auto scales = models::atlas_scales(tokens, window, ratio);
    const AtlasPyramid pyramid(tokens, tokens, window, ratio, scales.size(), 16);
    REQUIRE(pyramid.size() == scales.size());
    for (size_t s = 0; s < scales.size(); ++s) {
      const int64_t side = scales[s].side, length = scales[s].grid * side;
      CHECK(pyramid[s] == WindowLayout{length, length, side, side});
      CHECK_FALSE(pyramid.padding(s).defined());
    }
  }
}

TEST_CASE("a pyramid: other maps get padding, and the coarsest scale is one window") {
  AtlasPyramid p(37, 70, 16, 4, 3, 16);
  CHECK(p[0] == WindowLayout{37, 70, 16, 16});
  CHECK(p[1] == WindowLayout{10, 18, 10, 16});
  CHECK(p[2] == WindowLayout{3, 5, 3, 5});
  CHECK(p.over_finer(1) == WindowLayout{10, 18, 4, 4});
  CHECK(p.over_finer(2) == WindowLayout{3, 5, 3, 4});
  for (size_t s = 1; s < 3; ++s) CHECK(p.over_finer(s).windows() == p[s - 1].windows());
  REQUIRE(p.padding(0).shape() == Shape{3 * 5, 256});
  int64_t real = 0;
  for (const bool padded : to_vector<bool>(p.padding(0))) real += padded ? 0 : 1;
  CHECK(real == 37 * 70);
  CHECK_FALSE(p.padding(2).defined());
  CHECK(p.read_by(0, 1).front() == 0);
  CHECK(p.read_by(0, 1).back() == 1);
  CHECK(p.place(1).stride == 64);
  p.drop_finest();
  CHECK(p.size() == 2);
  CHECK(p[0] == WindowLayout{10, 18, 10, 16});
  CHECK(p.place(0).scale == 1);
  // Larger than the model was made for: the overview grows instead of falling apart.
  CHECK(AtlasPyramid(128, 128, 16, 4, 2, 16)[1] == WindowLayout{32, 32, 32, 32});
  // Coarse tokens never lie under two windows: a window of 5 becomes one of 6.
  CHECK(AtlasPyramid(15, 7, 5, 2, 2, 16)[0] == WindowLayout{15, 7, 6, 6});
  CHECK(AtlasPyramid(1, 1, 16, 4, 3, 16)[2] == WindowLayout{1, 1, 1, 1});
}

TEST_CASE("what padding holds does not matter") {
  manual_seed(1);
  const AtlasBlock block(small_config(), 3, 0);
  const AtlasPyramid scales(13, 9, 4, 2, 3, 4, nullptr, default_device());
  std::vector<Tensor> x, huge;
  for (size_t s = 0; s < 3; ++s) {
    const Tensor windows = models::detail::to_windows(randn({2, scales[s].height, scales[s].width, 8}), scales[s]);
    x.push_back(windows);
    huge.push_back(filled_padding(windows, scales, s, 1e6));
  }
  REQUIRE(golden::largest_difference(x[0], huge[0]) == 1e6);
  const NoGrad off;
  const auto a = block.run(x, scales), b = block.run(huge, scales);
  for (size_t s = 0; s < 3; ++s)
    CHECK(golden::largest_difference(models::detail::to_map(a[s], scales[s]),
                                     models::detail::to_map(b[s], scales[s])) == 0);
}

TEST_CASE("an image gives the same alone and in a batch, at sizes with padding") {
  manual_seed(2);
  models::AtlasNet atlas(small_config());
  models::MambaVision mamba({.dim = 8,
                             .in_dim = 4,
                             .depths = {1, 1, 2, 2},
                             .num_heads = {1, 1, 2, 2},
                             .window_size = {8, 8, 3, 2},
                             .num_classes = 5});
  for (models::Classifier* model :
       {static_cast<models::Classifier*>(&atlas), static_cast<models::Classifier*>(&mamba)}) {
    CAPTURE(model->family());
    model->to(float64);
    model->eval();
    const NoGrad off;
    for (const auto& [h_, w] : {std::pair<int64_t, int64_t>{37, 53}, {1, 1}, {64, 64}, {5, 90}}) {
      const auto& h = h_;  // clang below 16 captures no structured binding
      CAPTURE(h);
      const Tensor images = randn({3, h, w, 3}, float64);
      const Tensor together = (*model)(images);
      for (int64_t i = 0; i < 3; ++i)
        CHECK(golden::largest_difference((*model)(images.slice(0, i, i + 1)), together.slice(0, i, i + 1)) < 1e-13);
      CHECK(golden::largest_difference(together.slice(0, 0, 1), together.slice(0, 1, 2)) > 1e-6);
    }
  }
}

TEST_CASE("maps and tokens of an image with padding") {
  const models::AtlasNet net(small_config());
  const NoGrad off;
  const Tensor images = zeros({2, 37, 53, 3});  // 10 x 14 tokens
  const auto maps = net.feature_maps(images);
  REQUIRE(maps.size() == 3);
  CHECK(maps[0].shape() == Shape{2, 10, 14, 8});
  CHECK(maps[1].shape() == Shape{2, 5, 7, 8});
  CHECK(maps[2].shape() == Shape{2, 3, 4, 8});
  const auto tokens = net.forward_features(images);
  REQUIRE(tokens.size() == 1);
  CHECK(tokens[0].shape() == Shape{2, 12, 8});
}

TEST_CASE("gradients of a block with padding by finite differences") {
  manual_seed(3);
  AtlasConfig c = small_config();
  c.dim = 4;
  c.window = 2;
  AtlasBlock block(c, 3, 0);
  block.to(float64);
  const AtlasPyramid scales(5, 3, 2, 2, 3, 4, nullptr, default_device());
  CHECK(scales[0].windows() == 6);
  CHECK(scales[1].windows() == 2);
  std::vector<Tensor> maps;
  for (size_t s = 0; s < 3; ++s) maps.push_back(randn({2, scales[s].height, scales[s].width, 4}, float64));
  const auto run = [&](const std::vector<Tensor>& in) {
    std::vector<Tensor> x;
    for (size_t s = 0; s < 3; ++s) x.push_back(models::detail::to_windows(in[s], scales[s]));
    x = block.run(x, scales);
    for (size_t s = 0; s < 3; ++s) x[s] = models::detail::to_map(x[s], scales[s]).reshape({-1});
    return cat(x, 0);
  };
  CHECK(gradcheck(run, maps).checked > 0);
}

TEST_CASE("training works at sizes with padding") {
  manual_seed(4);
  models::AtlasNet net(small_config());
  golden::check_gradients(net, randn({2, 37, 53, 3}));
}
