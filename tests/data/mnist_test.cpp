// MNIST and CIFAR files: what is read from good ones, and what is said about bad ones.
#include "atlas/data/mnist.h"

#include <doctest/doctest.h>

#include <cstring>

#include "atlas/autograd/node.h"
#include "atlas/data/cifar.h"
#include "atlas/data/open.h"
#include "atlas/ops/arithmetic.h"
#include "tests/data/bad_files.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::counting;
using atlas_test::gzip;
using atlas_test::idx;
using atlas_test::joined;
using atlas_test::message_of;
using atlas_test::Scratch;

TEST_CASE("IDX files are read, plain and gzipped") {
  const Scratch scratch;
  const Bytes file = idx({3, 4, 5}, counting(60));
  for (const Bytes& bytes : {file, gzip(file)}) {
    const Tensor t = read_idx(scratch.write("a", bytes));
    REQUIRE(t.shape() == Shape{3, 4, 5});
    CHECK(t.dtype() == uint8);
    CHECK(t.at<uint8_t>({2, 3, 4}) == static_cast<uint8_t>(59 * 7));
  }
  CHECK(read_idx(scratch.write("a", idx({0, 28, 28}, {}))).shape() == Shape{0, 28, 28});
}

TEST_CASE("an MNIST folder: gray images as RGB, labels, and what can be wrong with the pair") {
  const Scratch scratch;
  scratch.write("train-images-idx3-ubyte", idx({3, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  scratch.write("train-labels-idx1-ubyte.gz", gzip(idx({3}, {0, 9, 5})));
  const auto set = mnist(scratch.path(), true);
  CHECK(set->size() == 3);
  CHECK(set->num_classes() == 10);
  CHECK(set->name() == "mnist train");
  const Sample s = set->get(1);
  CHECK(label_of(s) == 9);
  REQUIRE(s.image.shape() == Shape{2, 2, 3});
  for (int64_t c = 0; c < 3; ++c) CHECK(s.image.at<uint8_t>({1, 0, c}) == 7);
  CHECK(message_of([&] { set->get(3); }) == "[dataset] mnist train has 3 images, asked for number 3");
  CHECK(message_of([&] { set->get(-1); }) == "[dataset] mnist train has 3 images, asked for number -1");

  const std::string folder = scratch.path();
  CHECK(
      message_of([&] { mnist(folder, false); }) ==
      fmt::format("[mnist] {} lacks t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (looked for in it and in folders "
                  "below it, at most three deep; also as train-images.idx3-ubyte, with a dot, and packed, with .gz)",
                  folder));
  CHECK(message_of([&] { fashion_mnist(false, folder); }).find("apt install dataset-fashion-mnist") !=
        std::string::npos);
  CHECK(message_of([] { fashion_mnist(true, "/nowhere"); }).find("apt install dataset-fashion-mnist") !=
        std::string::npos);
  CHECK(message_of([] { mnist("/nowhere", true); }).find("[mnist] there is no folder /nowhere (") == 0);

  std::filesystem::remove(scratch / "train-labels-idx1-ubyte.gz");
  const std::string labels = scratch / "train-labels-idx1-ubyte";
  const auto with_labels = [&](const Bytes& bytes) {
    scratch.write("train-labels-idx1-ubyte", bytes);
    return message_of([&] { mnist(folder, true); });
  };
  CHECK(with_labels(idx({3}, {0, 10, 5})) == fmt::format("[mnist] {}: label 1 is 10, outside the 10 classes", labels));
  CHECK(with_labels(idx({2}, {0, 1})) ==
        fmt::format("[mnist] {} has 3 images, but {} has 2 labels", scratch / "train-images-idx3-ubyte", labels));
  CHECK(with_labels(idx({3, 1}, {0, 1, 2})) == fmt::format("[mnist] {}: has 2 axes, expected 1 (labels)", labels));
}

TEST_CASE("CIFAR files: planes become pixels; wrong lengths and labels are named") {
  const Scratch scratch;
  Bytes record(1 + 3072);
  record[0] = 3;
  for (size_t i = 0; i < 3072; ++i) record[1 + i] = static_cast<uint8_t>(i / 1024 * 50 + i % 32);
  scratch.write("test_batch.bin", joined(record, record));
  for (int i = 1; i <= 5; ++i) scratch.write(fmt::format("data_batch_{}.bin", i), record);
  CHECK(cifar10(scratch.path(), true)->size() == 5);
  const auto test = cifar10(scratch.path(), false);
  REQUIRE(test->size() == 2);
  const Sample s = test->get(1);
  CHECK(label_of(s) == 3);
  CHECK(test->classes()[3] == "cat");
  REQUIRE(s.image.shape() == Shape{32, 32, 3});
  CHECK(s.image.at<uint8_t>({4, 9, 0}) == 9);
  CHECK(s.image.at<uint8_t>({4, 9, 1}) == 59);
  CHECK(s.image.at<uint8_t>({4, 9, 2}) == 109);

  CHECK(message_of([] { cifar10("/nowhere", true); }) ==
        "[cifar10] there is no folder /nowhere (cifar-10-binary.tar.gz makes cifar-10-batches-bin with them)");
  {  // All that is missing is named, of both halves, wherever the rest lies.
    const Scratch part;
    const auto missing = [&](bool hundred) {
      return message_of([&] { hundred ? cifar100(part.path(), true) : cifar10(part.path(), true); });
    };
    CHECK(missing(true).find("lacks train.bin and test.bin (") != std::string::npos);
    std::filesystem::create_directories(part / "down/cifar-10-batches-bin");
    for (const char* file : {"data_batch_1.bin", "data_batch_2.bin", "data_batch_4.bin"})
      part.write(fmt::format("down/cifar-10-batches-bin/{}", file), record);
    CHECK(missing(false) ==
          fmt::format(
              "[cifar10] {} lacks data_batch_3.bin, data_batch_5.bin and test_batch.bin (looked for in it and in "
              "folders below it, at most three deep; cifar-10-binary.tar.gz makes cifar-10-batches-bin with them)",
              part / "down/cifar-10-batches-bin"));
  }

  Bytes fine = joined({7}, record);
  fine[1] = 42;
  scratch.write("test.bin", fine);
  const auto hundred = cifar100(scratch.path(), false);
  CHECK(label_of(hundred->get(0)) == 42);
  CHECK(hundred->classes()[42] == "class 42");
  std::string names;
  for (int i = 0; i < 100; ++i) names += fmt::format("kind{}\n", i);
  scratch.write("fine_label_names.txt", Bytes(names.begin(), names.end()));
  CHECK(cifar100(scratch.path(), false)->classes()[42] == "kind42");
  scratch.write("fine_label_names.txt", {'a', '\n', 'b'});
  CHECK(message_of([&] { cifar100(scratch.path(), false); }) ==
        fmt::format("[cifar100] {}: has 2 class names, expected 100", scratch / "fine_label_names.txt"));
}

TEST_CASE("data sets are opened by name") {
  const DataPair shapes = open_data("shapes:24");
  CHECK(shapes.train->get(0).image.shape() == Shape{24, 24, 3});
  CHECK(shapes.test->size() == 500);
  CHECK(take(shapes.train, 7)->size() == 7);
  CHECK(message_of([] {
          open_data("imagenet");
        }).find("unknown data set imagenet; there are fashion-mnist[:FOLDER], mnist:FOLDER") != std::string::npos);
  CHECK(message_of([] { open_data("cifar10"); }) == "[data] cifar10 needs a folder: cifar10:FOLDER");
  CHECK(message_of([] { open_data("shapes:big"); }) == "[shapes:SIZE] 'big' is no whole number");
  CHECK(message_of([] { open_data("shapes:4"); }) == "[shapes] needs an image size in 8..16384, got 4");
  if (std::filesystem::exists(std::string(kFashionMnistFolder) + "/t10k-images-idx3-ubyte.gz")) {
    const auto set = fashion_mnist(false);
    CHECK(set->size() == 10000);
    CHECK(label_of(set->get(0)) == 9);
    CHECK(set->classes()[9] == "ankle boot");
  }
}
