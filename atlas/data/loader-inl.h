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
#include "atlas/core/cuda_async.h"
#include "atlas/core/parallel.h"
#include "atlas/data/loader.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {
/// A tensor on the host for a part of a batch.
inline Tensor batch_memory(const Shape& shape, DType dtype, bool pinned) {
  if (!pinned) return empty(shape, dtype, Device{});
  const int64_t bytes = shape.numel() * item_size(dtype);
  void* p = cuda::allocate_pinned(bytes);
  return from_blob(p, shape, dtype, [p, bytes] { cuda::deallocate_pinned(p, bytes); });
}
}  // namespace detail

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

  /// One image, ready for the batch, and its label; an undefined image is to be left out.
  /// @param plan  gets the device's part, when there is one
  Sample prepare(int64_t index, int64_t epoch_number, ImageAugment& plan) const {
    Sample sample = dataset->get(index);
    if (!sample.image.defined()) return sample;
    check(sample.label >= 0 && sample.label < dataset->num_classes(), "loader", "label {} is outside the {} classes",
          sample.label, dataset->num_classes());
    Rng rng(options.seed, Purpose::sample, epoch_number, index);
    sample.image = as_image(transform ? transform(sample.image, rng) : sample.image, "loader");
    if (options.on_device) plan = options.on_device->plan(sample.image, rng);
    check(sample.image.shape()[2] == 3, "loader", "needs three channels, got {}", describe(sample.image));
    return sample;
  }

  Batch make(const std::vector<int64_t>& all, int64_t epoch_number, int64_t number, int64_t first_image) const {
    const NoGrad guard;
    const int64_t begin = first_image + (number - first_image / options.batch_size) * options.batch_size;
    const int64_t end = std::min(begin + options.batch_size, std::ssize(all));
    Batch batch;
    batch.end = end;
    batch.epoch = epoch_number;
    batch.number = number;
    std::vector<int64_t> labels;
    std::vector<ImageAugment> plans;
    Shape size;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t index = all[static_cast<size_t>(i)];
      try {
        ImageAugment plan;
        const Sample sample = prepare(index, epoch_number, plan);
        if (!sample.image.defined()) continue;
        const Shape& s = sample.image.shape();
        if (labels.empty()) {
          size = s;
          const DType dtype = options.on_device ? uint8 : float32;
          batch.images = detail::batch_memory({end - begin, s[0], s[1], s[2]}, dtype, options.pinned);
        }
        check(s == size, "loader", "{} after {} of {}: images of one batch need one size (add a Resize or a crop)",
              s.str(), size.str(), dataset->where(batch.indices.empty() ? index : batch.indices[0]));
        // Straight into the batch, so that it is written once.
        const int64_t n = sample.image.numel();
        if (options.on_device) {
          std::memcpy(batch.images.data<uint8_t>() + std::ssize(labels) * n, sample.image.raw(),
                      static_cast<size_t>(n));
          plans.push_back(plan);
          labels.push_back(sample.label);
          batch.indices.push_back(index);
          continue;
        }
        float* to = batch.images.data<float>() + static_cast<int64_t>(labels.size()) * n;
        if (sample.image.dtype() == float32) {
          std::memcpy(to, sample.image.raw(), static_cast<size_t>(n) * sizeof(float));
        } else {
          const uint8_t* from = sample.image.data<uint8_t>();
          for (int64_t j = 0; j < n; ++j) to[j] = static_cast<float>(from[j]) * (1.0f / 255.0f);
        }
        labels.push_back(sample.label);
        batch.indices.push_back(index);
      } catch (const std::exception& error) {
        // Whatever failed, the reader wants to know on which file.
        const std::string what = error.what(), where = dataset->where(index);
        if (what.find(where + ":") != std::string::npos) throw;
        fail("loader", "{}: {}", where, what);
      }
    }
    const int64_t count = static_cast<int64_t>(labels.size());
    if (count == 0) return batch;
    if (count < end - begin)
      batch.images = raw_view(batch.images, {count, size[0], size[1], size[2]}, batch.images.strides(), 0);
    batch.labels = detail::batch_memory({count}, int64, options.pinned);
    std::copy(labels.begin(), labels.end(), batch.labels.data<int64_t>());
    MixPlan mix;
    if (options.on_device) {
      Rng rng(options.seed, Purpose::mix, epoch_number, number);
      mix = plan_mix(options.mix, options.on_device->height, options.on_device->width, rng);
      batch.plan = options.on_device->plan(mix);
      batch.plans = detail::batch_memory({count, static_cast<int64_t>(sizeof(ImageAugment))}, uint8, options.pinned);
      std::memcpy(batch.plans.raw(), plans.data(), plans.size() * sizeof(ImageAugment));
    }
    if (options.on_device && options.mix.soft_targets()) {
      batch.targets = mixed_targets(batch.labels, dataset->num_classes(), mix.lambda, options.mix.label_smoothing);
    } else if (options.mix.soft_targets()) {
      Rng rng(options.seed, Purpose::mix, epoch_number, number);
      batch.targets = mix_batch(batch.images, batch.labels, dataset->num_classes(), options.mix, rng);
    }
    if (batch.targets.defined() && options.pinned) {
      Tensor targets = detail::batch_memory(batch.targets.shape(), float32, true);
      copy_elements(targets, batch.targets);
      batch.targets = targets;
    }
    return batch;
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
  validate(options.mix);
  const int64_t size = dataset->size();
  check(size > 0, "loader", "{} has no images", dataset->name());
  check(!options.drop_last || size >= options.batch_size, "loader",
        "{} has {} images, fewer than one batch of {}: drop_last would leave nothing (smaller batch_size?)",
        dataset->name(), size, options.batch_size);
  State& s = *state_;
  s.batches = options.drop_last ? size / options.batch_size : (size - 1) / options.batch_size + 1;
  s.images = options.drop_last ? s.batches * options.batch_size : size;
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

ATLAS_INLINE void Loader::start_epoch(int64_t epoch, int64_t first_image) {
  State& s = *state_;
  check(epoch >= 0, "loader", "epoch must be >= 0, got {}", epoch);
  const int64_t size = s.dataset->size(), batch = s.options.batch_size;
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
    s.end_number = s.next_out + (size - first_image + (s.options.drop_last ? 0 : batch - 1)) / batch;
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
    if (!result.batch.images.defined()) continue;  // every image of it was skipped
    batch = std::move(result.batch);
    return true;
  }
}

}  // namespace atlas::inline ATLAS_ABI::data
