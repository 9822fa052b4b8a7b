// MNIST and CIFAR files: what is read from good ones, and what is said about bad ones.
#include "atlas/data/mnist.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <cstring>

#include "atlas/data/cifar.h"
#include "atlas/data/open.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;
using atlas_test::Scratch;
using Bytes = std::vector<uint8_t>;

namespace {

Bytes idx(const std::vector<uint32_t>& dims, const Bytes& values, uint8_t type = 8) {
  Bytes file = {0, 0, type, static_cast<uint8_t>(dims.size())};
  for (const uint32_t d : dims)
    for (int shift = 24; shift >= 0; shift -= 8) file.push_back(static_cast<uint8_t>(d >> shift));
  file.insert(file.end(), values.begin(), values.end());
  return file;
}

Bytes gzip(const Bytes& plain) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  Bytes packed(deflateBound(&z, static_cast<uLong>(plain.size())) + 64);
  Bytes in = plain;
  z.next_in = in.data();
  z.avail_in = static_cast<uInt>(in.size());
  z.next_out = packed.data();
  z.avail_out = static_cast<uInt>(packed.size());
  deflate(&z, Z_FINISH);
  packed.resize(z.total_out);
  deflateEnd(&z);
  return packed;
}

Bytes counting(size_t n) {
  Bytes b(n);
  for (size_t i = 0; i < n; ++i) b[i] = static_cast<uint8_t>(i * 7);
  return b;
}

Bytes cut(Bytes b, size_t off_the_end) {
  b.resize(b.size() - off_the_end);
  return b;
}

Bytes plus(Bytes b, const Bytes& more) {
  b.insert(b.end(), more.begin(), more.end());
  return b;
}

}  // namespace

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

TEST_CASE("bad IDX files are named, with what was found and expected") {
  const Scratch scratch;
  const auto error = [&](const Bytes& bytes) {
    const std::string path = scratch.write("f", bytes), message = message_of([&] { read_idx(path); });
    REQUIRE(message.starts_with("[read_idx] " + path + ": "));
    return message.substr(("[read_idx] " + path + ": ").size());
  };
  const Bytes good = idx({3, 4, 5}, counting(60));
  CHECK(error({}) == "the file is empty");
  CHECK(error({0x89, 'P', 'N', 'G'}) == "not an IDX file: it begins with bytes 89 50 4e 47, expected 00 00 08");
  CHECK(error({0, 0}) == "not an IDX file: it begins with bytes 00 00 00 00, expected 00 00 08");
  CHECK(error(idx({2}, {1, 2}, 0x0D)) == "element type is 0x0d at offset 2, expected 0x08 (unsigned bytes)");
  CHECK(error({0, 0, 8, 0}) == "has 0 axes at offset 3, expected 1 to 3");
  CHECK(error({0, 0, 8, 9, 0, 0}) == "has 9 axes at offset 3, expected 1 to 3");
  CHECK(error({0, 0, 8, 3, 0, 0, 0, 1}) == "cut short: the header of 3 axes needs 16 bytes");
  CHECK(error(cut(good, 1)) == "declares [3,4,5] = 60 bytes, but the file can hold at most 59 (cut short or damaged?)");
  CHECK(error(plus(good, {0})) == "has bytes after the [3,4,5] = 60 elements it declares");
  CHECK(error(idx({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, counting(60))) ==
        "declares [4294967295,4294967295,4294967295] elements, more than 64 bits can count");

  const int64_t before = memory_stats().peak;
  CHECK(error(idx({60000, 4096, 4096}, counting(60))) ==
        "declares [60000,4096,4096] = 1006632960000 bytes, but the file can hold at most 60 (cut short or damaged?)");
  CHECK(error(gzip(idx({60000, 4096, 4096}, counting(60))))
            .starts_with("declares [60000,4096,4096] = 1006632960000 bytes, but the file can hold at most"));
  CHECK(memory_stats().peak == before);

  const Bytes packed = gzip(good);
  CHECK(error(gzip(cut(good, 10))) == "cut short: 50 elements after the header, expected [3,4,5] = 60");
  CHECK(error(gzip(plus(good, {1, 2}))) == "has bytes after the [3,4,5] = 60 elements it declares");
  CHECK(error(plus(packed, {1, 2})) == "has bytes after the [3,4,5] = 60 elements it declares");
  CHECK(error(plus(packed, packed)) == "has bytes after the [3,4,5] = 60 elements it declares");
  CHECK(error(cut(packed, 3)) == fmt::format("gzip data is cut short at offset {}", packed.size() - 3));
  CHECK(error(cut(packed, packed.size() - 12)) == "gzip data is cut short at offset 12");
  Bytes damaged = packed;
  damaged[damaged.size() - 6] ^= 0xFF;  // check sum
  CHECK(error(damaged).find("gzip data is damaged near offset") == 0);
  // A gzip bomb: a small header and a million zeros after it are not unpacked beyond the declared size.
  const Bytes bomb = gzip(plus(idx({2}, {1, 2}), Bytes(1000000, 0)));
  CHECK(error(bomb) == "has bytes after the [2] = 2 elements it declares");
}

TEST_CASE("an MNIST folder: grey images as RGB, labels, and what can be wrong with the pair") {
  const Scratch scratch;
  scratch.write("train-images-idx3-ubyte", idx({3, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  scratch.write("train-labels-idx1-ubyte.gz", gzip(idx({3}, {0, 9, 5})));
  const auto set = mnist(scratch.path(), true);
  CHECK(set->size() == 3);
  CHECK(set->num_classes() == 10);
  CHECK(set->name() == "mnist train");
  const Sample s = set->get(1);
  CHECK(s.label == 9);
  REQUIRE(s.image.shape() == Shape{2, 2, 3});
  for (int64_t c = 0; c < 3; ++c) CHECK(s.image.at<uint8_t>({1, 0, c}) == 7);
  CHECK(message_of([&] { set->get(3); }) == "[dataset] mnist train has 3 images, asked for number 3");
  CHECK(message_of([&] { set->get(-1); }) == "[dataset] mnist train has 3 images, asked for number -1");

  const std::string folder = scratch.path();
  CHECK(message_of([&] { mnist(folder, false); }) ==
        fmt::format("[mnist] {} has neither t10k-images-idx3-ubyte nor t10k-images-idx3-ubyte.gz", folder));
  CHECK(message_of([] { fashion_mnist(true, "/nowhere"); }).find("apt install dataset-fashion-mnist") !=
        std::string::npos);

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
  scratch.write("test_batch.bin", plus(record, record));
  for (int i = 1; i <= 5; ++i) scratch.write(fmt::format("data_batch_{}.bin", i), record);
  CHECK(cifar10(scratch.path(), true)->size() == 5);
  const auto test = cifar10(scratch.path(), false);
  REQUIRE(test->size() == 2);
  const Sample s = test->get(1);
  CHECK(s.label == 3);
  CHECK(test->classes()[3] == "cat");
  REQUIRE(s.image.shape() == Shape{32, 32, 3});
  CHECK(s.image.at<uint8_t>({4, 9, 0}) == 9);
  CHECK(s.image.at<uint8_t>({4, 9, 1}) == 59);
  CHECK(s.image.at<uint8_t>({4, 9, 2}) == 109);

  const std::string file = scratch / "test_batch.bin";
  const auto error = [&](const Bytes& bytes) {
    scratch.write("test_batch.bin", bytes);
    return message_of([&] { cifar10(scratch.path(), false); });
  };
  CHECK(error({}) == fmt::format("[cifar10 test] {}: the file is empty", file));
  CHECK(error(cut(record, 1)) == fmt::format("[cifar10 test] {}: is 3072 bytes long, no multiple of a record's 3073 "
                                             "(cut short, or not the binary version?)",
                                             file));
  Bytes wrong = plus(record, record);
  wrong[3073] = 10;
  CHECK(error(wrong) == fmt::format("[cifar10 test] {}: label at offset 3073 is 10, outside the 10 classes", file));
  CHECK(message_of([] { cifar10("/nowhere", true); }) ==
        "[read_file] /nowhere/data_batch_1.bin: No such file or directory");

  Bytes fine = plus({7}, record);
  fine[1] = 42;
  scratch.write("test.bin", fine);
  const auto hundred = cifar100(scratch.path(), false);
  CHECK(hundred->get(0).label == 42);
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
  CHECK(message_of([] { open_data("shapes:big"); }) == "[data] shapes:SIZE needs a whole number, got big");
  CHECK(message_of([] { open_data("shapes:4"); }) == "[shapes] needs an image size in 8..16384, got 4");
  if (std::filesystem::exists(std::string(kFashionMnistFolder) + "/t10k-images-idx3-ubyte.gz")) {
    const auto set = fashion_mnist(false);
    CHECK(set->size() == 10000);
    CHECK(set->get(0).label == 9);
    CHECK(set->classes()[9] == "ankle boot");
  }
}
