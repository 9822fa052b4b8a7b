// DeviceWaits: how long a device has waited for other ranks, in the queue that computes.
// Not in atlas.h: include it by name.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include "atlas/core/cuda_async.h"
#include "atlas/core/cuda_graph.h"
#include "atlas/dist/waits.h"

namespace atlas::inline ATLAS_ABI::dist::detail {

/// Marks before and after what waits for other ranks on a device, where the host does not notice it.
class DeviceWaits {
 public:
  explicit DeviceWaits(Device device) : device_(device), now_(device, true) {}

  /// Calls `queue`, which puts into the queue that computes what waits there. Every replay of a graph that is being
  /// recorded sets the marks again.
  template <class F>
  void around(const F& queue) {
    Span* const span = next();
    if (span != nullptr) span->from.record();
    queue();
    if (span != nullptr) span->to.record();
  }

  /// Adds what the device has waited since the last call, in the time of the host. Of each recorded operation the last
  /// replay counts. Waits for the device.
  void collect(Waits& to) {
    std::erase_if(recorded_, [](const std::weak_ptr<Span>& span) { return span.expired(); });
    if (cuda::capturing() || (used_ == 0 && recorded_.empty())) return;
    now_.record();
    now_.wait();
    const double now = clock_seconds();
    const auto add = [&](const Span& span) {  // one that no replay has set is no number
      to.add(now - cuda::Event::seconds_between(span.from, now_), now - cuda::Event::seconds_between(span.to, now_));
    };
    for (size_t i = 0; i < used_; ++i) add(spans_[i]);
    for (const std::weak_ptr<Span>& span : recorded_)
      if (const auto alive = span.lock()) add(*alive);
    used_ = 0;
  }

 private:
  static constexpr size_t kMost = 1 << 14;  // where nobody collects, the first ones are measured
  struct Span {
    explicit Span(Device device) : from(device, true), to(device, true) {}
    cuda::Event from, to;
  };
  Span* next() {
    if (cuda::capturing()) {
      auto span = std::make_shared<Span>(device_);
      cuda::keep_with_graph(span);
      recorded_.push_back(span);
      return span.get();
    }
    if (used_ == kMost) return nullptr;
    if (used_ == spans_.size()) spans_.emplace_back(device_);
    return &spans_[used_++];
  }

  Device device_;
  cuda::Event now_;
  std::deque<Span> spans_;                     // used again after each collect()
  size_t used_ = 0;                            // of spans_, since the last one
  std::vector<std::weak_ptr<Span>> recorded_;  // graphs own them
};

}  // namespace atlas::inline ATLAS_ABI::dist::detail
