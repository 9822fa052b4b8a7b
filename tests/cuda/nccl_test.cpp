// Groups of processes with tensors on devices. Every test holds for any number of processes: alone here, with several
// through processes_test.sh, over NCCL on GPUs and over what plays it on the emulated device.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <optional>

#include "atlas/autograd/backward.h"
#include "atlas/core/cuda.h"
#include "atlas/core/cuda_graph.h"
#include "atlas/data/shapes.h"
#include "atlas/data/transform.h"
#include "atlas/dist/data_parallel.h"
#include "atlas/dist/placement.h"
#include "atlas/nn/conv.h"
#include "atlas/nn/linear.h"
#include "atlas/nn/norm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/batch_share.h"
#include "atlas/ops/dropout.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/reduce.h"
#include "atlas/optim/sgd.h"
#include "atlas/tasks/classification.h"
#include "atlas/tensor/create.h"
#include "atlas/train/trainer.h"
#include "tests/compare.h"
#include "tests/cuda/own_device.h"
#if ATLAS_CUDA_EMULATE
#include "tests/cuda/nccl/nccl.h"
#endif

using namespace atlas;
using dist::Group;
using dist::Reduce;

namespace {

/// A convolution, batch norm, elements and images that are dropped, and a classifier.
class Net : public Module {
 public:
  Net() : conv(3, 8, 3, {.stride = {4, 4}, .padding = {1, 1}}), norm(8), hidden(8, 16), head(16, 4), extra(16, 4) {
    register_modules({{"conv", conv}, {"norm", norm}, {"hidden", hidden}, {"head", head}, {"extra", extra}});
  }
  Tensor forward(const Tensor& x) const override {
    const Tensor features = mean(relu(norm(conv(x))), {1, 2});
    const Tensor h = dropout(gelu(hidden(features)), 0.2, training());
    const Tensor y = head(h + drop_path(h, 0.4, training()));
    return use_extra ? y + extra(h) : y;
  }
  Conv2d conv;
  BatchNorm2d norm;
  Linear hidden, head, extra;
  bool use_extra = false;
};

constexpr int64_t kTogether = 24;  // images of all ranks: 1, 2, 3, 4 and 8 share them evenly

struct Part {
  Tensor images, labels;
  BatchShare share;
};
/// The rank-th of `ranks` parts of a batch.
Part part_of(int64_t number, int64_t rank, int64_t ranks, DType dtype, Device device) {
  Generator g{40 + static_cast<uint64_t>(number)};
  const Tensor images = randn({kTogether, 8, 8, 3}, float64, g).to(dtype);
  const Tensor labels = empty({kTogether}, int64, Device{});
  for (int64_t i = 0; i < kTogether; ++i) labels.data<int64_t>()[i] = (i * 5 + number) % 4;
  const int64_t n = kTogether / ranks;
  Part p{copy_of(images.slice(0, rank * n, (rank + 1) * n)).to(device),
         copy_of(labels.slice(0, rank * n, (rank + 1) * n)).to(device),
         {rank, {}, kTogether}};
  for (int64_t i = 0; i < n; ++i) p.share.places.push_back(rank * n + i);
  return p;
}

bool shares_evenly(const Group& group) { return kTogether % group.size() == 0; }

}  // namespace

TEST_CASE("operations on tensors of devices") {
  const Group group = Group::world();
  const Device device = test::own_device(group);
  group.use(device);
  const int n = group.size(), r = group.rank();
  for (const DType dtype : {float32, float64, bfloat16, int64}) {
    CAPTURE(name(dtype));
    Tensor x = full({300}, r + 1, dtype, device);
    const Tensor most = copy_of(x), least = copy_of(x);
    group.all_reduce(x);
    group.all_reduce(most, Reduce::max);
    group.all_reduce(least, Reduce::min);
    for (const auto& [tensor, expected] : {std::pair{x, n * (n + 1) / 2}, {most, n}, {least, 1}})
      CHECK(test::largest_difference(on_host(tensor), full({300}, expected, dtype, Device{})) == 0);
    Tensor first = full({7}, 2, dtype, device), second = full({5}, r, dtype, device);
    dist::PendingReduce one = group.start_all_reduce(first), two = group.start_all_reduce(second);
    two.wait();
    one.wait();
    CHECK(on_host(first)[6].item() == 2 * n);
    CHECK(on_host(second)[0].item() == n * (n - 1) / 2);
  }
  const Tensor rows = on_host(group.reduce_scatter(arange(2 * n * 3, float64, device).reshape({2 * n, 3})));
  REQUIRE(rows.shape() == Shape{2, 3});
  CHECK(rows[1][2].item() == n * (6 * r + 5));
  const Tensor all = on_host(group.all_gather(full({2, 1}, r, int64, device)));
  REQUIRE(all.shape() == Shape{2 * n, 1});
  for (int i = 0; i < 2 * n; ++i) CHECK(all[i][0].item() == i / 2);
  Tensor sent = full({3}, r, uint8, device);
  group.broadcast(sent, n - 1);
  CHECK(on_host(sent)[2].item() == n - 1);
  Tensor host = full({2}, r, float32, Device{});  // those of the CPU go their own way meanwhile
  group.all_reduce(host);
  CHECK(host[0].item() == n * (n - 1) / 2);
  if (n > 1)
    CHECK(test::message_of([&] {
            group.use({DeviceType::cuda, device.index + 1});
          }) == "[dist] rank " + std::to_string(r) + " of " + std::to_string(n) +
                    ": a process has one device, and this one's is " + device.str() +
                    ", not cuda:" + std::to_string(device.index + 1));
}

#if ATLAS_CUDA_EMULATE
TEST_CASE("a machine with fewer devices than processes is refused, unless each process sees another one") {
  const Group group = Group::world();
  const std::string n = std::to_string(group.size());
  for (const char* text : {"cuda", "auto"})
    CHECK(test::message_of([&] { dist::place_device(group, text); }) ==
          (group.size() == 1 ? "no error"
                             : "[device] " + n +
                                   " processes were started on a machine with 1 CUDA device: each takes one of its own "
                                   "(start 1, or use --device cpu)"));
  if (group.size() > 1)
    CHECK(test::message_of([&] { dist::place_device(group, "cuda:1"); }) ==
          "[device] cuda:1 was asked for, but " + n + " processes take a device each: --device cuda");
  setenv("CUDA_VISIBLE_DEVICES", std::to_string(group.rank()).c_str(), 1);
  CHECK(dist::place_device(group, "cuda") == Device{DeviceType::cuda, 0});
  unsetenv("CUDA_VISIBLE_DEVICES");
}
#endif

TEST_CASE("losses, gradients and statistics on devices are those of one process") {
  const Group group = Group::world();
  if (!shares_evenly(group)) return;
  const Device device = test::own_device(group);
  for (const DType dtype : {float64, float32}) {
    CAPTURE(name(dtype));
    const double tolerance = dtype == float64 ? 1e-11 : 1e-5;
    manual_seed(3);
    Net net, reference;
    for (Net* m : {&net, &reference}) m->to(dtype), m->to(device), m->train();
    reference.load_state_dict(net.state_dict());
    if (!group.first())
      for (Tensor& p : net.parameters()) p.detach().fill_(group.rank());  // rank 0's count
    dist::DataParallel parallel(net, group, {.buckets = {.bucket_bytes = 500, .first_bucket_bytes = 100}});
    SGD optimizer(decay_groups(net, 0.05), {.lr = 0.1}), alone(decay_groups(reference, 0.05), {.lr = 0.1});
    for (int64_t update = 0; update < 5; ++update) {
      net.use_extra = reference.use_extra = update % 2 == 1;
      optimizer.zero_grad();
      alone.zero_grad();
      const Generator before = default_generator();
      Tensor loss;
      {
        const Part part = part_of(update, group.rank(), group.size(), dtype, device);
        const BatchShareScope random(part.share);
        const dist::SyncBatchNorm together(group);
        loss = cross_entropy(net(part.images), part.labels);
        loss.backward();
      }
      default_generator() = before;
      const Part whole = part_of(update, 0, 1, dtype, device);
      const Tensor loss_alone = cross_entropy(reference(whole.images), whole.labels);
      loss_alone.backward();
      Tensor mean_loss = copy_of(loss.detach());
      group.all_reduce(mean_loss);
      CHECK(mean_loss.item() / group.size() == doctest::Approx(loss_alone.item()).epsilon(tolerance));
      CHECK(parallel.unused() == (group.size() == 1 || net.use_extra
                                      ? std::vector<std::string>{}
                                      : std::vector<std::string>{"extra.weight", "extra.bias"}));
      const auto ours = net.named_parameters(), theirs = reference.named_parameters();
      for (size_t i = 0; i < ours.size(); ++i) {
        CAPTURE(ours[i].first);
        const Tensor a = ours[i].second.grad(), b = theirs[i].second.grad();
        REQUIRE(a.defined() == b.defined());
        if (!a.defined()) continue;
        CHECK(test::largest_difference(on_host(a), on_host(b)) <= tolerance);
        Tensor of_first = copy_of(a);
        group.broadcast(of_first);
        CHECK(test::same_bits(on_host(of_first), on_host(a)));
      }
      optimizer.step();
      alone.step();
    }
    CHECK(test::largest_difference(on_host(net.norm.running_var), on_host(reference.norm.running_var)) <= tolerance);
    CHECK(parallel.counts().updates == (group.size() == 1 ? 0 : 5));
  }
}

TEST_CASE("a graph holds what processes send each other") {
  const Group group = Group::world();
  if (!shares_evenly(group)) return;
  const Device device = test::own_device(group);
  manual_seed(3);
  Net net;
  net.to(device);
  net.train();
  dist::DataParallel parallel(net, group, {.buckets = {.bucket_bytes = 500, .first_bucket_bytes = 100}});
  Part part = part_of(0, group.rank(), group.size(), float32, device);
  const auto step = [&] {
    const BatchShareScope random(part.share);
    const dist::SyncBatchNorm together(group);
    net.zero_grad();
    cross_entropy(net(part.images), part.labels).backward();
  };
  step();
  step();
  const Generator before = default_generator();
  cuda::Graph graph(device);
  graph.capture(step);
  std::vector<Tensor> recorded;
  for (const Tensor& p : net.parameters()) recorded.push_back(p.grad());
  for (int64_t number = 1; number < 4; ++number) {
    const Part next = part_of(number, group.rank(), group.size(), float32, device);
    part.images.copy_(next.images);
    part.labels.copy_(next.labels);
    const Generator start = default_generator();
    graph.replay();
    std::vector<Tensor> replayed;
    for (const Tensor& g : recorded) replayed.push_back(g.defined() ? on_host(g) : Tensor());
    default_generator() = start;
    step();
    const std::vector<Tensor> parameters = net.parameters();
    for (size_t i = 0; i < parameters.size(); ++i) {
      REQUIRE(parameters[i].grad().defined() == replayed[i].defined());
      if (replayed[i].defined()) CHECK(test::same_bits(on_host(parameters[i].grad()), replayed[i]));
    }
  }
  CHECK(before.stream < default_generator().stream);  // images were dropped
}

namespace {

/// Some images cannot be read: the ranks that meet one have a smaller batch, which no graph was made for.
class Damaged : public data::Shapes {
 public:
  using Shapes::Shapes;
  data::Sample get(int64_t index) const override { return index == 17 ? data::Sample{} : data::Shapes::get(index); }
};

/// What a training of two epochs gives; a graph where that is asked for.
struct Trained {
  std::vector<Tensor> weights;
  double accuracy = 0;
};
Trained train_net(const Group& group, Device device, bool graph, DType wire, bool damaged = false) {
  manual_seed(9);
  Net net;
  net.to(device);
  std::shared_ptr<data::Shapes> set = std::make_shared<data::Shapes>(5 * kTogether, 16, 4, 1);
  if (damaged) set = std::make_shared<Damaged>(5 * kTogether, 16, 4, 1);
  const auto test_set = std::make_shared<data::Shapes>(10, 16, 4, 2);
  const tasks::Classification task(set->classes(), {});
  SGD optimizer(decay_groups(net, 0.05), {.lr = 0.05, .momentum = 0.9});
  const data::Normalize normalize{{0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}};
  data::LoaderOptions options{.batch_size = kTogether / group.size(),
                              .rank = group.rank(),
                              .ranks = group.size(),
                              .shuffle = true,
                              .drop_last = true,
                              .seed = 5};
  options.collate = tasks::collate_for(task);
  data::Loader training(set, options, normalize);
  data::Loader tests(test_set, {.batch_size = 4, .rank = group.rank(), .ranks = group.size()}, normalize);
  train::Trainer trainer(
      net, task, optimizer,
      {.epochs = 2, .clip_norm = 1, .cuda_graph = graph, .group = group, .sync_batch_norm = true, .wire = wire});
  CHECK(trainer.fit(training, tests));
  Trained result;
  for (const Tensor& t : net.parameters()) result.weights.push_back(on_host(t));
  result.accuracy = trainer.last_test()->value("accuracy");
  CHECK(trainer.last_test()->images() == 10);
  return result;
}

double difference(const Trained& a, const Trained& b) {
  double worst = 0;
  for (size_t i = 0; i < a.weights.size(); ++i)
    worst = std::max(worst, test::largest_difference(a.weights[i], b.weights[i]));
  return worst;
}

}  // namespace

TEST_CASE("a trainer on devices does what it does with one process, as a graph too") {
  const Group group = Group::world();
  if (!shares_evenly(group)) return;
  const Device device = test::own_device(group);
  const Trained alone = train_net(Group(), device, false, float32);
  const Trained together = train_net(group, device, false, float32);
  CHECK(difference(alone, together) <= 1e-5);
  CHECK(together.accuracy == alone.accuracy);
  const Trained graph = train_net(group, device, true, float32);
  CHECK(difference(together, graph) <= 1e-6);
  const Trained rounded = train_net(group, device, true, bfloat16);
  CHECK(difference(alone, rounded) <= 2e-2);
  CHECK((difference(graph, rounded) > 0) == (group.size() > 1));
  const Trained left_out = train_net(group, device, false, float32, true);
  CHECK(difference(left_out, train_net(group, device, true, float32, true)) <= 1e-6);  // all replay, or none
  CHECK(difference(left_out, together) > 0);
}

// Run by processes_test.sh, with three processes.
TEST_CASE("hidden: rank 1 of those on devices hangs" * doctest::skip()) {
  const Group group = Group::world();
  const Device device = test::own_device(group);
  Tensor x = ones({2}, float32, device);
  group.all_reduce(x);
  if (group.rank() == 1) pause();
  group.all_reduce(x);
}

#if ATLAS_CUDA_EMULATE  // an error of NCCL ends all: processes_test.sh reads what is said

TEST_CASE("hidden: rank 1 is stopped while NCCL starts" * doctest::skip()) {
  const Group group = Group::world();
  emulate::nccl().stopped_at_start = 1;
  Tensor x = ones({2}, float32, test::own_device(group));
  group.all_reduce(x);
}

TEST_CASE("hidden: NCCL starts slowly" * doctest::skip()) {
  emulate::nccl().start_takes = 5;
  Group::world().use(test::own_device(Group::world()));
}

TEST_CASE("hidden: NCCL does not start" * doctest::skip()) {
  if (Group::world().rank() == 1) emulate::nccl().start = ncclSystemError;
  Group::world().use(test::own_device(Group::world()));
}

TEST_CASE("hidden: NCCL refuses" * doctest::skip()) {
  const Group group = Group::world();
  const Device device = test::own_device(group);
  Tensor x = ones({2}, float32, device);
  group.all_reduce(x);
  emulate::nccl().next = ncclSystemError;
  emulate::nccl().last_error = "Call to connect failed:\nConnection refused";
  group.reduce_scatter(ones({2 * group.size()}, float32, device));
}

TEST_CASE("hidden: NCCL fails behind the host's back" * doctest::skip()) {
  const Group group = Group::world();
  const Device device = test::own_device(group);
  Tensor x = ones({2}, float32, device);
  dist::PendingReduce pending = group.start_all_reduce(x);
  CHECK(emulate::nccl().beside == 1);
  pending.wait();
  emulate::nccl().state = ncclRemoteError;
  x[0].item();
}

// The graph holds the communicators: NCCL could not give them up before it is gone, and the wait is below its owner.
TEST_CASE("hidden: NCCL fails while a graph lives" * doctest::skip()) {
  const Group group = Group::world();
  const Device device = test::own_device(group);
  Tensor x = ones({2}, float32, device), y = ones({3}, float32, device);
  const auto step = [&] {
    dist::PendingReduce pending = group.start_all_reduce(y);
    group.all_reduce(x);
    pending.wait();
  };
  step();
  cuda::Graph graph(device);
  graph.capture(step);
  graph.replay();
  if (group.rank() == 1) emulate::nccl().state = ncclRemoteError;
  x[0].item();
  group.barrier();
}

TEST_CASE("hidden: ranks on devices differ" * doctest::skip()) {
  const Group group = Group::world();
  const Device device = test::own_device(group);
  Tensor x = ones({group.rank() == 1 ? 3 : 2}, float32, device);
  group.all_reduce(x);
}

#endif
