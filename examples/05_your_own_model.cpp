// Your own model: ConvNeXt (Liu et al., "A ConvNet for the 2020s", CVPR 2022) in one file, registered beside the
// house's own families, so that everything knows it: presets by name, fields on command lines, training, checkpoints.
//
//   05_your_own_model check tests/golden/timm   compares it with timm's ConvNeXt (tools/reference/make_convnext.py)
//   05_your_own_model train runs/convnext       trains a small one as examples/train would, and reads what that wrote
//
// Parameters are called as timm calls them, so its published weights load.
//
// ctest: check {source}/tests/golden/timm
// ctest: train convnext
#include <fmt/core.h>

#include "atlas/atlas.h"
#include "atlas/core/program.h"
#include "atlas/io/formula.h"
#include "atlas/train/run.h"
#include "atlas/train/start.h"

using namespace atlas;

namespace {

struct ConvNeXtConfig {
  std::array<int64_t, 4> depths = {3, 3, 9, 3}, dims = {96, 192, 384, 768};
  double drop_path_rate = 0.1, layer_scale = 1e-6;
  int64_t num_classes = 1000, resolution = 224;

  static constexpr std::string_view kFamily = "convnext", kTitle = "ConvNeXt";
  int64_t& image_size() { return resolution; }
  int64_t image_size() const { return resolution; }

  template <class Self, class Visitor>
  static void fields(Self& c, Visitor&& visit) {
    visit("depths", c.depths, "blocks per stage", models::few());
    visit("dims", c.dims, "channels per stage", models::length());
    visit("drop_path_rate", c.drop_path_rate, "of the last block; the first has 0", models::within(0, 1));
    visit("layer_scale", c.layer_scale, "initial gamma of the blocks", models::any_value());
    visit("num_classes", c.num_classes, "classes that the head tells apart", models::class_count());
    visit("resolution", c.resolution, "side of the images it was made for, in pixels", models::at_least(32));
  }
};

/// y = x + gamma · MLP(norm(depthwise 7 x 7 convolution(x))).   x: [B, H, W, C] -> same
class ConvNeXtBlock : public Module {
 public:
  ConvNeXtBlock(int64_t dim, double layer_scale, double drop_path_rate)
      : gamma(full({dim}, layer_scale, float32, Device{})),
        conv_dw(dim, dim, 7, {.padding = {3, 3}, .groups = dim}),
        norm(dim, 1e-6),
        mlp(dim, 4 * dim),
        drop_path(drop_path_rate) {
    register_parameter("gamma", gamma);
    register_modules({{"conv_dw", conv_dw}, {"norm", norm}, {"mlp", mlp}, {"drop_path", drop_path}});
  }
  Tensor forward(const Tensor& x) const override {
    const Tensor y = norm(conv_dw(x));
    return drop_path.onto(x, mlp, y, gamma);
  }

  Tensor gamma;
  Conv2d conv_dw;
  LayerNorm norm;
  Mlp mlp;
  DropPath drop_path;
};

/// Layer norm and a strided convolution (not before the first stage), then blocks.
class ConvNeXtStage : public Module {
 public:
  ConvNeXtStage(const ConvNeXtConfig& c, size_t i, int64_t& block, int64_t blocks_of_all) {
    if (i > 0) {
      downsample.add<LayerNorm>(c.dims[i - 1], 1e-6);
      downsample.add<Conv2d>(c.dims[i - 1], c.dims[i], 2, Conv2dOptions{.stride = {2, 2}});
    }
    for (int64_t j = 0; j < c.depths[i]; ++j)
      blocks.add<ConvNeXtBlock>(c.dims[i], c.layer_scale,
                                models::drop_path_rate(c.drop_path_rate, block++, blocks_of_all));
    register_modules({{"downsample", downsample}, {"blocks", blocks}});
  }
  Tensor forward(const Tensor& x) const override { return blocks(downsample(x)); }

  Sequential downsample, blocks;
};

class ConvNeXtBackbone : public models::Backbone {
 public:
  using Config = ConvNeXtConfig;
  explicit ConvNeXtBackbone(const Config& c) : dims_(c.dims.begin(), c.dims.end()) {
    stem.add<Conv2d>(3, c.dims[0], 4, Conv2dOptions{.stride = {4, 4}});
    stem.add<LayerNorm>(c.dims[0], 1e-6);
    int64_t block = 0;
    for (size_t i = 0; i < 4; ++i) stages.add(c, i, block, c.depths[0] + c.depths[1] + c.depths[2] + c.depths[3]);
    register_modules({{"stem", stem}, {"stages", stages}});
    models::init_linears(*this);
  }
  std::vector<Tensor> maps(const Tensor& images) const override {
    check_images(images, static_cast<const Conv2d&>(stem[0]).weight, Config::kTitle);
    std::vector<Tensor> all;
    for (const auto& stage : stages) all.push_back((*stage)(all.empty() ? stem(images) : all.back()));
    return all;
  }
  std::vector<int64_t> strides() const override { return {4, 8, 16, 32}; }
  std::vector<int64_t> channels() const override { return dims_; }
  std::vector<std::pair<std::string, std::string>> parts() const override {
    return {{"stem", "stem"}, {"0", "stages.0"}, {"1", "stages.1"}, {"2", "stages.2"}, {"3", "stages.3"}};
  }

  Sequential stem;
  ModuleList<ConvNeXtStage> stages;

 private:
  std::vector<int64_t> dims_;
};

class ConvNeXtHead : public models::ClassifyHead {
 public:
  static constexpr const char *kName = "head", *kLinear = "head.fc";
  explicit ConvNeXtHead(const ConvNeXtConfig& c) : norm(c.dims[3], 1e-6), fc(c.dims[3], c.num_classes) {
    register_modules({{"norm", norm}, {"fc", fc}});
    models::init_linears(*this);
  }
  Tensor pool(const std::vector<Tensor>& maps) const override { return norm(mean(maps.back(), {1, 2})); }
  Tensor forward(const Tensor& pooled) const override { return fc(pooled); }

  LayerNorm norm;
  Linear fc;
};

using ConvNeXt = models::ClassifierOf<ConvNeXtBackbone, ConvNeXtHead>;

/// The one line that makes it known, with the sizes of the paper's table 1 and one for images of 32 pixels.
void register_convnext() {
  models::register_family<ConvNeXt>(
      {{.name = "convnext-t", .size = {28.6, 4.5}},
       {.name = "convnext-s", .config = {.depths = {3, 3, 27, 3}, .drop_path_rate = 0.4}, .size = {50.2, 8.7}},
       {.name = "convnext-toy",
        .config = {.depths = {1, 1, 2, 1},
                   .dims = {16, 32, 64, 96},
                   .drop_path_rate = 0,
                   .layer_scale = 0.1,
                   .num_classes = 10,
                   .resolution = 32}}});
}

/// Largest difference to what timm computed from the same weights and images, relative to the largest value.
bool agrees_with_timm(const std::string& folder) {
  const io::SafetensorsFile timm = io::load_safetensors(folder + "/convnext.safetensors");
  const auto model = models::make_model_from_config("convnext", timm.metadata.at("config"));
  const std::string left_out = train::load_weights(*model, folder + "/convnext.pth");
  model->eval();
  const NoGrad off;
  std::vector<Tensor> maps;
  std::map<std::string, Tensor> ours{
      {"logits", model->head()(model->pooled_features(io::formula_image(2, 64, 96), &maps))}};
  for (size_t i = 0; i < maps.size(); ++i) ours[fmt::format("stage{}", i)] = maps[i].permute({0, 3, 1, 2});
  bool good = left_out.empty();
  for (const auto& [name, t] : ours) {
    const Tensor& theirs = timm.tensors.at(name);
    const double error = (max(abs(t - theirs)) / max(abs(theirs))).item();
    good = good && error < 1e-5;
    fmt::print("{:<7} {:<18} differs from timm's by {:.1e}\n", name, t.shape().str(), error);
  }
  return good;
}

/// What examples/train does with `--model convnext-toy --data shapes:32`.
int train_small(const std::string& folder) {
  train::TrainConfig config;
  config.model.name = "convnext-toy";
  config.data.name = "shapes:32";
  config.data.limit_train = 1024;
  config.data.limit_test = 256;
  config.optimization.batch_size = 32;
  config.optimization.epochs = 3;
  const int status = train::run_training(config, {.out = folder, .resume = true});
  const train::TrainedModel trained = train::load_trained_model(folder + "/best.ckpt");
  fmt::print("{} tells {} classes apart, from its checkpoint\n", trained.config.model.name,
             trained.model->num_classes());
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("05_your_own_model", [&] {
    const std::string what = argc == 3 ? argv[1] : "";
    check(what == "check" || what == "train", "usage", "05_your_own_model check|train FOLDER");
    register_convnext();
    if (what == "train") return train_small(argv[2]);
    return agrees_with_timm(argv[2]) ? 0 : 1;
  });
}
