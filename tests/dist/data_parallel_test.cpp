// Data parallelism: what several ranks compute together is what one computes alone.
#include "atlas/dist/data_parallel.h"

#include <doctest/doctest.h>

#include <cmath>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/checkpoint.h"
#include "atlas/nn/conv.h"
#include "atlas/nn/linear.h"
#include "atlas/nn/norm.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/reduce.h"
#include "atlas/optim/adam.h"
#include "atlas/optim/clip.h"
#include "tests/compare.h"
#include "tests/dist/last_rank.h"

using namespace atlas;
using dist::DataParallel;
using dist::Group;

namespace {

/// A convolution, a norm and two products; `extra` is used when it is asked for.
class Net : public Module {
 public:
  Net() : conv(3, 8, 3, {.stride = {2, 2}, .padding = {1, 1}}), norm(8), hidden(8, 24), head(24, 5), extra(24, 5) {
    register_modules({{"conv", conv}, {"norm", norm}, {"hidden", hidden}, {"head", head}, {"extra", extra}});
  }
  Tensor forward(const Tensor& x) const override {
    const Tensor features = mean(norm(conv(x)), {1, 2});
    const auto block = [this](const Tensor& t) { return gelu(hidden(t)); };
    const Tensor h = recompute ? checkpoint(block, features) : block(features);
    Tensor y = head(h);
    if (recompute) y = y + head(checkpoint(block, features * 0.5));  // `hidden` gets its gradient in two parts
    return use_extra ? y + extra(h) : y;
  }
  Conv2d conv;
  LayerNorm norm;
  Linear hidden, head, extra;
  bool use_extra = false, recompute = false;
};

/// One batch of the whole group: 24 images, which 1, 2, 3 and 4 ranks share evenly.
struct Data {
  Tensor images, labels;
  Data(int64_t number, DType dtype) {
    Generator g{100 + static_cast<uint64_t>(number)};
    images = randn({24, 6, 6, 3}, float64, g).to(dtype);
    labels = zeros({24}, int64);
    for (int64_t i = 0; i < 24; ++i) labels.data<int64_t>()[i] = (i * 7 + number) % 5;
  }
  /// The loss of the part-th of `parts` equal parts.
  Tensor loss(const Net& net, int64_t part, int64_t parts) const {
    const int64_t n = 24 / parts;
    return cross_entropy(net(images.slice(0, part * n, (part + 1) * n).contiguous()),
                         labels.slice(0, part * n, (part + 1) * n).contiguous());
  }
};

bool shares_evenly(const Group& group) { return 24 % group.size() == 0 && 12 % group.size() == 0; }

/// Largest difference of any gradient from the reference, relative to the largest gradient there is.
double worst_gradient(const Net& net, const Net& reference) {
  double largest = 0, difference = 0;
  const auto ours = net.named_parameters(), theirs = reference.named_parameters();
  for (size_t i = 0; i < ours.size(); ++i) {
    const Tensor a = ours[i].second.grad(), b = theirs[i].second.grad();
    if (a.defined() != b.defined()) return INFINITY;
    if (!a.defined()) continue;
    largest = std::max(largest, test::largest_difference(b, zeros_like(b)));
    difference = std::max(difference, test::largest_difference(a, b));
  }
  return difference / largest;
}

struct Result {
  double loss = 0, gradient = 0;  // largest differences from one process, relative
};

/// 20 updates of the group, and of this rank alone with all images.
Result train_both(const Group& group, DType dtype, int64_t accumulate, bool recompute) {
  manual_seed(3);
  Net net, reference;
  net.recompute = reference.recompute = recompute;
  net.to(dtype);
  reference.to(dtype);
  reference.load_state_dict(net.state_dict());
  if (group.rank() > 0)  // what rank 0 has is what counts
    for (Tensor& p : net.parameters()) p.detach().fill_(group.rank());
  DataParallel parallel(net, group, {.buckets = {.bucket_bytes = 2000, .first_bucket_bytes = 500}});
  for (Module* m : {static_cast<Module*>(&net), static_cast<Module*>(&reference)}) m->train();
  AdamW optimizer(decay_groups(net, 0.05)), alone(decay_groups(reference, 0.05));
  Result worst;
  for (int64_t update = 0; update < 20; ++update) {
    net.use_extra = reference.use_extra = update % 3 == 1;
    optimizer.zero_grad();
    alone.zero_grad();
    Tensor loss = zeros({}, float64), loss_alone = zeros({}, float64);
    for (int64_t k = 0; k < accumulate; ++k) {
      const Data data(update * accumulate + k, dtype);
      const Tensor part = data.loss(net, group.rank(), group.size()) / static_cast<double>(accumulate);
      if (k + 1 < accumulate) {
        const auto keep = parallel.accumulate();
        part.backward();
      } else {
        part.backward();
      }
      loss.add_(part.detach().to(float64));
      const Tensor whole = data.loss(reference, 0, 1) / static_cast<double>(accumulate);
      whole.backward();
      loss_alone.add_(whole.detach().to(float64));
    }
    group.all_reduce(loss);
    const double mean_loss = loss.item() / group.size();
    worst.loss = std::max(worst.loss, std::abs(mean_loss - loss_alone.item()) / loss_alone.item());
    worst.gradient = std::max(worst.gradient, worst_gradient(net, reference));
    for (const Tensor& p : net.parameters()) {
      if (!p.grad().defined()) continue;
      Tensor of_first = copy_of(p.grad());
      group.broadcast(of_first);
      CHECK(test::same_bits(of_first, p.grad()));
    }
    CHECK(parallel.unused() == (group.size() == 1 || net.use_extra
                                    ? std::vector<std::string>{}
                                    : std::vector<std::string>{"extra.weight", "extra.bias"}));
    clip_grad_norm(optimizer, 1);
    clip_grad_norm(alone, 1);
    optimizer.step();
    alone.step();
  }
  CHECK(parallel.counts().updates == (group.size() == 1 ? 0 : 20));
  if (group.size() > 1 && !recompute) CHECK(parallel.counts().early > 0);
  if (group.size() > 1) CHECK(parallel.counts().on_way > 0);
  CHECK(parallel.counts().hidden() >= 0);
  CHECK(parallel.counts().hidden() <= 1);
  return worst;
}

}  // namespace

TEST_CASE("losses and gradients are those of one process, over 20 updates") {
  const Group group = Group::world();
  if (!shares_evenly(group)) {
    MESSAGE("the batch does not divide among ", group.size(), " processes: not tried");
    return;
  }
  for (const bool recompute : {false, true})
    for (const int64_t accumulate : {1, 3}) {
      CAPTURE(recompute);
      CAPTURE(accumulate);
      const Result exact = train_both(group, float64, accumulate, recompute);
      CHECK(exact.loss <= 1e-10);
      CHECK(exact.gradient <= 1e-10);
      const Result single = train_both(group, float32, accumulate, recompute);
      CHECK(single.loss <= 1e-5);
      CHECK(single.gradient <= 1e-5);
    }
}

TEST_CASE("a parameter that one rank uses counts as zero on the others") {
  const Group group = Group::world();
  manual_seed(5);
  Net net;
  DataParallel parallel(net, group);
  net.train();
  for (int pass = 0; pass < 3; ++pass) {
    net.zero_grad();
    net.use_extra = group.rank() == 0;
    Data(0, float32).loss(net, 0, 1).backward();
    REQUIRE(net.extra.bias.grad().defined());
    CHECK(parallel.unused().empty());
    Tensor expected = copy_of(net.extra.bias.grad());
    group.broadcast(expected);
    CHECK(test::same_bits(expected, net.extra.bias.grad()));
    // Softmax minus one-hot sums to zero over classes, so its size tells more than its sum.
    const double size = test::largest_difference(expected, zeros_like(expected));
    CHECK(size > 1e-3 / group.size());
  }
}

TEST_CASE("gradients of passes that were not reduced are not forgotten") {
  const Group group = Group::world();
  manual_seed(5);
  Net net;
  DataParallel parallel(net, group);
  net.train();
  net.use_extra = true;
  {
    const auto keep = parallel.accumulate();
    (sum(net.extra(ones({2, 24}))) * static_cast<double>(group.rank() + 1)).backward();
  }
  CHECK(net.extra.bias.grad()[0].item() == 2 * (group.rank() + 1));
  net.use_extra = false;  // the pass that is reduced does not meet it
  Data(0, float32).loss(net, 0, 1).backward();
  CHECK(net.extra.bias.grad()[0].item() == doctest::Approx(group.size() + 1));
}

TEST_CASE("gradients travel as bfloat16 where that is asked for: half the bytes, the same bits everywhere") {
  const Group group = Group::world();
  const auto gradients = [&](DType dtype, DType wire, int64_t& bytes) {
    manual_seed(5);
    Net net;
    net.to(dtype);
    DataParallel parallel(net, group, {.buckets = {.bucket_bytes = 2000, .first_bucket_bytes = 500, .wire = wire}});
    net.train();
    net.use_extra = true;
    Data(group.rank(), dtype).loss(net, 0, 1).backward();
    bytes = parallel.counts().bytes;
    std::vector<Tensor> found;
    for (const Tensor& p : net.parameters()) {
      CHECK(p.grad().dtype() == dtype);
      found.push_back(copy_of(p.grad()));
    }
    return found;
  };
  int64_t whole_bytes = 0, half_bytes = 0, exact_bytes = 0, same_bytes = 0;
  const std::vector<Tensor> whole = gradients(float32, float32, whole_bytes),
                            half = gradients(float32, bfloat16, half_bytes),
                            exact = gradients(float64, float32, exact_bytes),
                            same = gradients(float64, bfloat16, same_bytes);
  CHECK(half_bytes * 2 == whole_bytes);
  CHECK(same_bytes == exact_bytes);  // float64 is left alone
  CHECK((whole_bytes > 0) == (group.size() > 1));
  // Of every rank, how large the elements are that the rounding is relative to.
  manual_seed(5);
  Net net;
  net.train();
  net.use_extra = true;
  Data(group.rank(), float32).loss(net, 0, 1).backward();
  bool rounded = false;
  for (size_t i = 0; i < whole.size(); ++i) {
    CHECK(test::same_bits(exact[i], same[i]));
    Tensor sizes = abs(net.parameters()[i].grad());
    group.all_reduce(sizes);
    const int n = group.size();
    const std::vector<float> a = to_vector<float>(whole[i]), b = to_vector<float>(half[i]), s = to_vector<float>(sizes);
    for (size_t j = 0; j < a.size(); ++j) {
      // One rounding of every gradient and one of each of the n - 1 sums, by 2^-8 each, and a little for their
      // products.
      CHECK(std::abs(a[j] - b[j]) <= (n == 1 ? 0 : 1.02 * n * 0x1p-8 * s[j] / n + 1e-12));
      rounded = rounded || a[j] != b[j];
    }
    Tensor of_first = copy_of(half[i]);
    group.broadcast(of_first);
    CHECK(test::same_bits(of_first, half[i]));
  }
  CHECK(rounded == (group.size() > 1));
  Linear small(2, 2);
  CHECK(test::message_of([&] { DataParallel(small, group, {.buckets = {.wire = float16}}); }) ==
        "[reducer] gradients travel as float32 or bfloat16, not as float16");
}

TEST_CASE("frozen parameters stay out of it, buffers are made equal and averaged") {
  const Group group = Group::world();
  BatchNorm2d norm(3);
  norm.running_mean.fill_(group.rank());
  norm.weight.set_requires_grad(false);
  DataParallel parallel(norm, group);
  CHECK(norm.running_mean[0].item() == 0);
  norm.train();
  Generator g{static_cast<uint64_t>(group.rank()) + 1};
  const Tensor x = randn({6, 3}, float32, g);
  sum(square(norm(x) + 1)).backward();
  CHECK_FALSE(norm.weight.grad().defined());
  const Tensor all = group.all_gather(norm.running_mean.unsqueeze(0).contiguous());
  parallel.average_buffers();
  CHECK(test::largest_difference(norm.running_mean, mean(all, {0})) <= 1e-7);
}

TEST_CASE("models that differ are refused, on every rank, and the difference is named") {
  const Group group = Group::world();
  if (group.size() == 1) {
    MESSAGE("one process has nobody to compare with: not tried");
    return;
  }
  const bool last = group.rank() == group.size() - 1;
  const std::string who = test::last_differs(group, "model");
  manual_seed(1);
  Linear other(last ? 4 : 3, 2);
  CHECK(test::message_of([&] { DataParallel(other, group); }) ==
        who + "'weight' is float32[2,4], trained, but float32[2,3], trained on rank 0");
  manual_seed(1);
  Linear same(3, 2), weights(3, 2);
  CHECK_NOTHROW(DataParallel(same, group, {.start = dist::Start::compare}));
  if (last) weights.bias.detach().fill_(1);
  const std::string message = test::message_of([&] { DataParallel(weights, group, {.start = dist::Start::compare}); });
  CHECK(message.find(who + "'bias' is ") == 0);
  CHECK(message.find("(hash of its values)") != std::string::npos);
}
