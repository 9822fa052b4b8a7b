// Times how photographs become batches for training: files read, a random resized crop of each decoded and resized,
// float32 batches. tools/bench/data.sh compares it with torchvision.
//
//   photos --size 224 *.jpg                             processor time of a picture
//   photos --size 224 --crops crops.txt --out ours.npy *.jpg   the crops of the first round, and what became of them
#include <fmt/core.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "atlas/core/parallel.h"
#include "atlas/data/augment.h"
#include "atlas/data/encoded_image.h"
#include "atlas/data/image_folder.h"
#include "atlas/data/loader.h"
#include "atlas/io/npy.h"
#include "atlas/train/run_folder.h"
#include "tools/program/command_line.h"

namespace {

using namespace atlas;

/// Seconds of processor time of this process, all threads: what others do on the machine does not count.
double processor_time() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct Settings {
  std::vector<std::string> files;
  std::string crops, out;
  int64_t size = 224, rounds = 5;
  int workers = 0;
  bool exact = false;
};

int run(const Settings& s) {
  set_num_threads(1);
  std::vector<data::ImageFolder::File> files;
  for (const std::string& file : s.files) files.push_back({file, 0});
  const auto count = static_cast<int64_t>(files.size());
  data::FolderOptions options;
  options.strict = true;
  options.exact_decode = s.exact;
  const auto set = std::make_shared<data::ImageFolder>("photos", std::vector<std::string>{"?"}, files, options);
  const data::RandomResizedCrop crop{s.size, s.size};
  if (!s.crops.empty()) {
    std::string text;
    for (int64_t i = 0; i < count; ++i) {
      const data::Sample sample = set->open(i);
      const int64_t h = sample.encoded ? sample.encoded->height() : sample.image.size(0);
      const int64_t w = sample.encoded ? sample.encoded->width() : sample.image.size(1);
      data::Rng rng(0, data::Purpose::sample, 0, i);
      const data::Crop c = crop.sample(h, w, rng);
      text += fmt::format("{} {} {} {} {}\n", c.top, c.left, c.height, c.width, s.files[static_cast<size_t>(i)]);
    }
    train::write_text(s.crops, text);
  }
  data::Loader loader(set, {.batch_size = std::min<int64_t>(count, 16), .workers = s.workers}, crop);
  std::vector<double> times;
  std::unique_ptr<io::NpyWriter> out;
  if (!s.out.empty()) out = std::make_unique<io::NpyWriter>(s.out);
  for (int64_t round = 0; round < s.rounds; ++round) {
    const double start = processor_time();
    loader.start_epoch(0);  // the same crops in every round
    double writing = 0;
    for (data::Batch batch; loader.next(batch);) {
      if (round > 0 || !out) continue;
      const double before = processor_time();
      out->append(batch.images);
      writing += processor_time() - before;
    }
    times.push_back((processor_time() - start - writing) / static_cast<double>(count));
  }
  if (out) out->finish();
  std::sort(times.begin(), times.end());
  fmt::print("{:.4f} ms a picture, median of {} rounds; fastest {:.4f} ms\n", 1e3 * times[times.size() / 2], s.rounds,
             1e3 * times.front());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  program::CommandLine app("Times how photographs become batches for training, in processor time a picture.", "photos");
  app.add("--size", s.size, "side of the result, in pixels").range(1, 16384);
  app.add("--rounds", s.rounds, "times that all pictures are read").range(1, 1000);
  app.add("--workers", s.workers, "threads of the loader; 0: none").range(0, 256);
  app.add("--exact-decode", s.exact, "decode pictures whole");
  app.add("--crops", s.crops, "write the crops: top, left, height, width and file, a line each");
  app.add("--out", s.out, "write the pictures of the first round, float32 [N,size,size,3], as .npy");
  app.add("files", s.files, "JPEG files").shown_default("").required();
  return app.run(argc, argv, [&] { return run(s); });
}
