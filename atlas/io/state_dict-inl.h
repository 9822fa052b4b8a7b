// Bodies of state_dict.h.
#pragma once

#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "atlas/io/pytorch.h"
#include "atlas/io/safetensors.h"
#include "atlas/io/state_dict.h"

namespace atlas::inline ATLAS_ABI::io {

ATLAS_INLINE LoadedWeights load_state_dict(const std::string& path, const std::string& which,
                                           std::set<std::string>* rounded) {
  unsigned char start[9] = {};
  {
    check(!std::filesystem::is_directory(path), "weights", "{} is a folder", path);
    std::ifstream file(path, std::ios::binary);
    check(file.good(), "weights", "cannot open {}: {}", path, std::strerror(errno));
    file.read(reinterpret_cast<char*>(start), sizeof(start));
    check(file.gcount() > 0, "weights", "{} is empty", path);
  }
  LoadedWeights weights;
  if (std::memcmp(start, "PK\3\4", 4) == 0 || start[0] == 0x80) {
    // A safetensors header of 128 or of 0x04034b50 bytes starts like that, too, but goes on with '{'.
    if (start[8] != '{' || (start[5] | start[6] | start[7]) != 0) {
      PytorchFile file = load_pytorch(path, which, rounded);
      return {std::move(file.tensors), "PyTorch", std::move(file.found_in), std::move(file.skipped)};
    }
  }
  uint64_t length = 0;
  std::memcpy(&length, start, 8);
  check(length <= 100'000'000, "weights",
        "{} is neither a safetensors nor a PyTorch file (by its first bytes; a text, a web page or a Git LFS pointer?)",
        path);
  check(which.empty(), "weights", "{} is a safetensors file, which has no dictionary '{}' to choose", path, which);
  weights.tensors = load_safetensors(path, rounded).tensors;
  weights.format = "safetensors";
  return weights;
}

namespace detail {

/// What wrappers of models put before every name.
inline constexpr const char* kPrefixes[] = {"module.", "model.", "encoder.", "backbone.", "_orig_mod."};

/// The tensor "levels.2.blocks.8.norm.weight" of a file belongs to a deeper model when this one has blocks up to 7, and
/// the file has all of block 7's tensors in a block 8, too.
inline bool is_further_block(const std::string& name, const std::string& prefix, const StateDict& file,
                             const StateDict& model) {
  for (size_t dot = name.find('.', prefix.size()); dot != name.npos; dot = name.find('.', dot + 1)) {
    const size_t from = name.rfind('.', dot - 1) + 1;
    int number = 0;
    const auto [end, bad] = std::from_chars(name.data() + from, name.data() + dot, number);
    if (bad != std::errc{} || end != name.data() + dot || number < 1) continue;
    const std::string list = name.substr(0, from), block = list + std::to_string(number) + ".";
    const std::string before = list.substr(prefix.size()) + std::to_string(number - 1) + ".";
    const auto first = model.lower_bound(before);
    if (first == model.end() || !first->first.starts_with(before)) continue;
    if (const auto own = model.lower_bound(block.substr(prefix.size()));
        own != model.end() && own->first.starts_with(block.substr(prefix.size())))
      continue;
    bool complete = true;
    for (auto it = first; complete && it != model.end() && it->first.starts_with(before); ++it)
      complete = file.contains(block + it->first.substr(before.size()));
    if (complete) return true;
  }
  return false;
}

}  // namespace detail

ATLAS_INLINE std::string without_prefixes(std::string name) {
  for (bool again = true; again;) {
    again = false;
    for (const std::string prefix : detail::kPrefixes)
      if (name.starts_with(prefix)) {
        name.erase(0, prefix.size());
        again = true;
      }
  }
  return name;
}

ATLAS_INLINE FittedWeights fit_state_dict(const StateDict& from_file, const StateDict& model) {
  const auto matches = [&](const std::string& prefix) {
    size_t n = 0;
    for (const auto& [name, t] : model) n += from_file.contains(prefix + name);
    return n;
  };
  FittedWeights fitted;
  size_t best = matches("");
  std::vector<std::string> chains = {""};
  for (int depth = 0; depth < 3; ++depth) {  // shorter chains first, and only a better one replaces them
    std::vector<std::string> longer;
    for (const std::string& chain : chains)
      for (const char* prefix : detail::kPrefixes) {
        longer.push_back(chain + prefix);
        if (const size_t n = matches(longer.back()); n > best) {
          best = n;
          fitted.prefix = longer.back();
        }
      }
    chains = std::move(longer);
  }
  std::set<std::string> used;
  for (const auto& [name, t] : model) {
    const auto it = from_file.find(fitted.prefix + name);
    if (it == from_file.end()) {
      fitted.missing.push_back(name);
    } else {
      fitted.tensors.emplace(name, it->second);
      used.insert(it->first);
    }
  }
  for (const auto& [name, t] : from_file)
    if (!used.contains(name)) {
      check(!detail::is_further_block(name, fitted.prefix, from_file, model), "weights",
            "tensor '{}' belongs to a block that the model does not have: these are a deeper model's weights", name);
      fitted.ignored.push_back(name);
    }
  return fitted;
}

}  // namespace atlas::inline ATLAS_ABI::io
