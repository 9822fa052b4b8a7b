// An exponential moving average of a model's weights and buffers.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "atlas/optim/optimizer.h"

namespace atlas::inline ATLAS_ABI {

/// Settings of Ema.
struct EmaOptions {
  double decay = 0.9998;  ///< in [0, 1)
  bool ramp = false;      ///< start with a short memory: the decay of update t is min(decay, (1 + t) / (10 + t))
};

/// Moving average of weights and buffers, a = decay a + (1 - decay) x after every update (Polyak and Juditsky 1992).
///
/// Float tensors are averaged in their own dtype; others (counters) are copied. The averages start as the present
/// values.
///
/// Example: `Ema ema(model, {.decay = 0.9998}); ... optimizer.step(); ema.update(); ... { auto guard = ema.swap();
/// evaluate(model); }`
class Ema {
 public:
  /// @param tensors  parameters and buffers by name; @throws Error for doubled names or a decay outside [0, 1)
  explicit Ema(const NamedTensors& tensors, EmaOptions options = {});
  /// The average of all parameters and buffers of a module.
  template <HasNamedParameters M>
  explicit Ema(M& model, EmaOptions options = {}) : Ema(all_of(model), options) {}

  Ema(const Ema&) = delete;
  Ema& operator=(const Ema&) = delete;

  /// Moves the averages towards the present values.
  void update();
  int64_t updates() const { return updates_; }

  /// While it lives, the model holds the averages; then it gets its own values back.
  class Swapped {
   public:
    explicit Swapped(Ema& ema) : ema_(&ema) { ema.exchange(); }
    ~Swapped();
    Swapped(Swapped&& o) noexcept : ema_(std::exchange(o.ema_, nullptr)) {}
    Swapped(const Swapped&) = delete;
    Swapped& operator=(const Swapped&) = delete;
    Swapped& operator=(Swapped&&) = delete;

   private:
    Ema* ema_;
  };
  /// Puts the averages into the model for the life of the result: `auto guard = ema.swap();`
  [[nodiscard]] Swapped swap() { return Swapped(*this); }
  /// Copies the averages into the model for good.
  void apply();

  /// The averages by the names of their tensors (sharing memory, laid out as the model is in memory) and "num_updates".
  StateDict state_dict() const;
  /// Takes over a saved state. @throws Error listing missing, unexpected and misshapen entries; nothing changes then.
  void load_state_dict(const StateDict& dict);

 private:
  struct Entry {
    std::string name;
    Tensor value, average;
  };
  static constexpr const char* kUpdates = "num_updates";

  template <class M>
  static NamedTensors all_of(M& model) {
    NamedTensors all = model.named_parameters();
    for (const auto& b : model.named_buffers()) all.emplace_back(b);
    return all;
  }
  void exchange();

  EmaOptions options_;
  std::vector<Entry> entries_;
  int64_t updates_ = 0;
};

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/optim/ema-inl.h"
#endif
