// Event files: check sums, and records byte for byte as TensorBoard 2.21's own classes write them
// (tensorboard.compat.proto, tensorboard.summary.writer.record_writer).
#include "atlas/io/event_file.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "atlas/data/text.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::io;
using atlas_test::message_of;
using atlas_test::Scratch;

namespace {

constexpr double kWall = 1700000000.25;

std::string hex(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return text;
}

}  // namespace

TEST_CASE("the check sum is that of RFC 3720") {
  CHECK(crc32c("") == 0);
  CHECK(crc32c("123456789") == 0xe3069283u);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aau);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
}

TEST_CASE("records are TensorBoard's, byte for byte") {
  CHECK(hex(tfrecord(event::version(kWall))) ==
        "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9");
  CHECK(hex(tfrecord(event::scalar(kWall, 300, "loss/train", 0.5))) ==
        "2100000000000000017becf60900001040fc54d94110ac022a130a110a0a6c6f73732f747261696e150000003f85520754");
  const Histogram h{-1, 3, 4, 4, 12, {-1, 1, 3}, {0, 2, 2}};
  CHECK(
      hex(tfrecord(event::histogram(kWall, 7, "weights/a", h))) ==
      "7d0000000000000061558d7e0900001040fc54d94110072a700a6e0a09776569676874732f612a6109000000000000f0bf11000000000000"
      "08401900000000000010402100000000000010402900000000000028403218000000000000f0bf000000000000f03f00000000000008403a"
      "18000000000000000000000000000000400000000000000040b06363ef");
  CHECK(
      hex(tfrecord(event::picture(kWall, 7, "predictions", "\x89PNG", 300, 2))) ==
      "2b00000000000000861bc34b0900001040fc54d94110072a1e0a1c0a0b70726564696374696f6e73220d080210ac021803220489504e47e2"
      "5accbf");
  CHECK(hex(tfrecord(event::session_start(kWall, 9))) ==
        "0f000000000000006d532b090900001040fc54d94110093a0208010fe79fa2");
}

TEST_CASE("histograms count every finite value once") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> values = {-1, 3, 1, 1, nan, 0, std::numeric_limits<float>::infinity()};
  const Histogram h = Histogram::of(values, 2);
  CHECK(h.smallest == -1);
  CHECK(h.largest == 3);
  CHECK(h.count == 5);
  CHECK(h.sum == 4);
  CHECK(h.sum_of_squares == 12);
  CHECK(h.limits == std::vector<double>{-1, 1, 3});
  CHECK(h.counts == std::vector<double>{0, 4, 1});  // up to its limit, it included

  std::vector<float> many;
  for (int i = 0; i < 1000; ++i) many.push_back(std::sin(static_cast<float>(i)) * 1e-3f);
  const Histogram spread = Histogram::of(many);
  REQUIRE(spread.counts.size() == 65);
  REQUIRE(spread.limits.size() == 65);
  double all = 0;
  for (size_t i = 0; i < spread.counts.size(); ++i) {
    double inside = 0;
    for (const float v : many)
      inside += v <= spread.limits[i] && (i == 0 ? v < spread.smallest : v > spread.limits[i - 1]) ? 1 : 0;
    if (i == 1) inside += 1;                          // the smallest itself
    CHECK(std::abs(spread.counts[i] - inside) <= 1);  // a value at a limit may fall to either side by rounding
    all += spread.counts[i];
  }
  CHECK(all == 1000);

  const std::vector<float> same = {2, 2, 2}, none = {nan};
  CHECK(Histogram::of(same).counts == std::vector<double>{0, 3});
  CHECK(Histogram::of(same).limits[0] < 2);
  CHECK(Histogram::of(same).limits[1] > 2);
  CHECK(Histogram::of(none).count == 0);
  CHECK(Histogram::of(none).limits.empty());
  CHECK(message_of([&] { Histogram::of(same, 0); }) == "[histogram] needs at least one bar, got 0");
}

TEST_CASE("a file grows by whole records, and another one gets another name") {
  const Scratch scratch;
  const auto clock = [] { return kWall; };
  EventFile file(scratch.path(), clock);
  const std::string name = std::filesystem::path(file.path()).filename().string();
  CHECK(name.starts_with("events.out.tfevents.1700000000."));
  file.scalar(300, "loss/train", 0.5);
  const std::string so_far = tfrecord(event::version(kWall)) + tfrecord(event::scalar(kWall, 300, "loss/train", 0.5));
  CHECK(data::read_file(file.path()) == data::Bytes(so_far.begin(), so_far.end()));  // at once, for who watches
  CHECK(EventFile(scratch.path(), clock).path() != file.path());
  CHECK(message_of([&] { EventFile(scratch / "none", clock); }).find("No such file or directory") != std::string::npos);
}
