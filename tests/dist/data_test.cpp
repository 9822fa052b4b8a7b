// What processes compare of their data before they train.
#include "tests/data/data_test.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "atlas/data/coco.h"
#include "atlas/data/image.h"
#include "atlas/data/image_folder.h"
#include "atlas/data/mask_folder.h"
#include "atlas/data/shapes.h"
#include "atlas/tensor/create.h"
#include "atlas/train/group_state.h"
#include "tests/compare.h"
#include "tests/dist/last_rank.h"

using namespace atlas;
using dist::Group;

namespace {

/// A folder that each rank has for itself and works in: names of files are the same for all.
struct OwnFolder {
  atlas_test::Scratch folder{};
  std::filesystem::path before = std::filesystem::current_path();
  OwnFolder() { std::filesystem::current_path(folder.path()); }
  ~OwnFolder() { std::filesystem::current_path(before); }
  OwnFolder(const OwnFolder&) = delete;
  OwnFolder& operator=(const OwnFolder&) = delete;
};

void append(const std::string& file) { std::ofstream(file, std::ios::app) << "more"; }

}  // namespace

TEST_CASE("data that differs between ranks is refused, on every rank, and the difference is named") {
  const Group group = Group::world();
  if (group.size() == 1) {
    MESSAGE("one process has nobody to compare with: not tried");
    return;
  }
  const bool last = group.rank() == group.size() - 1;
  const std::string who = test::last_differs(group, "test data");
  const auto message = [&](const data::Dataset& set) {
    return test::message_of([&] { train::check_same_data(group, set, "test"); });
  };
  CHECK(message(data::Shapes(20, 16)) == "no error");
  CHECK(message(data::Shapes(last ? 21 : 20, 16)) == who + "'images' is 21, but 20 on rank 0");
  CHECK(message(data::Shapes(20, 16, last ? 3 : 4)).find(who + "'classes' is ") == 0);
  CHECK(message(data::Shapes(20, 16, 4, last ? 1 : 0)).find(who + "'image 0 of shapes' is ") == 0);
  CHECK(group.any(last));
  CHECK_FALSE(group.any(false));
  // One label, and one file, in the middle of many.
  const std::string differs = who + "'labels and files' is ";
  std::vector<int64_t> labels(20, 1);
  const auto set = [&] { return data::TensorDataset("t", {"a", "b"}, zeros({20, 8, 8, 3}, uint8, Device{}), labels); };
  CHECK(message(set()) == "no error");
  labels[13] = last ? 0 : 1;
  CHECK(message(set()).find(differs) == 0);
  std::vector<data::ImageFolder::File> files;
  for (int64_t i = 0; i < 20; ++i) files.push_back({"missing/" + std::to_string(i) + ".png", i % 2});
  const auto folder = [&](const std::string& name, int64_t label) {
    files[13] = {"missing/" + name, label};
    return message(data::ImageFolder("missing", {"a", "b"}, files, {.report = [](const std::string&) {}}));
  };
  CHECK(folder("13.png", 1) == "no error");
  CHECK(folder("13.png", last ? 0 : 1).find(differs) == 0);
  CHECK(folder(last ? "x.png" : "13.png", 1).find(differs) == 0);
}

TEST_CASE("files of equal names that hold something else are refused, and named") {
  const Group group = Group::world();
  if (group.size() == 1) {
    MESSAGE("one process has nobody to compare with: not tried");
    return;
  }
  const bool last = group.rank() == group.size() - 1;
  const std::string who = test::last_differs(group, "training data");
  const auto message = [&](const data::Dataset& set) {
    return test::message_of([&] { train::check_same_data(group, set, "training"); });
  };
  const OwnFolder own;
  const data::FolderOptions quiet{.report = [](const std::string&) {}};
  std::vector<data::ImageFolder::File> files;
  std::vector<data::MaskFolder::File> masks;
  for (int64_t i = 0; i < 40; ++i) {
    files.push_back({std::to_string(i) + ".png", i % 2});
    masks.push_back({files.back().path, "mask " + files.back().path});
    data::write_png(files.back().path, full({4, 4, 3}, static_cast<double>(i), uint8, Device{}));
    data::write_png(masks.back().mask, full({4, 4}, static_cast<double>(i % 2), uint8, Device{}));
  }
  const data::ImageFolder folder("f", {"a", "b"}, files, quiet);
  const data::MaskFolder masked("f", {"a", "b"}, masks, data::MaskFolder::Numbers::classes, quiet);
  CHECK(message(folder) == "no error");
  CHECK(message(masked) == "no error");
  const auto size = [](const char* file) { return std::to_string(std::filesystem::file_size(file)) + " bytes"; };
  // Other pixels, in a file of the same size that is among those that are opened.
  const std::string before = size("39.png");
  if (last) data::write_png("39.png", full({4, 4, 3}, 77, uint8, Device{}));
  REQUIRE(size("39.png") == before);
  CHECK(message(folder).find(who + "'39.png' is ") == 0);
  CHECK(message(masked).find(" (hash of pixels and targets)") != std::string::npos);
  // Another size, anywhere.
  const std::string mask = size("mask 21.png"), image = size("13.png");
  if (last) append("mask 21.png");
  CHECK(message(masked) == who + "'21.png' is " + size("21.png") + ", its mask " +
                               (last ? size("mask 21.png") : std::to_string(std::stoi(mask) + 4) + " bytes") +
                               ", but " + size("21.png") + ", its mask " + mask + " on rank 0");
  if (last) append("13.png");
  CHECK(message(folder) ==
        who + "'13.png' is " + std::to_string(std::stoi(image) + 4) + " bytes, but " + image + " on rank 0");
  if (last) std::filesystem::remove("7.png");
  CHECK(message(folder) == who + "'7.png' is no file, but " + size(last ? "8.png" : "7.png") + " on rank 0");
}

TEST_CASE("pixels in memory and outlines of objects that differ are found") {
  const Group group = Group::world();
  if (group.size() == 1) {
    MESSAGE("one process has nobody to compare with: not tried");
    return;
  }
  const bool last = group.rank() == group.size() - 1;
  const std::string who = test::last_differs(group, "test data");
  const auto message = [&](const data::Dataset& set) {
    return test::message_of([&] { train::check_same_data(group, set, "test"); });
  };
  Tensor pixels = zeros({1000, 8, 8, 3}, uint8, Device{});
  const data::TensorDataset set("t", {"a", "b"}, pixels, std::vector<int64_t>(1000, 1));
  CHECK(message(set) == "no error");
  if (last) pixels.data<uint8_t>()[321 * 192 + 100] = 1;
  const std::string found = message(data::Subset(std::make_shared<data::TensorDataset>(set), {5, 321, 7}));
  CHECK(found.find(who + "'image 321 of t' is ") == 0);
  CHECK(found.find(" (hash of its pixels), but ") != std::string::npos);
  const auto objects = [&](const char* outline) {
    const std::string text =
        std::string(R"({"images": [{"id": 7, "file_name": "7.png"}], "categories": [{"id": 1, "name": "cat"}],
      "annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 1, 4, 4], "segmentation": [[)") +
        outline + "]]}]}";
    return message(data::CocoDataset("c", data::parse_coco(text, "f.json"), "missing", false,
                                     {.report = [](const std::string&) {}}));
  };
  CHECK(objects("1, 1, 4, 1, 4, 4") == "no error");
  CHECK(objects(last ? "1, 1, 4, 1, 3, 4" : "1, 1, 4, 1, 4, 4").find(who + "'labels and files' is ") == 0);
}
