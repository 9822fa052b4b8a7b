// The training checkpoint: everything a run needs to go on bit for bit, in one safetensors file.
//
//   model.*    parameters and buffers, published names and layout      optim.*   the optimizer's state
//   ema.*      moving averages (may be absent)                         extra.*   whatever else the loop keeps
//   counters.epoch, counters.step, counters.best_metric, rng           metadata: format, version, model, config (JSON)
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "atlas/core/rng.h"
#include "atlas/nn/module.h"

namespace atlas::inline ATLAS_ABI::io {

/// What a training checkpoint holds. Tensors may share memory with the model and the optimizer: saving copies nothing.
struct Checkpoint {
  std::string model_name;   ///< such as "atlas-s"; for messages and for building the model again
  std::string config_json;  ///< the effective configuration, JSON text
  StateDict model;          ///< Module::state_dict()
  StateDict optimizer;      ///< Optimizer::state_dict()
  StateDict ema;            ///< Ema::state_dict(), or empty
  StateDict extra;          ///< the loop's own
  Generator generator;      ///< default_generator() at the time
  int64_t epoch = 0;        ///< epochs finished
  int64_t step = 0;         ///< optimizer updates done
  /// Best value so far of what the run selects by; NaN or infinite before the first.
  double best_metric = -std::numeric_limits<double>::infinity();
};

namespace detail {

inline constexpr const char* kCheckpointFormat = "atlas-training-checkpoint";
inline constexpr const char* kCheckpointVersion = "1";

/// Takes the scalar or row `name` out of `all`. @throws Error when it is absent or of another kind.
Tensor take(StateDict& all, const std::string& name, DType dtype, const Shape& shape, const std::string& path);

}  // namespace detail

/// Writes a checkpoint under a temporary name in the same folder, flushes it to the disk and renames it: whatever
/// happens, `path` holds the old checkpoint or the new one.
/// @throws Error naming the file and the system's reason (no space, no permission). The old file is then untouched, and
///         the temporary one removed.
void save_checkpoint(const std::string& path, const Checkpoint& c);

/// Reads a checkpoint that save_checkpoint() wrote.
/// @throws Error naming the file and what is wrong with it: it is missing, truncated, no training checkpoint or of a
///         later version, or an entry is absent or of another type.
Checkpoint load_checkpoint(const std::string& path);

/// Copies a checkpoint's weights and buffers into a model.
/// @param path        where the checkpoint came from, for the message
/// @param model_name  what the model is called, for the message
/// @throws Error saying of which model the checkpoint is, with missing and unexpected names and those of another
///         shape. The model is then unchanged.
void restore_model(Module& model, const Checkpoint& c, const std::string& path, const std::string& model_name);

}  // namespace atlas::inline ATLAS_ABI::io

#ifndef ATLAS_COMPILED_LIB
#include "atlas/io/checkpoint-inl.h"
#endif
