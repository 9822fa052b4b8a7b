// Index pictures: numbers come back as they were, whatever a file's depth, filter and order of pixels; what is no index
// picture is refused with advice.
// ctest-device: cpu
#include "atlas/data/index_png.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <array>

#include "atlas/data/png_chunks-inl.h"
#include "atlas/tensor/create.h"
#include "tests/compare.h"

using namespace atlas;
using namespace atlas::data;
using test::message_of;

namespace {

Tensor numbers(int64_t height, int64_t width, int64_t below) {
  Tensor t = empty({height, width}, uint8);
  for (int64_t i = 0; i < t.numel(); ++i) t.data<uint8_t>()[i] = static_cast<uint8_t>((i * i * 7 + 3 * i) % below);
  return t;
}

/// Changes bytes of the header, and its check sum.
Bytes with_header(Bytes png, uint8_t bits, uint8_t color, uint8_t interlace = 0) {
  png[24] = bits, png[25] = color, png[28] = interlace;
  const auto sum = static_cast<uint32_t>(::crc32_z(0, png.data() + 12, 17));
  for (size_t i = 0; i < 4; ++i) png[29 + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
  return png;
}

void check_same(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  REQUIRE(a.dtype() == b.dtype());
  CHECK(std::equal(a.data<uint8_t>(), a.data<uint8_t>() + a.numel(), b.data<uint8_t>()));
}

}  // namespace

TEST_CASE("a map with a palette comes back as it was; so do the gray values of a picture") {
  const Tensor map = numbers(37, 53, 256);
  check_same(decode_index_png(encode_index_png(map, {{1, 2, 3}}), "a"), map);
  check_same(decode_index_png(encode_png(map), "b"), map);  // with the filters sub and up
  CHECK(message_of([&] {
          encode_index_png(full({2, 2}, 700, int64), {});
        }).find("have room for 0 to 255") != std::string::npos);
}

TEST_CASE("a map of more classes than a palette has colors is written with 16 bits, and comes back") {
  Tensor map = full({3, 70}, 0, int64);
  for (int64_t i = 0; i < map.numel(); ++i) map.data<int64_t>()[i] = i * 65535 / (map.numel() - 1);
  const Tensor back = decode_index_png(encode_index_png(map, std::vector<Color>(257)), "wide");
  REQUIRE(back.dtype() == int64);
  CHECK(to_vector<int64_t>(back) == to_vector<int64_t>(map));
  CHECK(decode_index_png(encode_index_png(full({1, 1}, 3, int64), std::vector<Color>(256)), "narrow").dtype() == uint8);
  CHECK(message_of([&] {
          encode_index_png(full({1, 1}, 65536, int64), std::vector<Color>(257));
        }).find("have room for 0 to 65535") != std::string::npos);
}

TEST_CASE("every filter is undone") {
  // Each row under another filter; a plain decoder's formulas the other way round.
  const Tensor map = numbers(5, 9, 251);
  Bytes raw;
  for (int64_t y = 0; y < 5; ++y) {
    raw.push_back(static_cast<uint8_t>(y));
    for (int64_t x = 0; x < 9; ++x) {
      const auto at = [&](int64_t r, int64_t c) { return r < 0 || c < 0 ? 0 : int{map.data<uint8_t>()[r * 9 + c]}; };
      const int left = at(y, x - 1), up = at(y - 1, x), corner = at(y - 1, x - 1), p = left + up - corner;
      const int paeth = std::abs(p - left) <= std::abs(p - up) && std::abs(p - left) <= std::abs(p - corner) ? left
                        : std::abs(p - up) <= std::abs(p - corner)                                           ? up
                                                                                                             : corner;
      const std::array<int, 5> guess = {0, left, up, (left + up) / 2, paeth};
      raw.push_back(static_cast<uint8_t>(at(y, x) - guess[static_cast<size_t>(y)]));
    }
  }
  check_same(decode_index_png(data::detail::png_file(5, 9, 0, {}, raw), "filters"), map);
}

TEST_CASE("few bits a pixel are numbers, not shades; sixteen bits fit, too; interlaced files are put together") {
  // Two rows of five pixels with two bits: 0 1 2 3 0 / 3 2 1 0 3.
  const Bytes two =
      with_header(data::detail::png_file(2, 5, 0, {}, Bytes{0, 0b00011011, 0, 0, 0b11100100, 0b11000000}), 2, 0);
  const Tensor small = decode_index_png(two, "two");
  const std::vector<uint8_t> expected = {0, 1, 2, 3, 0, 3, 2, 1, 0, 3};
  CHECK(std::equal(expected.begin(), expected.end(), small.data<uint8_t>()));
  const Tensor wide =
      decode_index_png(with_header(data::detail::png_file(1, 2, 0, {}, Bytes{0, 1, 2, 255, 254}), 16, 0), "wide");
  CHECK(wide.dtype() == int64);
  CHECK(wide.at<int64_t>({0, 0}) == 258);
  CHECK(wide.at<int64_t>({0, 1}) == 65534);
  // Adam7 of 2 x 2: pixel (0, 0) in pass 1, (0, 1) in pass 6, row 1 in pass 7.
  const Tensor woven =
      decode_index_png(with_header(data::detail::png_file(2, 2, 0, {}, Bytes{0, 9, 0, 8, 0, 7, 6}), 8, 0, 1), "w");
  const std::vector<uint8_t> order = {9, 8, 7, 6};
  CHECK(std::equal(order.begin(), order.end(), woven.data<uint8_t>()));
}

TEST_CASE("what is no index picture is refused by name") {
  const auto refused = [](const Bytes& bytes, const std::string& text) {
    const std::string message = message_of([&] { decode_index_png(bytes, "mask.png"); });
    CHECK_MESSAGE(message.find(text) != std::string::npos, message);
    CHECK(message.find("mask.png") != std::string::npos);
  };
  refused(encode_png(full({2, 2, 3}, 7, uint8)), "is a PNG file in RGB; a mask has one number per pixel");
  refused(Bytes{0xFF, 0xD8, 0xFF, 0xE0}, "is no PNG file");
  refused(Bytes{}, "is no PNG file");
  const Bytes good = encode_png(numbers(4, 4, 4));
  refused(with_header(good, 3, 0), "makes no sense");
  refused(with_header(good, 16, 3), "makes no sense");
  refused(Bytes(good.begin(), good.begin() + 40), "cut short");
  refused(data::detail::png_file(4, 4, 0, {}, Bytes(12)), "holds 12 bytes of pixels, its header says 20");
  refused(data::detail::png_file(4, 4, 0, {}, Bytes(40)), "more pixels than its header says");
  refused(data::detail::png_file(1, 1, 0, {}, Bytes{7, 0}), "the filter 7");
}
