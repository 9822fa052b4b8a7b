// Writes a data set as folders of PNG files, one subfolder per class, as --data folder:OUT reads them (Fashion-MNIST
// unless told otherwise):
//
//   image_folders OUT --classes 0,1,2,3,4 --train 2000 --test 1000
//
// makes OUT/train/<class>/00001.png and OUT/val/<class>/...
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "atlas/data/image.h"
#include "atlas/data/open.h"

namespace {

namespace fs = std::filesystem;

/// Writes the first `most` images of the chosen classes (0 = all) and says how many those were.
int64_t write_half(const atlas::data::Dataset& set, const fs::path& out, const std::vector<int64_t>& classes,
                   int64_t most) {
  int64_t written = 0;
  for (const int64_t c : classes) {
    std::string name = set.classes()[static_cast<size_t>(c)];
    std::replace(name.begin(), name.end(), '/', '-');  // "T-shirt/top"
    const fs::path folder = out / name;
    fs::create_directories(folder);
    const int64_t share = most / static_cast<int64_t>(classes.size());
    int64_t count = 0;
    for (int64_t i = 0; i < set.size() && (most == 0 || count < share); ++i) {
      const atlas::data::Sample sample = set.get(i);
      if (sample.label != c) continue;
      atlas::data::write_png((folder / fmt::format("{:05}.png", i)).string(), sample.image);
      ++count;
    }
    written += count;
  }
  return written;
}

}  // namespace

int main(int argc, char** argv) {
  std::string out, data = "fashion-mnist";
  std::vector<int64_t> classes{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  int64_t train = 0, test = 0;
  CLI::App app("Writes a data set as folders of PNG files, one subfolder per class.", "image_folders");
  app.option_defaults()->always_capture_default();
  app.add_option("out", out, "folder to make")->required();
  app.add_option("--data", data, "fashion-mnist[:DIR], mnist:DIR or cifar10:DIR");
  app.add_option("--classes", classes, "classes to write, by number")->delimiter(',');
  app.add_option("--train", train, "training images in all, equally many of each class (0 = all)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--test", test, "test images (0 = all)")->check(CLI::NonNegativeNumber);
  try {
    app.parse(argc, argv);
    const atlas::data::DataPair sets = atlas::data::open_data(data);
    for (const int64_t c : classes)
      atlas::check(c >= 0 && c < sets.train->num_classes(), "classes", "there is no class {} in {}", c, data);
    const int64_t a = write_half(*sets.train, fs::path(out) / "train", classes, train);
    const int64_t b = write_half(*sets.test, fs::path(out) / "val", classes, test);
    fmt::print("{}: {} training and {} test images of {} classes\n", out, a, b, classes.size());
    return 0;
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    std::cerr << "image_folders: " << e.what() << " (see image_folders --help)\n";
    return 2;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 2;
  }
}
