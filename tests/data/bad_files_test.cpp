// Every file of the tables in bad_files.h gives its message, from memory and from disk, and takes no memory to speak
// of.
#include "tests/data/bad_files.h"

#include <doctest/doctest.h>

#include "atlas/data/cifar.h"
#include "atlas/data/image.h"
#include "atlas/data/mnist.h"
#include "atlas/ops/arithmetic.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;
using atlas_test::Scratch;

namespace {

/// Reads every file of a table with read(bytes, name), and from disk with read_file(path) when that is given.
template <class Parse, class Read>
void check_table(const std::vector<atlas_test::BadFile>& table, const std::string& op, Parse parse, Read read) {
  const Scratch scratch;
  reset_peak_memory();
  const int64_t before = memory_stats().peak;
  for (const auto& file : table) {
    const std::string path = scratch.write(file.name, file.bytes);
    const std::string start = "[" + op + "] " + path + ": ";
    for (const std::string& message :
         {message_of([&] { parse(file.bytes, path); }), message_of([&] { read(path, file.bytes); })}) {
      const bool good = message.starts_with(start) && atlas_test::matches(message.substr(start.size()), file.message);
      const std::string found = file.name + ": expected '" + file.message + "', got '" + message + "'";
      CHECK_MESSAGE(good, found);
    }
  }
  CHECK(memory_stats().peak - before < 1 << 20);
}

}  // namespace

TEST_CASE("bad images") {
  check_table(
      atlas_test::bad_images(jpeg_decoder() != std::string("stb_image")), "image",
      [](const Bytes& bytes, const std::string& name) { decode_image(bytes, name); },
      [](const std::string& path, const Bytes&) { read_image(path); });
}

TEST_CASE("bad IDX files") {
  check_table(
      atlas_test::bad_idx(), "read_idx", [](const Bytes& bytes, const std::string& name) { parse_idx(bytes, name); },
      [](const std::string& path, const Bytes&) { read_idx(path); });
}

TEST_CASE("bad CIFAR files") {
  for (const int64_t classes : {10, 100}) {
    const Scratch folder;  // whose one file is replaced by each of the table
    const std::string file = folder / (classes == 10 ? "test_batch.bin" : "test.bin");
    check_table(
        atlas_test::bad_cifar(classes), "cifar",
        [&](const Bytes& bytes, const std::string& name) { parse_cifar(bytes, name, classes); },
        [&](const std::string& path, const Bytes& bytes) {
          folder.write(std::filesystem::path(file).filename().string(), bytes);
          try {
            classes == 10 ? cifar10(folder.path(), false) : cifar100(folder.path(), false);
          } catch (const Error& error) {
            std::string message = error.what();
            const size_t at = message.find(file);
            REQUIRE(at != message.npos);
            throw Error(message.replace(at, file.size(), path));
          }
        });
  }
  CHECK(message_of([] { parse_cifar({}, "x", 20); }) ==
        "[cifar] there are versions of 10 and of 100 classes, asked for 20");
}

TEST_CASE("what decoders are lenient about stays a picture") {
  // Bytes between the image data and the end marker, and the end of a file after its end marker.
  const Bytes jpeg = atlas_test::jpeg(16, 16, Bytes(768, 100));
  CHECK(decode_image(atlas_test::joined(jpeg, {1, 2, 3}), "trailing.jpg").shape() == Shape{16, 16, 3});
  CHECK(
      decode_image(atlas_test::joined(atlas_test::png(2, 2, 8, 2, Bytes(14, 0)), {1, 2, 3}), "trailing.png").shape() ==
      Shape{2, 2, 3});
}
