#include "atlas/io/safetensors.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>

#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/compare.h"

using namespace atlas;
using test::message_of;
namespace fs = std::filesystem;

namespace {

/// A folder that goes away with the test.
struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("atlas-safetensors-{}", ::getpid());
  Folder() { fs::create_directories(path); }
  ~Folder() {
    std::error_code ignored;
    fs::permissions(path, fs::perms::owner_all, ignored);
    fs::remove_all(path, ignored);
  }
  std::string file(const std::string& name) const { return (path / name).string(); }
};

std::string bytes_of(uint64_t length, const std::string& header, size_t data) {
  std::string s(8, '\0');
  for (size_t i = 0; i < 8; ++i) s[i] = static_cast<char>(length >> (8 * i));
  return s + header + std::string(data, '\1');
}
void write(const std::string& path, const std::string& content) { std::ofstream(path, std::ios::binary) << content; }

}  // namespace

TEST_CASE("every dtype, shape and view survives a round trip") {
  const Folder folder;
  std::map<std::string, Tensor> tensors;
  tensors["f32"] = arange(0, 6).to(float32).reshape({2, 3});
  tensors["view"] = tensors["f32"].transpose(0, 1);
  tensors["f64"] = full({}, 0.1, float64);
  tensors["bf16"] = full({3}, 1.5).to(bfloat16);
  tensors["f16"] = full({3}, -2.5).to(float16);
  tensors["i64"] = full({1}, -7, int64);
  tensors["u8"] = full({5}, 200, uint8);
  tensors["flag"] = full({2}, 1, boolean);
  tensors["empty"] = zeros({0, 4});
  tensors["bits"] = zeros({4});  // numbers that conversions would change
  const uint32_t bits[] = {0x80000000, 0x7fa00001, 0xffc12345, 1};
  std::memcpy(tensors["bits"].raw(), bits, sizeof bits);
  tensors["ünïcode \"quoted\"/name"] = ones({1});
  const std::string path = folder.file("all.safetensors");
  io::save_safetensors(path, tensors, {{"config", "{\"a\": 1}"}, {"empty", ""}});
  const io::SafetensorsFile back = io::load_safetensors(path);
  CHECK(back.metadata == std::map<std::string, std::string>{{"config", "{\"a\": 1}"}, {"empty", ""}});
  REQUIRE(back.tensors.size() == tensors.size());
  for (const auto& [name_, t] : tensors) {
    const auto& name = name_;  // clang below 16 captures no structured binding
    CAPTURE(name);
    const Tensor& b = back.tensors.at(name);
    CHECK(b.dtype() == t.dtype());
    REQUIRE(b.shape() == t.shape());
    const Tensor x = copy_of(t), y = copy_of(b);
    CHECK(
        (x.numel() == 0 || std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.numel() * item_size(x.dtype()))) == 0));
  }
  // Only the file itself is left: no temporary one.
  CHECK(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 1);
}

TEST_CASE("narrow integers become int64") {
  const Folder folder;
  const std::string path = folder.file("ints");
  const std::string data = std::string("\xff\xff\xff\xff", 4) + std::string("\xfe\xff", 2) + "\x80" +
                           std::string("\xff\xff\xff\xff", 4) + std::string("\x01\x80", 2);
  const std::string header =
      R"({"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"I16","shape":[],"data_offsets":[4,6]},)"
      R"("c":{"dtype":"I8","shape":[1],"data_offsets":[6,7]},"d":{"dtype":"U32","shape":[1],"data_offsets":[7,11]},)"
      R"("e":{"dtype":"U16","shape":[1],"data_offsets":[11,13]}})";
  write(path, bytes_of(header.size(), header, 0) + data);
  const auto t = io::load_safetensors(path).tensors;
  CHECK(t.at("a").item<int64_t>() == -1);
  CHECK(t.at("b").item<int64_t>() == -2);
  CHECK(t.at("c").item<int64_t>() == -128);
  CHECK(t.at("d").item<int64_t>() == 4294967295);
  CHECK(t.at("e").item<int64_t>() == 32769);
}

TEST_CASE("types without a counterpart are converted") {
  const std::string header =
      R"({"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"F8_E5M2","shape":[4],"data_offsets":[4,8]},)"
      R"("c":{"dtype":"F8_E8M0","shape":[2],"data_offsets":[8,10]},"d":{"dtype":"U64","shape":[1],"data_offsets":[10,18]},)"
      R"("e":{"dtype":"C64","shape":[1],"data_offsets":[18,26]}})";
  const std::string data = std::string("\x00\x01\x7e\xc0", 4) + std::string("\x01\x7b\xfc\xc0", 4) + "\x7f\x80" +
                           std::string("\xff\xff\xff\xff\xff\xff\xff\x7f", 8) + std::string("\0\0\x80?\0\0\0@", 8);
  const std::string file = bytes_of(header.size(), header, 0) + data;
  const auto t = io::parse_safetensors(std::as_bytes(std::span(file)), "x").tensors;
  const auto values = [&](const char* name) {
    const float* v = t.at(name).data<float>();
    return std::vector<float>(v, v + t.at(name).numel());
  };
  CHECK(values("a") == std::vector<float>{0, 0x1p-9f, 448, -2});
  CHECK(values("b") == std::vector<float>{0x1p-16f, 57344, -HUGE_VALF, -2});
  CHECK(values("c") == std::vector<float>{1, 2});
  CHECK(t.at("d").item<int64_t>() == INT64_MAX);
  CHECK(t.at("e").shape() == Shape{1, 2});
  CHECK(values("e") == std::vector<float>{1, 2});
  std::string large = file;
  large[large.size() - 9] = '\xff';
  CHECK(message_of([&] { io::parse_safetensors(std::as_bytes(std::span(large)), "x"); }).find("18446744073709551615") !=
        std::string::npos);
  std::set<std::string> rounded;  // to look at
  const Tensor d = io::parse_safetensors(std::as_bytes(std::span(large)), "x", &rounded).tensors.at("d");
  CHECK(d.item<double>() == 0x1p64);
  CHECK(rounded == std::set<std::string>{"d"});
}

TEST_CASE("tensors lie in the mapped file: it may go, and is never written") {
  const Folder folder;
  const std::string path = folder.file("mapped");
  io::save_safetensors(path, {{"t", full({1000}, 3)}, {"u", full({7}, 9, uint8)}});
  const int64_t before = memory_stats().current;
  Tensor t = io::load_safetensors(path).tensors.at("t");
  CHECK(memory_stats().current == before);  // nothing was copied
  CHECK(t.impl().storage->borrowed());
  t.mul_(2);
  CHECK(t.at<float>({999}) == 6);
  const Tensor again = io::load_safetensors(path).tensors.at("t");
  CHECK(again.at<float>({999}) == 3);
  t.impl().storage->discard(t.raw(), 4000);  // a tensor that was written to is kept
  CHECK(t.at<float>({999}) == 6);
  again.impl().storage->discard(again.raw(), 4000);
  CHECK(again.at<float>({999}) == 3);
  io::save_safetensors(path, {{"t", zeros({1000})}});
  CHECK(again.at<float>({0}) == 3);
  fs::remove(path);
  CHECK(again.at<float>({500}) == 3);

  // Data that starts at no multiple of its element size is copied.
  const std::string header = R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} )";
  static_assert(sizeof(float) == 4);
  write(path, bytes_of(header.size() + header.size() % 2 + 1, header + (header.size() % 2 == 1 ? "  " : " "), 0) +
                  std::string("\0\0\x80?", 4));
  const Tensor odd = io::load_safetensors(path).tensors.at("t");
  CHECK_FALSE(odd.impl().storage->borrowed());
  CHECK(odd.item<float>() == 1);
}

TEST_CASE("a file that lies is refused with the reason") {
  const Folder folder;
  const std::string path = folder.file("bad");
  struct Case {
    std::string content, expected;
  };
  const auto with = [](const std::string& header, size_t data) { return bytes_of(header.size(), header, data); };
  const auto one = [&](const std::string& fields, size_t data) { return with("{\"t\":{" + fields + "}}", data); };
  const std::string good = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  const Case cases[] = {
      {"", "it has 0 bytes"},
      {"\x01\x02", "it has 2 bytes"},
      {std::string("\xff\xd8\xff\xe0 a JPEG file, not ours"), "declares a header of"},
      {bytes_of(~uint64_t{0}, "{}", 0), "declares a header of 18446744073709551615 bytes"},
      {bytes_of(uint64_t{1} << 40, "{}", 0), "declares a header of"},
      {bytes_of(3, "{}", 0), "declares a header of 3 bytes and has 2"},
      {with("not json", 0), "the header is not JSON"},
      {with("\xef\xbb\xbf{}", 0), "the header starts with a byte-order mark"},
      {with(" {}", 0), "must start with '{' and be padded with spaces alone"},
      {with(std::string("{}\0\0\0", 5), 0), "must start with '{' and be padded with spaces alone"},
      {with(std::string("{}\0}", 4), 0), "must start with '{' and be padded with spaces alone"},
      {with("{}\n\t ", 0), "must start with '{' and be padded with spaces alone"},
      {with("[1]", 0), "not a JSON object"},
      {with(std::string(50000, '['), 0), "the header is not JSON"},
      {with("{\"t\":3}", 0), "tensor 't': expected an object with dtype, shape and data_offsets"},
      {one(R"("dtype":"F32","shape":[2])", 8), "expected an object"},
      {one(good + R"(,"more":1)", 8), "expected an object"},
      {one(R"("dtype":7,"shape":[2],"data_offsets":[0,8])", 8), "dtype is not a string"},
      {one(R"("dtype":"F4","shape":[16],"data_offsets":[0,8])", 8), "dtype F4 is unknown (known are F64"},
      {one(R"("dtype":"U64","shape":[1],"data_offsets":[0,8])", 8) + "x", "1 bytes follow the last tensor"},
      {one(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])", 8), "not a whole number"},
      {one(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])", 8), "not a whole number"},
      {one(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8])", 8), "at most 8 lengths"},
      {one(R"("dtype":"F32","shape":2,"data_offsets":[0,8])", 8), "at most 8 lengths"},
      {one(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8])", 8), "overflows 64 bits"},
      {one(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])", 0), "overflows 64 bits"},
      {one(R"("dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8])", 8), "overflows 64 bits"},
      {one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])", 8), "do not span the 12 bytes of F32[3]"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])", 8), "do not span"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[0])", 8), "data_offsets is not [begin, end]"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[-1,7])", 8), "data_offsets is not [begin, end]"},
      {one(good, 7), "is truncated: tensor 't' ends at byte 8 of the data, the file has 7"},
      {one(good, 9), "1 bytes follow the last tensor"},
      {one(R"("dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104])", 8), "is truncated"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[4,12])", 12), "with a gap after"},
      {with("{\"a\":{" + good + R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12),
       "begins at byte 4 of the data, inside"},
      {with("{\"a\":{" + good + "},\"a\":{" + good + "}}", 8), "has 'a' twice"},
      {with(R"({"__metadata__":{"k":1}})", 0), "metadata 'k' is not a string"},
      {with(R"({"__metadata__":[]})", 0), "__metadata__ is not an object"},
      {with("{\"\xff\":1}", 0), "the header is not JSON"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.expected);
    write(path, c.content);
    const int64_t before = memory_stats().reserved;
    const std::string text = message_of([&] { io::load_safetensors(path); });
    CHECK(text.find(path) != std::string::npos);
    CHECK_MESSAGE(text.find(c.expected) != std::string::npos, text);
    const std::string from_memory =
        message_of([&] { io::parse_safetensors(std::as_bytes(std::span(c.content)), path); });
    CHECK(from_memory == text);
    CHECK(memory_stats().reserved - before < 1 << 20);
  }
  CHECK(message_of([&] { io::load_safetensors(folder.file("absent")); }).find("No such file") != std::string::npos);
  CHECK(message_of([&] { io::load_safetensors(folder.path.string()); }).find("is a folder, not a file") !=
        std::string::npos);
}

TEST_CASE("an empty file of the format is fine") {
  const Folder folder;
  io::save_safetensors(folder.file("none"), {});
  CHECK(io::load_safetensors(folder.file("none")).tensors.empty());
}

TEST_CASE("a write that fails keeps the old file and leaves nothing behind") {
  const Folder folder;
  const std::string path = folder.file("kept");
  io::save_safetensors(path, {{"t", ones({2})}});
  CHECK(message_of([&] {
          io::save_safetensors(path, {{"t", Tensor()}});
        }).find("tensor 't' is undefined") != std::string::npos);
  CHECK(message_of([&] { io::save_safetensors(path, {{"\xff", ones({1})}}); }).find("not UTF-8") != std::string::npos);
  CHECK(message_of([&] {
          io::save_safetensors(path, {{"__metadata__", ones({1})}});
        }).find("cannot be called") != std::string::npos);
  CHECK(io::load_safetensors(path).tensors.at("t").at<float>({1}) == 1);
  const std::string nowhere = folder.file("no/such/folder");
  CHECK(message_of([&] {
          io::save_safetensors(nowhere, {{"t", ones({1})}});
        }) == "[safetensors] cannot write " + nowhere + ": No such file or directory");
  fs::create_directory(folder.file("taken"));
  CHECK(message_of([&] {
          io::save_safetensors(folder.file("taken"), {{"t", ones({1})}});
        }) == "[safetensors] cannot write " + folder.file("taken") + ": Is a directory");
  CHECK(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 2);

  // A limit on the size of files stands in for a full disk: the write stops in the middle.
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string text = message_of([&] { io::save_safetensors(path, {{"t", ones({10000})}}); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(text == "[safetensors] cannot write " + path + ": File too large");
  CHECK(io::load_safetensors(path).tensors.at("t").numel() == 2);
  CHECK(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 2);
}
