// GradientReducer: gradients become their means over a group while backward still runs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "atlas/dist/group.h"

namespace atlas::inline ATLAS_ABI::dist {

struct ReducerOptions {
  int64_t bucket_bytes = int64_t{25} << 20;       ///< of gradients that travel together
  int64_t first_bucket_bytes = int64_t{1} << 20;  ///< of the first bucket: it starts early
  DType wire = float32;  ///< what float32 gradients travel and are added up as: bfloat16 halves the bytes
};

/// What a GradientReducer did, in all.
struct ReducerCounts {
  int64_t updates = 0;  ///< backward passes whose gradients were reduced
  int64_t buckets = 0;  ///< reductions started, of all passes together
  int64_t bytes = 0;    ///< of gradients that this rank gave to them
  int64_t early = 0;    ///< of them: started before the last gradient was there
  double waited = 0;    ///< seconds that the host spent at the end of backward, for what was still on its way
  double on_way = 0;    ///< seconds in which something was on its way; of tensors on the CPU
  /// Share of the communication that was hidden behind backward, in [0, 1].
  double hidden() const { return on_way > 0 && waited < on_way ? 1 - waited / on_way : 0; }
};

/// Makes gradients the means over the ranks of a group.
///
/// It sits on the hooks of the parameters' gradients. They are packed into buckets, in the order in which rank 0 got
/// them in its first pass; a bucket that is full is on its way while backward goes on. When backward() returns,
/// grad() of every parameter is
///
///     grad = 1/size Σ_ranks grad
///
/// with the same bits on every rank. On the wire float32 may be bfloat16: every gradient, and each of the at most
/// size - 1 sums on the way, is then rounded by at most 2^-8 of it; what comes back is float32 again. A parameter that
/// only some ranks used counts as zero on the others; one that no rank used keeps what it had, and is named by
/// unused(). With one process nothing is done.
///
/// All ranks run the same number of backward passes. Gradients of several batches are added up under `NoReduction`; the
/// pass after it reduces the sum.
class GradientReducer {
 public:
  /// @param parameters  named float32 or float64 tensors on one device that require a gradient; the same on every rank
  /// @throws Error for others, naming the parameter.
  GradientReducer(std::vector<std::pair<std::string, Tensor>> parameters, const Group& group,
                  ReducerOptions options = {});
  /// Its hooks do nothing from here on.
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// While it lives, gradients stay those of this rank.
  class NoReduction {
   public:
    explicit NoReduction(GradientReducer& reducer) : reducer_(reducer), before_(reducer.pause(true)) {}
    ~NoReduction() { reducer_.pause(before_); }
    NoReduction(const NoReduction&) = delete;
    NoReduction& operator=(const NoReduction&) = delete;

   private:
    GradientReducer& reducer_;
    bool before_;
  };

  /// Parameters that got no gradient on any rank in the last pass that was reduced.
  const std::vector<std::string>& unused() const;
  const ReducerCounts& counts() const;

 private:
  bool pause(bool on);
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace atlas::inline ATLAS_ABI::dist

#ifndef ATLAS_COMPILED_LIB
#include "atlas/dist/reducer-inl.h"
#endif
