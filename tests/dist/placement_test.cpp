// Which cores and which device a process gets.
#include "atlas/dist/placement.h"

#include <doctest/doctest.h>
#include <sched.h>

#include <set>
#include <string>
#include <utility>

#include "tests/compare.h"

using namespace atlas;
using dist::Group;
using dist::detail::Cpu;
using dist::detail::Seen;

namespace {

using Numbers = std::vector<int>;

/// `packages` times `cores` cores of two threads, numbered as usual: all first threads, then all second ones.
std::vector<Cpu> usual(int packages, int cores) {
  std::vector<Cpu> cpus;
  for (int thread = 0; thread < 2; ++thread)
    for (int p = 0; p < packages; ++p)
      for (int c = 0; c < cores; ++c) cpus.push_back({static_cast<int>(cpus.size()), p, c});
  return cpus;
}

/// The numbers of the devices of all ranks.
Numbers devices_of(const std::vector<Seen>& ranks) {
  Numbers found;
  for (int rank = 0; rank < static_cast<int>(ranks.size()); ++rank)
    found.push_back(dist::detail::device_index(ranks, rank));
  return found;
}

}  // namespace

// Run by processes_test.sh, with processes that were given one CPU together.
TEST_CASE("hidden: one CPU for all" * doctest::skip()) {
  const Group group = Group::world();
  CHECK(dist::place_process(group) == 1);
  std::string mine;
  cpu_set_t set;
  REQUIRE(sched_getaffinity(0, sizeof set, &set) == 0);
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &set)) mine += std::to_string(i) + ",";
  CHECK(CPU_COUNT(&set) == 1);
  for (const std::string& other : group.all_gather(mine)) CHECK(other == mine);
}

TEST_CASE("threads of a core, and cores of a package, are neighbors") {
  using dist::detail::in_order;
  CHECK(in_order(usual(1, 4)) == Numbers{0, 4, 1, 5, 2, 6, 3, 7});
  CHECK(in_order(usual(2, 2)) == Numbers{0, 4, 1, 5, 2, 6, 3, 7});
  // Packages alternate, core numbers have gaps, one thread each; a mask leaves some out.
  CHECK(in_order({{1, 1, 0}, {0, 0, 8}, {2, 0, 3}, {5, 1, 9}}) == Numbers{2, 0, 1, 5});
  // Where the place of one is not known, numbers alone count.
  CHECK(in_order({{3, 0, 0}, {2, 1, 0}, {0, 0, -1}, {1, 0, 1}}) == Numbers{0, 1, 2, 3});
  CHECK(in_order({}).empty());
}

TEST_CASE("two processes of a machine do not compute on the same cores") {
  const std::vector<Cpu> cpus = usual(2, 3);
  const std::vector<std::string> both = {"a", "a"};
  std::set<std::pair<int, int>> first;
  for (const int n : dist::detail::part_of(dist::detail::in_order(cpus), both, 0))
    first.insert({cpus[static_cast<size_t>(n)].package, cpus[static_cast<size_t>(n)].core});
  CHECK(first == std::set<std::pair<int, int>>{{0, 0}, {0, 1}, {0, 2}});
  for (const int n : dist::detail::part_of(dist::detail::in_order(cpus), both, 1))
    CHECK(cpus[static_cast<size_t>(n)].package == 1);
}

TEST_CASE("cores are divided without gaps, and as evenly as can be") {
  for (const int cores : {2, 7, 64})
    for (const int count : {1, 2, 3, 7}) {
      Numbers mine, together;
      for (int i = 0; i < cores; ++i) mine.push_back(i);
      const std::vector<std::string> ranks(static_cast<size_t>(count), "a");
      for (int i = 0; i < count; ++i) {
        const Numbers part = dist::detail::part_of(mine, ranks, i);
        if (count > cores) {
          CHECK(part.empty());
          continue;
        }
        CHECK(std::ssize(part) >= cores / count);
        CHECK(std::ssize(part) <= cores / count + 1);
        together.insert(together.end(), part.begin(), part.end());
      }
      if (count <= cores) CHECK(together == mine);
    }
}

TEST_CASE("cores that a launcher gave to several processes are divided among these alone") {
  using dist::detail::part_of;
  // Two sockets of a machine, two ranks on each, and another machine with the same numbers.
  const std::vector<std::string> ranks = {"a:0,1,2,3", "a:4,5,6,7", "a:0,1,2,3", "a:4,5,6,7", "b:0,1,2,3"};
  CHECK(part_of({0, 1, 2, 3}, ranks, 0) == Numbers{0, 1});
  CHECK(part_of({0, 1, 2, 3}, ranks, 2) == Numbers{2, 3});
  CHECK(part_of({4, 5, 6, 7}, ranks, 1) == Numbers{4, 5});
  CHECK(part_of({4, 5, 6, 7}, ranks, 3) == Numbers{6, 7});
  CHECK(part_of({0, 1, 2, 3}, ranks, 4) == Numbers{0, 1, 2, 3});
}

TEST_CASE("processes of a machine take a device each") {
  // All see all.
  CHECK(devices_of({{"a", {"1", "2"}}, {"a", {"1", "2"}}, {"b", {"1", "2", "3"}}, {"b", {"1", "2", "3"}}}) ==
        Numbers{0, 1, 0, 1});
  // Each sees its own, whatever its number.
  CHECK(devices_of({{"a", {"1"}}, {"a", {"2"}}, {"a", {"3"}}}) == Numbers{0, 0, 0});
  // Sets overlap, or are in another order.
  CHECK(devices_of({{"a", {"1", "2"}}, {"a", {"2", "3"}}, {"a", {"2", "3"}}}) == Numbers{0, 0, 1});
  CHECK(devices_of({{"a", {"1", "2"}}, {"a", {"2", "1"}}}) == Numbers{0, 0});
  // Ranks that compute elsewhere see none.
  CHECK(devices_of({{"a"}, {"a", {"1"}}, {"a"}}) == Numbers{0, 0, 0});
}

TEST_CASE("too few devices are refused on every rank") {
  const std::vector<Seen> many = {{"a", {"1", "2", "3"}}, {"b", {"1"}}, {"b", {"1"}}};
  const std::vector<Seen> taken = {{"a", {"1", "2"}}, {"a", {"1"}}};
  for (int rank = 0; rank < 3; ++rank)
    CHECK(test::message_of([&] { dist::detail::device_index(many, rank); }) ==
          "[device] 2 processes were started on a machine with 1 CUDA device: each takes one of its own (start 1, or "
          "use --device cpu)");
  for (int rank = 0; rank < 2; ++rank)
    CHECK(test::message_of([&] { dist::detail::device_index(taken, rank); }) ==
          "[device] rank 1 sees 1 CUDA device, which lower ranks of its machine take: let it see another one "
          "(CUDA_VISIBLE_DEVICES)");
  const Group group = Group::world();
  CHECK(dist::place_device(group, "cpu") == Device{});
  CHECK(test::message_of([&] { dist::place_device(group, "gpu"); }) != "no error");
}
