// State dictionaries: names to tensors in the published layout, and what a load that does not fit reports.
//
// Weights of convolutions lie channels-last in memory and channels-first in files. The difference is a view: Layout
// says which one, and published_view() makes it. Nothing else in the library knows about the published layout.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// How a parameter in memory relates to the same parameter in published files.
enum class Layout : uint8_t {
  plain,             ///< the same
  conv2d,            ///< memory [O, KH, KW, I], published [O, I, KH, KW]
  conv1d_depthwise,  ///< memory [K, C], published [C, 1, K]
};

/// Tensors by published name, in published layout.
using StateDict = std::map<std::string, Tensor>;

/// The tensor as files hold it: a view of the same memory (contiguous only for Layout::plain), outside the graph.
Tensor published_view(const Tensor& t, Layout layout);

/// One parameter or buffer of a module tree.
struct StateEntry {
  std::string name;  ///< dotted path: "levels.2.blocks.0.mixer.x_proj.weight"
  Tensor tensor;     ///< as it lies in memory
  Layout layout = Layout::plain;
  bool is_parameter = true;  ///< false for buffers
};

/// True for entries that files may lack: the count of batches, which older PyTorch did not write and inference never
/// reads. A model keeps its own.
bool may_be_missing(std::string_view name);

/// What Module::load_state_dict accepts besides a perfect fit. Tensors of another shape are never accepted.
enum class Strictness : uint8_t { strict, allow_missing, allow_unexpected, allow_both };

/// What a load found.
struct LoadReport {
  std::vector<std::string> missing;     ///< in the model, not in the file
  std::vector<std::string> unexpected;  ///< in the file, not in the model
  std::vector<std::string> mismatched;  ///< "name: model float32[10,64], file float32[7,64]"

  bool perfect() const { return missing.empty() && unexpected.empty() && mismatched.empty(); }

  /// One line; each list shows its first ten names and its length. "" when everything fits.
  std::string str() const;
};

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/nn/state-inl.h"
#endif
