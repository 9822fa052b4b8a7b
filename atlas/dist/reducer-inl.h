// Bodies of reducer.h.
#pragma once

#include <algorithm>
#include <chrono>

#include "atlas/autograd/after_backward.h"
#include "atlas/autograd/node.h"
#include "atlas/dist/reducer.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::dist {

struct GradientReducer::State : std::enable_shared_from_this<State> {
  struct Bucket {
    Tensor memory;  // [elements]
    std::vector<size_t> members;
    size_t here = 0;  // members whose gradient is packed
    PendingReduce pending;
  };
  struct Place {
    size_t bucket = 0;
    Tensor slot;  // view of the bucket, of the parameter's shape
    bool here = false, again = false;
    bool kept = false;  // has a gradient of passes that were not reduced
  };

  Group group;
  ReducerOptions options;
  std::vector<std::pair<std::string, Tensor>> parameters;
  std::vector<Place> places;  // one for each parameter
  std::vector<Bucket> buckets;
  std::vector<size_t> arrived;  // of this pass
  size_t started = 0;           // buckets on their way; they leave in order, as all ranks must agree
  bool paused = false, running = false, ordered = false;
  std::vector<std::string> unused;
  ReducerCounts counts;
  std::chrono::steady_clock::time_point since;  // something is on its way
  size_t complete = 0;                          // buckets of this pass that have arrived

  double seconds_since(std::chrono::steady_clock::time_point start) const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  /// Gives what is on its way time to proceed.
  void proceed() {
    if (complete == started) return;
    while (complete < started && buckets[complete].pending.test()) ++complete;
    if (complete == started) counts.on_way += seconds_since(since);
  }

  DType on_wire(const Tensor& p) const { return p.dtype() == float32 ? options.wire : p.dtype(); }

  /// Packs parameters into buckets, in this order; a bucket has one dtype.
  void arrange(const std::vector<size_t>& order) {
    buckets.clear();
    std::vector<int64_t> sizes;
    for (size_t i : order) {
      const Tensor& p = parameters[i].second;
      const int64_t each = item_size(on_wire(p)), bytes = p.numel() * each;
      const int64_t limit = buckets.size() <= 1 ? options.first_bucket_bytes : options.bucket_bytes;
      const bool fits = !buckets.empty() && sizes.back() * each + bytes <= limit &&
                        parameters[buckets.back().members.front()].second.dtype() == p.dtype();
      if (!fits) {
        buckets.emplace_back();
        sizes.push_back(0);
      }
      buckets.back().members.push_back(i);
      places[i].bucket = buckets.size() - 1;
      sizes.back() += p.numel();
    }
    for (size_t b = 0; b < buckets.size(); ++b) {
      const Tensor& like = parameters[buckets[b].members.front()].second;
      buckets[b].memory = zeros({sizes[b]}, on_wire(like), like.device());
      int64_t at = 0;
      for (size_t i : buckets[b].members) {
        const Tensor& p = parameters[i].second;
        Shape steps = p.shape();
        int64_t step = 1;
        for (int axis = p.dim() - 1; axis >= 0; --axis) {
          steps[axis] = step;
          step *= p.shape()[axis];
        }
        places[i].slot = raw_view(buckets[b].memory, p.shape(), steps, at);
        at += p.numel();
      }
    }
  }

  /// The gradient of parameter i is complete, as far as its hook knows.
  void arrive(size_t i, const Tensor& grad) {
    if (paused) {
      places[i].kept = true;
      return;
    }
    if (!running) {
      running = true;
      started = complete = 0;
      arrived.clear();
      const std::weak_ptr<State> weak = weak_from_this();
      atlas::detail::after_backward([weak] {
        if (const auto state = weak.lock()) state->finish();
      });
    }
    Place& place = places[i];
    Bucket& bucket = buckets[place.bucket];
    if (place.here && place.bucket < started) {  // used in several checkpointed blocks: the first part has left
      place.again = true;
      return;
    }
    copy_elements(place.slot, grad);
    if (!std::exchange(place.here, true)) {
      arrived.push_back(i);
      ++bucket.here;
    }
    while (started < buckets.size() && buckets[started].here == buckets[started].members.size()) {
      if (arrived.size() < parameters.size()) ++counts.early;
      start_next();
    }
    proceed();
    for (size_t b = complete; b < started; ++b) buckets[b].pending.test();
  }

  void start_next() {
    Bucket& bucket = buckets[started++];
    for (size_t i : bucket.members) {
      Place& place = places[i];
      if (place.here) continue;
      const Tensor grad = parameters[i].second.grad();
      place.here = place.kept && grad.defined();
      if (place.here)
        copy_elements(place.slot, grad);
      else
        fill_elements(place.slot, 0);
    }
    if (complete + 1 == started) since = std::chrono::steady_clock::now();
    bucket.pending = group.start_all_reduce(bucket.memory);
    ++counts.buckets;
    counts.bytes += bucket.memory.numel() * item_size(bucket.memory.dtype());
  }

  /// The end of a pass: what has not left yet leaves, and all gradients become means.
  void finish() {
    const NoGrad off;
    const auto start = std::chrono::steady_clock::now();
    while (started < buckets.size()) start_next();
    // Which parameters any rank used (1), and which have to travel once more (2).
    const auto n = static_cast<int64_t>(parameters.size());
    Tensor flags = zeros({n}, int64, Device{});
    for (size_t i = 0; i < parameters.size(); ++i)
      flags.data<int64_t>()[i] = places[i].again ? 2 : places[i].here ? 1 : 0;
    group.all_reduce(flags, Reduce::max);
    for (Bucket& bucket : buckets) bucket.pending.wait();
    proceed();
    unused.clear();
    for (size_t i = 0; i < parameters.size(); ++i) {
      const int64_t flag = flags.data<int64_t>()[i];
      if (flag == 0) {
        unused.push_back(parameters[i].first);
        continue;
      }
      Tensor p = parameters[i].second, grad = p.grad();
      if (flag == 2) {
        if (grad.defined())
          copy_elements(places[i].slot, grad);
        else
          fill_elements(places[i].slot, 0);
        Tensor whole = copy_of(places[i].slot);
        group.all_reduce(whole);
        copy_elements(places[i].slot, whole);
      }
      const bool is_new = !grad.defined();
      if (is_new) grad = empty(p.shape(), p.dtype(), p.device());
      copy_elements(grad, places[i].slot);
      scale_elements(grad, 1.0 / group.size());
      if (is_new)
        p.set_grad(grad);
      else
        grad.bump_version();
    }
    if (!ordered) adopt_order();
    for (Place& place : places) place.here = place.again = place.kept = false;
    for (Bucket& bucket : buckets) bucket.here = 0;
    running = false;
    ++counts.updates;
    counts.waited += seconds_since(start);
  }

  /// From now on buckets are filled in the order in which rank 0 got its gradients, unused parameters last.
  void adopt_order() {
    ordered = true;
    Tensor order = empty({static_cast<int64_t>(parameters.size())}, int64, Device{});
    auto* const to = order.data<int64_t>();
    size_t count = 0;
    for (size_t i : arrived) to[count++] = static_cast<int64_t>(i);
    std::vector<bool> placed(parameters.size());
    for (size_t i : arrived) placed[i] = true;
    for (size_t i = 0; i < parameters.size(); ++i)
      if (!placed[i]) to[count++] = static_cast<int64_t>(i);
    group.broadcast(order);
    arrange(std::vector<size_t>(to, to + count));
  }
};

ATLAS_INLINE GradientReducer::GradientReducer(std::vector<std::pair<std::string, Tensor>> parameters,
                                              const Group& group, ReducerOptions options)
    : state_(std::make_shared<State>()) {
  check(options.bucket_bytes > 0 && options.first_bucket_bytes > 0, "reducer",
        "buckets must have more than 0 bytes, got {} and {} for the first", options.bucket_bytes,
        options.first_bucket_bytes);
  check(options.wire == float32 || options.wire == bfloat16, "reducer",
        "gradients travel as float32 or bfloat16, not as {}", name(options.wire));
  State& s = *state_;
  s.group = group;
  s.options = options;
  for (const auto& [name, p] : parameters)
    check((p.dtype() == float32 || p.dtype() == float64) && p.device() == parameters[0].second.device() &&
              p.requires_grad(),
          "reducer", "'{}' must be a float32 or float64 tensor on {} that requires a gradient, got {}", name,
          parameters[0].second.device().str(), describe(p));
  s.parameters = std::move(parameters);
  s.places.resize(s.parameters.size());
  if (group.size() == 1) return;
  std::vector<size_t> order;  // backward meets the last layers first
  for (size_t i = s.parameters.size(); i-- > 0;) order.push_back(i);
  s.arrange(order);
  for (size_t i = 0; i < s.parameters.size(); ++i) {
    const std::weak_ptr<State> weak = state_;
    s.parameters[i].second.add_grad_hook([weak, i](Tensor& grad) {
      if (const auto state = weak.lock()) state->arrive(i, grad);
    });
  }
}

ATLAS_INLINE GradientReducer::~GradientReducer() = default;

ATLAS_INLINE const std::vector<std::string>& GradientReducer::unused() const { return state_->unused; }
ATLAS_INLINE const ReducerCounts& GradientReducer::counts() const { return state_->counts; }
ATLAS_INLINE bool GradientReducer::pause(bool on) { return std::exchange(state_->paused, on); }

}  // namespace atlas::inline ATLAS_ABI::dist
