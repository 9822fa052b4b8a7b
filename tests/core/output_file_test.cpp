// OutputFile: links are followed, modes kept, devices and FIFOs written through, nothing half written. Whole numbers.
#include "atlas/core/output_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "atlas/core/input_file.h"
#include "atlas/core/whole_number.h"
#include "atlas/ops/arithmetic.h"
#include "tests/data/data_test.h"

using namespace atlas;
using atlas_test::message_of;
using atlas_test::Scratch;
namespace fs = std::filesystem;

namespace {

void put(const std::string& path, const std::string& text) {
  OutputFile out(path, "test");
  out.write(text.data(), text.size());
  out.finish();
}

std::string text_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

size_t count_files(const std::string& folder) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("links are followed and modes kept") {
  const Scratch scratch;
  fs::create_directories(scratch / "far");
  put(scratch / "far/real", "old");
  REQUIRE(::chmod((scratch / "far/real").c_str(), 0600) == 0);
  fs::create_symlink("far/real", scratch / "link");
  fs::create_symlink("link", scratch / "second");
  put(scratch / "second", "new");
  CHECK(text_of(scratch / "far/real") == "new");
  CHECK(fs::is_symlink(scratch / "link"));
  CHECK(fs::is_symlink(scratch / "second"));
  struct stat info {};
  REQUIRE(::stat((scratch / "far/real").c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);

  fs::create_symlink("far/later", scratch / "dangling");
  put(scratch / "dangling", "made");
  CHECK(text_of(scratch / "far/later") == "made");
  fs::create_symlink("circle", scratch / "circle");
  CHECK(message_of([&] { put(scratch / "circle", "x"); }).find("circle") != std::string::npos);
}

TEST_CASE("devices and FIFOs are written through and stay what they are") {
  const Scratch scratch;
  // Devices of our own, where we may make them: those of the machine would be replaced if this failed.
  const std::string null = scratch / "null", full = scratch / "full";
  if (::mknod(null.c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0 && ::access(null.c_str(), W_OK) == 0) {
    put(null, "gone");
    CHECK(fs::is_character_file(null));
    REQUIRE(::mknod(full.c_str(), S_IFCHR | 0600, makedev(1, 7)) == 0);
    CHECK(message_of([&] { put(full, "x"); }) == "[test] cannot write " + full + ": No space left on device");
  }
  const std::string fifo = scratch / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  check_can_write(fifo, "test");  // nobody reads yet: this must not wait
  std::string got;
  std::thread reader([&] { got = text_of(fifo); });
  put(fifo, "through");
  reader.join();
  CHECK(got == "through");
  CHECK(fs::is_fifo(fifo));
  CHECK(message_of([&] { put(scratch.path(), "x"); }) == "[test] cannot write " + scratch.path() + ": Is a directory");
}

TEST_CASE("what is read is a file: folders, devices and FIFOs are named, and not waited for") {
  const Scratch scratch;
  const std::string fifo = scratch / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(InputFile(fifo).problem() == "is a device, not a file");
  CHECK(InputFile("/dev/null").problem() == "is a device, not a file");
  CHECK(InputFile(scratch.path()).problem() == "is a folder, not a file");
  CHECK(InputFile(scratch / "absent").problem() == "No such file or directory");
  char bytes[8] = {};
  CHECK(InputFile(fifo).read(bytes, sizeof(bytes)) == 0);
  put(scratch / "a", "abcdef");
  const InputFile in(scratch / "a");
  CHECK(in.problem().empty());
  CHECK(in.size() == 6);
  CHECK(in.read(bytes, 4) == 4);
  CHECK(std::string(bytes, 4) == "abcd");
  CHECK(in.read(bytes, sizeof(bytes)) == 2);
  CHECK(std::string(bytes, 2) == "ef");
  CHECK(in.read(bytes, sizeof(bytes)) == 0);
}

TEST_CASE("a file that is write-protected stays, and names may be as long as the system lets them be") {
  const Scratch scratch;
  REQUIRE(::chmod(scratch.path().c_str(), 0777) == 0);
  put(scratch / "kept", "old");
  REQUIRE(::chmod((scratch / "kept").c_str(), 0444) == 0);
  const uid_t me = ::geteuid();
  if (me == 0) REQUIRE(::seteuid(65534) == 0);  // root may write anywhere
  const std::string error = message_of([&] { put(scratch / "kept", "new"); });
  const std::string probe = message_of([&] { check_can_write(scratch / "kept", "test"); });
  if (me == 0) REQUIRE(::seteuid(me) == 0);
  CHECK(error == fmt::format("[test] cannot write {}: Permission denied", scratch / "kept"));
  CHECK(probe == error);
  CHECK(text_of(scratch / "kept") == "old");
  CHECK(count_files(scratch.path()) == 1);

  for (const size_t length : {size_t{200}, size_t{201}, size_t{255}}) {
    const std::string name = scratch / std::string(length, 'x');
    put(name, "long");
    CHECK(text_of(name) == "long");
  }
  CHECK(count_files(scratch.path()) == 4);
}

TEST_CASE("a writer that gives up leaves the old file and nothing else") {
  const Scratch scratch;
  put(scratch / "a", "old");
  {
    OutputFile out(scratch / "a", "test");
    out.write("half", 4);
  }
  CHECK(text_of(scratch / "a") == "old");
  check_can_write(scratch / "b", "test");
  CHECK(count_files(scratch.path()) == 1);
  CHECK(message_of([&] { check_can_write(scratch / "no/where", "test"); }).find("No such file") != std::string::npos);

  OutputFile out(scratch / "a", "test");
  out.write("....tail", 8);
  out.write_front("head", 4);
  std::FILE* file = out.finish_and_keep();
  std::fputs(" and more", file);
  std::fclose(file);
  CHECK(text_of(scratch / "a") == "headtail and more");
}

TEST_CASE("whole numbers are decimal and never wrap") {
  CHECK(whole_number("010", "n") == 10);
  CHECK(whole_number("+7", "n") == 7);
  CHECK(whole_number("-3", "n") == -3);
  CHECK(whole_number("9223372036854775807", "n") == 9223372036854775807);
  CHECK(message_of([] { whole_number("9223372036854775808", "--epochs"); }).find("too large") != std::string::npos);
  CHECK(message_of([] { whole_number("-9223372036854775809", "n"); }).find("too small") != std::string::npos);
  for (const char* text : {"", "+", "-", "+-1", "1.5", "1e3", "0x10", " 1", "1 ", "ten"})
    CHECK_MESSAGE(message_of([&] { whole_number(text, "n"); }).find("no whole number") != std::string::npos, text);
}
