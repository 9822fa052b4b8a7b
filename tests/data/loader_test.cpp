// The loader: the same batches for any number of workers and any start, errors that name the file, clean shutdown.
#include "atlas/data/loader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <thread>

#include "atlas/data/augment.h"
#include "atlas/data/mix.h"
#include "atlas/data/shapes.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/select.h"
#include "atlas/tensor/tensor.h"
#include "tests/compare.h"
#include "tests/data/data_test.h"
#include "tests/data/loader_settings.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::augmentation;
using atlas_test::epoch_of;
using atlas_test::message_of;
using atlas_test::options_with;

namespace {

bool same(const Targets& a, const Targets& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Targets::Entry& x, const Targets::Entry& y) {
    return x.first == y.first && x.second.offsets == y.second.offsets &&
           test::same_bits(x.second.value, y.second.value);
  });
}

bool same(const Batch& a, const Batch& b) {
  return a.number == b.number && a.epoch == b.epoch && a.indices == b.indices && test::same_bits(a.images, b.images) &&
         same(a.targets, b.targets);
}

bool same(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Batch& x, const Batch& y) { return same(x, y); });
}

/// Shapes with something wrong at chosen positions.
class Faulty : public Dataset {
 public:
  explicit Faulty(std::vector<int64_t> missing, int64_t throws = -1, int64_t bad_label = -1, int64_t odd_size = -1)
      : Dataset("faulty", {"circle", "square", "triangle", "cross"}),
        missing_(std::move(missing)),
        throws_(throws),
        bad_label_(bad_label),
        odd_size_(odd_size) {}
  int64_t size() const override { return 12; }
  Sample get(int64_t i) const override {
    if (i == throws_) throw std::runtime_error("lens cap left on");
    if (std::find(missing_.begin(), missing_.end(), i) != missing_.end()) return {};
    Sample s = (i == odd_size_ ? large_ : shapes_).get(i);
    if (i == bad_label_) return labeled(s.image, 4);
    return s;
  }
  std::string where(int64_t i) const override { return fmt::format("photos/{}.jpg", i); }

 private:
  Shapes shapes_{12, 16}, large_{12, 20};
  std::vector<int64_t> missing_;
  int64_t throws_, bad_label_, odd_size_;
};

}  // namespace

TEST_CASE("batches do not depend on the number of workers") {
  for (int64_t epoch : {0, 3}) {
    const auto reference = epoch_of(options_with(0), epoch);
    REQUIRE(reference.size() == 7);
    CHECK(reference[0].images.shape() == Shape{8, 12, 12, 3});
    CHECK(reference[6].images.shape() == Shape{2, 12, 12, 3});
    CHECK(reference[0].targets["soft_label"].shape() == Shape{8, 4});
    CHECK(reference[0].images.dtype() == float32);
    CHECK(same(reference, epoch_of(options_with(1), epoch)));
    CHECK(same(reference, epoch_of(options_with(3), epoch)));
  }
  CHECK_FALSE(same(epoch_of(options_with(0), 0), epoch_of(options_with(0), 1)));
  LoaderOptions other = options_with(0);
  other.seed = 8;
  CHECK_FALSE(same(epoch_of(options_with(0), 0), epoch_of(other, 0)));
}

TEST_CASE("an epoch started in the middle goes on as one that was not interrupted") {
  const auto whole = epoch_of(options_with(0), 2);
  for (int workers : {0, 3}) {
    for (int64_t first : {1, 4, 6, 7}) {
      const auto rest = epoch_of(options_with(workers), 2, first);
      CHECK(same(std::vector<Batch>(whole.begin() + first, whole.end()), rest));
    }
  }
}

TEST_CASE("an epoch holds every image once, in a new order each time; drop_last leaves the rest out") {
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch : {0, 1}) {
    std::vector<int64_t> order;
    for (const Batch& b : epoch_of(options_with(2), epoch))
      order.insert(order.end(), b.indices.begin(), b.indices.end());
    orders.push_back(order);
    std::sort(order.begin(), order.end());
    REQUIRE(order.size() == 50);
    for (int64_t i = 0; i < 50; ++i) CHECK(order[static_cast<size_t>(i)] == i);
  }
  CHECK(orders[0] != orders[1]);

  LoaderOptions options = options_with(2);
  options.shuffle = false;
  options.drop_last = true;
  const auto batches = epoch_of(options, 0);
  REQUIRE(batches.size() == 6);
  CHECK(batches[5].indices == std::vector<int64_t>{40, 41, 42, 43, 44, 45, 46, 47});
  const Loader loader(std::make_shared<Shapes>(50, 16), options, augmentation());
  CHECK(loader.batches() == 6);
  CHECK(loader.images() == 48);
}

TEST_CASE("labels and plain images arrive unchanged") {
  const auto shapes = std::make_shared<Shapes>(6, 16);
  Loader loader(shapes, {.batch_size = 4});
  loader.start_epoch(0);
  Batch batch;
  REQUIRE(loader.next(batch));
  CHECK_FALSE(batch.targets.contains("soft_label"));
  for (int64_t i = 0; i < 4; ++i) {
    CHECK(batch.targets["label"].at<int64_t>({i}) == i % 4);
    const Tensor image = shapes->get(i).image;
    CHECK(batch.images.at<float>({i, 5, 7, 2}) == doctest::Approx(image.at<uint8_t>({5, 7, 2}) / 255.0));
  }
  REQUIRE(loader.next(batch));
  CHECK(batch.number == 1);
  CHECK_FALSE(loader.next(batch));
  CHECK_FALSE(loader.next(batch));
}

TEST_CASE("a new epoch may begin, and the loader may go, at any moment") {
  for (int workers : {1, 3}) {
    std::atomic<int> calls{0};
    const Transform counted = [&calls](const Tensor& x, Rng&) {
      ++calls;
      return x;
    };
    Loader loader(std::make_shared<Shapes>(200, 16), {.batch_size = 4, .workers = workers, .prefetch = 3}, counted);
    Batch batch;
    CHECK_FALSE(loader.next(batch));  // no epoch yet
    for (int64_t epoch = 0; epoch < 20; ++epoch) {
      loader.start_epoch(epoch);
      REQUIRE(loader.next(batch));
      CHECK(batch.epoch == epoch);
      CHECK(batch.number == 0);
    }
    CHECK(calls >= 80);
  }
}

TEST_CASE("prefetch bounds the work that is ahead") {
  std::atomic<int> calls{0};
  const Transform counted = [&calls](const Tensor& x, Rng&) {
    ++calls;
    return x;
  };
  Loader loader(std::make_shared<Shapes>(400, 16), {.batch_size = 4, .workers = 3, .prefetch = 2}, counted);
  loader.start_epoch(0);
  Batch batch;
  for (int64_t i = 0; i < 20; ++i) {
    REQUIRE(loader.next(batch));
    CHECK(calls <= 4 * (i + 1 + 2));
  }
}

TEST_CASE("all workers fill one batch") {
  // Every image waits for two others: with one worker to a batch of three, none would come.
  std::mutex mutex;
  std::condition_variable arrived;
  int inside = 0;
  const Transform together = [&](const Tensor& x, Rng&) {
    std::unique_lock lock(mutex);
    const int group = inside++ / 3;
    arrived.notify_all();
    const bool met = arrived.wait_for(lock, std::chrono::seconds(60), [&] { return inside >= 3 * (group + 1); });
    check(met, "test", "the other workers did not come");
    return x;
  };
  Loader loader(std::make_shared<Shapes>(12, 16), {.batch_size = 3, .workers = 3, .prefetch = 1}, together);
  loader.start_epoch(0);
  int64_t batches = 0;
  for (Batch b; loader.next(b); ++batches) CHECK(b.indices.size() == 3);
  CHECK(batches == 4);
}

TEST_CASE("prefetch bounds the memory that is ahead, too") {
  constexpr int64_t kBatch = 4 * 16 * 16 * 3 * 4 + 4 * 8;  // images and labels
  for (const int64_t bytes : {int64_t{0}, kBatch, 2 * kBatch - 1, 2 * kBatch, 3 * kBatch + 5, 100 * kBatch}) {
    const int64_t ahead = std::clamp<int64_t>(bytes / kBatch, 1, 4);
    std::atomic<int64_t> calls{0};
    const Transform counted = [&calls](const Tensor& x, Rng&) {
      ++calls;
      return x;
    };
    Loader loader(std::make_shared<Shapes>(400, 16),
                  {.batch_size = 4, .workers = 3, .prefetch = 4, .prefetch_bytes = bytes}, counted);
    loader.start_epoch(0);
    Batch batch;
    for (int64_t i = 0; i < 20; ++i) {
      REQUIRE(loader.next(batch));
      CHECK(calls <= 4 * (i + 1 + ahead));
    }
    // They get as far as they may.
    for (int wait = 0; calls < 4 * (20 + ahead) && wait < 6000; ++wait)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    CHECK(calls == 4 * (20 + ahead));
  }
}

TEST_CASE("of several errors in a batch the first in its order comes out, whoever met it") {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> calls{0};
    const Transform late = [&calls](const Tensor& x, Rng&) {
      // The first image is read last.
      if (calls++ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      return x;
    };
    Loader loader(std::make_shared<Faulty>(std::vector<int64_t>{}, 2, 1, 3), {.batch_size = 4, .workers = 3}, late);
    loader.start_epoch(0);
    Batch batch;
    CHECK(
        message_of([&] { loader.next(batch); }) ==
        "[loader] photos/1.jpg: [targets] label 'label' (int64[]) holds 4: class numbers of the 4 classes lie in 0..3");
  }
}

TEST_CASE("images that are skipped are left out of their batch, and an empty batch is passed over") {
  for (int workers : {0, 2}) {
    Loader loader(std::make_shared<Faulty>(std::vector<int64_t>{1, 4, 5, 6, 7}), {.batch_size = 4, .workers = workers});
    loader.start_epoch(0);
    Batch batch;
    REQUIRE(loader.next(batch));
    CHECK(batch.indices == std::vector<int64_t>{0, 2, 3});
    CHECK(batch.images.shape() == Shape{3, 16, 16, 3});
    CHECK(batch.targets["label"].numel() == 3);
    REQUIRE(loader.next(batch));
    CHECK(batch.number == 2);
    CHECK(batch.indices == std::vector<int64_t>{8, 9, 10, 11});
    CHECK_FALSE(loader.next(batch));
  }
}

TEST_CASE("errors come out of next() and name the file") {
  const auto error = [](std::shared_ptr<Dataset> dataset, int workers, const Transform& transform = {}) {
    Loader loader(std::move(dataset), {.batch_size = 4, .workers = workers}, transform);
    loader.start_epoch(0);
    return message_of([&] {
      for (Batch b; loader.next(b);) {
      }
    });
  };
  const std::vector<int64_t> none;
  for (int workers : {0, 2}) {
    CHECK(error(std::make_shared<Faulty>(none, 6), workers) == "[loader] photos/6.jpg: lens cap left on");
    CHECK(
        error(std::make_shared<Faulty>(none, -1, 9), workers) ==
        "[loader] photos/9.jpg: [targets] label 'label' (int64[]) holds 4: class numbers of the 4 classes lie in 0..3");
    CHECK(error(std::make_shared<Faulty>(none, -1, -1, 5), workers) ==
          "[loader] photos/5.jpg: [20,20,3] after [16,16,3] of photos/4.jpg: images of one batch need one "
          "size (add a Resize or a crop, or set LoaderOptions::pad)");
    CHECK(error(std::make_shared<Faulty>(none), workers, PadAndCrop{1, 32, 32}) ==
          "[loader] photos/0.jpg: [PadAndCrop] uint8[16,16,3] with 1 pixels of padding is smaller than 32 x 32 (more "
          "padding?)");
  }
}

TEST_CASE("without memory, next() says so and blames no file") {
  class Large : public Dataset {
   public:
    Large() : Dataset("large", {"one"}) {}
    int64_t size() const override { return 4; }
    Sample get(int64_t) const override { throw std::bad_alloc(); }
    std::string where(int64_t i) const override { return fmt::format("photos/{}.jpg", i); }
  };
  for (const int workers : {0, 2}) {
    Loader loader(std::make_shared<Large>(), {.batch_size = 2, .workers = workers});
    loader.start_epoch(0);
    Batch batch;
    CHECK_THROWS_AS(loader.next(batch), std::bad_alloc);
  }
}

TEST_CASE("after an error the epoch goes on with the next batch") {
  for (int workers : {0, 2}) {
    Loader loader(std::make_shared<Faulty>(std::vector<int64_t>{}, 6), {.batch_size = 4, .workers = workers});
    loader.start_epoch(0);
    Batch batch;
    CHECK(loader.next(batch));
    CHECK_THROWS_AS(loader.next(batch), Error);
    REQUIRE(loader.next(batch));
    CHECK(batch.number == 2);
    CHECK_FALSE(loader.next(batch));
  }
}

TEST_CASE("options out of range are refused") {
  const auto error = [](LoaderOptions options, int64_t size = 10) {
    return message_of([&] { Loader loader(std::make_shared<Shapes>(size, 16), options); });
  };
  CHECK(error({.batch_size = 0}) == "[loader] batch_size must be at least 1, got 0");
  CHECK(error({.workers = -1}) == "[loader] workers must lie in 0..1024, got -1");
  CHECK(error({.prefetch_bytes = -1}) == "[loader] prefetch_bytes must be at least 0, got -1");
  CHECK(error({.prefetch = 0}) == "[loader] prefetch must be at least 1, got 0");
  CHECK(error({}, 0) == "[loader] shapes has no images");
  CHECK(
      error({.batch_size = 11, .drop_last = true}) ==
      "[loader] shapes has 10 images, fewer than one batch of 11: drop_last would leave nothing (smaller batch_size?)");
  CHECK(message_of([] { Mix({.mixup = -1}, 4); }) == "[mix] mixup must be >= 0, got -1");
  CHECK(message_of([] { Mix({.label_smoothing = 1}, 4); }) == "[mix] label_smoothing must lie in [0, 1), got 1");
  Loader loader(std::make_shared<Shapes>(10, 16), {.batch_size = 4});
  CHECK(message_of([&] { loader.start_epoch(0, 11); }) == "[loader] an epoch has 10 images, cannot start at number 11");
  CHECK(message_of([&] { loader.start_epoch(-1); }) == "[loader] epoch must be >= 0, got -1");
}
