// ImageFolder: classes and order, bad files skipped or refused, the division into training and test images.
#include "atlas/data/image_folder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "atlas/data/loader.h"
#include "atlas/ops/arithmetic.h"
#include "tests/data/data_test.h"
#include "tests/data/encode.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;
using atlas_test::Scratch;

namespace {

Bytes picture(uint8_t value) { return atlas_test::bmp(4, 4, Bytes(48, value)); }

/// Positions of a folder's subset in terms of file names.
std::set<std::string> names(const Dataset& set, const std::string& folder) {
  std::set<std::string> all;
  for (int64_t i = 0; i < set.size(); ++i) all.insert(set.where(i).substr(folder.size() + 1));
  return all;
}

}  // namespace

TEST_CASE("classes are sorted subfolders, files are sorted, endings in any case") {
  const Scratch scratch;
  scratch.write("dog/b.BMP", picture(2));
  scratch.write("dog/a.bmp", picture(1));
  scratch.write("dog/deep/er.Png", atlas_test::png(1, 1, 8, 2, {0, 7, 8, 9}));
  scratch.write("cat/photo.JPEG", atlas_test::jpeg(8, 8, Bytes(192, 30)));
  scratch.write("cat/notes.txt", {'h', 'i'});
  scratch.write("cat/.hidden.png", {'x'});
  scratch.write(".git/x.png", {'x'});
  scratch.write("empty/readme.md", {'x'});
  scratch.write("loose.png", picture(5));
  std::vector<std::string> reports;
  FolderOptions noting;
  noting.report = [&](const std::string& text) { reports.push_back(text); };
  const auto set = image_folder(scratch.path(), noting);
  REQUIRE(reports.size() == 2);
  CHECK(reports[0] == fmt::format("{}: folder empty holds no images: it is no class", scratch.path()));
  CHECK(set->classes() == std::vector<std::string>{"cat", "dog"});
  REQUIRE(set->size() == 4);
  CHECK(set->where(0) == scratch / "cat/photo.JPEG");
  CHECK(set->where(1) == scratch / "dog/a.bmp");
  CHECK(set->where(3) == scratch / "dog/deep/er.Png");
  CHECK(label_of(set->get(0)) == 0);
  CHECK(label_of(set->get(2)) == 1);
  CHECK(set->get(2).image.at<uint8_t>({1, 1, 1}) == 2);
  CHECK(set->get(3).image.shape() == Shape{1, 1, 3});
}

TEST_CASE("a folder without images, with one class, or not there at all") {
  const Scratch scratch;
  const std::string folder = scratch.path();
  const auto error = [&] { return message_of([&] { image_folder(folder); }); };
  CHECK(
      error() ==
      fmt::format("[image_folder] {}: no images (expected a subfolder per class with .jpg, .jpeg, .png or .bmp files)",
                  folder));
  scratch.write("cat/notes.txt", {'x'});
  CHECK(error().find("no images") != std::string::npos);
  scratch.write("cat/a.png", {'x'});
  CHECK(error() ==
        fmt::format("[image_folder] {}: only one class (cat); a classifier needs two or more subfolders with images",
                    folder));
  CHECK(message_of([&] { image_folder(folder + "/none"); }) ==
        fmt::format("[image_folder] {}/none: no such folder", folder));
  CHECK(message_of([&] { image_folder(folder + "/cat/a.png"); }) ==
        fmt::format("[image_folder] {}/cat/a.png: is a file, not a folder", folder));
}

TEST_CASE("unreadable files are reported once, counted and left out, or an error when strict") {
  const Scratch scratch;
  for (int i = 0; i < 4; ++i) {
    scratch.write(fmt::format("a/{}.bmp", i), picture(static_cast<uint8_t>(i)));
    scratch.write(fmt::format("b/{}.bmp", i), picture(static_cast<uint8_t>(10 + i)));
  }
  const std::string bad = scratch.write("a/1.bmp", {'B', 'M'}), empty_file = scratch.write("b/2.bmp", {});
  std::vector<std::string> reports;
  FolderOptions options;
  options.report = [&](const std::string& message) { reports.push_back(message); };
  for (int workers : {0, 2}) {
    reports.clear();
    const auto set = image_folder(scratch.path(), options);
    Loader loader(set, {.batch_size = 3, .shuffle = true, .workers = workers});
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      loader.start_epoch(epoch);
      std::set<int64_t> seen;
      for (Batch b; loader.next(b);) seen.insert(b.indices.begin(), b.indices.end());
      CHECK(seen == std::set<int64_t>{0, 2, 3, 4, 5, 7});
    }
    CHECK(set->skipped() == 2);
    CHECK(set->was_skipped(1));
    CHECK_FALSE(set->was_skipped(0));
    const DatasetPtr share(set);
    CHECK(Subset(share, {0, 1, 2}).skipped() == 1);  // a part counts its own
    CHECK(Subset(share, {0, 2}).skipped() == 0);
    std::sort(reports.begin(), reports.end());
    REQUIRE(reports.size() == 2);
    CHECK(reports[0] ==
          fmt::format("skipped an unreadable image: [image] {}: BMP is cut short: its header ends at offset 2", bad));
    CHECK(reports[1] == fmt::format("skipped an unreadable image: [image] {}: the file is empty", empty_file));

    options.strict = true;
    Loader strict(image_folder(scratch.path(), options), {.batch_size = 8, .workers = workers});
    options.strict = false;
    strict.start_epoch(0);
    Batch batch;
    CHECK(message_of([&] { strict.next(batch); }) ==
          fmt::format("[image] {}: BMP is cut short: its header ends at offset 2", bad));
  }
}

TEST_CASE("training and test folders share their classes") {
  const Scratch scratch;
  for (const char* name : {"train/cat", "train/dog", "train/emu", "val/dog", "val/emu"})
    scratch.write(std::string(name) + "/1.bmp", picture(1));
  DataPair pair = open_folder(scratch.path());
  CHECK(pair.train->size() == 3);
  CHECK(pair.test->size() == 2);
  CHECK(pair.test->classes() == std::vector<std::string>{"cat", "dog", "emu"});
  CHECK(label_of(pair.test->get(0)) == 1);
  std::filesystem::rename(scratch / "val", scratch / "test");
  CHECK(label_of(open_folder(scratch.path()).test->get(1)) == 2);
  scratch.write("test/yak/1.bmp", picture(1));
  CHECK(message_of([&] { open_folder(scratch.path()); }) ==
        fmt::format("[image_folder] {}/test: class yak is not one of the 3 classes trained on", scratch.path()));
}

TEST_CASE("halves are recognized by all their names, and what only looks like them is an error") {
  for (const char* test : {"val", "valid", "validation", "Val", "VALIDATION", "eval", "test", "Testing", "dev"})
    for (const char* train : {"train", "Train", "training"}) {
      const Scratch scratch;
      for (const std::string half : {train, test})
        for (const char* name : {"/cat", "/dog"}) scratch.write(half + name + "/1.bmp", picture(1));
      const DataPair pair = open_folder(scratch.path());
      CHECK(pair.train->classes() == std::vector<std::string>{"cat", "dog"});
      CHECK(pair.train->where(0).find(train) != std::string::npos);
      CHECK(pair.test->size() == 2);
    }
  const auto error = [](std::initializer_list<const char*> files) {
    const Scratch scratch;
    for (const char* file : files) scratch.write(file, picture(1));
    return message_of([&] { open_folder(scratch.path()); });
  };
  const auto refused = [&](std::initializer_list<const char*> files) {
    return error(files).find("expected train/ and val/") != std::string::npos;
  };
  CHECK(refused({"train/a/1.bmp", "train/b/1.bmp", "holdout/a/1.bmp", "holdout/b/1.bmp"}));
  CHECK(refused({"train2017/a/1.bmp", "train2017/b/1.bmp", "val2017/a/1.bmp", "val2017/b/1.bmp"}));
  CHECK(refused({"test/a/1.bmp", "test/b/1.bmp", "valid/a/1.bmp"}));
  CHECK(refused({"training_camp/1.bmp", "training_camp/2.bmp", "validate_me/1.bmp", "validate_me/2.bmp"}) == false);
  CHECK(refused({"train-a/1.bmp", "val-b/1.bmp"}));
  CHECK(refused({"cat/train/1.bmp", "cat/val/1.bmp", "dog/train/1.bmp", "dog/val/1.bmp"}));
  CHECK(error({"train/a/1.bmp", "val/a/1.bmp", "valid/a/1.bmp"}).find("which of val, valid") != std::string::npos);
  CHECK(error({"train/1.bmp", "valid/1.bmp"}).find("no images (expected a subfolder") != std::string::npos);
  CHECK(refused({"seg_train/a/1.bmp", "seg_train/b/1.bmp", "seg_test/a/1.bmp", "seg_test/b/1.bmp"}));
  CHECK(refused({"trainA/1.bmp", "trainA/2.bmp", "testA/1.bmp", "testA/2.bmp"}));
  CHECK(refused({"trainset/a/1.bmp", "testset/a/1.bmp"}));
  CHECK(refused({"01-trn/a/1.bmp", "02-TST/a/1.bmp"}));
  CHECK(error({"bullet_train/1.bmp", "bullet_train/2.bmp", "test_tube/1.bmp", "test_tube/2.bmp", "bus/1.bmp",
               "bus/2.bmp"}) == "no error");
  // By whatever names: folders that all hold the same folders, and nothing beside them.
  CHECK(error({"fold1/x/1.bmp", "fold1/y/1.bmp", "fold2/x/1.bmp", "fold2/y/1.bmp"})
            .find("fold1, fold2 hold the same folders of images (x, y), as halves of a data set do; expected train/") !=
        std::string::npos);
  CHECK(refused({"1/x/1.bmp", "1/y/1.bmp", "2/x/1.bmp", "2/y/1.bmp", "3/x/1.bmp", "3/y/1.bmp"}));
  CHECK(error({"cat/x/1.bmp", "cat/y/1.bmp", "dog/x/1.bmp", "dog/z/1.bmp"}) == "no error");
  CHECK(error({"cat/x/1.bmp", "cat/x/2.bmp", "dog/x/1.bmp", "dog/x/2.bmp"}) == "no error");
  CHECK(error({"cat/x/1.bmp", "cat/y/1.bmp", "dog/x/1.bmp", "dog/y/1.bmp", "emu/1.bmp", "emu/2.bmp"}) == "no error");
  CHECK(error({"cat/x/1.bmp", "cat/y/1.bmp", "dog/x/1.bmp", "dog/y/1.bmp", "dog/1.bmp"}) == "no error");
  const Scratch scratch;  // validation comes before the test half
  for (const char* half : {"train", "val", "test"})
    for (const char* name : {"/a/1.bmp", "/b/1.bmp"}) scratch.write(std::string(half) + name, picture(1));
  CHECK(open_folder(scratch.path()).test->where(0) == scratch / "val/a/1.bmp");
}

TEST_CASE("a folder with a half's name beside class folders is an error, unless a list says what it is") {
  for (const char* name : {"test", "Validation", "holdout", "train", "hold-out", "test_set", "val2017", "dev"}) {
    const Scratch scratch;
    for (const std::string folder : {"cat", "dog", name})
      for (const char* file : {"/1.bmp", "/2.bmp"}) scratch.write(folder + file, picture(1));
    FolderOptions options;
    options.report = [](const std::string&) {};
    const std::string error = message_of([&] { open_folder(scratch.path(), options); });
    CHECK(error.find(fmt::format("{}: {} beside class folders looks like a half", scratch.path(), name)) !=
          std::string::npos);
    CHECK(error.find("--classes") != std::string::npos);
    const auto classes = [&](const std::string& list) {
      options.class_list = scratch.write("list.txt", {list.begin(), list.end()});
      return open_folder(scratch.path(), options).train->classes();
    };
    CHECK(classes(fmt::format("cat\n{}\ndog\n", name)) == std::vector<std::string>{"cat", name, "dog"});
    CHECK(classes("cat\ndog\n") == std::vector<std::string>{"cat", "dog"});
  }
  // Names that only have such a word in them are classes; what archives and programs leave behind is nothing.
  const Scratch scratch;
  for (const char* name : {"test_tube", "bullet_train", "bus", "__MACOSX", ".test"})
    for (const char* file : {"/1.bmp", "/2.bmp"}) scratch.write(std::string(name) + file, picture(1));
  CHECK(open_folder(scratch.path()).train->classes() == std::vector<std::string>{"bullet_train", "bus", "test_tube"});
  // Halves stay halves where a list names what is in them.
  const Scratch halves;
  for (const char* half : {"train", "val"})
    for (const char* name : {"/a/1.bmp", "/b/1.bmp"}) halves.write(std::string(half) + name, picture(1));
  FolderOptions options;
  options.class_list = halves.write("list.txt", {'b', '\n', 'a'});
  CHECK(open_folder(halves.path(), options).train->classes() == std::vector<std::string>{"b", "a"});
  options.class_list = halves.write("list.txt", {'v', 'a', 'l', '\n', 't', 'r', 'a', 'i', 'n'});
  CHECK(open_folder(halves.path(), options).train->classes() == std::vector<std::string>{"val", "train"});
}

TEST_CASE("a class whose files are no pictures inside is an error, folders beside the halves are named") {
  const Scratch scratch;
  for (const char* name : {"cat/1.bmp", "cat/2.bmp"}) scratch.write(name, picture(1));
  for (const char* name : {"dog/1.jpg", "dog/2.jpg"}) scratch.write(name, {'R', 'I', 'F', 'F', 'W', 'E', 'B', 'P'});
  const std::string text = message_of([&] { image_folder(scratch.path()); });
  CHECK(text.find("none of the 2 files of a class begins") != std::string::npos);
  CHECK(text.find("dog/1.jpg") != std::string::npos);
  scratch.write("dog/3.jpg", picture(2));  // one is enough; the others are reported one by one
  CHECK(image_folder(scratch.path())->size() == 5);

  const Scratch divided;
  for (const char* name : {"train/a/1.bmp", "train/b/1.bmp", "valid/a/1.bmp", "valid/b/1.bmp", "extra/1.bmp"})
    divided.write(name, picture(1));
  std::vector<std::string> reports;
  FolderOptions options;
  options.report = [&](const std::string& message) { reports.push_back(message); };
  CHECK(open_folder(divided.path(), options).train->size() == 2);
  REQUIRE(reports.size() == 1);
  CHECK(reports[0] == divided.path() + ": beside the halves, left out: extra");
}

TEST_CASE("files of other formats do not vanish") {
  const Scratch scratch;
  std::vector<std::string> reports;
  FolderOptions options;
  options.report = [&](const std::string& message) { reports.push_back(message); };
  for (const char* name : {"cat/1.bmp", "cat/2.bmp", "dog/1.bmp", "dog/2.bmp"}) scratch.write(name, picture(1));
  CHECK(image_folder(scratch.path(), options)->size() == 4);
  CHECK(reports.empty());
  for (const char* name : {"cat/x.webp", "dog/y.TIF", "dog/deep/z"}) scratch.write(name, {'x'});
  scratch.write("dog/list.csv", {'x'});
  CHECK(image_folder(scratch.path(), options)->size() == 4);
  REQUIRE(reports.size() == 1);
  CHECK(reports[0] == scratch.path() +
                          ": 3 files are left out, not .jpg, .jpeg, .png or .bmp: cat/x.webp, "
                          "dog/deep/z, dog/y.TIF");
  reports.clear();
  CHECK(find_images({scratch / "dog"}, options).size() == 2);
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].find("2 files are left out") != std::string::npos);
  for (int i = 0; i < 8; ++i) scratch.write(fmt::format("emu/{}.webp", i), {'x'});
  const std::string error = message_of([&] { image_folder(scratch.path(), options); });
  CHECK(error.find("class emu has no image that can be read: 8 files are left out") != std::string::npos);
  CHECK(error.find("0.webp, 1.webp, 2.webp, 3.webp, 4.webp and 3 more") != std::string::npos);
  CHECK(message_of([&] { find_images({scratch / "emu"}, options); }).find("8 files") != std::string::npos);
}

TEST_CASE("one folder is divided class by class, the same wherever it lies") {
  std::set<std::string> first_train, first_test;
  for (int place = 0; place < 2; ++place) {
    const Scratch scratch;
    for (int i = 0; i < 20; ++i) scratch.write(fmt::format("a/{}.bmp", i), picture(1));
    for (int i = 0; i < 3; ++i) scratch.write(fmt::format("b/{}.bmp", i), picture(1));
    FolderOptions options;
    options.test_fraction = 0.25;
    const DataPair pair = open_folder(scratch.path(), options);
    const auto train = names(*pair.train, scratch.path()), test = names(*pair.test, scratch.path());
    CHECK(test.size() == 6);  // 5 of 20, 1 of 3
    CHECK(train.size() == 17);
    for (const std::string& name : test) CHECK(train.count(name) == 0);
    int from_b = 0;
    for (const std::string& name : test) from_b += name[0] == 'b' ? 1 : 0;
    CHECK(from_b == 1);
    if (place == 0) first_train = train, first_test = test;
    CHECK(train == first_train);
    CHECK(test == first_test);
    CHECK(pair.test->get(0).image.defined());
  }
  const Scratch scratch;
  scratch.write("a/1.bmp", picture(1));
  scratch.write("b/1.bmp", picture(1));
  CHECK(message_of([&] { open_folder(scratch.path()); }) ==
        fmt::format("[open_folder] {}: class a has only one image, but training and test need one each (or give the "
                    "folder train/ and val/)",
                    scratch.path()));
  FolderOptions options;
  options.test_fraction = 1;
  CHECK(message_of([&] { open_folder(scratch.path(), options); }) ==
        "[open_folder] test_fraction must lie between 0 and 1, got 1");
}
