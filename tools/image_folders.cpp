// Writes a data set as folders of PNG files, one subfolder per class, as --data folder:OUT reads them (Fashion-MNIST
// unless told otherwise):
//
//   image_folders OUT --classes 0,1,2,3,4 --train 2000 --test 1000
//
// makes OUT/train/<class>/00001.png and OUT/val/<class>/... Pictures of a set whose images have no class of their own,
// as those with masks or objects, lie in OUT/train and OUT/val themselves, without what is known about them.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

#include "atlas/data/image.h"
#include "atlas/data/open.h"
#include "atlas/data/picture_files.h"
#include "atlas/data/select.h"
#include "tools/program/command_line.h"

namespace {

namespace fs = std::filesystem;

constexpr int kMostImages = 1'000'000'000;

/// Writes `most` images of the chosen classes (0 = all), about equally many of each, and says how many those were.
/// @param classes  none: images have no class
int64_t write_half(const atlas::data::Dataset& set, const fs::path& out, const std::vector<int64_t>& classes,
                   int64_t most) {
  std::vector<int64_t> candidates, groups;
  for (int64_t i = 0; i < set.size(); ++i) {
    const auto at = classes.empty() ? classes.end() : std::find(classes.begin(), classes.end(), set.label(i));
    if (at == classes.end() && !classes.empty()) continue;
    candidates.push_back(i);
    groups.push_back(at - classes.begin());
  }
  const std::vector<int64_t> chosen = atlas::data::choose_evenly(groups, most == 0 ? std::ssize(candidates) : most);
  for (const int64_t c : chosen) {
    const int64_t i = candidates[static_cast<size_t>(c)];
    const atlas::data::Sample sample = set.get(i);
    if (!sample.image.defined()) continue;
    std::string name = classes.empty() ? "" : set.classes()[static_cast<size_t>(label_of(sample))];
    std::replace(name.begin(), name.end(), '/', '-');  // "T-shirt/top"
    fs::create_directories(out / name);
    atlas::data::write_png((out / name / fmt::format("{:05}.png", i)).string(), sample.image);
  }
  return std::ssize(chosen);
}

}  // namespace

int main(int argc, char** argv) {
  std::string out, data = "fashion-mnist";
  std::vector<int64_t> classes{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  int64_t train = 0, test = 0;
  program::CommandLine app("Writes a data set as folders of PNG files, one subfolder per class.", "image_folders");
  app.add("out", out, "folder to make").required();
  app.add("--data", data, "the data set, as train takes it: " + atlas::data::source_usages());
  app.add("--classes", classes, "classes to write, by number");
  app.add("--train", train, "training images in all, equally many of each class (0 = all)").range(0, kMostImages);
  app.add("--test", test, "test images (0 = all)").range(0, kMostImages);
  return app.run(argc, argv, [&] {
    const atlas::data::DataPair sets = atlas::data::open_data(data);
    const atlas::data::Targets targets = atlas::data::first_targets(*sets.train);
    if (const auto* label = targets.find(atlas::data::kLabel); label == nullptr || label->value.dim() > 0) {
      atlas::check(!app.has("--classes"), "classes", "images of {} have no class of their own: leave --classes out",
                   data);
      classes.clear();
    }
    for (const int64_t c : classes)
      atlas::check(c >= 0 && c < sets.train->num_classes(), "classes", "there is no class {} in {}", c, data);
    for (size_t i = 0; i < classes.size(); ++i)
      atlas::check(std::find(classes.begin(), classes.begin() + static_cast<std::ptrdiff_t>(i), classes[i]) ==
                       classes.begin() + static_cast<std::ptrdiff_t>(i),
                   "classes", "class {} is named twice", classes[i]);
    for (const auto& [option, most] : {std::pair{"--train", train}, {"--test", test}})
      atlas::check(most == 0 || most >= std::ssize(classes), option,
                   "{} images are fewer than one of each of {} classes", most, classes.size());
    // Pictures that lie there already would be taken for some of the data set.
    for (const char* half : {"train", "val"})
      if (const fs::path folder = fs::path(out) / half; fs::exists(folder))
        atlas::check(!atlas::data::detail::holds_picture(folder), "out",
                     "{} holds pictures already: choose another folder, or remove them", folder.string());
    const int64_t a = write_half(*sets.train, fs::path(out) / "train", classes, train);
    const int64_t b = write_half(*sets.test, fs::path(out) / "val", classes, test);
    fmt::print("{}: {} training and {} test images{}\n", out, a, b,
               classes.empty() ? std::string() : fmt::format(" of {} classes", classes.size()));
    return 0;
  });
}
