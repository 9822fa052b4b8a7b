// DataParallel: every rank has the whole model and its own part of each batch.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "atlas/dist/reducer.h"
#include "atlas/dist/sync_batch_norm.h"
#include "atlas/nn/module.h"

namespace atlas::inline ATLAS_ABI::dist {

/// Where the weights of a model come from when training begins.
enum class Start : uint8_t {
  broadcast,  ///< rank 0's are sent to all
  compare,    ///< all ranks have the same already, which is checked
};

struct DataParallelOptions {
  Start start = Start::broadcast;
  bool compare_buffers = true;  ///< with Start::compare; false where ranks go on with running statistics of their own
  ReducerOptions buckets{};
};

/// Trains one model on all ranks of a group: gradients are the means over the ranks when backward() returns.
///
///     dist::DataParallel parallel(model, dist::Group::world());
///     ...
///     loss.backward();      // the loss is a mean over this rank's part of the batch
///     optimizer.step();     // the same step on every rank
///
/// \snippet examples/06_many_processes.cpp parallel
///
/// The mean of the ranks' gradients is the gradient of the whole batch where all parts have the same size.
///
/// Batch norm takes the statistics of each rank's own part, or, under SyncBatchNorm, those of the whole batch. Layers
/// that ask for it always take those of the whole batch (heads of detectors, as published). This holds on the thread
/// that made this object, for as long as the object lives.
class DataParallel {
 public:
  /// Makes the model the same on all ranks. Parameters that are frozen now are left alone later as well.
  /// @param model  outlives this; on the CPU, or all of it on this rank's own CUDA device
  /// @throws Error on every rank, naming the rank and the parameter or buffer, for a model that has other names, shapes
  ///         or types than that of rank 0, and with Start::compare for one with other values.
  DataParallel(Module& model, const Group& group, DataParallelOptions options = {});

  /// Adds up gradients of several batches: the passes under it are not reduced, the next one reduces the sum.
  GradientReducer::NoReduction accumulate() { return GradientReducer::NoReduction(reducer_); }
  /// Makes floating buffers (running statistics of batch norm) their means over the ranks, such as at the end of an
  /// epoch. What is equal already stays, to the bit.
  void average_buffers();

  const Group& group() const { return group_; }
  /// Parameters that got no gradient on any rank in the last pass that was reduced.
  const std::vector<std::string>& unused() const { return reducer_.unused(); }
  const ReducerCounts& counts() const { return reducer_.counts(); }

 private:
  Module& model_;
  Group group_;
  GradientReducer reducer_;
  detail::OfferedStatistics offered_{group_};
};

/// Makes tensors their means over the ranks. What is equal already stays, to the bit.
/// @param tensors  float32 or float64; others are left alone
void average(const Group& group, const std::vector<Tensor>& tensors);

/// 64 bits that tell the dtype, shape and values of a tensor from others (FNV-1a), wherever it is. Waits for its
/// device.
uint64_t hash_of(const Tensor& x);

}  // namespace atlas::inline ATLAS_ABI::dist

#ifndef ATLAS_COMPILED_LIB
#include "atlas/dist/data_parallel-inl.h"
#endif
