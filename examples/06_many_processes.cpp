// One model trained by several processes, each with its part of every batch; the result is that of one process.
//
//   mpirun -n 2 06_many_processes          (as root: --allow-run-as-root; more processes than cores: --oversubscribe)
//   06_many_processes                      alone, the same batches
//
// Every process (rank) has the whole model. It computes the gradients of its own images; DataParallel makes them the
// means over all ranks by the time backward() returns, most of it while backward still computes. All ranks then make
// the same update, so their weights stay equal without being sent.
#include <fmt/core.h>

#include <algorithm>
#include <cstdio>

#include "atlas/atlas.h"
#include "atlas/core/program.h"
#include "atlas/dist/one_speaks.h"

using namespace atlas;

namespace {

constexpr int64_t kBatch = 48;  // images of all ranks together
constexpr int64_t kEpochs = 6;

/// Three halvings of the picture, layer norm over channels, and a linear classifier on the mean of what is left.
class Net : public Module {
 public:
  explicit Net(int64_t classes)
      : conv1(3, 16, 3, {.stride = {2, 2}, .padding = {1, 1}}),
        conv2(16, 32, 3, {.stride = {2, 2}, .padding = {1, 1}}),
        conv3(32, 48, 3, {.stride = {2, 2}, .padding = {1, 1}}),
        norm1(16),
        norm2(32),
        head(48, classes) {
    register_modules(
        {{"conv1", conv1}, {"conv2", conv2}, {"conv3", conv3}, {"norm1", norm1}, {"norm2", norm2}, {"head", head}});
  }
  Tensor forward(const Tensor& x) const override {
    const Tensor h = gelu(norm2(conv2(gelu(norm1(conv1(x))))));
    return head(mean(gelu(conv3(h)), {1, 2}));
  }
  Conv2d conv1, conv2, conv3;
  LayerNorm norm1, norm2;
  Linear head;
};

/// Sum of numbers over the ranks.
std::vector<double> sum_over(const dist::Group& group, const std::vector<double>& numbers) {
  const Tensor all = from_vector(numbers);
  group.all_reduce(all);
  return to_vector<double>(all);
}

void run() {
  // [parallel]
  const dist::Group group = dist::Group::world();
  dist::one_speaks(group);  // an error that all have is said once
  check(kBatch % group.size() == 0, "06_many_processes", "a batch of {} cannot be shared evenly by {} processes",
        kBatch, group.size());
  // Processes on one machine share its cores.
  set_num_threads(std::max(1, num_threads() / group.local_size()));

  const auto train_set = std::make_shared<data::Shapes>(2400, 32, 8, 1);
  const auto test_set = std::make_shared<data::Shapes>(800, 32, 8, 2);
  const data::Normalize normalize{{0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}};
  // All ranks have one order, and each takes its part of every batch.
  data::Loader train_loader(train_set,
                            {.batch_size = kBatch / group.size(),
                             .rank = group.rank(),
                             .ranks = group.size(),
                             .shuffle = true,
                             .drop_last = true,
                             .seed = 6},
                            normalize);
  data::Loader test_loader(test_set, {.batch_size = 100, .rank = group.rank(), .ranks = group.size()}, normalize);

  manual_seed(6);
  Net net(train_set->num_classes());
  // The only line that a loop for one process lacks. A small model wants small buckets: the first is on its way early.
  dist::DataParallel parallel(net, group, {.buckets = {.bucket_bytes = 64 << 10, .first_bucket_bytes = 16 << 10}});
  // [parallel]
  AdamW optimizer(decay_groups(net, 0.05));
  const Schedule schedule{.peak = 4e-3, .epochs = static_cast<double>(kEpochs), .warmup = 0.3};
  if (group.first())
    fmt::print("{} processes, {} images of each batch of {} in each\n", group.size(), kBatch / group.size(), kBatch);

  int64_t update = 0;
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    std::vector<double> loss_sum{0};
    train_loader.start_epoch(epoch);
    for (data::Batch batch; train_loader.next(batch);) {
      optimizer.set_lr(schedule.lr(update++, train_loader.batches()));
      const Tensor loss = cross_entropy(net(batch.images), batch.targets["label"], 0.1);
      optimizer.zero_grad();
      loss.backward();
      clip_grad_norm(optimizer, 5);  // of the mean gradient: the same number on every rank
      optimizer.step();
      loss_sum[0] += loss.item();
    }
    // What only one rank knows is summed before it is printed.
    const double ranks = group.size();
    const double mean_loss = sum_over(group, loss_sum)[0] / ranks / static_cast<double>(train_loader.batches());

    const NoGrad guard;
    std::vector<double> right_and_all{0, 0};
    test_loader.start_epoch(0);
    for (data::Batch batch; test_loader.next(batch);) {  // every image is tested by exactly one rank
      tasks::Accuracy accuracy;
      accuracy.add(net(batch.images), batch.targets["label"]);
      right_and_all[0] += accuracy.top1() * static_cast<double>(accuracy.count());
      right_and_all[1] += static_cast<double>(accuracy.count());
    }
    right_and_all = sum_over(group, right_and_all);
    if (group.first())
      fmt::print("epoch {}: loss {:.4f}, {:.2f} % of {:.0f} test images\n", epoch + 1, mean_loss,
                 100 * right_and_all[0] / right_and_all[1], right_and_all[1]);
  }

  const dist::ReducerCounts& counts = parallel.counts();
  if (group.size() > 1 && group.first())
    fmt::print("{} reductions in {} updates, {} of them begun before backward ended; waited {:.2f} s for them\n",
               counts.buckets, counts.updates, counts.early, counts.waited);
}

}  // namespace

int main() {
  return run_program("06_many_processes", [] {
    run();
    return 0;
  });
}
