// A training of which one rank is slower than the others: what is said of the time of a step.
#pragma once

#include <unistd.h>

#include <memory>

#include "atlas/data/shapes.h"
#include "atlas/data/transform.h"
#include "atlas/dist/group.h"
#include "atlas/nn/conv.h"
#include "atlas/nn/linear.h"
#include "atlas/nn/norm.h"
#include "atlas/ops/reduce.h"
#include "atlas/optim/sgd.h"
#include "atlas/tasks/classification.h"
#include "atlas/train/trainer.h"

namespace test {

/// Convolution, batch norm, classifier. Ranks meet in the norm, forward and backward, and with their gradients.
class SlowNet : public atlas::Module {
 public:
  explicit SlowNet(double seconds) : conv(3, 4, 3, {.stride = {4, 4}}), norm(4), head(4, 4), seconds_(seconds) {
    register_modules({{"conv", conv}, {"norm", norm}, {"head", head}});
  }
  atlas::Tensor forward(const atlas::Tensor& x) const override {
    if (training()) ::usleep(static_cast<useconds_t>(1e6 * seconds_));
    return head(atlas::mean(norm(conv(x)), {1, 2}));
  }
  atlas::Conv2d conv;
  atlas::BatchNorm2d norm;
  atlas::Linear head;

 private:
  double seconds_;
};

struct StepTimes : atlas::train::Observer {
  double fastest = 0, slowest = 0;  // seconds
  int64_t slowest_rank = -1;
  void on_epoch_end(atlas::train::Trainer&, const atlas::train::EpochResult& result) override {
    fastest = result.fastest_step;
    slowest = result.slowest_step;
    slowest_rank = result.slowest_rank;
  }
};

/// Four updates on a device, of which every one takes `seconds` longer on the last rank.
/// @param other  watches as well
inline StepTimes times_with_slow_rank(const atlas::dist::Group& group, atlas::Device device, double seconds,
                                      atlas::train::Observer* other = nullptr) {
  using namespace atlas;
  manual_seed(1);
  SlowNet net(group.rank() == group.size() - 1 ? seconds : 0);
  net.to(device);
  const auto set = std::make_shared<data::Shapes>(4 * 2 * group.size(), 16, 4, 1);
  const tasks::Classification task(set->classes(), {});
  SGD optimizer(decay_groups(net, 0.05), {.lr = 0.05});
  const data::LoaderOptions options{.batch_size = 2, .rank = group.rank(), .ranks = group.size(), .shuffle = true};
  const data::Normalize normalize{{0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}};
  data::Loader training(set, options, normalize),
      tests(set, {.batch_size = 2, .rank = group.rank(), .ranks = group.size()}, normalize);
  train::Trainer trainer(net, task, optimizer, {.group = group, .sync_batch_norm = true});
  StepTimes times;
  if (other != nullptr) trainer.watch(*other);
  trainer.watch(times).fit(training, tests);
  return times;
}

}  // namespace test
