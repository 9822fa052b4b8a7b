// The feed: brings a loader's batches to the device that computes, one ahead of the step in work.
#pragma once

#include <array>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "atlas/autograd/node.h"
#include "atlas/core/cuda_async.h"
#include "atlas/data/loader.h"

namespace atlas::inline ATLAS_ABI::data {

/// Batches of a loader on a device. On the CPU it is the loader. Batches without images, which several processes have
/// (LoaderOptions::ranks), come without.
///
/// Where the loader leaves a part of the pipeline to the device, the feed does it (LoaderOptions::on_device).
///
/// On a CUDA device, the next batch travels while the step with the present one computes: from pinned memory, in a
/// queue of its own, into one of two buffers on the device. A batch is good until the next call of next().
/// The loader should make its batches in pinned memory (LoaderOptions::pinned).
///
/// Example: `Feed feed(set, {.batch_size = 64}, transform, device); feed.start_epoch(0); for (Batch b; feed.next(b);)
/// train(b);`
class Feed {
 public:
  Feed(Loader& loader, Device device) : loader_(loader), device_(device) {}
  /// With a loader of its own, whose batches lie in pinned memory where that helps.
  Feed(DatasetPtr set, LoaderOptions options, Transform transform, Device device)
      : own_(std::make_unique<Loader>(std::move(set), pinned_for(std::move(options), device), std::move(transform))),
        loader_(*own_),
        device_(device) {}
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;
  ~Feed() {
    try {
      drain();
    } catch (const std::exception&) {  // the device has failed: an error that says so is on its way, or follows
    }
  }

  /// As Loader::start_epoch().
  void start_epoch(int64_t epoch, int64_t first_image = 0, bool whole = false) {
    drain();
    coming_.reset();
    ended_ = false;
    loader_.start_epoch(epoch, first_image, whole);
  }
  /// The next batch, its tensors on the device; false when the epoch has ended. @throws Error as Loader::next().
  bool next(Batch& batch) {
    if constexpr (kWithCuda) {
      if (device_.is_cuda()) return next_on_device(batch);
    }
    if (!loader_.next(batch)) return false;
    if (batch.images.defined()) finish(batch);
    return true;
  }

 private:
  /// A place on the device for one batch.
  struct Slot {
    Batch host;            // kept while it travels
    Tensor images, plans;  // on the device
    std::map<std::string, Tensor> targets;
    std::optional<cuda::Event> there, used;  // the copy is complete; the step that reads it is queued up to here
  };

  bool next_on_device(Batch& batch) {
    if (out_) slots_[*out_].used->record();  // whoever has that batch has queued its work by now
    if (!coming_ && !ended_) send();
    if (!coming_) {
      batch = {};
      out_.reset();
      return false;
    }
    out_ = coming_;
    coming_.reset();
    Slot& s = slots_[*out_];
    s.there->hold(cuda::Queue::compute);
    batch = s.host;
    if (!s.host.images.defined()) {  // the other processes have its images
      if (!ended_) send();
      return true;
    }
    batch.images = view(s.images, s.host.images);
    for (auto& [key, target] : batch.targets) target.value = view(s.targets[key], target.value);
    batch.plans = s.host.plans.defined() ? view(s.plans, s.host.plans) : Tensor();
    finish(batch);
    if (!ended_) send();
    return true;
  }

  /// Starts the next batch on its way.
  void send() {
    Batch host;
    if (!loader_.next(host)) {
      ended_ = true;
      return;
    }
    const size_t place = out_ ? 1 - *out_ : 0;
    Slot& s = slots_[place];
    if (!s.there) {
      s.there.emplace(device_);
      s.used.emplace(device_);
    }
    s.there->wait();  // long ago, mostly: the host memory of the former batch may go
    s.used->hold(cuda::Queue::upload);
    s.host = std::move(host);
    if (s.host.images.defined()) copy(s.images, s.host.images);
    for (const auto& [key, target] : s.host.targets) copy(s.targets[key], target.value);
    if (s.host.plans.defined()) copy(s.plans, s.host.plans);
    s.there->record(cuda::Queue::upload);
    coming_ = place;
  }
  /// Memory for `from` on the device, grown when it is too small, and the copy.
  void copy(Tensor& to, const Tensor& from) {
    const int64_t bytes = from.numel() * item_size(from.dtype());
    if (!to.defined() || to.dtype() != from.dtype() || to.numel() < from.numel()) {
      to = empty(from.shape(), from.dtype(), device_);
      // The block may have belonged to something that still computes.
      fresh_.emplace(device_);
      fresh_->record();
      fresh_->hold(cuda::Queue::upload);
    }
    cuda::upload(device_, to.raw(), from.raw(), bytes);
  }
  static Tensor view(const Tensor& whole, const Tensor& like) {
    return raw_view(whole, like.shape(), contiguous_strides(like.shape()), 0);
  }
  void drain() {
    if constexpr (kWithCuda)
      for (Slot& s : slots_)
        if (s.there) s.there->wait();
  }

  static LoaderOptions pinned_for(LoaderOptions options, Device device) {
    options.pinned = device.is_cuda();
    return options;
  }

  std::unique_ptr<Loader> own_;
  Loader& loader_;
  Device device_;
  std::array<Slot, 2> slots_;
  std::optional<size_t> out_, coming_;  // the slot handed out, and the one on its way
  std::optional<cuda::Event> fresh_;
  bool ended_ = false;
};

}  // namespace atlas::inline ATLAS_ABI::data
