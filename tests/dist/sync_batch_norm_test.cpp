// Synchronized batch norm: parts of a batch give what the whole batch gives, forward, backward and in the statistics.
#include "atlas/dist/sync_batch_norm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <optional>
#include <utility>

#include "atlas/autograd/backward.h"
#include "atlas/dist/data_parallel.h"
#include "atlas/nn/linear.h"
#include "atlas/nn/norm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/shape.h"
#include "tests/compare.h"

using namespace atlas;
using dist::Group;
using dist::SyncBatchNorm;

namespace {

/// One value of batch norm's output, for rank `rank`'s two values rank and rank + 3.
double normalized(const Group& group, bool asks) {
  BatchNorm2d norm(1);
  norm.train();
  const auto r = static_cast<double>(group.rank());
  const Tensor x = from_vector<double>({r, r + 3}, {2, 1, 1, 1}, Device{}).to(float32);
  std::optional<atlas::detail::SharedStatistics> shared;
  if (asks) shared.emplace();
  return norm(x).detach().flatten()[0].to(float64).item();
}

/// Rank r has r + 1 images: the parts differ in size. This one's begins here.
int64_t first_of(int rank) { return static_cast<int64_t>(rank) * (rank + 1) / 2; }

void compare(const Group& group, DType dtype, Activation activation, double tolerance) {
  Generator g{9};
  const int64_t images = first_of(group.size()) + (group.size() == 1 ? 1 : 0);
  const Tensor x = (randn({images, 3, 2, 5}, float64, g) * 2.0 + 30.0).to(dtype);
  const Tensor dy = randn({images, 3, 2, 5}, float64, g).to(dtype);
  const int64_t begin = first_of(group.rank()), end = group.size() == 1 ? images : first_of(group.rank() + 1);

  BatchNorm2d norm(5), whole(5);
  for (BatchNorm2d* n : {&norm, &whole}) {
    n->to(dtype);
    n->train();
    Generator values{3};
    n->weight.detach().copy_(uniform({5}, 0.5, 1.5, dtype, values));
    n->bias.detach().copy_(uniform({5}, -0.5, 0.5, dtype, values));
  }
  Tensor all = copy_of(x), part = copy_of(x.slice(0, begin, end));
  all.set_requires_grad();
  part.set_requires_grad();
  const Tensor expected = whole.activated(all, activation);
  expected.backward(dy);
  Tensor y;
  {
    const SyncBatchNorm together(group);
    y = norm.activated(part, activation);
  }
  y.backward(copy_of(dy.slice(0, begin, end)));

  CHECK(test::largest_difference(y, expected.slice(0, begin, end)) <= tolerance);
  CHECK(test::largest_difference(part.grad(), all.grad().slice(0, begin, end)) <= tolerance);
  CHECK(test::largest_difference(norm.running_mean, whole.running_mean) <= tolerance);
  CHECK(test::largest_difference(norm.running_var, whole.running_var) <= tolerance);
  for (const auto& [ours, theirs] : {std::pair{norm.weight, whole.weight}, std::pair{norm.bias, whole.bias}}) {
    const Tensor sum = copy_of(ours.grad());
    group.all_reduce(sum);
    CHECK(test::largest_difference(sum, theirs.grad()) <= 20 * tolerance);
  }
  for (const Tensor& t : {norm.running_mean, norm.running_var}) {
    Tensor of_first = copy_of(t);
    group.broadcast(of_first);
    CHECK(test::same_bits(of_first, t));
  }
}

}  // namespace

TEST_CASE("parts of different sizes give what the whole batch gives") {
  const Group group = Group::world();
  for (const Activation activation : {Activation::none, Activation::relu}) {
    compare(group, float64, activation, 1e-11);
    compare(group, float32, activation, 2e-5);
  }
}

TEST_CASE("outside of its scope, and in inference, a rank has its own statistics") {
  const Group group = Group::world();
  BatchNorm2d norm(2);
  norm.train();
  const Tensor x = full({4, 2}, group.rank());
  norm(x);
  CHECK(norm.running_mean[0].item() == doctest::Approx(0.1 * group.rank()));
  norm.eval();
  const SyncBatchNorm together(group);
  if (group.first()) norm(x);  // no other rank takes part
}

TEST_CASE("one value per rank is enough where there are several") {
  const Group group = Group::world();
  if (group.size() == 1) {
    MESSAGE("one process has nobody to compare with: not tried");
    return;
  }
  BatchNorm2d norm(1);
  norm.train();
  const SyncBatchNorm together(group);
  const Tensor y = norm(full({1, 1}, group.rank()));
  Tensor sum = copy_of(y);
  group.all_reduce(sum);
  CHECK(std::abs(sum.item()) <= 1e-5);
}

TEST_CASE("layers that ask for it share their statistics with those who work together, others do not") {
  const Group group = Group::world();
  const double alone = normalized(group, false);
  CHECK(normalized(group, true) == alone);  // nobody works together yet
  Linear net(2, 3);
  {
    const dist::DataParallel parallel(net, group);
    CHECK(normalized(group, false) == alone);
    // Values r and r + 3 of ranks 0 .. n - 1: mean (n - 1) / 2 + 1.5, variance (n^2 - 1) / 12 + 2.25.
    const auto n = static_cast<double>(group.size()), r = static_cast<double>(group.rank());
    const double expected = (r - (n - 1) / 2 - 1.5) / std::sqrt((n * n - 1) / 12 + 2.25 + 1e-5);
    CHECK(normalized(group, true) == doctest::Approx(expected).epsilon(1e-5));
  }
  CHECK(normalized(group, true) == alone);
}
