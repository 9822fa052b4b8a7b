// When hooks of gradients run, and what waits for the end of a pass.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "atlas/autograd/after_backward.h"
#include "atlas/autograd/backward.h"
#include "atlas/autograd/checkpoint.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"

using namespace atlas;

namespace {

/// x, shown in `log` when its backward runs.
Tensor logged(const Tensor& x, const std::string& what, std::vector<std::string>& log) {
  return record("logged", copy_of(x), {x}, [what, &log](const Tensor& dy) {
    log.push_back(what);
    return Grads{dy};
  });
}

Tensor leaf(double value, const std::string& name, std::vector<std::string>& log) {
  Tensor x = full({2}, value, float64);
  x.set_requires_grad();
  x.add_grad_hook([name, &log](Tensor&) { log.push_back(name); });
  return x;
}

using Log = std::vector<std::string>;

}  // namespace

TEST_CASE("a hook runs as soon as the last use of its leaf is behind") {
  Log log;
  const Tensor a = leaf(2, "a", log), b = leaf(3, "b", log), c = leaf(4, "c", log);
  const Tensor x = logged(a * b, "first", log);
  const Tensor y = logged(x * c, "second", log);
  sum(y * c).backward();
  CHECK(log == Log{"second", "c", "first", "a", "b"});
  CHECK(a.grad()[0].item() == 3 * 16);
  CHECK(b.grad()[1].item() == 2 * 16);
  CHECK(c.grad()[0].item() == 2 * 2 * 3 * 4);
}

TEST_CASE("a leaf one of whose uses gets no gradient still has its hook run once") {
  Log log;
  const Tensor a = leaf(2, "a", log), b = leaf(3, "b", log);
  const Tensor dead = record("no gradient", copy_of(a), {a * b}, [](const Tensor&) { return Grads{Tensor()}; });
  sum(dead + a).backward();
  CHECK(log == Log{"a"});
  CHECK(a.grad()[0].item() == 1);
  CHECK_FALSE(b.grad().defined());
}

TEST_CASE("a leaf that is the root itself, and grad(), which runs no hooks") {
  Log log;
  Tensor a = leaf(2, "a", log);
  a.backward(ones({2}, float64));
  CHECK(log == Log{"a"});
  log.clear();
  a.zero_grad();
  CHECK(grad({sum(a * a)}, {a})[0][0].item() == 4);
  CHECK(log.empty());
  CHECK_FALSE(a.grad().defined());
}

TEST_CASE("what a hook leaves for the end of the pass is done there, once, and not when the pass fails") {
  Log log;
  Tensor a = leaf(2, "a", log);
  const Tensor b = leaf(3, "b", log);
  bool failing = false;
  a.add_grad_hook([&](Tensor&) {
    detail::after_backward([&] { log.push_back("end"); });
    check(!failing, "test", "a hook fails");
  });
  sum(a * b).backward();
  REQUIRE(log.size() == 3);
  CHECK(log.back() == "end");
  log.clear();
  failing = true;
  CHECK_THROWS_AS(sum(a * a).backward(), Error);
  failing = false;
  sum(b * b).backward();
  CHECK(log == Log{"a", "b"});
}

TEST_CASE("the end of a pass is the end of the outermost one") {
  Log log;
  Tensor a = leaf(2, "a", log);
  const Tensor b = leaf(3, "b", log);
  a.add_grad_hook([&](Tensor&) { detail::after_backward([&] { log.push_back("end"); }); });
  const Tensor y = checkpoint([&](const Tensor& x) { return x * a; }, exp(b));
  sum(y).backward();
  CHECK(log == Log{"a", "b", "end"});
}
