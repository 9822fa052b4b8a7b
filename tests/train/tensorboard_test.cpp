// The observer that writes event files: which tags at which steps, histograms, pictures, and what a run that goes on
// says of the part that did not come to be.
#include "atlas/train/tensorboard.h"

#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <set>

#include "atlas/atlas.h"
#include "tests/data/data_test.h"

using namespace atlas;
using atlas_test::message_of;
using atlas_test::Scratch;

namespace {

/// What a record says; a reader for the test alone.
struct Event {
  int64_t step = 0;
  std::string tag;
  float value = 0;
  int kind = 0;  // field of the value: 2 number, 4 picture, 5 histogram
  bool start = false;
};

struct Fields {
  std::string_view bytes;
  /// Calls f(field, number, part) for each field.
  template <class F>
  void each(const F& f) const {
    size_t at = 0;
    const auto varint = [&] {
      uint64_t v = 0;
      for (int shift = 0;; shift += 7) {
        const auto b = static_cast<uint8_t>(bytes.at(at++));
        v |= static_cast<uint64_t>(b & 0x7f) << shift;
        if (b < 0x80) return v;
      }
    };
    while (at < bytes.size()) {
      const uint64_t key = varint();
      const int field = static_cast<int>(key >> 3), type = static_cast<int>(key & 7);
      if (type == 0) {
        f(field, varint(), std::string_view());
        continue;
      }
      const size_t length = type == 1 ? 8 : type == 5 ? 4 : varint();
      f(field, uint64_t{0}, bytes.substr(at, length));
      at += length;
    }
  }
};

std::vector<Event> read_events(const std::string& path) {
  const data::Bytes all = data::read_file(path);
  const std::string_view bytes(reinterpret_cast<const char*>(all.data()), all.size());
  std::vector<Event> events;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data() + at, 8);
    const std::string_view data = bytes.substr(at + 12, length);
    REQUIRE(bytes.substr(at, length + 16) == io::tfrecord(data));
    at += length + 16;
    Event e;
    Fields{data}.each([&](int field, uint64_t number, std::string_view part) {
      if (field == 2) e.step = static_cast<int64_t>(number);
      if (field == 7) e.start = true;
      if (field != 5) return;
      Fields{part}.each([&](int, uint64_t, std::string_view value) {
        Fields{value}.each([&](int f, uint64_t, std::string_view v) {
          if (f == 1) e.tag = v;
          if (f == 2) std::memcpy(&e.value, v.data(), 4);
          if (f != 1) e.kind = f;
        });
      });
    });
    events.push_back(e);
  }
  return events;
}

/// Steps of every tag.
std::map<std::string, std::vector<int64_t>> steps(const std::vector<Event>& events) {
  std::map<std::string, std::vector<int64_t>> found;
  for (const Event& e : events)
    if (!e.tag.empty()) found[e.tag].push_back(e.step);
  return found;
}

class FlatNet : public Module {
 public:
  FlatNet() : head(12, 2) { register_module("head", head); }
  Tensor forward(const Tensor& x) const override { return head(x.reshape({x.size(0), 12})); }
  Linear head;
};

struct Bytes {
  Tensor operator()(const Tensor& image, data::Rng&) const { return data::to_float(image); }
};

/// A training of dark and light images, and what watches it.
struct Setup {
  std::shared_ptr<data::TensorDataset> set;
  FlatNet model;
  tasks::Classification task{{"dark", "light"}};
  SGD optimizer{decay_groups(model, 0), {.lr = 0.1}};
  data::Loader train, test;
  static std::shared_ptr<data::TensorDataset> images() {
    Tensor all = zeros({24, 2, 2, 3}, uint8);
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < 24; ++i) {
      labels.push_back(i % 2);
      if (i % 2 == 1) std::fill_n(all.data<uint8_t>() + 12 * i, 12, uint8_t{200});
    }
    return std::make_shared<data::TensorDataset>("bytes", std::vector<std::string>{"dark", "light"}, all, labels);
  }
  Setup()
      : set(images()),
        train(set, {.batch_size = 4, .collate = tasks::collate_for(task)}, Bytes{}),
        test(set, {.batch_size = 4}, Bytes{}) {
    const NoGrad off;
    model.head.weight.fill_(0.01);
    model.head.bias.fill_(0);
  }
};

}  // namespace

TEST_CASE("numbers of every epoch and of updates, histograms when they are due, and pictures") {
  const Scratch scratch;
  Setup s;
  train::Trainer trainer(s.model, s.task, s.optimizer, {.epochs = 4, .accumulate = 2});
  train::TestReports reports(*s.set, scratch.path(), "a run");
  train::TensorBoard board(scratch.path(), &reports, {.histograms = 2, .clock = [] { return 1e9; }});
  CHECK(board.path().empty());
  trainer.watch(reports).watch(board).fit(s.train, s.test);
  const std::vector<Event> events = read_events(board.path());
  const auto found = steps(events);
  const std::vector<int64_t> epochs = {3, 6, 9, 12}, even = {6, 12};  // 24 images, 8 an update
  for (const char* tag : {"loss/train", "accuracy/train", "loss/test", "accuracy/test", "top5/test", "run/epoch",
                          "run/images_per_second", "run/seconds", "run/peak_memory_mib", "run/lr", "predictions"})
    CHECK_MESSAGE(found.at(tag) == epochs, tag);
  for (const char* tag : {"weights/head.weight", "weights/head.bias", "gradients/head.weight", "gradients/head.bias"})
    CHECK_MESSAGE(found.at(tag) == even, tag);
  CHECK(found.at("step/loss") == std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  CHECK(found.size() == 17);
  double in_steps = 0, of_epoch = 0, accuracy = 0;
  for (const Event& e : events) {
    CHECK(!e.start);
    if (e.tag == "step/loss" && e.step <= 3) in_steps += static_cast<double>(e.value) / 3;
    if (e.tag == "loss/train" && e.step == 3) of_epoch = static_cast<double>(e.value);
    if (e.tag == "accuracy/test") accuracy = static_cast<double>(e.value);
    if (e.tag == "predictions") CHECK(e.kind == 4);
    if (e.tag.starts_with("weights/")) CHECK(e.kind == 5);
  }
  CHECK(in_steps == doctest::Approx(of_epoch).epsilon(1e-5));
  CHECK(accuracy == doctest::Approx(trainer.last_test()->value("accuracy")));
}

TEST_CASE("a run that goes on writes a file of its own, which takes the place of what comes after the checkpoint") {
  const Scratch scratch;
  Setup s;
  std::string first, second;
  io::Checkpoint saved;
  {
    int64_t asked = 0;
    train::Trainer trainer(s.model, s.task, s.optimizer, {.epochs = 3, .stop = [&] { return ++asked > 3; }});
    train::TensorBoard board(scratch.path(), nullptr);
    CHECK(!trainer.watch(board).fit(s.train, s.test));
    saved = trainer.checkpoint();
    first = board.path();
  }
  const int64_t at = saved.step;
  REQUIRE(at == 4);  // in the middle of an epoch
  {
    train::Trainer trainer(s.model, s.task, s.optimizer, {.epochs = 3});
    train::TensorBoard board(scratch.path(), nullptr, {.histograms = 3});
    trainer.watch(board).resume(saved, "last.ckpt");
    CHECK(trainer.fit(s.train, s.test));
    second = board.path();
  }
  CHECK(first != second);
  const std::vector<Event> before = read_events(first), after = read_events(second);
  REQUIRE(after.size() > 2);
  CHECK(after[1].start);
  CHECK(after[1].step == at + 1);
  for (const Event& e : before) CHECK(e.step <= at);
  for (const Event& e : after) CHECK((e.step > at || e.tag.empty()));
  CHECK(steps(after).at("loss/test").back() == 18);
  CHECK(steps(after).at("gradients/head.bias") == std::vector<int64_t>{18});
}
