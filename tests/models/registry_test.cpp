// Families: what follows from one registration and one list of fields.
// ctest-device: cpu
#include "atlas/models/registry.h"

#include "tests/models/golden_state.h"

using namespace atlas;
using golden::message_of;
using models::make_model;

namespace {

/// A field of every kind.
struct PlainConfig {
  int64_t dim = 4;
  double scale = 0.5;
  bool centered = true;
  std::string name = "a \"b\"";
  std::optional<double> floor = {};
  std::vector<int64_t> list = {1, 2};
  std::array<int64_t, 2> pair = {3, 4};
  int64_t num_classes = 3, side = 8;

  static constexpr std::string_view kFamily = "plain", kTitle = "Plain";
  int64_t& image_size() { return side; }
  int64_t image_size() const { return side; }

  template <class Self, class Visitor>
  static void fields(Self& c, Visitor&& visit) {
    visit("dim", c.dim, "channels", models::one_of({2, 4, 8}));
    visit("scale", c.scale, "factor", models::within(0, 1));
    visit("centered", c.centered, "whether means are subtracted", models::any_value());
    visit("name", c.name, "shown in titles", models::any_value());
    visit("floor", c.floor, "least value", models::positive());
    visit("list", c.list, "numbers", models::at_least(0));
    visit("pair", c.pair, "two numbers", models::between(1, 9));
    visit("num_classes", c.num_classes, "classes", models::at_least(1));
    visit("side", c.side, "pixels", models::at_least(1));
  }
};

class PlainBackbone : public models::Backbone {
 public:
  using Config = PlainConfig;
  explicit PlainBackbone(const Config& c) : conv(3, c.dim, 1) { register_module("conv", conv); }
  std::vector<Tensor> maps(const Tensor& images) const override {
    check_images(images, conv.weight, "Plain");
    return {conv(images)};
  }
  std::vector<int64_t> strides() const override { return {1}; }
  std::vector<int64_t> channels() const override { return {conv.weight.size(0)}; }
  std::vector<std::pair<std::string, std::string>> parts() const override { return {{"stem", "conv"}}; }

  Conv2d conv;
};

class PlainHead : public models::ClassifyHead {
 public:
  static constexpr const char *kName = "top", *kLinear = "top.fc";
  explicit PlainHead(const PlainConfig& c) : fc(c.dim, c.num_classes) { register_module("fc", fc); }
  Tensor pool(const std::vector<Tensor>& maps) const override { return mean(maps.back(), {1, 2}); }
  Tensor forward(const Tensor& pooled) const override { return fc(pooled); }

  Linear fc;
};

using Plain = models::ClassifierOf<PlainBackbone, PlainHead>;

/// Once for all tests of the program.
void register_plain() {
  static const bool once = [] {
    models::register_family<Plain>(
        {{.name = "plain-s"},
         {.name = "plain-l", .config = {.dim = 8}, .adapt = [](PlainConfig& c, const std::set<std::string>& given) {
            if (!given.contains("list")) c.list = {c.side};
          }}});
    return true;
  }();
  (void)once;
}

}  // namespace

TEST_CASE("a configuration goes to JSON and back, whatever its fields are") {
  register_plain();
  const Plain model;
  CHECK(model.config_json() ==
        R"({"dim": 4, "scale": 0.5, "centered": true, "name": "a \"b\"", "floor": null, "list": [1, 2], )"
        R"("pair": [3, 4], "num_classes": 3, "side": 8})");
  const std::string other =
      R"({"dim": 2, "scale": 0.25, "centered": false, "name": "\\ \u0009", "floor": 1e-05, "list": [], )"
      R"("pair": [9, 1], "num_classes": 1, "side": 5})";
  CHECK(models::make_model_from_config("plain", other)->config_json() == other);
}

TEST_CASE("a registered family is found by its presets, its fields and its checkpoints' configuration") {
  register_plain();
  const std::vector<std::string> names = models::preset_names();
  CHECK(std::find(names.begin(), names.end(), "plain-l") != names.end());
  const auto model = make_model("plain-l", {.image_size = 12, .num_classes = 7, .overrides = R"({"scale": 0.75})"});
  const auto& config = dynamic_cast<const Plain&>(*model).config();
  CHECK(config.dim == 8);
  CHECK(config.scale == 0.75);
  CHECK(config.list == std::vector<int64_t>{12});  // what was not given follows what was
  CHECK(dynamic_cast<const Plain&>(*make_model("plain-l", {.overrides = R"({"list": [5]})"})).config().list ==
        std::vector<int64_t>{5});
  CHECK((*model)(zeros({2, 6, 5, 3})).shape() == Shape{2, 7});
  CHECK(models::make_model_from_config(model->family(), model->config_json())->config_json() == model->config_json());
  CHECK(models::head_name_of("plain-s") == "top.fc");
  CHECK(model->state_dict().contains("conv.weight"));
  CHECK(model->state_dict().contains("top.fc.weight"));

  const auto fields = models::fields_of("plain-l");
  REQUIRE(fields.size() == 9);
  CHECK(fields[0].name == "dim");
  CHECK(fields[0].value == "8");
  CHECK(fields[0].help == "channels (must be 2, 4 or 8)");
  CHECK(fields[3].help == "shown in titles");
  CHECK(fields[5].value == "[8]");
  CHECK_FALSE(fields[0].has_option);
  CHECK(fields[7].has_option);
  CHECK(fields[8].has_option);
}

TEST_CASE("names that are taken are refused") {
  register_plain();
  CHECK(message_of([] { models::register_family<Plain>({}); }) ==
        "[register_family] there is a family 'plain' already");
  CHECK(message_of([] { models::register_family<models::AtlasNet>({}); }).find("'atlas' already") != std::string::npos);
}

TEST_CASE("fields from a command line are added to the overrides, and beat them") {
  register_plain();
  const auto with = [](const std::map<std::string, std::string>& given, const std::string& overrides = "") {
    return models::with_fields("plain-s", overrides, given);
  };
  CHECK(with({}) == "");
  CHECK(with({}, R"({"dim": 2})") == R"({"dim": 2})");
  CHECK(with({{"dim", "8"}, {"list", "2,10"}}, R"({"dim": 2, "scale": 0.125})") ==
        R"({"dim": 8, "list": [2, 10], "scale": 0.125})");
  CHECK(with({{"floor", "none"}, {"centered", "false"}, {"name", "\"x"}, {"list", "[ 3 ]"}}) ==
        R"({"centered": false, "floor": null, "list": [3], "name": "\"x"})");
  CHECK(message_of([&] { with({{"dim", "8x"}}); }).find("[model.dim] '8x' is no whole number") == 0);
  CHECK(message_of([&] { with({{"list", "1,,2"}}); }).find("[model.list] '' is no whole") != std::string::npos);
  CHECK(message_of([&] { with({{"scale", "nan"}}); }) == "[model.scale] 'nan' is no number");
  CHECK(message_of([&] { with({{"centered", "yes"}}); }) == "[model.centered] 'yes' is neither true nor false");
  CHECK(message_of([&] { with({{"floor", "low"}}); }) == "[model.floor] 'low' is no number");
  CHECK(message_of([&] { with({{"list", ""}}); }) == "[model.list] '' is no whole number");
  CHECK(message_of([&] {
          with({{"scael", "1"}});
        })
            .find("'scael' is no field of Plain; there are dim, scale, centered, "
                  "name, floor, list, pair, num_classes, side; did you mean "
                  "scale?") != std::string::npos);
}

TEST_CASE("values out of range are refused with the range, unknown names with the nearest") {
  register_plain();
  const auto with = [](const char* overrides) {
    return message_of([&] { make_model("plain-s", {.overrides = overrides}); });
  };
  CHECK(with(R"({"dim": 3})") == "[Plain] dim must be 2, 4 or 8, got 3");
  CHECK(with(R"({"scale": 1})") == "[Plain] scale must be in [0, 1), got 1");
  CHECK(with(R"({"floor": 0})") == "[Plain] floor must be positive, got 0");
  CHECK(with(R"({"list": [1, -1]})") == "[Plain] list must not be negative, got [1, -1]");
  CHECK(with(R"({"pair": [10, 1]})") == "[Plain] pair must be in [1, 9], got [10, 1]");
  CHECK(with(R"({"num_classes": 0})") == "[Plain] num_classes must be at least 1, got 0");
  CHECK(with(R"({"centered": 1})").find("'centered' of Plain must be true or false, got 1") != std::string::npos);
  CHECK(with(R"({"name": 1})").find("'name' of Plain must be a string, got 1") != std::string::npos);
  CHECK(with(R"({"nam": "x"})").find("; did you mean name?") != std::string::npos);
  CHECK(message_of([] { make_model("mambavison-t"); }).find("; did you mean mambavision-t") != std::string::npos);
  const std::string unknown = message_of([] { models::make_model_from_config("atals", "{}"); });
  CHECK(unknown.starts_with("[make_model] 'atals' is no family of models; there are atlas, mambavision, "));
  CHECK(unknown.ends_with(", plain; did you mean atlas?"));
  CHECK(message_of([] { models::fields_of("nothing-like-it"); }).find("there is no preset") != std::string::npos);
}

TEST_CASE("what was published stands beside the presets") {
  CHECK(models::published_evaluation("mambavision-s").crop == 0.93);
  CHECK_FALSE(models::published_evaluation("mambavision-s").squash);
  CHECK(models::published_evaluation("mambavision-l3-512").squash);
  CHECK(models::published_evaluation("atlas-b").squash);
  CHECK(models::published_evaluation("unknown").crop == 1);
  CHECK(models::published_size("mambavision-l3-512").multiply_adds == 489.1);
  CHECK(models::published_size("atlas-toy").parameters == 0);
}

TEST_CASE("backbones say strides and channels of their maps") {
  const NoGrad off;
  for (const char* name : {"atlas-tiny", "mambavision-toy"}) {
    const auto model = make_model(name, {.image_size = 64});
    const auto& backbone = model->backbone();
    const std::vector<Tensor> maps = backbone.maps(zeros({1, 64, 64, 3}));
    REQUIRE(maps.size() == backbone.strides().size());
    REQUIRE(maps.size() == backbone.channels().size());
    for (size_t i = 0; i < maps.size(); ++i) {
      CHECK(maps[i].size(1) == (64 + backbone.strides()[i] - 1) / backbone.strides()[i]);
      CHECK(maps[i].size(3) == backbone.channels()[i]);
    }
  }
}

TEST_CASE("a backbone alone has the names without the head's, and the weights of its classifier") {
  const models::MambaVisionConfig config{.dim = 8, .in_dim = 4, .depths = {1, 1, 2, 2}, .num_heads = {1, 1, 2, 2}};
  manual_seed(3);
  const models::MambaVision whole(config);
  manual_seed(3);
  const models::MambaVisionBackbone alone(config);
  const StateDict all = whole.state_dict(), some = alone.state_dict();
  CHECK(some.size() < all.size());
  for (const auto& entry : some) {
    const std::string& name = entry.first;
    CAPTURE(name);
    REQUIRE(all.contains(name));
    if (entry.second.dtype() == float32) CHECK(golden::largest_difference(entry.second, all.at(name)) == 0);
  }
}
