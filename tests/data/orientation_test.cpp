// The orientation of pictures: EXIF data in JPEG and PNG files, however it is stored, and what it does.
#include <doctest/doctest.h>

#include <array>

#include "atlas/data/image.h"
#include "atlas/data/random.h"
#include "atlas/tensor/create.h"
#include "tests/data/data_test.h"
#include "tests/data/quarters.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::corners;
using atlas_test::exif;
using atlas_test::message_of;
using atlas_test::pixel;
using atlas_test::quarters_jpeg;
using atlas_test::with_segment;

namespace {

Bytes changed(Bytes bytes, size_t at, uint8_t value) {
  bytes.at(at) = value;
  return bytes;
}

Bytes cut(const Bytes& bytes, size_t length) {
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)};
}

}  // namespace

TEST_CASE("EXIF orientation turns JPEG files upright, in both byte orders") {
  const char* expected[] = {"", "rgbw", "grwb", "wbgr", "bwrg", "rbgw", "brwg", "wgbr", "gwrb"};
  for (uint16_t o = 1; o <= 8; ++o) {
    for (const bool little : {true, false}) {
      CAPTURE(o);
      const Tensor t = decode_image(with_segment(quarters_jpeg(), exif(little, 274, 3, o)), "e.jpg");
      CHECK(t.shape() == (o >= 5 ? Shape{32, 16, 3} : Shape{16, 32, 3}));
      CHECK(corners(t) == expected[o]);
      // As some programs store it: 32 bits, or 8, or with a sign.
      for (const uint16_t type : std::initializer_list<uint16_t>{4, 1, 6, 8, 9})
        CHECK(corners(decode_image(with_segment(quarters_jpeg(), exif(little, 274, type, o)), "e.jpg")) == expected[o]);
    }
  }
}

TEST_CASE("of several EXIF blocks the first that says something counts") {
  const auto two = [](const Bytes& first, const Bytes& second) {
    return corners(decode_image(with_segment(with_segment(quarters_jpeg(), second), first), "two.jpg"));
  };
  const Bytes upright = exif(true, 274, 3, 1), turned = exif(true, 274, 3, 6), other = exif(true, 300, 3, 3);
  CHECK(two(upright, turned) == "rgbw");
  CHECK(two(turned, upright) == "brwg");
  CHECK(two(turned, exif(true, 274, 3, 3)) == "brwg");
  CHECK(two(other, turned) == "brwg");
  CHECK(two(exif(true, 274, 3, 9), turned) == "brwg");
  const Bytes png = encode_png(decode_image(quarters_jpeg(), "q.jpg"));
  const Bytes file = atlas_test::with_chunk(atlas_test::with_chunk(png, "eXIf", turned), "eXIf", upright);
  CHECK(corners(decode_image(file, "two.png")) == "rgbw");
}

TEST_CASE("the orientation of PNG files counts, too") {
  const Bytes upright = encode_png(decode_image(quarters_jpeg(), "q.jpg"));
  for (const bool marked : {false, true}) {
    Bytes block = exif(false, 274, 3, 6);
    if (!marked) block.erase(block.begin(), block.begin() + 6);
    const Bytes file = atlas_test::with_chunk(upright, "eXIf", block);
    CHECK(corners(decode_image(file, "e.png")) == "brwg");
  }
}

TEST_CASE("every orientation moves each pixel where it belongs") {
  const int64_t h = 3, w = 4;
  Tensor in = empty({h, w, 3}, uint8);
  Rng rng(3, Purpose::synthetic, h, w);
  for (int64_t i = 0; i < in.numel(); ++i) in.data<uint8_t>()[i] = static_cast<uint8_t>(rng.bits() >> 24);
  for (int o = 1; o <= 8; ++o) {
    const Tensor out = oriented(in, o);
    REQUIRE(out.shape() == (o >= 5 ? Shape{w, h, 3} : Shape{h, w, 3}));
    for (int64_t y = 0; y < out.shape()[0]; ++y) {
      for (int64_t x = 0; x < out.shape()[1]; ++x) {
        const std::array<std::pair<int64_t, int64_t>, 9> from = {{{},
                                                                  {y, x},
                                                                  {y, w - 1 - x},
                                                                  {h - 1 - y, w - 1 - x},
                                                                  {h - 1 - y, x},
                                                                  {x, y},
                                                                  {h - 1 - x, y},
                                                                  {h - 1 - x, w - 1 - y},
                                                                  {x, w - 1 - y}}};
        REQUIRE(pixel(out, y, x) == pixel(in, from[static_cast<size_t>(o)].first, from[static_cast<size_t>(o)].second));
      }
    }
  }
  CHECK(message_of([&] { oriented(in, 9); }) == "[oriented] orientation must lie in 1..8, got 9");
}

TEST_CASE("odd EXIF data leaves the picture as stored") {
  const Bytes jpeg = quarters_jpeg();
  Bytes lengths = exif(true, 274, 3, 6);
  const std::vector<Bytes> odd = {exif(true, 274, 3, 0),
                                  exif(true, 274, 3, 9),
                                  exif(true, 274, 5, 6),
                                  exif(true, 300, 3, 6),
                                  exif(false, 274, 3, 6, 0xFFFFFFFF),
                                  exif(false, 274, 3, 6, 1000),
                                  exif(true, 300, 3, 6, 8, 0xFFFF),
                                  cut(lengths, 7),
                                  cut(lengths, 12),
                                  cut(lengths, 20),
                                  changed(lengths, 6, 'X'),
                                  changed(lengths, 8, 43),
                                  {'E', 'x', 'i', 'f', 0, 0}};
  for (const Bytes& block : odd) CHECK(corners(decode_image(with_segment(jpeg, block), "odd.jpg")) == "rgbw");
}
