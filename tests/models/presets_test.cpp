// ctest-device: cpu
#include "atlas/models/presets.h"

#include <fmt/core.h>

#include <algorithm>

#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/tensor/create.h"
#include "tests/models/golden_state.h"

using namespace atlas;
using models::make_model;

namespace {

int64_t count(const std::string& name, models::ModelOptions options = {}) {
  const SkipInit no_weights;  // memory that is never touched costs nothing
  return make_model(name, options)->parameter_count();
}
std::vector<int64_t> depths(const std::string& name, int64_t image) {
  const SkipInit no_weights;
  const auto model = make_model(name, {.image_size = image});
  return dynamic_cast<const models::AtlasNet&>(*model).config().depths;
}

}  // namespace

TEST_CASE("published parameter counts") {
  CHECK(count("mambavision-t") == 31794248);
  CHECK(count("mambavision-t2") == 35104008);
  CHECK(count("mambavision-s") == 50140584);
  CHECK(count("mambavision-b") == 97685288);
  CHECK(count("mambavision-l") == 227961048);
  CHECK(count("mambavision-l2") == 241554824);
  CHECK(count("mambavision-l2-512") == 241554824);
  CHECK(count("mambavision-l3-256") == 739570472);
  CHECK(count("mambavision-l3-512") == 739570472);
  CHECK(count("atlas-b") == 118253604);
  CHECK(count("atlas-s", {.image_size = 224}) == 27101412);
  CHECK(count("atlas-s", {.image_size = 512}) == 31048164);
  CHECK(count("atlas-s", {.image_size = 2048}) == 38941668);
  CHECK(count("atlas-s", {.overrides = R"({"window": 8})"}) == 38941668);  // three macro stages at 1024
}

TEST_CASE("every preset is the configuration of its golden file") {
  const SkipInit no_weights;
  const std::pair<const char*, const char*> pairs[] = {
      {"mambavision-t", "full_mambavision_t"},           {"mambavision-t2", "full_mambavision_t2"},
      {"mambavision-s", "full_mambavision_s"},           {"mambavision-b", "full_mambavision_b"},
      {"mambavision-l", "full_mambavision_l"},           {"mambavision-l2", "full_mambavision_l2"},
      {"mambavision-l2-512", "full_mambavision_l2_512"}, {"mambavision-l3-256", "full_mambavision_l3_256"},
      {"mambavision-l3-512", "full_mambavision_l3_512"}, {"atlas-b", "full_atlas_b_1024"},
  };
  for (const auto& [preset_, file] : pairs) {
    const auto& preset = preset_;  // clang below 16 captures no structured binding
    CAPTURE(preset);
    const auto golden = models::make_model_from_config(golden::load(file).metadata.at("family"),
                                                       golden::load(file).metadata.at("config"));
    CHECK(make_model(preset)->config_json() == golden->config_json());
  }
}

TEST_CASE("Atlas depths follow the image size") {
  using D = std::vector<int64_t>;
  CHECK(depths("atlas-s", 224) == D{12});
  CHECK(depths("atlas-b", 256) == D{12});
  CHECK(depths("atlas-l", 512) == D{2, 10});
  CHECK(depths("atlas-b", 1024) == D{2, 10});
  CHECK(depths("atlas-b", 2048) == D{2, 2, 8});
  CHECK(depths("atlas-b", 4096) == D{2, 2, 8});
  CHECK(depths("atlas-s", 384) == D{2, 10});
}

TEST_CASE("Atlas presets take any image size, with windows that fit where there are some") {
  const SkipInit no_weights;
  const auto window = [](int64_t image, const char* overrides = "") {
    const auto model = make_model("atlas-s", {.image_size = image, .overrides = overrides});
    return dynamic_cast<const models::AtlasNet&>(*model).config().window;
  };
  for (int64_t image = 1; image <= 1024; image += 93) CHECK_NOTHROW(window(image));
  CHECK(window(384) == 12);
  CHECK(window(100) == 16);                       // seven tokens, the last of a quarter of a patch
  CHECK(window(37 * 16) == 16);                   // 37 is a prime: no window divides it
  CHECK(window(320, R"({"window": 11})") == 11);  // a window that was chosen stays
  CHECK(depths("atlas-s", 37 * 16) == std::vector<int64_t>{2, 10});
}

TEST_CASE("small presets run on small images") {
  const NoGrad off;
  for (const char* name : {"atlas-toy", "atlas-tiny", "mambavision-toy", "mambavision-tiny"})
    for (const int64_t image : {28, 32, 64}) {
      CAPTURE(name);
      CAPTURE(image);
      const auto model = make_model(name, {.image_size = image, .num_classes = 3});
      model->eval();
      CHECK(model->image_size() == image);
      CHECK(model->num_classes() == 3);
      CHECK((*model)(zeros({2, image, image, 3})).shape() == Shape{2, 3});
    }
}

TEST_CASE("a model is rebuilt from its own description") {
  for (const char* name : {"atlas-toy", "mambavision-toy"}) {
    manual_seed(5);
    const auto a = make_model(name, {.overrides = R"({"drop_path_rate": 0.25, "num_classes": 4})"});
    const auto b = models::make_model_from_config(a->family(), a->config_json());
    CHECK(b->config_json() == a->config_json());
    CHECK(a->config_json().find("\"drop_path_rate\": 0.25") != std::string::npos);
    b->load_state_dict(a->state_dict());
    const Tensor images = randn({1, 32, 32, 3});
    a->eval();
    b->eval();
    const NoGrad off;
    CHECK(golden::largest_difference((*a)(images), (*b)(images)) == 0);
  }
}

TEST_CASE("configurations beyond reason are refused at once, by the field's name") {
  const auto refused = [](const char* model, const char* overrides, const char* what) {
    const std::string text = golden::message_of([&] { models::make_any_model(model, {.overrides = overrides}); });
    CHECK_MESSAGE(text.find(what) != std::string::npos, text);
  };
  for (const char* model : {"atlas-toy", "upernet-atlas-toy"}) {
    refused(model, R"({"depths": [1, 2000000]})", "depths must be in [0, 1000], got [1, 2000000]");
    refused(model, R"({"depths": [1, 99999999999]})", "depths must be in [0, 1000]");
    refused(model, R"({"dim": 4611686018427387904})", "dim must be in [1, 1048576], got 4611686018427387904");
    refused(model, R"({"mlp_ratio": 1e18})", "mlp_ratio must be in (0, 1000], got 1e+18");
    refused(model, R"({"mlp_ratio": 0})", "mlp_ratio must be in (0, 1000], got 0");
    refused(model, R"({"window": 4611686018427387904})", "window must be in [1, 1048576]");
    refused(model, R"({"ratio": 4611686018427387904})", "ratio must be in [2, 1048576]");
    refused(model, R"({"stem_dim": 4611686018427387904})", "stem_dim must be in [1, 1048576]");
    refused(model, R"({"num_classes": 4611686018427387904})", "num_classes must be in [1, 1073741824]");
  }
  refused("mambavision-toy", R"({"depths": [1, 1, 1, 4000000]})", "depths must be in [0, 1000]");
  for (const char* field : {"dim", "in_dim", "d_state", "d_conv"})
    refused("mambavision-toy", fmt::format(R"({{"{}": 4611686018427387904}})", field).c_str(),
            fmt::format("{} must be in [1, 1048576]", field).c_str());
  for (const char* field : {"channels", "fc", "bins", "mask_bins", "shared_convs", "shared_fcs"})
    refused("cascade-mask-rcnn-mambavision-toy", fmt::format(R"({{"{}": 4611686018427387904}})", field).c_str(),
            fmt::format("{} must be in [", field).c_str());
  refused("mambavision-toy", R"({"window_size": [8, 8, 4611686018427387904, 7]})", "window_size of stage 2 must be in");
  // The largest that a field takes: what does not fit into memory says so.
  const std::string large =
      golden::message_of([] { make_model("atlas-toy", {.overrides = R"({"dim": 1048576, "mlp_ratio": 1000})"}); });
  CHECK_MESSAGE(large.find("memory") + large.find("more than the") != 2 * std::string::npos, large);
}

TEST_CASE("presets by wrong names or with wrong options are refused") {
  using golden::message_of;
  const std::string unknown = message_of([] { make_model("resnet-50"); });
  CHECK(unknown.find("no preset 'resnet-50'") != std::string::npos);
  for (const std::string& name : models::preset_names()) CHECK(unknown.find(name) != std::string::npos);
  const auto with = [](const char* overrides) {
    return message_of([&] { make_model("atlas-toy", {.overrides = overrides}); });
  };
  CHECK(with(R"({"dims": 3})").find("'dims' is no field of AtlasNet; there are image, dim") != std::string::npos);
  CHECK(with(R"({"dim": 3.5})").find("'dim' of AtlasNet must be a whole number, got 3.5") != std::string::npos);
  CHECK(with(R"({"dim": 18446744073709551615})").find("'dim' of AtlasNet") != std::string::npos);
  CHECK(with(R"({"dim": 18446744073709551615})").find("too large: whole numbers lie between -2^63 and 2^63 - 1") !=
        std::string::npos);
  CHECK(with(R"({"depths": 3})").find("'depths' of AtlasNet must be a list of whole numbers, got 3") !=
        std::string::npos);
  CHECK(with(R"({"mlp_ratio": "4"})").find("must be a number") != std::string::npos);
  CHECK(with(R"({"dim": 64, "dim": 32})").find("has 'dim' twice") != std::string::npos);
  CHECK(with("{").find("is not JSON") != std::string::npos);
  CHECK(with("3").find("no JSON object") != std::string::npos);
  CHECK(message_of([] {
          make_model("mambavision-toy", {.overrides = R"({"depths": [1, 2]})"});
        }).find("a list of 4 whole numbers") != std::string::npos);
  CHECK(message_of([] { make_model("atlas-toy", {.image_size = -1}); }).find("must not be negative") !=
        std::string::npos);
  CHECK(message_of([] { models::make_model_from_config("vit", "{}"); }).find("'vit' is no family") !=
        std::string::npos);
}
