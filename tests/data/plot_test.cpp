// Pictures: what is drawn where, sizes, and input that cannot be drawn.
#include "atlas/data/plot.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "atlas/data/image.h"
#include "atlas/ops/arithmetic.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;

namespace {

bool is(const Tensor& t, int64_t y, int64_t x, Color c) {
  return t.at<uint8_t>({y, x, 0}) == c.r && t.at<uint8_t>({y, x, 1}) == c.g && t.at<uint8_t>({y, x, 2}) == c.b;
}

int64_t count(const Tensor& t, Color c) {
  int64_t n = 0;
  for (int64_t y = 0; y < t.shape()[0]; ++y)
    for (int64_t x = 0; x < t.shape()[1]; ++x) n += is(t, y, x, c) ? 1 : 0;
  return n;
}

constexpr Color kBlue{0x1F, 0x77, 0xB4}, kOrange{0xE6, 0x6F, 0x1B};

}  // namespace

TEST_CASE("every printable character has its own picture, and others show as a question mark") {
  std::set<std::array<uint8_t, 9>> seen(kFont.begin(), kFont.end());
  CHECK(seen.size() == 95);
  for (const auto& rows : kFont)
    for (const uint8_t row : rows) CHECK(row < 32);
  for (int64_t y = 0; y < kGlyphHeight; ++y)
    for (int64_t x = 0; x < kGlyphWidth; ++x) CHECK(glyph_dot('\xC3', x, y) == glyph_dot('?', x, y));
}

TEST_CASE("rectangles, text and lines land where they should, and are cut off at the border") {
  Canvas c(40, 30);
  c.rectangle(-5, -5, 10, 8, kRed);
  CHECK(is(c.image(), 2, 4, kRed));
  CHECK(is(c.image(), 3, 4, kWhite));
  CHECK(count(c.image(), kRed) == 15);
  c.text(10, 10, "I", kBlack, 2);  // three dots wide in its middle row: only the stem
  CHECK(is(c.image(), 16, 14, kBlack));
  CHECK(is(c.image(), 16, 12, kWhite));
  CHECK(is(c.image(), 10, 12, kBlack));
  CHECK(Canvas::text_width("ab", 2) == 22);
  c.text(35, 25, "edge", kBlack, 3);
  c.text_upwards(-3, 200, "edge", kBlack, 3);

  Canvas d(21, 21);
  d.line(2, 10.5, 18, 10.5, kBlack, 1);
  CHECK(is(d.image(), 10, 10, kBlack));
  CHECK(is(d.image(), 9, 10, kWhite));
  d.line(10.5, -1e9, 10.5, 1e9, kRed, 1);
  CHECK(is(d.image(), 0, 10, kRed));
  CHECK(is(d.image(), 20, 10, kRed));
  d.line(NAN, 0, 5, 5, kRed);
  d.dot(5, 5, 3, kGray);
  CHECK(is(d.image(), 4, 4, kGray));
  CHECK(is(d.image(), 1, 1, kWhite));
  CHECK(message_of([] { Canvas(0, 5); }) == "[canvas] needs a size in 1..32768, got 0 x 5");
}

TEST_CASE("a chart shows its curves in their colors at their heights") {
  Series low{"low", {0, 10}, {1, 1}}, high{"high", {0, 10}, {3, 3}};
  const Tensor t = line_chart({low, high}, {.title = "Test", .x_label = "x", .y_label = "y"});
  REQUIRE(t.shape() == Shape{500, 900, 3});
  CHECK(count(t, kBlue) > 500);
  CHECK(count(t, kOrange) > 500);
  // y grows upwards: the column in the middle meets orange (3) before blue (1).
  int64_t orange = -1, blue = -1;
  for (int64_t y = 0; y < 500; ++y) {
    if (orange < 0 && is(t, y, 300, kOrange)) orange = y;
    if (blue < 0 && is(t, y, 300, kBlue)) blue = y;
  }
  CHECK(orange > 0);
  CHECK(blue > orange + 200);
}

TEST_CASE("charts of odd data are drawn all the same") {
  CHECK(line_chart({}, {}).shape() == Shape{500, 900, 3});
  CHECK(line_chart({{"empty", {}, {}}}, {}).shape() == Shape{500, 900, 3});
  const Tensor one = line_chart({{"", {1}, {2}}}, {});
  CHECK(count(one, kBlue) > 20);  // a single point is a dot
  const Tensor gap = line_chart({{"", {0, 1, 2, 3, 4}, {1, 1, NAN, INFINITY, 1}}}, {.width = 300, .height = 200});
  CHECK(gap.shape() == Shape{200, 300, 3});
  CHECK(count(gap, kBlue) > 10);
  CHECK(line_chart({{"tiny", {0, 1}, {1e-300, 2e-300}}, {"huge", {0, 1e300}, {0, 1e300}}}, {}).defined());
  CHECK(line_chart({{"flat", {0, 1}, {0, 0}}}, {}).defined());
  // A curve far outside y_min..y_max does not leave the frame.
  const Tensor clipped = line_chart({{"", {0, 1}, {-100, 100}}}, {.y_min = 0, .y_max = 1});
  for (int64_t x = 0; x < 900; ++x) {
    CHECK_FALSE(is(clipped, 3, x, kBlue));
    CHECK_FALSE(is(clipped, 496, x, kBlue));
  }
  CHECK(message_of([] {
          line_chart({{"s", {1, 2}, {1}}}, {});
        }) == "[line_chart] series s has 2 x values and 1 y values");
  CHECK(message_of([] { line_chart({}, {.width = 100}); }) ==
        "[line_chart] needs at least 200 x 150 pixels, got 100 x 500");
}

TEST_CASE("pictures are enlarged and stacked") {
  Canvas a(2, 1, kRed), b(3, 2, kBlue);
  const Tensor big = enlarged(a.image(), 4);
  CHECK(big.shape() == Shape{4, 8, 3});
  CHECK(count(big, kRed) == 32);
  const Tensor both = stack_pictures({a.image(), b.image()});
  REQUIRE(both.shape() == Shape{3, 3, 3});
  CHECK(is(both, 0, 1, kRed));
  CHECK(is(both, 0, 2, kWhite));
  CHECK(is(both, 2, 2, kBlue));
  CHECK(message_of([&] { enlarged(a.image(), 0); }) == "[enlarged] factor must lie in 1..1024, got 0");
  CHECK(message_of([] { stack_pictures({}); }) == "[stack_pictures] needs at least one picture");
}

TEST_CASE("a contact sheet marks what was predicted wrongly") {
  Canvas small(28, 28, kBlue), large(300, 200, kBlue);
  const Tile right = prediction_tile(small.image(), "coat", "coat"),
             wrong = prediction_tile(large.image(), "coat", "shirt");
  CHECK_FALSE(right.marked);
  CHECK(wrong.marked);
  CHECK(wrong.caption == std::vector<std::string>{"true: coat", "pred: shirt"});
  const Tensor good = contact_sheet({right, right}, 8, "Sheet"), bad = contact_sheet({right, wrong, right}, 2);
  CHECK(count(good, kRed) == 0);
  CHECK(count(good, kBlue) == 2 * 112 * 112);
  CHECK(count(bad, kRed) > 500);
  CHECK(bad.shape()[1] == 2 * (112 + 14) + 14);
  const Tile odd{small.image(), {std::string(500, 'w'), "\xC3\xA9t\xC3\xA9"}, false};
  CHECK(contact_sheet({odd}, 3).defined());
  CHECK(message_of([] { contact_sheet({}, 3); }) ==
        "[contact_sheet] needs at least one tile and one column, got 0 and 3");
  // What is drawn can be written and read again.
  const atlas_test::Scratch scratch;
  write_png(scratch / "sheet.png", bad);
  CHECK(read_image(scratch / "sheet.png").shape() == bad.shape());
}
