// Learning rates of the published recipes at the epochs that matter.
// ctest-device: cpu
#include "atlas/optim/schedule.h"

#include <doctest/doctest.h>

#include "atlas/ops/arithmetic.h"

using namespace atlas;
using doctest::Approx;

TEST_CASE("Atlas-B: 30 epochs from 0 to 5e-4, then half a cosine to 1e-6 at epoch 320") {
  const Schedule s{.peak = 5e-4, .epochs = 320, .warmup = 30, .min_lr = 1e-6};
  s.validate();
  CHECK(s.at(0) == 0);
  CHECK(s.at(15) == Approx(2.5e-4));
  CHECK(s.at(30) == Approx(5e-4));
  CHECK(s.at(175) == Approx((5e-4 + 1e-6) / 2));
  CHECK(s.at(30 + 290.0 / 3) == Approx(1e-6 + (5e-4 - 1e-6) * 0.75));
  CHECK(s.at(320) == Approx(1e-6));
  CHECK(s.at(400) == Approx(1e-6));
  // Every update has its own rate.
  CHECK(s.lr(1, 100) == Approx(5e-4 * 0.01 / 30));
  CHECK(s.lr(1550, 100) == s.at(15.5));
}

TEST_CASE("MambaVision-T: 20 epochs from 1e-6, cosine, 10 of cool-down at 5e-6") {
  const Schedule s{.peak = 5e-3, .epochs = 310, .warmup = 20, .warmup_lr = 1e-6, .min_lr = 5e-6, .cooldown = 10};
  s.validate();
  CHECK(s.at(0) == 1e-6);
  CHECK(s.at(10) == Approx((5e-3 + 1e-6) / 2));
  CHECK(s.at(160) == Approx((5e-3 + 5e-6) / 2));
  CHECK(s.at(299.999) == Approx(5e-6).epsilon(1e-3));
  CHECK(s.at(300) == 5e-6);
  CHECK(s.at(309.9) == 5e-6);
}

TEST_CASE("constant and multi-step") {
  CHECK(Schedule{.shape = Schedule::Shape::constant, .peak = 0.1, .epochs = 9, .warmup = 1}.at(0.5) == Approx(0.05));
  CHECK(Schedule{.shape = Schedule::Shape::constant, .peak = 0.1, .epochs = 9, .warmup = 1}.at(8) == 0.1);
  const Schedule s{.shape = Schedule::Shape::multi_step, .peak = 1, .epochs = 90, .milestones = {30, 60}};
  CHECK(s.at(29.99) == 1);
  CHECK(s.at(30) == Approx(0.1));
  CHECK(s.at(60) == Approx(0.01));
}

TEST_CASE("impossible schedules are refused") {
  CHECK_THROWS_WITH_AS((Schedule{.epochs = 5, .warmup = 4, .cooldown = 2}.validate()),
                       "[schedule] 5 epochs cannot hold 4 of warm-up and 2 of cool-down", Error);
  CHECK_THROWS_WITH_AS((Schedule{.epochs = 5, .milestones = {3, 2}}.validate()),
                       "[schedule] milestones must increase, got 3 before 2", Error);
  CHECK_THROWS_AS((Schedule{.peak = -1}.validate()), Error);
  CHECK_THROWS_AS(Schedule{}.lr(3, 0), Error);
}
