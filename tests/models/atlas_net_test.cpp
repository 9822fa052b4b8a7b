#include "atlas/models/atlas_net.h"

#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/pool.h"
#include "atlas/tensor/create.h"
#include "tests/models/golden_state.h"

using namespace atlas;
using models::AtlasConfig;
using models::AtlasNet;
using models::AtlasScale;

namespace {

AtlasConfig small_config() {
  return {.image = 32,
          .dim = 16,
          .num_heads = 2,
          .depths = {1, 2},
          .window = 4,
          .ratio = 2,
          .drop_path_rate = 0,
          .num_classes = 5,
          .stem_dim = 4,
          .patch = 4};
}

}  // namespace

TEST_CASE("names and shapes are the published ones, and published weights give the published logits") {
  const auto file = golden::load("atlas_2scale");
  const auto model = models::make_model_from_config("atlas", file.metadata.at("config"));
  const StateDict published = golden::state_of(file);
  CHECK(golden::shapes(model->state_dict()) == golden::shapes(published));
  model->load_state_dict(published);
  model->eval();
  const NoGrad off;
  const Tensor logits = (*model)(io::formula_image(2, 256, 256));
  CHECK(golden::largest_difference(logits, file.tensors.at("eval.logits")) < 1e-4);
}

TEST_CASE("smaller patches have a shorter stem") {
  for (const char* name : {"atlas_patch4", "atlas_patch8", "atlas_3scale"}) {
    CAPTURE(name);
    const auto file = golden::load(name);
    const auto model = models::make_model_from_config("atlas", file.metadata.at("config"));
    size_t gradients = 0;
    for (const auto& [entry, t] : file.tensors)
      gradients += entry.starts_with("grad.") && !entry.ends_with(".norm") && entry != "grad.input" ? 1 : 0;
    CHECK(model->named_parameters().size() == gradients);
    for (const auto& [parameter_, t] : model->named_parameters()) {
      const auto& parameter = parameter_;  // clang below 16 captures no structured binding
      CAPTURE(parameter);
      CHECK(file.tensors.contains("grad." + parameter));
    }
  }
}

TEST_CASE("scales of a map, fine to coarse") {
  using Scales = std::vector<AtlasScale>;
  CHECK(models::atlas_scales(14, 16, 4) == Scales{{1, 14}});
  CHECK(models::atlas_scales(16, 16, 4) == Scales{{1, 16}});
  CHECK(models::atlas_scales(32, 16, 4) == Scales{{2, 16}, {1, 8}});
  CHECK(models::atlas_scales(64, 16, 4) == Scales{{4, 16}, {1, 16}});
  CHECK(models::atlas_scales(64, 8, 4) == Scales{{8, 8}, {2, 8}, {1, 4}});
  CHECK(models::atlas_scales(256, 16, 4) == Scales{{16, 16}, {4, 16}, {1, 16}});
  CHECK(models::atlas_scales(32, 4, 2) == Scales{{8, 4}, {4, 4}, {2, 4}, {1, 4}});
  CHECK(models::atlas_scales(81, 9, 3) == Scales{{9, 9}, {3, 9}, {1, 9}});
}

TEST_CASE("configurations that do not fit together are refused") {
  const auto with = [](auto&& change) {
    AtlasConfig c = small_config();
    change(c);
    return golden::message_of([&] { AtlasNet net(c); });
  };
  CHECK(with([](auto&) {}) == "no error");
  CHECK(with([](auto& c) { c.image = 0; }).find("image must be in [1, 1073741824], got 0") != std::string::npos);
  CHECK(with([](auto& c) { c.num_heads = 3; }).find("dim 16 does not divide into 3 heads") != std::string::npos);
  CHECK(with([](auto& c) { c.patch = 5; }).find("patch must be 4, 8 or 16") != std::string::npos);
  CHECK(with([](auto& c) { c.ratio = 1; }).find("ratio must be in [2, 1048576], got 1") != std::string::npos);
  CHECK(with([](auto& c) { c.depths = {}; }).find("depths is empty") != std::string::npos);
  CHECK(with([](auto& c) {
          c.depths = {1, -1};
        }).find("depths must be in [0, 1000], got [1, -1]") != std::string::npos);
  CHECK(with([](auto& c) { c.patch = 16, c.dim = 18; }).find("multiple of patch / 4") != std::string::npos);
}

TEST_CASE("one map per scale, and tokens of the scales that are left") {
  AtlasConfig c = small_config();
  c.image = 64;  // 16 tokens: scales of 16, 8 and 4
  const AtlasNet net(c);
  const NoGrad off;
  const Tensor images = zeros({2, 64, 64, 3});
  const auto maps = net.feature_maps(images);
  REQUIRE(maps.size() == 3);
  CHECK(maps[0].shape() == Shape{2, 16, 16, 16});
  CHECK(maps[1].shape() == Shape{2, 8, 8, 16});
  CHECK(maps[2].shape() == Shape{2, 4, 4, 16});
  const auto tokens = net.forward_features(images);
  REQUIRE(tokens.size() == 2);
  CHECK(tokens[0].shape() == Shape{2, 64, 16});
  CHECK(tokens[1].shape() == Shape{2, 16, 16});
}

TEST_CASE("tokens of a map go into windows and back, and pooling does not care how") {
  manual_seed(4);
  namespace detail = models::detail;
  const WindowLayout fine{16, 16, 4, 4}, coarse{8, 8, 4, 4}, other{16, 16, 2, 2};
  const Tensor map = randn({2, 16, 16, 3});
  const Tensor windows = detail::to_windows(map, fine);
  CHECK(windows.shape() == Shape{32, 16, 3});
  CHECK(windows[16 + 4 * 2 + 3][4 * 1 + 2][1].item<float>() == map[1][2 * 4 + 1][3 * 4 + 2][1].item<float>());
  CHECK(golden::largest_difference(detail::to_map(windows, fine), map) == 0);
  CHECK(golden::largest_difference(detail::regroup(windows, fine, other), detail::to_windows(map, other)) == 0);
  const Tensor pooled = detail::to_windows(max_pool2d(map, 2), coarse);
  CHECK(golden::largest_difference(detail::pool_windows(windows, fine, coarse, 2), pooled) == 0);
  // Windows of five tokens are no multiple of the ratio.
  const Tensor odd = randn({1, 10, 10, 3});
  const WindowLayout five{10, 10, 5, 5}, half{5, 5, 5, 5};
  CHECK(golden::largest_difference(detail::pool_windows(detail::to_windows(odd, five), five, half, 2),
                                   detail::to_windows(max_pool2d(odd, 2), half)) == 0);
}

TEST_CASE("drop path restarts in every macro stage, and acts in training only") {
  manual_seed(1);
  AtlasConfig c = small_config();
  c.depths = {3, 1, 2};
  c.image = 64;
  c.drop_path_rate = 0.8;
  AtlasNet net(c);
  std::vector<double> rates;
  for (const auto& [name, module] : net.named_modules())
    if (const auto* d = dynamic_cast<const DropPath*>(module)) rates.push_back(d->p());
  const std::vector<double> want{0, 0, 0, 0.4, 0.4, 0.4, 0.8, 0.8, 0.8, 0, 0, 0, 0.8};
  REQUIRE(rates.size() == want.size());
  for (size_t i = 0; i < want.size(); ++i) CHECK(rates[i] == doctest::Approx(want[i]));
  const Tensor images = randn({2, 64, 64, 3});
  const NoGrad off;
  CHECK(golden::largest_difference(net(images), net(images)) > 0);
  net.eval();
  CHECK(golden::largest_difference(net(images), net(images)) == 0);
}

TEST_CASE("gradients reach every parameter") {
  manual_seed(2);
  for (const int64_t patch : {4, 16}) {
    AtlasConfig c = small_config();
    c.patch = patch;
    c.image = 8 * patch;
    AtlasNet net(c);
    golden::check_gradients(net, randn({2, c.image, c.image, 3}));
  }
}

TEST_CASE("images of another kind are refused") {
  using golden::message_of;
  const AtlasNet net(small_config());
  CHECK(message_of([&] { net(zeros({1, 32, 32, 1})); }).find("[B, H, W, 3]") != std::string::npos);
  CHECK(message_of([&] { net(zeros({1, 32, 32, 3}, float64)); }).find("convert one of them") != std::string::npos);
  CHECK(message_of([&] { net(zeros({1, 32, 0, 3})); }).find("empty") != std::string::npos);
}
