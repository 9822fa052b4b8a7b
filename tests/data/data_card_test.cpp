// Data cards: counts, sizes, orientations, broken files and duplicates of a folder, as lines and as a sheet.
#include "atlas/data/data_card.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "atlas/core/parallel.h"
#include "tests/data/data_test.h"
#include "tests/data/encode.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;
using atlas_test::Scratch;

namespace {

Bytes picture(int width, int height, uint8_t value) {
  return atlas_test::bmp(width, height, Bytes(static_cast<size_t>(3 * width * height), value));
}

/// A JPEG file with an EXIF block that says how it is to be turned.
Bytes turned(int width, int height, uint8_t orientation) {
  Bytes file = atlas_test::jpeg(width, height, Bytes(static_cast<size_t>(3 * width * height), 90));
  const Bytes exif = {0xFF, 0xE1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M',         0, 42, 0, 0, 0, 8,
                      0,    1,    1, 18, 0,   3,   0,   0,   0, 1, 0,   orientation, 0, 0,  0, 0, 0, 0};
  file.insert(file.begin() + 2, exif.begin(), exif.end());
  return file;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void fill(const Scratch& s) {
  s.write("train/cat/1.bmp", picture(8, 6, 1));
  s.write("train/cat/2.jpg", turned(40, 24, 6));
  s.write("train/cat/copy.bmp", picture(8, 6, 1));
  s.write("train/dog/1.bmp", picture(100, 50, 2));
  s.write("train/dog/x.webp", {'R', 'I', 'F', 'F'});
  s.write("train/emu/notes.txt", {'x'});
  s.write("val/cat/1.bmp", picture(16, 16, 3));
  s.write("val/dog/1.bmp", picture(8, 6, 1));  // a training image, under another name
  Bytes cut = picture(8, 8, 7);
  cut.resize(100);
  s.write("val/dog/cut.bmp", cut);
}

}  // namespace

TEST_CASE("a card counts classes, sizes, formats and orientations of both halves") {
  const Scratch s;
  fill(s);
  std::vector<int64_t> seen;
  const DataCard card = make_data_card(s.path(), {.progress = [&](int64_t done, int64_t all) {
                                         CHECK(all == 7);
                                         seen.push_back(done);
                                       }});
  CHECK(card.halves == std::vector<std::string>{"train", "val"});
  CHECK(card.classes == std::vector<std::string>{"cat", "dog", "emu"});
  CHECK(card.counts == std::vector<std::vector<int64_t>>{{3, 1, 0}, {1, 2, 0}});
  CHECK(card.left_out == std::vector<std::string>{s / "train/dog/x.webp"});
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  CHECK(seen.back() == 7);
  REQUIRE(card.files.size() == 7);
  const CardFile& photo = card.files[1];
  CHECK(photo.path == s / "train/cat/2.jpg");
  CHECK(photo.format == ImageInfo::Format::jpeg);
  CHECK(photo.orientation == 6);
  CHECK(photo.width == 24);  // as it is shown
  CHECK(photo.height == 40);
  CHECK(card.readable().size() == 6);
  CHECK(has(card.files[6].error, "val/dog/cut.bmp: BMP is cut short"));
  const std::vector<SizeBar> bars = size_histogram(card);
  REQUIRE(bars.size() == 4);
  CHECK(bars[0].from == 4);  // 8 x 6, three times
  CHECK(bars[0].to == 7);
  CHECK(bars[0].images == 3);
  CHECK(bars[1].images == 0);
  CHECK(bars[2].images == 2);  // 24 x 40 and 16 x 16
  CHECK(bars[3].images == 1);  // 100 x 50
}

TEST_CASE("pictures that are there twice are found, also between halves and classes") {
  const Scratch s;
  fill(s);
  const int before = num_threads();
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    const DataCard card = make_data_card(s.path());
    REQUIRE(card.duplicates.size() == 1);
    CHECK(card.duplicates[0].files == std::vector<size_t>{0, 2, 5});
    CHECK(card.duplicates[0].across_halves);
    CHECK(card.duplicates[0].across_classes);
  }
  set_num_threads(before);
  // As many bytes, but others: no duplicates.
  const Scratch other;
  other.write("a/1.bmp", picture(8, 6, 1));
  other.write("b/1.bmp", picture(8, 6, 2));
  CHECK(make_data_card(other.path()).duplicates.empty());
}

TEST_CASE("the card as lines names what is wrong") {
  const Scratch s;
  fill(s);
  const std::string text = to_text(make_data_card(s.path()));
  CHECK(has(text, ": 7 images of 3 classes, "));
  CHECK(has(text,
            "class     train       val\n"
            "cat           3         1\n"
            "dog           1         2\n"
            "emu           0         0\n"));
  CHECK(has(text,
            "                  smallest    median   largest\n"
            "width                    8         8       100\n"
            "height                   6         6        50\n"));
  CHECK(has(text, "formats         bmp 5  jpeg 1"));
  CHECK(has(text, "orientation     upright 5  EXIF 6: 1"));
  CHECK(has(text, "1 file is left out, not .jpg, .jpeg, .png or .bmp: train/dog/x.webp"));
  CHECK(has(text, "empty classes   train/emu, val/emu\n"));
  CHECK(has(text, "broken files    1\n  [image] " + s / "val/dog/cut.bmp"));
  CHECK(has(text, "  train/cat/1.bmp = train/cat/copy.bmp = val/dog/1.bmp  (in both halves, as different classes)\n"));
}

TEST_CASE("of many classes the smallest and the largest are shown") {
  const Scratch s;
  for (int c = 0; c < 61; ++c)
    for (int i = 0; i <= (c == 7 ? 2 : c == 9 ? 0 : 1); ++i)
      s.write(fmt::format("c{:02}/{}.bmp", c, i), picture(4, 4, static_cast<uint8_t>(3 * c + i)));
  const std::string text = to_text(make_data_card(s.path()));
  CHECK(has(text, "class    images\nc09           1\nc00           2\n"));
  CHECK(has(text, "... 31 classes ...\n"));
  CHECK(has(text, "c60           2\nc07           3\n\n"));
  CHECK(has(text, "broken files    none\nduplicates      none\n"));
}

TEST_CASE("a list restricts the card, damage inside is found by decoding, and folders that are none are refused") {
  const Scratch s;
  fill(s);
  const std::string text = "dog\n", file = s.write("list.txt", {text.begin(), text.end()});
  const DataCard card = make_data_card(s.path(), {.class_list = file});
  CHECK(card.classes == std::vector<std::string>{"dog"});
  CHECK(card.files.size() == 3);

  // A PNG whose chunks are whole, but whose pixels are no data: its header and check sums say nothing of that.
  const Scratch inside;
  inside.write("a/1.png", atlas_test::png(4, 4, 8, 2, Bytes(7, 9)));
  inside.write("b/1.bmp", picture(4, 4, 1));
  CHECK(make_data_card(inside.path()).files[0].error.empty());
  CHECK(has(make_data_card(inside.path(), {.decode = true}).files[0].error, "a/1.png"));

  CHECK(message_of([&] { make_data_card(s.path() + "/none"); }) ==
        fmt::format("[data_card] {}/none: no such folder", s.path()));
  const Scratch nothing;
  nothing.write("a/x.gif", {'G'});
  CHECK(has(message_of([&] { make_data_card(nothing.path()); }), "no images (expected a subfolder per class"));
  CHECK(has(message_of([&] { make_data_card(nothing.path()); }), "a/x.gif"));
}

TEST_CASE("names with line breaks leave the card's lines whole") {
  const Scratch s;
  s.write("a\nb/1.bmp", picture(4, 4, 1));
  s.write("a\nb/2\n.bmp", picture(4, 4, 1));
  s.write("c/x\x1b[31m.bmp", {'B'});
  const std::string text = to_text(make_data_card(s.path()));
  CHECK(has(text, "\na\\x0ab         2\n"));
  CHECK(has(text, "/c/x\\x1b[31m.bmp: "));
  CHECK(has(text, "  a\\x0ab/1.bmp = a\\x0ab/2\\x0a.bmp\n"));
}

TEST_CASE("the sheet shows pictures of every class") {
  const Scratch s;
  fill(s);
  const DataCard card = make_data_card(s.path());
  const Tensor two = card_sheet(card, 2), one = card_sheet(card, 1);
  CHECK(one.size(0) < two.size(0) + 1);
  CHECK(one.size(1) < two.size(1));  // two classes side by side: 2 tiles, 4 tiles
  CHECK(card_sheet(card, 2, 1).size(1) < one.size(1));
  CHECK(message_of([&] { card_sheet(card, 0); }) ==
        "[card_sheet] needs at least one picture, got 0 of each class and 1000 in all");
}
