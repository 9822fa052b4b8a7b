// safetensors files: named tensors with text metadata. Reading checks all a file can lie about; writing is atomic.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <span>
#include <string>

#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::io {

/// What a safetensors file holds.
struct SafetensorsFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads a safetensors file (8-byte little-endian header length, JSON header, raw data).
///
/// F64, F32, F16, BF16, I64, U8 and BOOL keep their type; I8, I16, I32, U16, U32 and U64 become int64, 8-bit floats
/// (E4M3, E5M2, E8M0) float32, and C64 float32 [..., 2]. Tensors that keep their type, and whose data starts at a
/// multiple of their element size, lie in the mapped file (see MappedFile), which lives as long as they do: nothing is
/// read before it is used, and writing to them does not reach the file.
/// @param rounded  where given, tensors of U64 with numbers beyond int64 are no error: they become float64, rounded (to
///                 look at, not to keep), and their names are added to this
/// @throws Error naming the file and the entry, offset or length for a file that is missing, truncated or of another
///         format; for lengths that do not agree with the file (found before memory is asked for), tensors that overlap
///         or leave gaps, bytes after the last tensor, names that occur twice, and types without a counterpart here.
SafetensorsFile load_safetensors(const std::string& path, std::set<std::string>* rounded = nullptr);
/// The same from memory, copied; `name` stands for the file in messages.
SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name,
                                  std::set<std::string>* rounded = nullptr);

/// Writes a safetensors file under a temporary name in the same folder, flushes it to the disk and renames it: `path`
/// holds the old content or the new one, whatever happens.
/// @param tensors   may be views; each is made contiguous while it is written
/// @param metadata  text stored beside them
/// @throws Error naming the file and the system's reason (no space, no permission); the temporary file is then removed.
void save_safetensors(const std::string& path, const std::map<std::string, Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {});
/// The bytes of such a file without metadata, which parse_safetensors() reads.
std::string safetensors_bytes(const std::map<std::string, Tensor>& tensors);

}  // namespace atlas::inline ATLAS_ABI::io

#ifndef ATLAS_COMPILED_LIB
#include "atlas/io/safetensors-inl.h"
#endif
