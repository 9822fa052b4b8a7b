// How long ranks wait for each other.
#include "atlas/dist/waits.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "atlas/train/observers.h"
#include "tests/data/data_test.h"
#include "tests/dist/slow_rank.h"

using namespace atlas;
using dist::Group;
using dist::detail::Waits;

TEST_CASE("waits that overlap count once, in any order") {
  Waits waits;
  CHECK(waits.total() == 0);
  waits.add(10, 12);
  waits.add(11, 13);  // a device, while the host waits too
  waits.add(11.5, 12.5);
  waits.add(4, 5);
  CHECK(waits.total() == 4);
  waits.add(3, 13.5);  // up to 13 it was added up already
  waits.add(std::nan(""), 20);
  waits.add(20, std::nan(""));
  waits.add(30, 29);
  CHECK(waits.total() == 4.5);
  for (int i = 0; i < 200000; ++i) waits.add(100 + i, 100.5 + i);
  CHECK(waits.total() == 100004.5);
}

TEST_CASE("the slow rank of several is found: the others' time is without their waiting for it") {
  const Group group = Group::world();
  const test::StepTimes times = test::times_with_slow_rank(group, Device{}, 0.3);
  CHECK(times.slowest >= 0.3);
  CHECK(times.slowest_rank == group.size() - 1);
  if (group.size() > 1)
    CHECK(times.fastest < times.slowest - 0.2);
  else
    CHECK(times.fastest == times.slowest);
}

TEST_CASE("the log names the slow rank, and goes on with the columns that it has") {
  const Group group = Group::world();
  const atlas_test::Scratch folder;
  train::EpochLog log(folder.path());
  test::times_with_slow_rank(group, Device{}, 0.1, &log);
  const auto value = [](const train::LogRow& row, const char* name) {
    const auto found = std::find_if(row.begin(), row.end(), [&](const auto& cell) { return cell.first == name; });
    return std::string(found == row.end()                               ? "none"
                       : std::holds_alternative<int64_t>(found->second) ? "whole number"
                                                                        : "number");
  };
  const bool several = group.size() > 1;
  const train::LogRow row = log.log().rows().at(0);
  CHECK(value(row, "fastest_step_seconds") == (several ? "number" : "none"));
  CHECK(value(row, "slowest_step_seconds") == (several ? "number" : "none"));
  CHECK(value(row, "slowest_rank") == (several ? "whole number" : "none"));
  // As an earlier version wrote it, which did not say which rank that was.
  train::LogRow older = row;
  std::get<int64_t>(older[0].second) = 0;
  std::erase_if(older, [](const auto& cell) { return cell.first == "slowest_rank"; });
  train::RunLog(folder.path()).write(older);
  train::EpochLog again(folder.path(), 0);
  test::times_with_slow_rank(group, Device{}, 0, &again);
  REQUIRE(again.log().rows().size() == 2);
  CHECK(value(again.log().rows()[1], "slowest_step_seconds") == (several ? "number" : "none"));
  CHECK(value(again.log().rows()[1], "slowest_rank") == "none");
}
