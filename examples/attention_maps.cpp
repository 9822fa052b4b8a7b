// Draws what a patch of a picture looks at:
//
//   attention_maps --checkpoint runs/first/best.ckpt --at 14,8 --out attention.png boot.png
//   attention_maps --model mambavision-t --weights mambavision_tiny_1k.pth.tar --at 320,200 cat.jpg
//
// Atlas: the windows of every scale that the patch reads, and how its attention is spread over them. MambaVision: the
// attention layers of the last two stages. The whole picture is shown to the model, with its shorter side as long as
// the model was made for (or in --image-size); --at is a pixel of the picture as it is in the file.
//
// ctest-needs: train
// ctest: --checkpoint run/best.ckpt --at 100,40 --out attention.png run/curves.png
// ctest: run/curves.png --checkpoint run/best.ckpt --image-size 70x50 --head 1 --block 0 --out attention2.png
#include <fmt/core.h>

#include <sstream>

#include "atlas/core/parallel.h"
#include "atlas/data/evaluation.h"
#include "atlas/data/image.h"
#include "atlas/data/output_names.h"
#include "atlas/train/attention_picture.h"
#include "atlas/train/setup.h"
#include "atlas/train/trained_model.h"
#include "tools/program/model_options.h"

namespace {

struct Settings {
  atlas::train::ModelSource source;
  atlas::train::AttentionPictureOptions show;
  std::string file, at, out = "attention.png";
  int threads = 0;
};

int run(const Settings& s) {
  namespace data = atlas::data;
  if (s.threads > 0) atlas::set_num_threads(s.threads);
  data::check_png_name(s.out);
  std::vector<std::string> inputs = atlas::train::files_of(s.source);
  inputs.push_back(s.file);
  data::check_inputs_stay({s.out}, inputs, "attention_maps");
  const atlas::train::TrainedModel trained = atlas::train::open_model(s.source);
  atlas::Tensor picture = data::read_image(s.file);
  const int64_t height = picture.size(0), width = picture.size(1);

  // The size that the model sees: the whole picture, nothing cut off.
  const int64_t side = trained.model->image_size();
  atlas::check(
      std::max(height, width) * side <= data::kMostSide * std::min(height, width) || !s.source.image_size.empty(),
      "attention_maps", "{} has {} x {} pixels: it is too long and thin to be shown whole (choose --image-size)",
      s.file, width, height);
  data::EvaluationSettings settings{height * side / std::min(height, width), width * side / std::min(height, width)};
  if (!s.source.image_size.empty()) atlas::train::read_image_size(s.source.image_size, settings);
  if (settings.height == 0) settings = {height, width};
  settings.squash = true;
  settings.normalize = {{0, 0, 0}, {1, 1, 1}};
  data::Rng unused(0, data::Purpose::sample, 0, 0);
  const atlas::Tensor seen = data::evaluation_transform(settings)(picture, unused);
  const atlas::Tensor input = atlas::train::normalization_of(trained.config)(seen, unused);
  picture = data::resize_image(picture, seen.size(0), seen.size(1), atlas::Interpolation::bicubic);

  atlas::train::AttentionPictureOptions show = s.show;
  if (!s.at.empty()) {
    int64_t x = -1, y = -1;
    char comma = 0, more = 0;
    std::istringstream text(s.at);
    atlas::check(text >> x >> comma >> y && comma == ',' && !(text >> more), "attention_maps",
                 "--at {} is no pixel: write X,Y", s.at);
    atlas::check(x >= 0 && x < width && y >= 0 && y < height, "attention_maps",
                 "--at {} is outside {}, which has {} x {} pixels", s.at, s.file, width, height);
    show.x = x * seen.size(1) / width;
    show.y = y * seen.size(0) / height;
  }
  show.name = trained.config.model.name;
  data::write_png(s.out, atlas::train::attention_picture(*trained.model, input, picture, show));
  fmt::print("{} at {} x {} pixels: {}\n", trained.config.model.name, seen.size(1), seen.size(0), s.out);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  program::CommandLine app("Draws what a patch of a picture looks at.", "attention_maps");
  program::add_model_source(app, argc, argv, s.source, {"--classes", "--crop"});
  app.add("--at", s.at, "X,Y: pixel of the picture whose patch is asked; default: the middle");
  app.add_output("--out", s.out, "PNG file to write");
  app.add("--head", s.show.head, "one attention head, counted from 0 (-1 = the mean of all)").range(-1, 4096);
  app.add("--block", s.show.block,
          "which attention layer of the model, or of each macro stage of Atlas (-1 = what is shown by "
          "default: all, or the last)")
      .range(-1, 4096);
  app.add("--panel", s.show.panel, "longer side of each panel, in pixels").range(64, 2048);
  app.add("--threads", s.threads, "threads (0 = all cores)").range(0, 4096);
  app.add("image", s.file, "JPEG, PNG or BMP file").required();
  return app.run(argc, argv, [&] { return run(s); });
}
