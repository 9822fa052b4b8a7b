// Bodies of loader.h: workers take places of batches in order, whoever fills the last place of a batch joins it, and
// next() hands batches out in order.
#pragma once

#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "atlas/autograd/node.h"
#include "atlas/core/parallel.h"
#include "atlas/data/encoded_image.h"
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
  /// A batch that is being made.
  struct Job {
    Order order;
    int64_t first = 0;            // position in the order of the first image of all processes
    std::vector<int64_t> places;  // which of those images are ours
    Batch batch{};
    std::optional<BatchBuilder> builder{};
    std::vector<ImageAugment> plans{};         // of each place
    std::vector<std::exception_ptr> errors{};  // of each place
    // Guarded by State::mutex:
    int64_t taken = 0, filled = 0;  // places
    bool made = false;
    std::exception_ptr error{};

    int64_t size() const { return std::ssize(places); }
    int64_t index(int64_t at) const { return (*order)[static_cast<size_t>(first + places[static_cast<size_t>(at)])]; }
    /// Bytes of what is there and will be, or 0 before anybody knows.
    int64_t bytes() const {
      if (!made) return builder ? builder->image_bytes() : 0;
      int64_t sum = batch.images.defined() ? batch.images.numel() * item_size(batch.images.dtype()) : 0;
      for (const auto& [key, t] : batch.targets) sum += t.value.numel() * item_size(t.value.dtype());
      return sum;
    }
  };
  using JobPtr = std::shared_ptr<Job>;

  DatasetPtr dataset;
  LoaderOptions options;
  Transform transform;
  int64_t images = 0, batches = 0;

  std::mutex mutex;  // guards everything below
  std::condition_variable work, ready;
  Order order;
  int64_t epoch = 0;
  int64_t first = 0;               // image of the order at which the epoch was begun, in batch first / batch_size
  int64_t end_number = 0;          // one behind the last batch
  int64_t next_job = 0;            // first batch nobody works on
  int64_t next_out = 0;            // batch that next() hands out
  std::map<int64_t, JobPtr> jobs;  // begun and not handed out, by number; another epoch forgets them
  int64_t largest = 0;             // bytes of the largest batch so far
  bool stopping = false;
  std::vector<std::thread> threads;

  /// One sample, ready for the batch; one without image is to be left out.
  /// @param plan  gets the device's part, when there is one
  Sample prepare(int64_t index, int64_t epoch_number, ImageAugment& plan) const {
    Sample sample = dataset->open(index);
    const bool encoded = sample.encoded != nullptr;
    if (!sample.image.defined() && !encoded) return sample;
    check_targets(sample, dataset->num_classes());
    Rng rng(options.seed, Purpose::sample, epoch_number, index);
    try {
      if (transform) transform.apply(sample, rng);
      detail::decode(sample);
    } catch (const UnreadableImage& error) {
      if (!dataset->skips(index, error)) throw;
      return {};
    }
    sample.image = as_image(sample.image, "loader");
    if (transform || encoded) check_targets(sample, encoded ? dataset->num_classes() : 0);
    if (options.on_device) plan = options.on_device->plan(sample, rng);
    check(sample.image.shape()[2] == 3, "loader", "needs three channels, got {}", describe(sample.image));
    return sample;
  }

  /// The job of batch `number` of the epoch, nothing of it done. Needs the mutex.
  JobPtr begin(int64_t number) const {
    const int64_t together = options.batch_size * options.ranks;  // images of all processes
    const auto job = std::make_shared<Job>();
    job->order = order;
    job->first = first + (number - first / together) * together;
    Batch& batch = job->batch;
    batch.end = std::min(job->first + together, std::ssize(*order));
    batch.epoch = epoch;
    batch.number = number;
    batch.of = batch.end - job->first;
    batch.rest = options.on_device;
    job->places = places_of_rank(batch.of, options.rank, options.ranks);
    job->builder.emplace(
        BatchBuilder::Options{job->size(), options.on_device ? uint8 : float32, options.pad, options.pinned});
    job->plans.resize(job->places.size());
    job->errors.resize(job->places.size());
    return job;
  }

  /// Does f() for one image. @throws Error naming its file, whatever failed: the reader wants to know on which.
  template <class F>
  void naming(int64_t index, const F& f) const {
    try {
      f();
    } catch (const std::bad_alloc&) {
      throw;  // not the image's fault
    } catch (const std::exception& error) {
      const std::string where = dataset->where(index);
      std::string what = error.what();
      if (what.find(where + ":") != std::string::npos) throw;
      if (constexpr std::string_view own = "[loader] "; what.starts_with(own)) what.erase(0, own.size());
      fail("loader", "{}: {}", where, what);
    }
  }

  /// Reads the image of one place.
  void fill(Job& job, int64_t at) const {
    const NoGrad guard;
    const auto s = static_cast<size_t>(at);
    try {
      naming(job.index(at), [&] {
        Sample sample = prepare(job.index(at), job.batch.epoch, job.plans[s]);
        if (sample.image.defined()) job.builder->put(at, std::move(sample));
      });
    } catch (...) {
      job.errors[s] = std::current_exception();
    }
  }

  /// Makes the batch of its places. @throws Error, the first one in the order of the places.
  void join(Job& job) const {
    const NoGrad guard;
    Batch& batch = job.batch;
    BatchBuilder& builder = *job.builder;
    std::vector<ImageAugment> plans;
    int64_t first_at = -1;
    std::string first_place;
    for (int64_t at = 0; at < job.size(); ++at) {
      const auto s = static_cast<size_t>(at);
      if (job.errors[s]) std::rethrow_exception(job.errors[s]);
      if (!builder.has(at)) continue;
      const int64_t index = job.index(at);
      if (first_at < 0) first_at = at, first_place = dataset->where(index);
      naming(index, [&] { builder.check_alike(at, first_at, first_place); });
      plans.push_back(job.plans[s]);
      batch.indices.push_back(index);
      batch.places.push_back(job.places[s]);
    }
    if (first_at < 0) return;  // no image, or none of ours: the others have all of the last batch
    builder.finish(batch);
    if (options.on_device) {
      batch.plan = options.on_device->plan();
      batch.plans =
          detail::batch_memory({std::ssize(plans), static_cast<int64_t>(sizeof(ImageAugment))}, uint8, options.pinned);
      std::memcpy(batch.plans.raw(), plans.data(), plans.size() * sizeof(ImageAugment));
    }
    collate(batch);
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

  /// join(); an error is kept for next().
  void attempt_join(Job& job) const {
    try {
      join(job);
    } catch (...) {
      job.error = std::current_exception();
      job.batch = {};
    }
  }

  /// Whether another batch may be begun. One more than the one handed out may be, whatever its size; but until the
  /// first image of all has said how large they are, it stays at one. Needs the mutex.
  bool has_room() const {
    if (next_job >= end_number || next_job >= next_out + options.prefetch) return false;
    if (jobs.empty()) return true;
    int64_t ahead = 0, each = largest;
    for (const auto& [number, job] : jobs) each = std::max(each, job->bytes());
    for (const auto& [number, job] : jobs) ahead += job->made ? job->bytes() : each;
    return each > 0 && ahead + each <= options.prefetch_bytes;
  }

  /// A job with a place that nobody has taken, begun if need be; null when there is nothing to do. Needs the mutex.
  JobPtr open_job() {
    for (const auto& [number, job] : jobs)
      if (job->taken < job->size()) return job;
    if (!has_room()) return nullptr;
    const JobPtr job = begin(next_job);
    jobs.emplace(next_job++, job);
    return job;
  }

  void loop() {
    const SerialScope keep_off_the_pool;
    std::unique_lock lock(mutex);
    for (;;) {
      JobPtr job;
      work.wait(lock, [&] { return stopping || (job = open_job()) != nullptr; });
      if (stopping) return;
      const int64_t at = job->taken++;
      if (at == 0) work.notify_all();  // it has places for the others, too
      lock.unlock();
      if (at < job->size()) fill(*job, at);  // of a batch without places there is none
      lock.lock();
      if (at < job->size()) {
        if (++job->filled == 1) work.notify_all();  // how large it becomes is known now
        if (job->filled < job->size()) continue;
      }
      lock.unlock();
      attempt_join(*job);
      lock.lock();
      job->made = true;
      job->builder.reset();  // under the mutex: others ask it for its size
      largest = std::max(largest, job->bytes());
      ready.notify_one();
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
  check(options.prefetch_bytes >= 0, "loader", "prefetch_bytes must be at least 0, got {}", options.prefetch_bytes);
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
    s.jobs.clear();
  }
  s.work.notify_all();
}

ATLAS_INLINE bool Loader::next(Batch& batch) {
  State& s = *state_;
  for (;;) {
    State::JobPtr job;
    {
      std::unique_lock lock(s.mutex);
      if (s.next_out >= s.end_number) {
        batch = {};
        return false;
      }
      const int64_t number = s.next_out;
      if (s.threads.empty()) {
        job = s.begin(number);
        ++s.next_out;
      } else {
        s.ready.wait(lock, [&] {
          const auto found = s.jobs.find(number);
          return found != s.jobs.end() && found->second->made;
        });
        job = std::move(s.jobs.extract(number).mapped());
        ++s.next_out;
        lock.unlock();
        s.work.notify_one();
      }
    }
    if (s.threads.empty()) {
      for (int64_t at = 0; at < job->size(); ++at) {
        s.fill(*job, at);
        if (job->errors[static_cast<size_t>(at)]) break;
      }
      s.attempt_join(*job);
    }
    if (job->error) std::rethrow_exception(job->error);
    if (!job->batch.images.defined() && s.options.ranks == 1) continue;  // every image of it was skipped
    batch = std::move(job->batch);
    return true;
  }
}

}  // namespace atlas::inline ATLAS_ABI::data
