// Says what is on pictures, with a model that train made or with published weights:
//
//   classify --checkpoint runs/first/best.ckpt shirt.png boot.jpg
//   classify --model mambavision-t --weights mambavision_tiny_1k.pth.tar --classes imagenet_classes.txt cat.jpg
//   classify --model mambavision-s --weights s.pth.tar --json --batch 32 photos/ > answers.jsonl
//
// For each picture: the five likeliest classes with their probabilities. Pictures that cannot be read are named and
// passed over; the exit status is 2 then, as for any other mistake.
//
// ctest-needs: train
// ctest: --checkpoint run/best.ckpt run/predictions.png
// ctest: run --checkpoint run/best.ckpt --json --batch 2 --image-size 48x40 --top 2
// ctest: --list-models
#include <fmt/core.h>

#include <chrono>
#include <mutex>

#include "atlas/autograd/node.h"
#include "atlas/core/parallel.h"
#include "atlas/core/profile.h"
#include "atlas/core/standard_output.h"
#include "atlas/data/feed.h"
#include "atlas/data/image_folder.h"
#include "atlas/data/output_names.h"
#include "atlas/ops/softmax.h"
#include "atlas/train/diagnose.h"
#include "atlas/train/progress.h"
#include "atlas/train/trained_model.h"
#include "tools/program/model_options.h"

namespace {

struct Settings {
  atlas::train::ModelSource source;
  std::vector<std::string> paths;
  std::string profile;
  int64_t top = 5, batch = 8;
  int threads = 0;
  bool json = false, list = false, exact = false;
};

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

int run(const Settings& s) {
  namespace data = atlas::data;
  if (s.threads > 0) atlas::set_num_threads(s.threads);
  std::FILE* const talk = s.json ? stderr : stdout;  // with --json, stdout holds nothing else
  const atlas::train::TrainedModel trained = atlas::train::open_model(s.source);
  fmt::print(talk, "{}: {} classes, {:.1f} M parameters\n", trained.config.model.name, trained.classes.size(),
             static_cast<double>(trained.model->parameter_count()) / 1e6);
  if (!trained.notes.empty()) fmt::print(talk, "{}\n", trained.notes);

  std::vector<data::ImageFolder::File> files;
  for (std::string& file : data::find_images(s.paths)) files.push_back({std::move(file), 0});
  const auto total = static_cast<int64_t>(files.size());
  // Pictures of different sizes do not make a batch.
  const int64_t batch_size = s.source.image_size == "native" ? 1 : s.batch;
  data::FolderOptions options;
  std::string unread;  // messages of the reading thread, printed where no bar is in the way
  std::mutex mutex;
  options.exact_decode = s.exact;
  options.report = [&](const std::string& message) {
    const std::lock_guard lock(mutex);
    unread += message + "\n";
  };
  const auto print_unread = [&] {
    const std::lock_guard lock(mutex);
    fmt::print(stderr, "{}", std::exchange(unread, ""));
  };
  const auto set = std::make_shared<data::ImageFolder>("pictures", std::vector<std::string>{"?"}, files, options);
  data::Feed feed(set, {.batch_size = batch_size, .workers = 1}, trained.transform, trained.device);

  atlas::train::Progress bar("classify", total, {.out = stderr, .plain_percent = 0});
  const atlas::NoGrad off;
  const auto start = Clock::now();
  double computing = 0;
  int64_t done = 0;
  feed.start_epoch(0);
  for (data::Batch batch; feed.next(batch); bar.update(batch.indices.back() + 1, {.images = done})) {
    const auto before = Clock::now();
    const atlas::Tensor logits = (*trained.model)(batch.images).to(atlas::float32);
    atlas::train::require_finite(*trained.model, batch.images, logits);
    const atlas::Tensor probabilities = atlas::on_host(atlas::softmax(logits));
    computing += seconds_since(before);
    bar.clear();
    print_unread();
    for (size_t i = 0; i < batch.indices.size(); ++i, ++done) {
      const std::string& file = files[static_cast<size_t>(batch.indices[i])].path;
      const auto guesses = atlas::train::best_guesses(probabilities.select(0, static_cast<int64_t>(i)), s.top);
      if (s.json) {
        fmt::print("{}\n", atlas::train::to_json(file, guesses, trained.classes));
        continue;
      }
      fmt::print("\n{}\n", file);
      for (const auto& [index, p] : guesses)
        fmt::print("  {:6.2f} %  {:<20}  {}\n", 100 * p, std::string(static_cast<size_t>(p * 20 + 0.5), '#'),
                   trained.classes[static_cast<size_t>(index)]);
    }
    atlas::flush_standard_output();
  }
  bar.clear();
  print_unread();
  const double seconds = seconds_since(start);
  fmt::print(talk, "\n{} image{} in {:.2f} s: {:.1f} images/s, {:.1f} images/s in the model alone\n", done,
             done == 1 ? "" : "s", seconds, static_cast<double>(done) / std::max(seconds, 1e-9),
             static_cast<double>(done) / std::max(computing, 1e-9));
  if (done < total) fmt::print(stderr, "classify: {} of {} images could not be read\n", total - done, total);
  return done == total ? 0 : 2;
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  program::CommandLine app("Says what is on pictures, with a model that train made or with published weights.",
                           "classify");
  program::add_model_source(app, argc, argv, s.source);
  app.add("--list-models", s.list, "list what --model knows").group("Model");
  app.add("--top", s.top, "classes to show for each picture").range(1, 100000);
  app.add("--batch", s.batch, "pictures per forward pass").range(1, 4096);
  app.add_output("--profile", s.profile, "file for a trace of every kernel; tables go to stderr at the end");
  app.add("--threads", s.threads, "threads (0 = all cores)").range(0, 4096);
  app.add("--exact-decode", s.exact, "decode pictures whole, which finds damage anywhere in a file");
  app.add("--json", s.json, "a line of JSON for each picture on stdout, everything else on stderr");
  app.add("images", s.paths, "JPEG, PNG or BMP files, and folders of them").shown_default("");
  return app.run(argc, argv, [&] {
    if (s.list) {
      for (const std::string& name : atlas::models::preset_names("classification")) fmt::print("{}\n", name);
      return 0;
    }
    if (s.paths.empty()) throw program::WrongUsage("images is required");
    if (s.json) atlas::check_standard_output_is_free("--json");
    atlas::data::check_inputs_stay({s.profile}, s.paths, "classify");
    if (!s.profile.empty()) atlas::profile_program(s.profile);
    return run(s);
  });
}
