// Operations of groups. Every test holds for any number of processes: tools/dist_check.sh runs them with several.
#include "atlas/dist/group.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <cmath>

#include "atlas/ops/arithmetic.h"
#include "atlas/tensor/create.h"
#include "tests/compare.h"
#include "tests/dist/last_rank.h"

using namespace atlas;
using dist::Group;
using dist::Reduce;

TEST_CASE("a group knows its ranks") {
  const Group group = Group::world();
  CHECK(group.rank() >= 0);
  CHECK(group.rank() < group.size());
  CHECK(group.local_rank() == group.rank());  // tests run on one machine
  CHECK(group.local_size() == group.size());
  CHECK(group.first() == (group.rank() == 0));
  const std::vector<std::string> all = group.all_gather("rank " + std::to_string(group.rank()) + std::string(3, '!'));
  REQUIRE(static_cast<int>(all.size()) == group.size());
  for (int i = 0; i < group.size(); ++i)
    CHECK(all[static_cast<size_t>(i)] == "rank " + std::to_string(i) + std::string(3, '!'));
}

TEST_CASE("texts of different lengths are gathered") {
  const Group group = Group::world();
  const std::vector<std::string> all = group.all_gather(std::string(static_cast<size_t>(group.rank()), 'x'));
  for (size_t i = 0; i < all.size(); ++i) CHECK(all[i] == std::string(i, 'x'));
}

TEST_CASE("all_reduce sums, and finds the largest and the smallest") {
  const Group group = Group::world();
  const int n = group.size(), r = group.rank();
  for (const DType dtype : {float32, float64, bfloat16, int64}) {
    Tensor x = full({3, 2}, r + 1, dtype);
    x.slice(0, 1, 2).fill_(10 * r);
    const Tensor most = copy_of(x), least = copy_of(x);
    group.all_reduce(x);
    CHECK(x[0][1].item() == n * (n + 1) / 2);
    CHECK(x[1][0].item() == 10 * n * (n - 1) / 2);
    group.all_reduce(most, Reduce::max);
    CHECK(most[2][0].item() == n);
    group.all_reduce(least, Reduce::min);
    CHECK(least[2][0].item() == 1);
    CHECK(least[1][0].item() == 0);
  }
}

TEST_CASE("sums have the same bits on every rank, and in every call") {
  const Group group = Group::world();
  Generator g{7 + static_cast<uint64_t>(group.rank())};
  for (const int64_t size : {1, 1000, 300000}) {
    const Tensor x = randn({size}, float32, g);
    Tensor once = copy_of(x), later = copy_of(x), again = copy_of(x);
    group.all_reduce(once);
    group.start_all_reduce(later).wait();
    group.start_all_reduce(again).wait();
    CHECK(test::same_bits(later, again));
    CHECK(test::largest_difference(once, later) <= 1e-5);
    for (const Tensor& sum : {once, later}) {
      Tensor of_first = copy_of(sum);
      group.broadcast(of_first);
      CHECK(test::same_bits(of_first, sum));
    }
  }
}

TEST_CASE("sums of bfloat16 are rounded to it") {
  const Group group = Group::world();
  // 1 + 2^-7 is the next number after 1; a quarter of that step is lost.
  Tensor x = full({4}, group.first() ? 1 : 0x1p-9, bfloat16);
  group.all_reduce(x);
  CHECK(x[3].item() == 1);
  Tensor later = full({4}, group.first() ? 1 : 0x1p-7, bfloat16);
  group.start_all_reduce(later).wait();
  CHECK(later[0].item() == 1 + (group.size() - 1) * 0x1p-7);
  Tensor part = group.reduce_scatter(full({2 * group.size()}, 0.5, bfloat16));
  CHECK(part[1].item() == 0.5 * group.size());
}

TEST_CASE("several reductions are on their way at once") {
  const Group group = Group::world();
  std::vector<Tensor> x;
  std::vector<dist::PendingReduce> pending;
  for (int i = 0; i < 5; ++i) {
    x.push_back(full({10000}, i + group.rank()));
    pending.push_back(group.start_all_reduce(x.back()));
  }
  for (size_t i = pending.size(); i-- > 0;) pending[i].wait();
  const int n = group.size();
  for (int i = 0; i < 5; ++i) CHECK(x[static_cast<size_t>(i)][9999].item() == n * i + n * (n - 1) / 2);
}

TEST_CASE("reduce_scatter gives each rank its rows of the sum") {
  const Group group = Group::world();
  const int64_t n = group.size();
  const Tensor x = arange(2 * n * 3, float64).reshape({2 * n, 3}) + static_cast<double>(group.rank());
  const Tensor mine = group.reduce_scatter(x);
  REQUIRE(mine.shape() == Shape{2, 3});
  const auto sum_of_ranks = static_cast<double>(n * (n - 1) / 2);
  for (int64_t i = 0; i < 6; ++i)
    CHECK(mine.at<double>({i / 3, i % 3}) == static_cast<double>(n * (6 * group.rank() + i)) + sum_of_ranks);
}

TEST_CASE("all_gather puts ranks below each other") {
  const Group group = Group::world();
  const Tensor all = group.all_gather(full({2, 1}, group.rank(), int64));
  REQUIRE(all.shape() == Shape{2 * group.size(), 1});
  for (int64_t i = 0; i < all.size(0); ++i) CHECK(all.at<int64_t>({i, 0}) == i / 2);
}

TEST_CASE("broadcast sends what a rank has") {
  const Group group = Group::world();
  const int root = group.size() - 1;
  Tensor x = full({4}, group.rank()), bytes = full({5}, 3 + group.rank(), uint8);
  group.broadcast(x, root);
  group.broadcast(bytes, root);
  CHECK(x[3].item() == root);
  CHECK(bytes[4].item() == 3 + root);
  std::string text(static_cast<size_t>(group.rank()) + 1, 'a');
  group.broadcast(text, root);
  CHECK(text.size() == static_cast<size_t>(root) + 1);
  group.barrier();
}

TEST_CASE("operations count up the version of what they change") {
  const Group group = Group::world();
  Tensor x = ones({2});
  const auto before = x.impl().storage->version();
  group.all_reduce(x);
  CHECK(x.impl().storage->version() > before);
}

TEST_CASE("errors name the rank and the operation") {
  const Group group = Group::world();
  const std::string who = "rank " + std::to_string(group.rank()) + " of " + std::to_string(group.size()) + ": ";
  CHECK(test::message_of([&] { group.all_reduce(ones({2}, uint8)); }) ==
        "[all_reduce] " + who + "takes float32, float64, bfloat16 and int64 tensors, got uint8[2]");
  CHECK(test::message_of([&] {
          group.all_gather(ones({2, 3}).transpose(0, 1));
        }) == "[all_gather] " + who + "takes contiguous tensors, got float32[3,2] (x.contiguous())");
  CHECK(test::message_of([&] { group.all_gather(ones({})); }) ==
        "[all_gather] " + who + "needs an axis to join, got float32[]");
  CHECK(test::message_of([&] { group.broadcast(ones({1}), group.size()); }) ==
        "[broadcast] " + who + "there is no rank " + std::to_string(group.size()) + " to broadcast from");
  if (group.size() > 1)
    CHECK(test::message_of([&] { group.reduce_scatter(ones({group.size() + 1})); }) ==
          "[reduce_scatter] " + who + "the first axis of float32[" + std::to_string(group.size() + 1) +
              "] is not divisible by the number of ranks");
}

TEST_CASE("settings are compared, and the first that differs is named") {
  const Group group = Group::world();
  const bool last = group.rank() == group.size() - 1 && group.size() > 1;
  CHECK_NOTHROW(check_agree(group, "the run", {{"lr", "0.1"}, {"seed", ""}}));
  const auto compare = [&](const dist::Settings& settings) {
    return test::message_of([&] { check_agree(group, "the run", settings); });
  };
  const std::string who = test::last_differs(group, "run");
  const bool alone = group.size() == 1;
  CHECK(compare({{"lr", "0.1"}, {"seed", last ? "3" : "2"}}) ==
        (alone ? "no error" : who + "'seed' is 3, but 2 on rank 0"));
  CHECK(compare(last ? dist::Settings{{"lr", "1"}} : dist::Settings{{"lr", "1"}, {"seed", "2"}}) ==
        (alone ? "no error" : who + "it lacks 'seed'"));
  CHECK(compare(last ? dist::Settings{{"lr", "1"}, {"ema", "0"}} : dist::Settings{{"lr", "1"}}) ==
        (alone ? "no error" : who + "it has 'ema', which rank 0 lacks"));
}

// Run by processes_test.sh, with three and four processes.
TEST_CASE("hidden: rank 1 hangs" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  if (group.rank() == 1) pause();
  Tensor x = ones({2});
  group.all_reduce(x);
}

TEST_CASE("hidden: rank 1 hangs while some are operations ahead" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  if (group.rank() == 1) pause();
  Tensor x = ones({2});
  group.broadcast(x);  // who sends goes on
  group.all_reduce(x);
}

TEST_CASE("hidden: rank 1 hangs after it had waited" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  if (group.rank() == 2) sleep(2);
  group.barrier();
  if (group.rank() == 1) pause();
  group.barrier();
}

TEST_CASE("hidden: ranks call different operations" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  if (group.rank() == 1)
    group.start_all_reduce(ones({2})).wait();
  else
    group.barrier();
}

TEST_CASE("hidden: rank 0 is busy for long" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  if (group.first()) {
    const auto busy = group.busy();
    sleep(12);
  }
  group.barrier();
}

TEST_CASE("hidden: rank 0 is busy at its end" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  if (!group.first()) return;
  const auto busy = group.busy();
  sleep(12);
}

TEST_CASE("hidden: rank 0 is busy for a moment" * doctest::skip()) {
  const Group group = Group::world();
  if (group.first()) {
    const auto busy = group.busy();
    usleep(300'000);
  }
  group.barrier();
}

TEST_CASE("hidden: rank 1 hangs while rank 0 is busy" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  const auto busy = group.first() ? group.busy() : nullptr;
  if (group.rank() < 2) pause();
  group.barrier();
}

TEST_CASE("hidden: rank 0 is stopped while it is busy" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  if (group.first()) {
    const auto busy = group.busy();
    sleep(2);
    raise(SIGSTOP);
  }
  group.barrier();
}

TEST_CASE("hidden: rank 0 is busy without an end" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  if (group.first()) {
    const auto busy = group.busy();
    pause();
  }
  group.barrier();
}

TEST_CASE("hidden: rank 1 hangs after the last operation" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  if (group.rank() == 1) pause();
}

TEST_CASE("hidden: rank 1 ends early" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  if (group.rank() == 1) return;
  Tensor x = ones({2});
  group.all_reduce(x);
}

TEST_CASE("hidden: ranks gather different sizes" * doctest::skip()) {
  const Group group = Group::world();
  group.all_gather(ones({2 + group.rank()}));
}

TEST_CASE("hidden: rank 1 dies" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  if (group.rank() == 1) raise(SIGKILL);
  group.barrier();
}

TEST_CASE("hidden: rank 1 fails" * doctest::skip()) {
  const Group group = Group::world();
  group.barrier();
  if (group.rank() == 1) fail("test", "this rank fails");
  group.barrier();
}
