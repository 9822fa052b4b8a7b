// Weights from any file that people have: the format is recognized by content, names are fitted to the model.
#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "atlas/nn/state.h"

namespace atlas::inline ATLAS_ABI::io {

/// Weights out of a file.
struct LoadedWeights {
  StateDict tensors;                 ///< by the names in the file, in published layout
  std::string format;                ///< "safetensors" or "PyTorch"
  std::string found_in;              ///< the dictionary inside the file that held them; "" for the file itself
  std::vector<std::string> skipped;  ///< entries of it that are no tensors
};

/// Reads the weights of a safetensors or PyTorch file (.safetensors, .pth, .pt, .pth.tar, .ckpt; the name does not
/// matter).
/// @param which  PyTorch files: the dictionary that holds them, see load_pytorch(); safetensors files have only one
/// @param rounded  as of load_safetensors() and load_pytorch(): takes the names of rounded tensors, which are errors
///                 without it
/// @throws Error naming the file when it is missing, damaged or of another format.
LoadedWeights load_state_dict(const std::string& path, const std::string& which = "",
                              std::set<std::string>* rounded = nullptr);

/// Weights with their names fitted to a model's.
struct FittedWeights {
  StateDict tensors;                 ///< those whose names the model has, under the model's names
  std::string prefix;                ///< what was stripped ("module."), or ""
  std::vector<std::string> ignored;  ///< names in the file that the model does not have
  std::vector<std::string> missing;  ///< names in the model that the file does not have, but for may_be_missing()
};

/// Strips prefixes and the names of wrappers, where that makes more names match the model's; otherwise names stay.
///
/// Prefixes are "module.", "model.", "encoder.", "backbone.", "_orig_mod.", "net.", "state_dict." and
/// "_forward_module.", also several of them. Wrappers stand inside names: "._orig_mod.", "._checkpoint_wrapped_module."
/// and "._fsdp_wrapped_module.".
/// @param model  Module::state_dict() of the model
///
/// What the file has beyond the model is ignored and listed, as the layers that the authors' models carry and never
/// use. A further block of a list, with every tensor that the model's last one has, is a deeper model's and no such
/// layer.
/// @throws Error naming the first tensor of such a block.
FittedWeights fit_state_dict(const StateDict& from_file, const StateDict& model);

/// The name without those prefixes and wrappers: "module.model.fc.weight" -> "fc.weight".
std::string without_prefixes(std::string name);

}  // namespace atlas::inline ATLAS_ABI::io

#ifndef ATLAS_COMPILED_LIB
#include "atlas/io/state_dict-inl.h"
#endif
