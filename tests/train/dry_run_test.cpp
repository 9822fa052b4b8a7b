// What a run comes to before it begins: its memory, measured with a few images, and what is said where it is too much.
#include "atlas/train/dry_run.h"

#include <doctest/doctest.h>

#include "atlas/core/profile.h"
#include "atlas/core/rng.h"
#include "atlas/core/storage.h"
#include "atlas/nn/linear.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/reduce.h"
#include "atlas/optim/adam.h"
#include "atlas/tasks/classification.h"
#include "atlas/tensor/create.h"
#include "atlas/train/setup.h"
#include "tests/compare.h"

using namespace atlas;
using namespace atlas::train;

namespace {

TrainConfig small() {
  TrainConfig c;
  c.data.name = "shapes:32";
  c.data.workers = 0;
  c.optimization.batch_size = 32;
  c.optimization.ema = 0.9;
  return c;
}

}  // namespace

TEST_CASE("steps of a few images tell what whole batches take") {
  for (const char* model : {"atlas-toy", "mambavision-toy"}) {
    CAPTURE(model);
    TrainConfig c = small();
    c.model.name = model;
    const data::DatasetPtr set = open_data(c).train;
    const StepCost whole = measure_run(c, set, Device{});
    CHECK(whole.images == 32);
    CHECK(whole.seconds_per_image > 0);
    CHECK(whole.bytes_per_image > 0);
    CHECK(whole.bytes_per_image * 32 < whole.bytes);
    // From less than a whole batch; where not even four images may fit, two have to tell.
    const double bytes = static_cast<double>(whole.bytes);
    const StepCost half = measure_run(c, set, Device{}, {.timed = false, .limit = whole.bytes * 3 / 2});
    CHECK(half.images < 32);
    CHECK(half.images >= 3);
    MESSAGE(std::string(model), ": ", half.images, " images tell ", static_cast<double>(half.bytes) / bytes, " of it");
    CHECK(static_cast<double>(half.bytes) == doctest::Approx(bytes).epsilon(0.35));
    const StepCost two = measure_run(c, set, Device{}, {.timed = false, .limit = 1});
    CHECK(two.images == 2);
    CHECK(static_cast<double>(two.bytes) > 0.4 * bytes);
  }
}

TEST_CASE("steps are those of the last epoch, with what the moving average makes of the images") {
  TrainConfig c = small();
  c.model.name = "mambavision-toy";
  c.optimization.batch_size = 2;
  const data::DatasetPtr set = open_data(c).train;
  // Evaluation has a forward pass more, and no backward pass.
  const auto kernels = [&] {
    start_profile();
    measure_run(c, set, Device{}, {.timed = false});
    stop_profile();
    return std::ssize(profile_records());
  };
  const int64_t without = kernels();
  c.augmentation.mesa = 0.5;
  CHECK(static_cast<double>(kernels()) > 1.15 * static_cast<double>(without));
}

TEST_CASE("measuring leaves random numbers and memory as they were") {
  const TrainConfig c = small();
  const data::DatasetPtr set = open_data(c).train;
  manual_seed(7);
  const Tensor undisturbed = rand({8});
  manual_seed(7);
  const int64_t before = memory_stats().current;
  measure_run(c, set, Device{}, {.timed = false});
  CHECK(memory_stats().current == before);
  CHECK(test::same_bits(rand({8}), undisturbed));
}

TEST_CASE("a system that has less memory than it says ends the measuring, not the run") {
  struct Greedy : Module {
    Greedy() : head(3, 4) { register_module("head", head); }
    Tensor forward(const Tensor& x) const override {
      if (x.size(0) >= 8) empty({memory_limit() + 1}, uint8, Device{});
      return head(mean(x, {1, 2}));
    }
    Linear head;
  } model;
  const data::DatasetPtr set = open_data(small()).train;
  const tasks::Classification task(set->classes());
  AdamW optimizer(decay_groups(model, 0), {});
  const auto measured = [&](int64_t limit) {
    return measure_steps(model, task, optimizer, set, data::Normalize{}, {}, int64_t{1} << 30,
                         {.timed = false, .limit = limit});
  };
  constexpr int64_t kGiB = 1 << 30;
  const StepCost cost = measured(kGiB);
  CHECK(cost.images == 4);
  CHECK(cost.bytes > kGiB);
  // Where the batch would have fitted, nobody knows better than the error.
  CHECK(test::message_of([&] { measured(int64_t{1} << 60); }).find("[allocate] out of memory: wanted ") == 0);
}

TEST_CASE("too much memory is one line, with the accumulation that fits") {
  constexpr int64_t kMiB = 1 << 20;
  TrainConfig c = small();
  c.optimization.batch_size = 96;
  c.optimization.accumulate = 2;
  const StepCost cost{.images = 4, .bytes_per_image = 10 * kMiB, .bytes = 1000 * kMiB};
  CHECK(memory_problem(c, cost, 1000 * kMiB).empty());
  CHECK(memory_problem(c, cost, 0).empty());  // unknown
  CHECK(memory_problem(c, cost, 600 * kMiB) ==
        "a step of batch_size 96 takes about 1000.00 MiB (10.00 MiB for each image), more than the 600.00 MiB there "
        "are: --batch-size 48 --accumulate 4 would fit");
  CHECK(memory_problem(c, cost, 40 * kMiB) ==
        "a step of batch_size 96 takes about 1000.00 MiB (10.00 MiB for each image), more than the 40.00 MiB there "
        "are: not even one image fits; a smaller --image-size or --model would");

  const int64_t there = usable_memory(Device{});
  CHECK(there > 0);
  CHECK(there <= memory_limit());
  CHECK(usable_memory(Device{}, 4) == there / 4);
  CHECK_FALSE(may_need_more(c, 4, int64_t{4} << 30));  // 96 images of 32 px
  c.data.image_size = 512;
  CHECK(may_need_more(c, 4, int64_t{4} << 30));
  c.optimization.batch_size = 1;
  c.model.name = "mambavision-l3-512";  // 740 million parameters, which are only counted
  CHECK(may_need_more(c, 4, int64_t{12} << 30));
  CHECK_FALSE(may_need_more(c, 4, int64_t{32} << 30));
}

TEST_CASE("the plan has updates, memory and time") {
  TrainConfig c = small();
  c.optimization.epochs = 10;
  c.optimization.accumulate = 2;
  const StepCost cost{.images = 4, .seconds_per_image = 0.5, .bytes_per_image = 1024, .bytes = 1 << 20};
  CHECK(plan_text(c, cost, 1000, 1) ==
        "schedule     15 updates in an epoch, 150 in all; 64 images an update, 9600 in all\n"
        "memory       about 1.00 MiB for a step of 32 images (1.00 KiB for each)\n"
        "time         about 8.0 min an epoch, 80.0 min in all, without tests (2 images/s in steps of 4)\n");
  CHECK(plan_text(c, cost, 1000, 2).find("7 updates in an epoch, 70 in all; 128 images an update, 8960 in all") !=
        std::string::npos);
  CHECK(plan_text(c, cost, 1000, 2).find("in steps of 4 of each process") != std::string::npos);
}
