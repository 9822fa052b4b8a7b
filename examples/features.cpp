// What a model makes of pictures before it decides: the pooled vector and the feature maps of every stage.
//
//   features --checkpoint runs/first/best.ckpt --out features photos/
//   features --model mambavision-t --weights mambavision_tiny_1k.pth.tar --out features --maps 3 --format npy photos/
//
// Writes into --out:
//   files.txt             the pictures, one per line, in the order of the rows
//   pooled.npy            float32 [pictures, C]: what the head reads
//   stage0.npy, ...       float32 [pictures, H, W, C], fine to coarse: the stages of MambaVision, the scales of Atlas
//   features.safetensors  the same tensors in one file, and the names, escaped where they are not UTF-8
//
// ctest-needs: train
// ctest: --checkpoint run/best.ckpt run/predictions.png run/curves.png --out features --channels-first
// ctest: run --checkpoint run/best.ckpt --out features --image-size 40x24 --batch 2 --maps none
#include <fmt/core.h>

#include <map>

#include "atlas/autograd/node.h"
#include "atlas/core/parallel.h"
#include "atlas/data/feed.h"
#include "atlas/data/image_folder.h"
#include "atlas/data/output_names.h"
#include "atlas/io/npy.h"
#include "atlas/io/safetensors.h"
#include "atlas/io/utf8.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/join.h"
#include "atlas/train/diagnose.h"
#include "atlas/train/progress.h"
#include "atlas/train/run_folder.h"
#include "atlas/train/trained_model.h"
#include "tools/program/model_options.h"

namespace {

using atlas::Tensor;

struct Settings {
  atlas::train::ModelSource source;
  std::vector<std::string> paths;
  std::string out, format = "both", maps = "all";
  int64_t batch = 8;
  int threads = 0;
  bool channels_first = false, exact = false;
};

/// Whether map number `i` is wanted, of "all", "none" or a list such as "0,3".
bool wanted(const std::string& maps, size_t i) {
  return maps == "all" || ("," + maps + ",").find(fmt::format(",{},", i)) != std::string::npos;
}

/// Takes the tensors of one batch after the other, and writes them: arrays as they come, safetensors at the end.
class Output {
 public:
  explicit Output(const Settings& s) : s_(s) {}

  void add(const std::string& name, const Tensor& rows) {
    if (s_.format != "safetensors") {
      auto& writer = npy_[name];
      if (!writer) writer = std::make_unique<atlas::io::NpyWriter>(s_.out + "/" + name + ".npy");
      writer->append(rows);
    }
    if (s_.format != "npy") parts_[name].push_back(rows);
  }
  /// All that will be written.
  std::vector<std::string> files(const std::map<std::string, Tensor>& found) const {
    std::vector<std::string> all{s_.out + "/features.safetensors", s_.out + "/files.txt"};
    for (const auto& [name, rows] : found) all.push_back(s_.out + "/" + name + ".npy");
    return all;
  }
  void finish(const std::string& model, const std::vector<std::string>& pictures) {
    for (const auto& [name, writer] : npy_) writer->finish();
    std::string lines, text;  // as they are, and as JSON can hold them
    for (const std::string& p : pictures) {
      lines += p + "\n";
      text += (atlas::io::is_utf8(p) ? p : atlas::io::escaped(p)) + "\n";
    }
    std::map<std::string, Tensor> whole;
    for (const auto& [name, parts] : parts_) whole[name] = atlas::cat(parts, 0);
    if (!whole.empty())
      atlas::io::save_safetensors(s_.out + "/features.safetensors", whole, {{"model", model}, {"files", text}});
    atlas::train::write_text(s_.out + "/files.txt", lines);
  }

 private:
  const Settings& s_;
  std::map<std::string, std::unique_ptr<atlas::io::NpyWriter>> npy_;
  std::map<std::string, std::vector<Tensor>> parts_;
};

int run(const Settings& s) {
  namespace data = atlas::data;
  atlas::check(s.source.image_size != "native", "features",
               "pictures of different sizes do not make one array: choose an --image-size");
  if (s.threads > 0) atlas::set_num_threads(s.threads);
  const atlas::train::TrainedModel trained = atlas::train::open_model(s.source);
  std::vector<data::ImageFolder::File> paths;
  std::vector<std::string> inputs = atlas::train::files_of(s.source);
  for (const std::string& file : data::find_images(s.paths)) {
    atlas::check(file.find('\n') == file.npos, "features", "'{}': files.txt has no place for a line break in a name",
                 atlas::io::escaped(file));
    paths.push_back({file, 0});
    inputs.push_back(file);
  }
  const auto total = static_cast<int64_t>(paths.size());
  data::FolderOptions options;
  options.exact_decode = s.exact;
  const auto set = std::make_shared<data::ImageFolder>("pictures", std::vector<std::string>{"?"}, paths, options);
  data::Feed feed(set, {.batch_size = s.batch, .workers = 1}, trained.transform, trained.device);
  Output output(s);
  const atlas::NoGrad off;
  int64_t done = 0;
  std::vector<std::string> pictures;
  std::map<std::string, std::string> shapes;
  atlas::train::Progress bar("features", total, {.out = stderr, .plain_percent = 0});
  feed.start_epoch(0);
  for (data::Batch batch; feed.next(batch); bar.update(batch.indices.back() + 1, {.images = done})) {
    std::vector<Tensor> maps;
    std::map<std::string, Tensor> found{
        {"pooled", trained.model->pooled_features(batch.images, s.maps == "none" ? nullptr : &maps)}};
    for (size_t i = 0; i < maps.size(); ++i)
      if (wanted(s.maps, i))
        found[fmt::format("stage{}", i)] = s.channels_first ? maps[i].permute({0, 3, 1, 2}) : maps[i];
    atlas::check(
        s.maps == "all" || s.maps == "none" || std::count(s.maps.begin(), s.maps.end(), ',') + 2 == std::ssize(found),
        "features", "--maps {} should list some of the {} stages, which count from 0", s.maps, maps.size());
    for (const auto& [name, rows] : found) atlas::train::require_finite(*trained.model, batch.images, rows);
    if (done == 0) {  // not before anything could be computed
      data::check_inputs_stay(output.files(found), inputs, "features");
      atlas::train::prepare_folder(s.out, 0);
    }
    for (const auto& [name, rows] : found) output.add(name, atlas::on_host(rows.to(atlas::float32)));
    for (const auto& [name, rows] : found) shapes[name] = rows.slice(0, 0, 1).shape().str();
    for (const int64_t i : batch.indices) pictures.push_back(paths[static_cast<size_t>(i)].path);
    done += static_cast<int64_t>(batch.indices.size());
  }
  bar.clear();
  atlas::check(done > 0, "features", "none of the {} images could be read", total);
  output.finish(trained.config.model.name, pictures);
  fmt::print("{}: {} of {} images, into {}\n", trained.config.model.name, done, total, s.out);
  for (const auto& [name, shape] : shapes) fmt::print("  {:<8} {} for each image\n", name, shape);
  return done == total ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  program::CommandLine app("Writes the features that a trained model finds in pictures.", "features");
  program::add_model_source(app, argc, argv, s.source, {"--classes"});
  app.add("--out", s.out, "folder to write into").required();
  app.add("--format", s.format, "npy, safetensors (all is held in memory until the end) or both")
      .choices({"npy", "safetensors", "both"});
  app.add("--maps", s.maps, "stages whose maps are written: all, none, or numbers such as 0,3");
  app.add("--channels-first", s.channels_first, "maps as [pictures, C, H, W]");
  app.add("--batch", s.batch, "pictures per forward pass").range(1, 4096);
  app.add("--threads", s.threads, "threads (0 = all cores)").range(0, 4096);
  app.add("--exact-decode", s.exact, "decode pictures whole, which finds damage anywhere in a file");
  app.add("images", s.paths, "JPEG, PNG or BMP files, and folders of them").shown_default("").required();
  return app.run(argc, argv, [&] { return run(s); });
}
