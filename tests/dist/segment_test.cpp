// Heads of segmenters over several processes: their batch norms see the images of all, so that one image each is
// enough.
#include <doctest/doctest.h>

#include <cmath>

#include "atlas/autograd/backward.h"
#include "atlas/dist/data_parallel.h"
#include "atlas/models/presets.h"
#include "atlas/nn/finite_guard.h"
#include "atlas/tasks/segmentation.h"
#include "atlas/tensor/create.h"
#include "atlas/train/diagnose.h"
#include "tests/compare.h"

using namespace atlas;
using dist::DataParallel;
using dist::Group;

namespace {

/// Maps of four strides of that many images.
std::vector<Tensor> maps_of(int64_t images) {
  std::vector<Tensor> maps;
  for (int64_t i = 0; i < 4; ++i) maps.push_back(randn({images, 8 >> i, 8 >> i, 4 + 2 * i}, float64));
  return maps;
}

/// What a head makes of each rank's own image, and what it learns, is what it makes of and learns from all of them.
template <class Head>
void compare(const Group& group, Head& head, Head& whole) {
  const int64_t n = group.size(), own = group.rank();
  for (Head* h : {&head, &whole}) {
    h->to(float64);
    h->train();
  }
  whole.load_state_dict(head.state_dict());
  const std::vector<Tensor> all = maps_of(n);
  std::vector<Tensor> part;
  for (const Tensor& map : all) part.push_back(copy_of(map.slice(0, own, own + 1)));
  const Tensor expected = whole.run(all), dy = randn(expected.shape(), float64);
  expected.backward(dy);
  const DataParallel parallel(head, group);
  const Tensor y = head.run(part);
  CHECK(test::largest_difference(y, expected.slice(0, own, own + 1)) <= 1e-10);
  y.backward(copy_of(dy.slice(0, own, own + 1)));
  const auto ours = head.named_parameters(), theirs = whole.named_parameters();
  for (size_t i = 0; i < ours.size(); ++i) {
    CAPTURE(ours[i].first);
    const Tensor mean = theirs[i].second.grad() / static_cast<double>(n);
    CHECK(test::largest_difference(ours[i].second.grad(), mean) <= 1e-9);
  }
  const auto buffers = head.named_buffers(), of_all = whole.named_buffers();
  for (size_t i = 0; i < buffers.size(); ++i)
    if (is_floating(buffers[i].second.dtype()))
      CHECK(test::largest_difference(buffers[i].second, of_all[i].second) <= 1e-10);
}

}  // namespace

TEST_CASE("the heads of a segmenter have the statistics of all processes, from one image each") {
  const Group group = Group::world();
  if (group.size() == 1) {
    MESSAGE("one process has nobody to share with: not tried");
    return;
  }
  manual_seed(4);
  const std::vector<int64_t> channels = {4, 6, 8, 10};
  models::UPerHead head(channels, 6, 3, {1, 2}, 0), whole(channels, 6, 3, {1, 2}, 0);
  compare(group, head, whole);
  models::FCNHead auxiliary(channels, 6, 3, 2, 0), auxiliary_whole(channels, 6, 3, 2, 0);
  compare(group, auxiliary, auxiliary_whole);
}

TEST_CASE("a segmenter is trained with one image for each of several processes; one alone says that it is too few") {
  const Group group = Group::world();
  manual_seed(7);
  const auto model = models::make_any_model("upernet-mambavision-toy", {.num_classes = 3});
  const tasks::Segmentation task({"a", "b", "c"});
  data::Targets targets;
  targets.set(data::kMask, {data::TargetKind::mask, full({1, 64, 64}, group.rank() % 3, uint8, Device{})});
  const Tensor images = randn({1, 64, 64, 3});
  model->train();
  const auto step = [&] {
    const Tensor loss = tasks::total(task.loss(task.outputs(*model, images, targets), targets));
    loss.backward();
    return loss.item();
  };
  CHECK(test::message_of(step).find("more than 1 value per channel") != std::string::npos);
  if (group.size() == 1) return;
  const DataParallel parallel(*model, group);
  CHECK(std::isfinite(step()));
  for (const auto& entry : model->named_parameters())
    if (entry.second.grad().defined()) CHECK_MESSAGE(all_finite(entry.second.grad()), entry.first);
}

TEST_CASE("one process alone can look where numbers are not finite, though heads share their statistics") {
  const Group group = Group::world();
  manual_seed(7);
  const auto model = models::make_any_model("upernet-mambavision-toy", {.num_classes = 3});
  const DataParallel parallel(*model, group);
  model->train();
  for (auto& [name, p] : model->named_parameters())
    if (name == "decode_head.conv_seg.bias") p.detach().fill_(NAN);
  if (group.first()) {  // the others do not take part
    const auto look = [&](const Tensor& images) {
      return train::first_that_is_not_finite(*model, images, false, [&] { (*model)(images); });
    };
    CHECK(look(randn({2, 64, 64, 3})) == "module 'decode_head.conv_seg'");
    CHECK(test::has(look(randn({1, 64, 64, 3})), "another one: [batch_norm] expected more than 1 value"));
  }
  group.barrier();
}
