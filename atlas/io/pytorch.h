// PyTorch checkpoints (.pth, .pt, .pth.tar, .ckpt): the tensors in them, read without executing anything.
#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "atlas/nn/state.h"

namespace atlas::inline ATLAS_ABI::io {

/// What was found in a PyTorch file.
struct PytorchFile {
  StateDict tensors;
  std::string found_in;              ///< the key that held them ("state_dict"), or "" for the top level
  std::vector<std::string> skipped;  ///< entries beside the tensors of that dictionary (numbers, texts), by name
};

/// Reads the tensors of a PyTorch checkpoint: zip files and the older format, pickle protocols 2 to 5.
///
/// The pickle inside is interpreted, not run: the constructors that tensors, dictionaries, argument namespaces and
/// numpy scalars need are known, every other name is refused. Only the storages of the chosen tensors are read; their
/// checksums are verified. Types become those of this library: integers of all widths int64 (bytes uint8), complex
/// numbers float [..., 2], 8-bit floats float32. Views share memory as they did; storages lie in
/// the mapped file where they can (see MappedFile), and writing to them does not reach it.
/// @param which  the key of the dictionary that holds the weights ("ema" finds any of the usual names of averaged
///               weights); "" looks for `state_dict`, `model`, `model_state_dict`, the top level, then averaged weights
/// Tensors of dictionaries and lists inside it are named "outer.inner" and "outer.0".
/// Negated and conjugated views, which PyTorch stores as what they are views of, are worked out.
/// @param rounded  where given, tensors of uint64 with numbers beyond int64 are no error: they become float64, rounded
///                 (to look at, not to keep), and their names are added to this
/// @throws Error naming the file, and the entry or byte, for damaged files, refused names, TorchScript archives,
///         big-endian files and files without tensors; for tensors whose keys make no name (neither text in UTF-8 nor a
///         whole number) or the same name as another's, and, by name, for metadata of unknown meaning.
PytorchFile load_pytorch(const std::string& path, const std::string& which = "",
                         std::set<std::string>* rounded = nullptr);
/// The same from memory; `name` stands for the file in messages.
PytorchFile parse_pytorch(std::span<const std::byte> bytes, const std::string& name, const std::string& which = "",
                          std::set<std::string>* rounded = nullptr);

}  // namespace atlas::inline ATLAS_ABI::io

#ifndef ATLAS_COMPILED_LIB
#include "atlas/io/pytorch-inl.h"
#endif
