// Image files: round trips of every kind, EXIF orientation, and what is said about damaged ones.
#include "atlas/data/image.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "atlas/data/random.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/window.h"
#include "atlas/tensor/create.h"
#include "tests/data/data_test.h"
#include "tests/data/encode.h"
#include "tests/data/quarters.h"
#include "tests/source_dir.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::corners;
using atlas_test::exif;
using atlas_test::message_of;
using atlas_test::pixel;
using atlas_test::quarters_jpeg;
using atlas_test::Scratch;
using atlas_test::with_segment;

namespace {

Tensor noise(int64_t height, int64_t width, int64_t channels) {
  Tensor t = channels == 1 ? empty({height, width}, uint8) : empty({height, width, channels}, uint8);
  Rng rng(3, Purpose::synthetic, height, width);
  for (int64_t i = 0; i < t.numel(); ++i) t.data<uint8_t>()[i] = static_cast<uint8_t>(rng.bits() >> 24);
  return t;
}

}  // namespace

TEST_CASE("PNG files come back as they were written") {
  const Scratch scratch;
  for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {7, 5}, {64, 33}}) {
    const std::string path = scratch / "a.png";
    const Tensor rgb = noise(h, w, 3);
    write_png(path, rgb);
    const Tensor back = read_image(path);
    REQUIRE(back.shape() == Shape{h, w, 3});
    CHECK(std::memcmp(back.raw(), rgb.raw(), static_cast<size_t>(rgb.numel())) == 0);

    const Tensor gray = noise(h, w, 1);
    write_png(path, gray);
    const Tensor spread = read_image(path);
    REQUIRE(spread.shape() == Shape{h, w, 3});
    for (int64_t i = 0; i < h * w; ++i)
      for (int64_t c = 0; c < 3; ++c) REQUIRE(spread.data<uint8_t>()[3 * i + c] == gray.data<uint8_t>()[i]);
  }
  // A view is written as what it shows.
  const Tensor wide = noise(4, 6, 3);
  write_png(scratch / "view.png", raw_view(wide, {4, 2, 3}, {18, 3, 1}, 6));
  CHECK(pixel(read_image(scratch / "view.png"), 3, 1) == pixel(wide, 3, 3));
  // Nothing is left beside the files.
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(scratch.path())) ++files;
  CHECK(files == 2);
}

TEST_CASE("smooth pictures pack well") {
  Tensor t = empty({100, 100, 3}, uint8);
  for (int64_t i = 0; i < t.numel(); ++i) t.data<uint8_t>()[i] = static_cast<uint8_t>(i / 300 + i / 3 % 100);
  CHECK(encode_png(t).size() < 2000);
}

TEST_CASE("what cannot be a PNG is refused, and a folder that is not there is named") {
  CHECK(message_of([] {
          encode_png(empty({4, 4, 4}, uint8));
        }) == "[encode_png] needs a uint8 image [H,W,3] or [H,W] of at least one pixel, got uint8[4,4,4]");
  CHECK(message_of([] { encode_png(empty({4, 4, 3})); }).find("got float32[4,4,3]") != std::string::npos);
  CHECK(message_of([] { encode_png(empty({0, 4, 3}, uint8)); }).find("got uint8[0,4,3]") != std::string::npos);
  CHECK(message_of([] { encode_png(Tensor()); }).find("got undefined") != std::string::npos);
  const Scratch scratch;
  const std::string message = message_of([&] { write_png(scratch / "none/a.png", empty({1, 1, 3}, uint8)); });
  CHECK(message.find("none/a.png") != std::string::npos);
  CHECK(message.find("No such file or directory") != std::string::npos);
}

TEST_CASE("gray, transparent and 16-bit PNG files become RGB") {
  // Gray with alpha, and RGBA: transparency shows white.
  const Tensor ga = decode_image(atlas_test::png(3, 1, 8, 4, {0, 100, 255, 100, 0, 100, 128}), "ga.png");
  CHECK(pixel(ga, 0, 0) == std::array<int, 3>{100, 100, 100});
  CHECK(pixel(ga, 0, 1) == std::array<int, 3>{255, 255, 255});
  CHECK(pixel(ga, 0, 2) == std::array<int, 3>{177, 177, 177});  // (100 * 128 + 255 * 127) / 255
  const Tensor rgba = decode_image(atlas_test::png(2, 1, 8, 6, {0, 10, 20, 30, 255, 10, 20, 30, 0}), "rgba.png");
  CHECK(pixel(rgba, 0, 0) == std::array<int, 3>{10, 20, 30});
  CHECK(pixel(rgba, 0, 1) == std::array<int, 3>{255, 255, 255});
  // 16 bits a channel: the upper eight stay.
  const Tensor deep = decode_image(atlas_test::png(1, 1, 16, 2, {0, 0x12, 0xFF, 0x80, 0x00, 0xFE, 0x01}), "deep.png");
  CHECK(pixel(deep, 0, 0) == std::array<int, 3>{0x12, 0x80, 0xFE});
  // One bit a pixel.
  const Tensor bits = decode_image(atlas_test::png(3, 1, 1, 0, {0, 0xA0}), "bits.png");
  CHECK(pixel(bits, 0, 0)[0] == 255);
  CHECK(pixel(bits, 0, 1)[0] == 0);
}

TEST_CASE("JPEG and BMP files are read, color and gray") {
  CHECK(corners(decode_image(quarters_jpeg(), "q.jpg")) == "rgbw");
  const Tensor gray = decode_image(atlas_test::jpeg(8, 8, std::vector<uint8_t>(64, 90), 1), "gray.jpg");
  REQUIRE(gray.shape() == Shape{8, 8, 3});
  CHECK(pixel(gray, 4, 4)[0] == doctest::Approx(90).epsilon(0.05));
  const Tensor bmp = decode_image(atlas_test::bmp(2, 1, {1, 2, 3, 250, 251, 252}), "a.bmp");
  CHECK(pixel(bmp, 0, 0) == std::array<int, 3>{1, 2, 3});
  CHECK(pixel(bmp, 0, 1) == std::array<int, 3>{250, 251, 252});
  const ImageInfo info = inspect_image(quarters_jpeg(), "q.jpg");
  CHECK(info.format == ImageInfo::Format::jpeg);
  CHECK(info.width == 32);
  CHECK(info.height == 16);
}

TEST_CASE("every kind of JPEG shows the same picture") {
  const std::string folder = test::source_dir() + "/tests/fuzz/seeds/image/";
  const Tensor expected = read_image(folder + "rgb.png");
  for (const char* name : {"rgb.jpg", "rgb444.jpg", "progressive.jpg", "restart.jpg", "optimized.jpg", "cmyk.jpg"}) {
    CAPTURE(std::string(name));
    const Tensor t = read_image(folder + name);
    REQUIRE(t.shape() == expected.shape());
    double difference = 0;
    for (int64_t i = 0; i < t.numel(); ++i)
      difference += std::abs(int{t.data<uint8_t>()[i]} - int{expected.data<uint8_t>()[i]});
    CHECK(difference / static_cast<double>(t.numel()) < 16);  // of quality 75 and noise; other decoders: 15.3 at most
  }
}

TEST_CASE("JPEG with arithmetic coding: a large picture of one color is a small file") {
  const std::string path = test::source_dir() + "/tests/fuzz/seeds/image/arithmetic.jpg";
  if (jpeg_decoder() != std::string("libjpeg-turbo")) {
    CHECK_THROWS_AS(read_image(path), Error);  // stb_image does not know it
    return;
  }
  const Tensor x = read_image(path);
  CHECK(x.shape() == Shape{300, 400, 3});
  for (const int64_t i : {int64_t{0}, x.numel() - 3}) {
    CHECK(x.data<uint8_t>()[i] == 200);
    CHECK(x.data<uint8_t>()[i + 1] == 29);
    CHECK(x.data<uint8_t>()[i + 2] == 61);
  }
}

TEST_CASE("palettes: indices beyond them are black, never what was in memory") {
  // Two entries, indices 0 to 3; and all of 256.
  for (const int depth : {2, 8}) {
    const Bytes rows = depth == 2 ? Bytes{0, 0b00011011} : Bytes{0, 0, 1, 2, 255};
    const Bytes plain = atlas_test::png(4, 1, static_cast<uint8_t>(depth), 3, rows);
    const Bytes file = atlas_test::with_chunk(plain, "PLTE", {10, 20, 30, 40, 50, 60});
    for (int round = 0; round < 3; ++round) {
      const Tensor t = decode_image(file, "p.png");
      CHECK(pixel(t, 0, 0) == std::array<int, 3>{10, 20, 30});
      CHECK(pixel(t, 0, 1) == std::array<int, 3>{40, 50, 60});
      CHECK(pixel(t, 0, 2) == std::array<int, 3>{0, 0, 0});
      CHECK(pixel(t, 0, 3) == std::array<int, 3>{0, 0, 0});
    }
  }
}

TEST_CASE("BMP files of every kind") {
  const auto file = [](const Bytes& header, const Bytes& colors, const Bytes& pixels) {
    Bytes f = {'B', 'M', 0, 0, 0, 0, 0, 0, 0, 0};
    const size_t start = 14 + header.size() + colors.size();
    f.insert(f.end(), {static_cast<uint8_t>(start), static_cast<uint8_t>(start >> 8), 0, 0});
    for (const Bytes* part : {&header, &colors, &pixels}) f.insert(f.end(), part->begin(), part->end());
    return f;
  };
  const auto header = [](uint8_t width, uint8_t height, uint8_t bits, uint8_t compression, uint8_t colors = 0,
                         uint8_t length = 40) {
    Bytes h(length);
    h[0] = length, h[4] = width, h[8] = height, h[12] = 1, h[14] = bits, h[16] = compression, h[32] = colors;
    return h;
  };
  using P = std::array<int, 3>;
  // OS/2: 16 colors of three bytes each, all of them there.
  Bytes sixteen;
  for (uint8_t i = 0; i < 16; ++i)
    sixteen.insert(sixteen.end(), {i, static_cast<uint8_t>(2 * i), static_cast<uint8_t>(3 * i)});
  Tensor t = decode_image(file({12, 0, 0, 0, 4, 0, 1, 0, 1, 0, 4, 0}, sixteen, {0x0C, 0xDF, 0, 0}), "os2.bmp");
  CHECK(pixel(t, 0, 0) == P{0, 0, 0});
  CHECK(pixel(t, 0, 1) == P{36, 24, 12});
  CHECK(pixel(t, 0, 3) == P{45, 30, 15});
  // Two colors, index 200: black.
  t = decode_image(file(header(2, 1, 8, 0, 2), {1, 2, 3, 0, 4, 5, 6, 0}, {1, 200, 0, 0}), "beyond.bmp");
  CHECK(pixel(t, 0, 0) == P{6, 5, 4});
  CHECK(pixel(t, 0, 1) == P{0, 0, 0});
  // The fourth byte of 32 bits is reserved, whatever it holds, unless a mask calls it opacity.
  t = decode_image(file(header(2, 1, 32, 0), {}, {1, 2, 3, 0x80, 4, 5, 6, 0}), "reserved.bmp");
  CHECK(pixel(t, 0, 0) == P{3, 2, 1});
  CHECK(pixel(t, 0, 1) == P{6, 5, 4});
  Bytes masks = header(1, 1, 32, 3, 0, 108);
  masks[40] = 0xFF, masks[45] = 0xFF, masks[50] = 0xFF, masks[55] = 0xFF;  // red lowest, opacity highest
  CHECK(pixel(decode_image(file(masks, {}, {100, 0, 200, 0}), "clear.bmp"), 0, 0) == P{255, 255, 255});
  CHECK(pixel(decode_image(file(masks, {}, {100, 0, 200, 255}), "opaque.bmp"), 0, 0) == P{100, 0, 200});
  // 5 bits a color, and 5-6-5 by masks behind the header.
  CHECK(pixel(decode_image(file(header(1, 1, 16, 0), {}, {0x1F, 0x7C, 0, 0}), "555.bmp"), 0, 0) == P{255, 0, 255});
  const Bytes green_six = {0, 0xF8, 0, 0, 0xE0, 0x07, 0, 0, 0x1F, 0, 0, 0};
  CHECK(pixel(decode_image(file(header(1, 1, 16, 3), green_six, {0xE0, 0x07, 0, 0}), "565.bmp"), 0, 0) == P{0, 255, 0});
  const Bytes holes = {5, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0};
  CHECK(message_of([&] {
          decode_image(file(header(1, 1, 16, 3), holes, {0, 0, 0, 0}), "h.bmp");
        }).find("not one run") != std::string::npos);
  Bytes bottom_up = header(1, 2, 24, 0), top_down = bottom_up;
  top_down[8] = 0xFE, top_down[9] = top_down[10] = top_down[11] = 0xFF;
  const Bytes two_rows = {1, 1, 1, 0, 2, 2, 2, 0};
  CHECK(pixel(decode_image(file(bottom_up, {}, two_rows), "up.bmp"), 0, 0) == P{2, 2, 2});
  CHECK(pixel(decode_image(file(top_down, {}, two_rows), "down.bmp"), 0, 0) == P{1, 1, 1});
}

TEST_CASE("limits count the bytes that decoding takes") {
  // 16 bits a color and opacity: pixels that would be allowed with 8 bits are too many.
  const Bytes deep = atlas_test::with_chunk(atlas_test::png(11000, 11000, 16, 6, {}), "IDAT", Bytes(size_t{1} << 20));
  CHECK(message_of([&] { inspect_image(deep, "deep.png"); }).find("takes about") != std::string::npos);
  // Many scans over a large progressive picture: a frame of 9000 x 9000, and 60 scans of nothing.
  Bytes scans = {0xFF, 0xD8, 0xFF, 0xC2, 0, 11, 8, 0x23, 0x28, 0x23, 0x28, 1, 1, 0x11, 0};
  const Bytes table = {0xFF, 0xC4, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  scans.insert(scans.end(), table.begin(), table.end());
  for (int i = 0; i < 60; ++i) {
    const Bytes scan = {0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 1, 0};
    scans.insert(scans.end(), scan.begin(), scan.end());
  }
  scans.insert(scans.end(), 200000, 0);
  scans.insert(scans.end(), {0xFF, 0xD9});
  CHECK(message_of([&] { inspect_image(scans, "scans.jpg"); }).find("takes about") != std::string::npos);
  // Arithmetic coding takes less than a bit for a block of one color.
  Bytes even = {0xFF, 0xD8, 0xFF, 0xC9, 0, 11, 8, 0x10, 0, 0x10, 0, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0};
  even.insert(even.end(), {0, 0, 0xFF, 0xD9});
  CHECK(inspect_image(even, "even.jpg").width == 4096);
}

TEST_CASE("pictures are written as PNG, and names that say otherwise are refused") {
  const atlas_test::Scratch scratch;
  const Tensor image = zeros({2, 2, 3}, uint8);
  for (const char* name : {"x.jpg", "x.JPEG", "x.bmp", "x.webp"})
    CHECK(message_of([&] { write_png(scratch / name, image); }).find("end the name in .png") != std::string::npos);
  for (const char* name : {"x.png", "x.PNG", "x", "v1.2"}) write_png(scratch / name, image);
}

TEST_CASE("files that cannot be read are named") {
  CHECK(message_of([] { read_image("/nowhere/a.png"); }) == "[read_file] /nowhere/a.png: No such file or directory");
  CHECK(message_of([] { read_image("/"); }) == "[read_file] /: is a folder, not a file");
}

TEST_CASE("a caller may allow fewer pixels") {
  CHECK(message_of([] { decode_image(quarters_jpeg(), "x.img", 511); }) ==
        "[image] x.img: declares 32 x 16 pixels, more than the 511 allowed");
  CHECK(decode_image(quarters_jpeg(), "x.img", 512).shape() == Shape{16, 32, 3});
}

TEST_CASE("files damaged anywhere give a picture or an error, never more") {
  int errors = 0;
  for (const Bytes& file : {with_segment(quarters_jpeg(), exif(true, 274, 3, 6)),
                            atlas_test::png(9, 5, 8, 6, Bytes(5 * 37, 0)), atlas_test::bmp(5, 3, Bytes(45, 77))}) {
    Rng rng(11, Purpose::synthetic, 0, static_cast<int64_t>(file.size()));
    for (int trial = 0; trial < 300; ++trial) {
      Bytes bad = file;
      for (int k = 0; k < 3; ++k)
        bad[static_cast<size_t>(rng.below(static_cast<int64_t>(bad.size())))] = static_cast<uint8_t>(rng.bits());
      if (trial % 3 == 0) bad.resize(static_cast<size_t>(rng.below(static_cast<int64_t>(bad.size()) + 1)));
      try {
        const Tensor t = decode_image(bad, "bad", 1 << 20);
        CHECK(t.shape()[2] == 3);
      } catch (const Error& error) {
        CHECK(std::string(error.what()).starts_with("[image] bad: "));
        ++errors;
      }
    }
  }
  CHECK(errors > 300);
}
