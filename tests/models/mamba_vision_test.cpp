#include "atlas/models/mamba_vision.h"

#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/core/profile.h"
#include "atlas/core/rng.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/unary.h"
#include "atlas/ops/window.h"
#include "atlas/tensor/create.h"
#include "tests/models/golden_state.h"

using namespace atlas;
using models::MambaVision;
using models::MambaVisionConfig;

namespace {

MambaVisionConfig small_config() {
  return {.dim = 8,
          .in_dim = 4,
          .depths = {1, 1, 3, 2},
          .num_heads = {1, 1, 2, 2},
          .window_size = {8, 8, 2, 1},
          .num_classes = 5};
}

}  // namespace

TEST_CASE("names and shapes are the published ones, and published weights give the published logits") {
  const auto file = golden::load("mambavision_small");
  const auto model = models::make_model_from_config("mambavision", file.metadata.at("config"));
  const StateDict published = golden::state_of(file);
  CHECK(golden::shapes(model->state_dict()) == golden::shapes(published));
  model->load_state_dict(published);
  model->eval();
  const NoGrad off;
  const Tensor logits = (*model)(io::formula_image(2, 64, 64));
  CHECK(golden::largest_difference(logits, file.tensors.at("eval.logits")) < 1e-4);
}

TEST_CASE("layer scale adds the published gammas") {
  const auto file = golden::load("mambavision_layer_scale_padded");
  const auto model = models::make_model_from_config("mambavision", file.metadata.at("config"));
  for (const auto& [name_, p] : model->named_parameters()) {
    const auto& name = name_;  // clang below 16 captures no structured binding
    CAPTURE(name);
    CHECK(file.tensors.contains("grad." + name));
  }
  CHECK(model->state_dict().at("levels.3.blocks.1.gamma_2")[0].item<float>() == 0.5f);
}

TEST_CASE("maps have strides 4, 8, 16 and 32 and odd images are padded") {
  const MambaVision model(small_config());
  const NoGrad off;
  const auto maps = model.feature_maps(zeros({2, 36, 50, 3}));
  REQUIRE(maps.size() == 4);
  CHECK(maps[0].shape() == Shape{2, 9, 13, 8});
  CHECK(maps[1].shape() == Shape{2, 5, 7, 16});
  CHECK(maps[2].shape() == Shape{2, 3, 4, 32});
  CHECK(maps[3].shape() == Shape{2, 2, 2, 64});
  CHECK(model(zeros({2, 36, 50, 3})).shape() == Shape{2, 5});
}

TEST_CASE("mixers come first, attention last, and drop path grows over all blocks") {
  MambaVisionConfig c = small_config();
  c.drop_path_rate = 0.6;
  MambaVision model(c);
  const StateDict dict = model.state_dict();
  CHECK(dict.contains("levels.2.blocks.1.mixer.A_log"));
  CHECK(dict.contains("levels.2.blocks.2.mixer.qkv.weight"));
  CHECK(dict.contains("levels.3.blocks.0.mixer.A_log"));
  CHECK(dict.contains("levels.3.blocks.1.mixer.qkv.weight"));
  std::vector<double> rates;
  for (const auto& [name, module] : model.named_modules())
    if (const auto* d = dynamic_cast<const DropPath*>(module)) rates.push_back(d->p());
  REQUIRE(rates.size() == 7);
  for (size_t i = 0; i < 7; ++i) CHECK(rates[i] == doctest::Approx(0.1 * static_cast<double>(i)));
}

TEST_CASE("drop path changes training and leaves inference alone") {
  manual_seed(1);
  MambaVisionConfig c = small_config();
  c.drop_path_rate = 0.9;
  MambaVision model(c);
  const Tensor images = randn({4, 32, 32, 3});
  const NoGrad off;
  CHECK(golden::largest_difference(model(images), model(images)) > 0);
  model.eval();
  CHECK(golden::largest_difference(model(images), model(images)) == 0);
}

TEST_CASE("gradients reach every parameter") {
  manual_seed(2);
  MambaVisionConfig c = small_config();
  c.drop_path_rate = 0;
  c.layer_scale = 0.1;
  c.window_size = {8, 8, 2, 2};
  MambaVision model(c);
  golden::check_gradients(model, randn({2, 64, 64, 3}));
}

TEST_CASE("the last block of a stage leaves padding alone, where that changes nothing") {
  manual_seed(4);
  MambaVisionConfig c = small_config();
  c.depths[2] = 4;
  c.window_size[2] = 8;
  c.drop_path_rate = 0.5;
  c.layer_scale = 0.5;
  models::MambaVisionStage stage(c, 2);
  stage.to(float64);
  for (const auto& [name, p] : stage.named_parameters()) p.detach().copy_(randn(p.shape(), float64) * 0.3);

  struct Map {
    int64_t height, width;
    double asks;  // share of the tokens that ask in the last block
  };
  for (const Map& m : {Map{5, 6, 30.0 / 64}, Map{5, 16, 5.0 / 8}, Map{16, 3, 3.0 / 8}, Map{8, 8, 1}, Map{10, 8, 1}}) {
    CAPTURE(m.height);
    CAPTURE(m.width);
    const Tensor x = randn({2, m.height, m.width, 32}, float64).set_requires_grad();
    const WindowLayout windows{m.height, m.width, 8, 8};
    const auto plain = [&] {
      Tensor y = window_partition(x, windows);
      for (const auto& block : stage.blocks) y = (*block)(y);
      return window_reverse(y, windows, 2);
    };
    const Tensor w = stage.blocks[3].named_parameters()[0].second, seed = randn(x.shape(), float64);
    manual_seed(5);
    start_profile();
    const Tensor y = stage(x);
    stop_profile();
    std::vector<double> work;
    for (const ProfileRecord& r : profile_records())
      if (std::string(r.op) == "attention") work.push_back(r.flops);
    REQUIRE(work.size() == 2);
    CHECK(work[1] / work[0] == doctest::Approx(m.asks));
    manual_seed(5);
    const Tensor z = plain();
    CHECK(golden::largest_difference(y, z) < 1e-12);
    const auto dy = grad({y}, {x, w}, {seed}), dz = grad({z}, {x, w}, {seed});
    CHECK(golden::largest_difference(dy[0], dz[0]) < 1e-12);
    CHECK(golden::largest_difference(dy[1], dz[1]) < 1e-12);
  }
}

TEST_CASE("linear layers start from the model-wide rule") {
  manual_seed(3);
  const MambaVision model(small_config());
  const StateDict dict = model.state_dict();
  CHECK(max(abs(dict.at("levels.2.blocks.0.mixer.dt_proj.bias"))).item() == 0);
  const Tensor w = dict.at("levels.3.blocks.0.mlp.fc1.weight");
  CHECK(std::sqrt(var(w).item()) == doctest::Approx(0.02).epsilon(0.05));
}

TEST_CASE("wrong configurations and images are refused") {
  using golden::message_of;
  const auto with = [](auto&& change) {
    MambaVisionConfig c = small_config();
    change(c);
    return message_of([&] { MambaVision model(c); });
  };
  CHECK(with([](auto& c) { c.num_heads[3] = 7; }).find("stage 3 has 64 channels, which do not divide into 7 heads") !=
        std::string::npos);
  CHECK(with([](auto& c) { c.window_size[2] = 0; }).find("window_size of stage 2") != std::string::npos);
  CHECK(with([](auto& c) { c.drop_path_rate = 1; }).find("drop_path_rate") != std::string::npos);
  CHECK(with([](auto& c) { c.depths[1] = -1; }).find("depths") != std::string::npos);
  CHECK(with([](auto& c) { c.dim = 0; }).find("dim") != std::string::npos);
  const MambaVision model(small_config());
  CHECK(message_of([&] { model(zeros({1, 3, 32, 32})); }).find("channels last") != std::string::npos);
  CHECK(message_of([&] { model(zeros({32, 32, 3})); }).find("[B, H, W, 3]") != std::string::npos);
  CHECK(message_of([&] { model(zeros({1, 32, 32, 3}, float64)); }).find("convert one of them") != std::string::npos);
  CHECK(message_of([&] { model(zeros({1, 32, 32, 3}, uint8)); }).find("convert one of them") != std::string::npos);
  CHECK(message_of([&] { model(zeros({1, 0, 32, 3})); }).find("empty") != std::string::npos);
}
