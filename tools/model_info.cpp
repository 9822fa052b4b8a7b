// What a model is made of: for each module the shape of its output, parameters, multiply-adds and activation memory.
//
//   model_info --model mambavision-t
//   model_info --model atlas-b --image-size 1024 --depth 4
//   model_info --model mambavision-l2 --image-size 384x512 --batch 2 --json
//   model_info --model cascade-mask-rcnn-mambavision-t --image-size 1216x800
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "atlas/autograd/node.h"
#include "atlas/core/profile.h"
#include "atlas/core/whole_number.h"
#include "atlas/models/heads/detect.h"
#include "atlas/models/presets.h"
#include "atlas/models/published.h"
#include "atlas/nn/init.h"
#include "atlas/tensor/create.h"
#include "tools/program/model_options.h"

namespace {

using namespace atlas;

struct Row {
  std::string path;
  Shape output;  // empty when the module is not called as a function of one tensor
  int64_t parameters = 0, activations = 0;
  double multiply_adds = 0;
};

bool below(const std::string& path, const std::string& module) {
  return module.empty() || path == module || path.starts_with(module + ".");
}

/// Inference, whatever the model is for.
void run(const models::Model& model, const Tensor& images) {
  if (const auto* detector = dynamic_cast<const models::Detector*>(&model)) {
    const std::vector<models::ImageSize> sizes(static_cast<size_t>(images.size(0)), {images.size(1), images.size(2)});
    detector->predict(images, sizes, sizes);
  } else {
    model(images);
  }
}

/// Runs one image batch through the model and puts together what each module did.
std::vector<Row> inspect(models::Model& model, const Tensor& images) {
  std::map<const void*, std::pair<Shape, int64_t>> outputs;  // shape of the last call, bytes of all calls
  const NoGrad off;
  model.eval();
  {
    const LayerWatch watch([&](const void* layer, const Tensor& y) {
      auto& [shape, bytes] = outputs[layer];
      shape = y.shape();
      bytes += y.numel() * item_size(y.dtype());
    });
    start_profile();
    run(model, images);
    stop_profile();
  }

  const auto modules = model.named_modules();
  const auto layers = profile_sums([](const ProfileRecord& r) { return r.layer; });
  const auto parameters = model.named_parameters();
  std::vector<std::pair<std::string, int64_t>> innermost;  // what containers pass on is the same tensor
  for (const auto& [path, module] : modules) {
    const auto it = outputs.find(module);
    if (it == outputs.end()) continue;
    const bool leaf = std::none_of(modules.begin(), modules.end(), [&, &name = path](const auto& other) {
      return other.first != name && below(other.first, name) && outputs.contains(other.second);
    });
    if (leaf) innermost.emplace_back(path, it->second.second);
  }
  std::vector<Row> rows;
  for (const auto& [path, module] : modules) {
    Row row;
    row.path = path;
    if (const auto it = outputs.find(module); it != outputs.end()) row.output = it->second.first;
    for (const auto& [name, p] : parameters)
      if (path.empty() || name.starts_with(path + ".")) row.parameters += p.numel();
    for (const ProfileSum& s : layers)
      if (below(s.key, path)) row.multiply_adds += s.flops / 2;
    for (const auto& [inner, bytes] : innermost)
      if (below(inner, path)) row.activations += bytes;
    rows.push_back(std::move(row));
  }
  return rows;
}

/// Of the last inspect(): multiply-adds of linear layers and convolutions, which is what the paper counts.
double in_linear_and_conv() {
  double sum = 0;
  for (const ProfileSum& s : profile_sums([](const ProfileRecord& r) { return std::string(r.op); }))
    if (s.key == "matmul" || s.key == "conv2d") sum += s.flops / 2;
  return sum;
}

/// Refuses sizes far above the model's own that would not fit into memory or take too long. What they cost is what its
/// own size costs, times the pixels.
void check_affordable(models::Model& model, int64_t batch, int64_t height, int64_t width) {
  constexpr double kWithoutAsking = 4, kMostMultiplyAdds = 2e12;  // minutes on a CPU
  const int64_t own = model.image_size();
  if (width == 0) width = height = own;
  const double times = static_cast<double>(batch) * static_cast<double>(height) * static_cast<double>(width) /
                       static_cast<double>(own * own);
  if (times <= kWithoutAsking) return;
  const double multiply_adds = times * inspect(model, zeros({1, own, own, 3})).front().multiply_adds;
  reset_peak_memory();  // packed weights are there now, which do not grow
  const int64_t held = memory_stats().current;
  inspect(model, zeros({1, own, own, 3}));
  const double bytes = times * static_cast<double>(memory_stats().peak - held);
  check(bytes <= static_cast<double>(memory_limit()), "image-size",
        "{} x {} pixels, batch {}, would take {:.1f} GiB, more than the {} that this process may have", width, height,
        batch, bytes / (1 << 30), bytes_text(memory_limit()));
  check(multiply_adds <= kMostMultiplyAdds, "image-size",
        "{} x {} pixels, batch {}, would be {:.2g} multiply-adds, which would take too long: at most {:.2g}", width,
        height, batch, multiply_adds, kMostMultiplyAdds);
}

int64_t number(const std::string& text) {
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == text.npos;
  const int64_t n = digits ? whole_number(text, "image-size") : 0;
  check(n <= 1 << 16, "image-size", "'{}' is too large: at most {} pixels a side", text, 1 << 16);
  check(n >= 1, "image-size", "'{}' is no number of pixels: write 384 or 640x480 (width x height)", text);
  return n;
}

}  // namespace

int main(int argc, char** argv) {
  std::string name, options, size;
  int64_t batch = 1, depth = 3, classes = 0;
  std::map<std::string, std::string> fields;  // of the configuration
  bool json = false;
  program::CommandLine app("Prints what a model is made of.", "model_info");
  app.add("--model", name, "preset: " + fmt::format("{}", fmt::join(models::preset_names(), ", "))).required();
  app.add("--model-options", options, "JSON object that overrides fields of the preset");
  program::add_model_fields(app, argc, argv, "", fields);
  app.add("--image-size", size, "pixels: 384, or 640x480 (width x height); default: the model's own");
  app.add("--classes", classes, "number of classes (0 = the preset's)").range(0, 1 << 20);
  app.add("--batch", batch, "images").range(1, 1 << 16);
  app.add("--depth", depth, "levels of modules to show, 0 shows the totals only").range(0, 1000);
  app.add("--json", json, "print JSON instead of a table");
  return app.run(argc, argv, [&] {
    const size_t x = size.find('x');
    int64_t width = size.empty() ? 0 : number(size.substr(0, x)),
            height = x == size.npos ? width : number(size.substr(x + 1));
    std::unique_ptr<models::Model> model;
    {
      std::optional<SkipInit> only_shapes_matter;
      if (models::task_of(name) != models::Detector::kTask) only_shapes_matter.emplace();  // boxes follow the numbers
      const auto made = [&](int64_t image_size) {
        return models::make_any_model(name, {.image_size = image_size,
                                             .num_classes = classes,
                                             .overrides = models::with_fields(name, options, fields)});
      };
      if (width > 0 || batch > 1) check_affordable(*made(0), batch, height, width);
      model = made(width == height ? width : 0);
    }
    if (width == 0) width = height = model->image_size();
    reset_peak_memory();
    const int64_t held = memory_stats().current;
    const std::vector<Row> rows = inspect(*model, zeros({batch, height, width, 3}));
    const Row& all = rows.front();
    const double peak = static_cast<double>(memory_stats().peak - held);
    if (json) {
      nlohmann::ordered_json out = {{"model", name},
                                    {"width", width},
                                    {"height", height},
                                    {"batch", batch},
                                    {"parameters", all.parameters},
                                    {"multiply_adds", all.multiply_adds},
                                    {"in_linear_and_conv", in_linear_and_conv()},
                                    {"activations", all.activations},
                                    {"inference_peak", peak}};
      for (const Row& r : rows)
        out["modules"].push_back({{"path", r.path},
                                  {"output", std::vector<int64_t>(r.output.begin(), r.output.end())},
                                  {"parameters", r.parameters},
                                  {"multiply_adds", r.multiply_adds},
                                  {"activations", r.activations}});
      fmt::print("{}\n", out.dump(2));
      return 0;
    }
    const auto levels = [](const std::string& path) {
      return path.empty() ? 0 : 1 + std::count(path.begin(), path.end(), '.');
    };
    const auto line = [](const std::string& path, const std::string& output, const Row& r) {
      fmt::print("{:<40} {:<20} {:>13.3f} {:>12.3f} {:>12.2f}\n", path, output, static_cast<double>(r.parameters) / 1e6,
                 r.multiply_adds / 1e9, static_cast<double>(r.activations) / (1 << 20));
    };
    fmt::print("{:<40} {:<20} {:>13} {:>12} {:>12}\n", "module", "output", "parameters/M", "GMAC", "MiB");
    for (const Row& r : rows)
      if (!r.path.empty() && levels(r.path) <= depth) line(r.path, r.output.size() > 0 ? r.output.str() : "", r);
    line(name, all.output.size() > 0 ? all.output.str() : "", all);
    const models::PublishedSize paper = options.empty() && fields.empty() && classes == 0 && batch == 1 &&
                                                width == height && width == model->image_size()
                                            ? models::published_size(name)
                                            : models::PublishedSize{};
    if (paper.parameters > 0)
      fmt::print(
          "\npublished: {:.1f} M parameters and {:.1f} GMAC, which count linear layers and convolutions alone; those "
          "are {:.2f} here\n",
          paper.parameters, paper.multiply_adds, in_linear_and_conv() / 1e9);
    fmt::print(
        "\n{} x {} pixels, batch {}. GMAC: billions of multiply-adds of products, convolutions, attention and scans "
        "(papers "
        "call them\nFLOPs; a multiply-add is two operations). MiB: outputs of the layers inside, float32, which "
        "training "
        "keeps;\ninference held {:.1f} MiB at its peak beside {:.1f} MiB of weights.\n",
        width, height, batch, peak / (1 << 20), static_cast<double>(held) / (1 << 20));
    if (model->task() == models::Detector::kTask)
      fmt::print(
          "The heads of boxes work on what fresh weights propose, that of masks on the objects they find, often "
          "none.\n");
    return 0;
  });
}
