// Bodies of loader.h: one job makes one whole batch; workers take jobs in order, next() hands them out in order.
#pragma once

#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "atlas/autograd/node.h"
#include "atlas/core/parallel.h"
#include "atlas/data/loader.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE std::vector<int64_t> places_of_rank(int64_t images, int64_t rank, int64_t ranks) {
  std::vector<int64_t> places;
  if (images % ranks != 0) {
    for (int64_t i = images * rank / ranks; i < images * (rank + 1) / ranks; ++i) places.push_back(i);
    return places;
  }
  const int64_t each = images / ranks, front = each / 2, back = each - front;
  for (int64_t i = 0; i < front; ++i) places.push_back(rank * front + i);
  for (int64_t i = 0; i < back; ++i) places.push_back(images - (rank + 1) * back + i);
  return places;
}

struct Loader::State {
  using Order = std::shared_ptr<const std::vector<int64_t>>;
  struct Result {
    Batch batch;
    std::exception_ptr error;
  };

  DatasetPtr dataset;
  LoaderOptions options;
  Transform transform;
  int64_t images = 0, batches = 0;

  std::mutex mutex;  // guards everything below
  std::condition_variable work, ready;
  Order order;
  int64_t epoch = 0;
  int64_t first = 0;        // image of the order at which the epoch was begun, in batch first / batch_size
  int64_t end_number = 0;   // one behind the last batch
  int64_t next_job = 0;     // first batch nobody works on
  int64_t next_out = 0;     // batch that next() hands out
  uint64_t generation = 0;  // counts start_epoch: results of an older one are dropped
  bool stopping = false;
  std::map<int64_t, Result> done;
  std::vector<std::thread> threads;

  /// One sample, ready for the batch; one without image is to be left out.
  /// @param plan  gets the device's part, when there is one
  Sample prepare(int64_t index, int64_t epoch_number, ImageAugment& plan) const {
    Sample sample = dataset->get(index);
    if (!sample.image.defined()) return sample;
    check_targets(sample, dataset->num_classes());
    Rng rng(options.seed, Purpose::sample, epoch_number, index);
    if (transform) transform.apply(sample, rng);
    sample.image = as_image(sample.image, "loader");
    if (transform) check_targets(sample);
    if (options.on_device) plan = options.on_device->plan(sample, rng);
    check(sample.image.shape()[2] == 3, "loader", "needs three channels, got {}", describe(sample.image));
    return sample;
  }

  Batch make(const std::vector<int64_t>& all, int64_t epoch_number, int64_t number, int64_t first_image) const {
    const NoGrad guard;
    const int64_t together = options.batch_size * options.ranks;  // images of all processes
    const int64_t first_of_all = first_image + (number - first_image / together) * together;
    const int64_t end_of_all = std::min(first_of_all + together, std::ssize(all));
    Batch batch;
    batch.end = end_of_all;
    batch.epoch = epoch_number;
    batch.number = number;
    batch.of = end_of_all - first_of_all;
    batch.rest = options.on_device;
    const std::vector<int64_t> mine = places_of_rank(batch.of, options.rank, options.ranks);
    if (mine.empty()) return batch;  // the others have all of the last one
    std::vector<ImageAugment> plans;
    BatchBuilder builder({std::ssize(mine), options.on_device ? uint8 : float32, options.pad, options.pinned});
    std::string first_place;
    for (const int64_t place : mine) {
      const int64_t index = all[static_cast<size_t>(first_of_all + place)];
      try {
        ImageAugment plan;
        Sample sample = prepare(index, epoch_number, plan);
        if (!sample.image.defined()) continue;
        if (batch.indices.empty()) first_place = dataset->where(index);
        builder.add(std::move(sample), first_place);
        plans.push_back(plan);
        batch.indices.push_back(index);
        batch.places.push_back(place);
      } catch (const std::exception& error) {
        // Whatever failed, the reader wants to know on which file.
        const std::string what = error.what(), where = dataset->where(index);
        if (what.find(where + ":") != std::string::npos) throw;
        fail("loader", "{}: {}", where, what);
      }
    }
    if (builder.size() == 0) return batch;
    builder.finish(batch);
    if (options.on_device) {
      batch.plan = options.on_device->plan();
      batch.plans =
          detail::batch_memory({builder.size(), static_cast<int64_t>(sizeof(ImageAugment))}, uint8, options.pinned);
      std::memcpy(batch.plans.raw(), plans.data(), plans.size() * sizeof(ImageAugment));
    }
    collate(batch);
    return batch;
  }

  /// The task's part; what it made goes where the feed can take it from.
  void collate(Batch& batch) const {
    if (!options.collate) return;
    const Targets before = batch.targets;
    Rng rng(options.seed, Purpose::mix, batch.epoch, batch.number);
    options.collate(batch, rng);
    if (!options.pinned) return;
    for (auto& [key, target] : batch.targets) {
      const Target* old = before.find(key);
      if (old != nullptr && old->value.raw() == target.value.raw()) continue;
      Tensor pinned = detail::batch_memory(target.value.shape(), target.value.dtype(), true);
      copy_elements(pinned, target.value);
      target.value = pinned;
    }
  }

  Result attempt(const std::vector<int64_t>& all, int64_t epoch_number, int64_t number, int64_t first_image) const {
    try {
      return {make(all, epoch_number, number, first_image), nullptr};
    } catch (...) {
      return {{}, std::current_exception()};
    }
  }

  void loop() {
    const SerialScope keep_off_the_pool;
    std::unique_lock lock(mutex);
    for (;;) {
      work.wait(lock, [&] { return stopping || (next_job < end_number && next_job < next_out + options.prefetch); });
      if (stopping) return;
      const int64_t number = next_job++, of_epoch = epoch, from = first;
      const uint64_t mine = generation;
      const Order all = order;
      lock.unlock();
      Result result = attempt(*all, of_epoch, number, from);
      lock.lock();
      if (mine != generation) continue;
      done.emplace(number, std::move(result));
      if (number == next_out) ready.notify_one();
    }
  }

  ~State() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
    }
    work.notify_all();
    for (std::thread& t : threads) t.join();
  }
};

ATLAS_INLINE Loader::Loader(DatasetPtr dataset, LoaderOptions options, Transform transform)
    : state_(std::make_unique<State>()) {
  check(dataset != nullptr, "loader", "needs a data set, got none");
  check(options.batch_size >= 1, "loader", "batch_size must be at least 1, got {}", options.batch_size);
  check(options.workers >= 0 && options.workers <= 1024, "loader", "workers must lie in 0..1024, got {}",
        options.workers);
  check(options.prefetch >= 1, "loader", "prefetch must be at least 1, got {}", options.prefetch);
  check(options.pad >= 0 && options.pad <= 65536, "loader", "pad must lie in 0..65536, got {}", options.pad);
  check(options.pad == 0 || !options.on_device, "loader",
        "images of different sizes (pad = {}) are augmented on the host: leave on_device out", options.pad);
  check(options.ranks >= 1 && options.rank >= 0 && options.rank < options.ranks, "loader",
        "rank must lie in [0, ranks), got rank {} of {}", options.rank, options.ranks);
  const int64_t size = dataset->size(), together = options.batch_size * options.ranks;
  check(size > 0, "loader", "{} has no images", dataset->name());
  check(!options.drop_last || size >= together, "loader",
        "{} has {} images, fewer than one batch of {}: drop_last would leave nothing (smaller batch_size?)",
        dataset->name(), size, together);
  State& s = *state_;
  s.batches = options.drop_last ? size / together : (size - 1) / together + 1;
  s.images = options.drop_last ? s.batches * together : size;
  s.next_job = s.next_out = s.end_number = s.batches;  // nothing to hand out before start_epoch
  s.dataset = std::move(dataset);
  s.options = options;
  s.transform = std::move(transform);
  for (int i = 0; i < options.workers; ++i) s.threads.emplace_back([&s] { s.loop(); });
}

ATLAS_INLINE Loader::~Loader() = default;

ATLAS_INLINE int64_t Loader::batches() const { return state_->batches; }
ATLAS_INLINE int64_t Loader::images() const { return state_->images; }
ATLAS_INLINE const Dataset& Loader::dataset() const { return *state_->dataset; }
ATLAS_INLINE const LoaderOptions& Loader::options() const { return state_->options; }

ATLAS_INLINE void Loader::start_epoch(int64_t epoch, int64_t first_image, bool whole) {
  State& s = *state_;
  check(epoch >= 0, "loader", "epoch must be >= 0, got {}", epoch);
  const int64_t size = s.dataset->size(), batch = s.options.batch_size * s.options.ranks;
  check(first_image >= 0 && first_image <= size, "loader", "an epoch has {} images, cannot start at number {}", size,
        first_image);
  std::vector<int64_t> order;
  if (s.options.shuffle) {
    order = permutation(s.dataset->size(), s.options.seed, epoch);
  } else {
    for (int64_t i = 0; i < s.dataset->size(); ++i) order.push_back(i);
  }
  {
    std::lock_guard lock(s.mutex);
    s.order = std::make_shared<const std::vector<int64_t>>(std::move(order));
    s.epoch = epoch;
    s.first = first_image;
    s.next_job = s.next_out = first_image / batch;
    s.end_number = s.next_out + (size - first_image + (s.options.drop_last && !whole ? 0 : batch - 1)) / batch;
    s.done.clear();
    ++s.generation;
  }
  s.work.notify_all();
}

ATLAS_INLINE bool Loader::next(Batch& batch) {
  State& s = *state_;
  for (;;) {
    State::Result result;
    {
      std::unique_lock lock(s.mutex);
      if (s.next_out >= s.end_number) {
        batch = {};
        return false;
      }
      const int64_t number = s.next_out;
      if (s.threads.empty()) {
        ++s.next_out;
        const State::Order all = s.order;
        lock.unlock();
        result = s.attempt(*all, s.epoch, number, s.first);
      } else {
        s.ready.wait(lock, [&] { return s.done.contains(number); });
        result = std::move(s.done.extract(number).mapped());
        ++s.next_out;
        lock.unlock();
        s.work.notify_one();
      }
    }
    if (result.error) std::rethrow_exception(result.error);
    if (!result.batch.images.defined() && s.options.ranks == 1) continue;  // every image of it was skipped
    batch = std::move(result.batch);
    return true;
  }
}

}  // namespace atlas::inline ATLAS_ABI::data
