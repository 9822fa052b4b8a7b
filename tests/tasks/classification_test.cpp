// The task of classification: its loss, what its meter keeps, merges and saves, and the kind of targets it refuses.
#include "atlas/tasks/classification.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "atlas/tensor/create.h"
#include "tests/compare.h"

using namespace atlas;
using namespace atlas::tasks;
using test::message_of;

namespace {

Tensor logits_of(const std::vector<float>& values, int64_t classes) {
  Tensor t = empty({std::ssize(values) / classes, classes});
  std::copy(values.begin(), values.end(), t.data<float>());
  return t;
}

data::Targets labels_of(const std::vector<int64_t>& labels) {
  Tensor t = empty({std::ssize(labels)}, int64);
  std::copy(labels.begin(), labels.end(), t.data<int64_t>());
  data::Targets targets;
  targets.set(data::kLabel, {data::TargetKind::label, t});
  return targets;
}

const std::vector<std::string> kNames = {"a", "b", "c"};

void add(const Classification& task, Meter& meter, const std::vector<float>& logits, const std::vector<int64_t>& labels,
         const std::vector<int64_t>& indices) {
  const Named outputs = {{"logits", logits_of(logits, 3)}};
  const data::Targets targets = labels_of(labels);
  meter.add(outputs, targets, task.loss(outputs, targets), indices);
}

}  // namespace

TEST_CASE("the loss is cross entropy with the labels, or with the soft ones where there are some") {
  const Classification task(kNames);
  const Named outputs = {{"logits", logits_of({0, 0, 0, 1, 2, 3}, 3)}};
  data::Targets targets = labels_of({1, 2});
  const Named losses = task.loss(outputs, targets);
  REQUIRE(losses.size() == 1);
  const double second = std::log(std::exp(1) + std::exp(2) + std::exp(3)) - 3;
  CHECK(total(losses).item() == doctest::Approx((std::log(3) + second) / 2));
  Tensor soft = zeros({2, 3});
  soft.at<float>({0, 0}) = soft.at<float>({1, 1}) = 1;
  targets.set(data::kSoftLabel, {data::TargetKind::soft_label, soft});
  CHECK(total(task.loss(outputs, targets)).item() == doctest::Approx((std::log(3) + second + 1) / 2));
  CHECK(message_of([&] {
          task.loss({{"boxes", soft}}, targets);
        }) == "[task] the model gives no 'logits'; it gives: boxes");
  CHECK(message_of([&] {
          Classification({"a", "b"}).loss(outputs, labels_of({1, 0}));
        }) ==
        "[classification] logits float32[2,3] tell 3 classes apart, but the task has 2: make the model with "
        "num_classes = 2, or name 3 classes for the task");
  CHECK(message_of([&] {
          task.loss({{"logits", zeros({2, 4, 4, 3})}}, labels_of({1, 0}));
        }) == "[classification] needs logits [B,3], got float32[2,4,4,3]: is this a model for classification?");
  data::Targets objects = labels_of({1, 2});
  objects.find(data::kLabel)->offsets = {0, 2};
  CHECK(message_of([&] { task.loss(outputs, objects); }) ==
        "[classification] needs one class for each image, but label 'label' (int64[2]) has one for each object");
  CHECK(message_of([&] { task.loss(outputs, {}); }) == "[targets] there is no target 'label'; there are: none");
  CHECK(message_of([] { Classification({}); }) == "[classification] needs at least one class");
  CHECK(message_of([] { total({}); }) == "[task] a loss needs at least one part");
}

TEST_CASE("parts of a loss are summed") {
  CHECK(total({{"a", full({}, 2)}, {"b", full({}, 0.5)}, {"c", full({}, 1)}}).item() == 3.5);
}

TEST_CASE("meters of parts of a set, merged or saved in between, find what one finds") {
  const Classification task(kNames);
  const std::vector<float> first = {3, 1, 0, 0, 1, 2}, second = {1, 0, 0};
  const auto whole = task.meter(false), a = task.meter(false), b = task.meter(false), again = task.meter(false);
  add(task, *whole, first, {0, 1}, {7, 3});
  add(task, *whole, second, {0}, {5});
  add(task, *a, first, {0, 1}, {7, 3});
  again->load_state(a->state());
  add(task, *again, second, {0}, {5});
  add(task, *b, second, {0}, {5});
  a->merge(*b);
  for (const Meter* m : {a.get(), again.get()}) {
    CHECK(m->images() == 3);
    CHECK(m->value("accuracy") == 2.0 / 3);
    CHECK(m->value("top5") == 1);
    CHECK(m->value("loss") == doctest::Approx(whole->value("loss")));
    const auto& found = dynamic_cast<const ClassificationMeter&>(*m);
    CHECK(found.indices() == std::vector<int64_t>{7, 3, 5});
    CHECK(found.labels() == std::vector<int64_t>{0, 1, 0});
    CHECK(found.predictions() == std::vector<int64_t>{0, 2, 0});
    CHECK(found.confusion().at(0, 0) == 2);
    CHECK(found.confusion().at(1, 2) == 1);
  }
  CHECK(again->value("loss") == whole->value("loss"));
}

TEST_CASE("a meter of training keeps sums alone, and reads those of runs from before it counted the best five") {
  const Classification task(kNames);
  const auto meter = task.meter(true), later = task.meter(true);
  add(task, *meter, {3, 1, 0, 0, 1, 2}, {0, 1}, {});
  StateDict state = meter->state();
  CHECK(state.size() == 4);
  state.erase("right_5");
  later->load_state(state);
  CHECK(later->values()[0].value == meter->values()[0].value);
  CHECK(later->values()[1].value == 0.5);
  CHECK(later->values().size() == 2);
  state.erase("right");
  CHECK(message_of([&] { later->load_state(state); }) ==
        "[meter] the state of a meter of classification has no 'right' of type float64 with 0 axes");
  CHECK(message_of([&] {
          later->merge(*task.meter(false));
        }).starts_with("[meter] only meters of classification with 3 classes"));
  CHECK(message_of([&] { later->value("miou"); }) == "[meter] there is no value 'miou'; there are: loss, accuracy");
}

TEST_CASE("which value is better, and in which direction") {
  const Goal goal = Classification(kNames).goal();
  CHECK(goal.value == "accuracy");
  CHECK(goal.better(0.6, 0.5));
  CHECK_FALSE(goal.better(0.5, 0.5));
  CHECK(Goal{.value = "loss", .higher = false}.better(0.4, 0.5));
}
