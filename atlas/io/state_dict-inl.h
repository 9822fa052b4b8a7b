// Bodies of state_dict.h.
#pragma once

#include <charconv>
#include <cstring>
#include <filesystem>
#include <set>

#include "atlas/core/input_file.h"
#include "atlas/io/pytorch.h"
#include "atlas/io/safetensors.h"
#include "atlas/io/state_dict.h"
#include "atlas/tensor/print.h"

namespace atlas::inline ATLAS_ABI::io {

ATLAS_INLINE LoadedWeights load_state_dict(const std::string& path, const std::string& which,
                                           std::set<std::string>* rounded) {
  unsigned char start[9] = {};
  {
    const InputFile file(path);
    check(file.problem().empty(), "weights", "cannot open {}: {}", path, file.problem());
    check(file.read(start, sizeof(start)) > 0, "weights", "{} is empty", path);
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
inline constexpr std::string_view kPrefixes[] = {"module.",    "model.", "encoder.",    "backbone.",
                                                 "_orig_mod.", "net.",   "state_dict.", "_forward_module."};
/// What wrappers of layers put inside of names: torch.compile, activation checkpointing and FSDP.
inline constexpr std::string_view kInnerWrappers[] = {"_orig_mod.", "_checkpoint_wrapped_module.",
                                                      "_fsdp_wrapped_module."};

/// The name without the wrappers of layers: "levels.0._orig_mod.norm.weight" -> "levels.0.norm.weight".
inline std::string without_wrappers(std::string name) {
  for (const std::string_view wrapper : kInnerWrappers)
    for (size_t at = name.find(wrapper); at != name.npos; at = name.find(wrapper, at)) {
      if (at > 0 && name[at - 1] != '.')
        ++at;
      else
        name.erase(at, wrapper.size());
    }
  return name;
}

/// The weights under names without the wrappers of layers; those that would then be called the same keep their names.
inline StateDict without_wrappers(const StateDict& dict) {
  std::map<std::string, size_t> uses;
  for (const auto& [name, t] : dict) ++uses[without_wrappers(name)];
  StateDict plain;
  for (const auto& [name, t] : dict) {
    const std::string stripped = without_wrappers(name);
    plain.emplace(uses.at(stripped) == 1 ? stripped : name, t);
  }
  return plain;
}

/// Every chain of prefixes that some name of a file begins with, shorter ones first.
inline std::vector<std::string> prefix_chains(const StateDict& dict) {
  std::set<std::string> chains;
  for (const auto& [name, t] : dict) {
    size_t at = 0;
    for (bool again = true; again;) {
      chains.insert(name.substr(0, at));
      again = false;
      for (const std::string_view prefix : kPrefixes)
        if (std::string_view(name).substr(at).starts_with(prefix)) {
          at += prefix.size();
          again = true;
          break;
        }
    }
  }
  std::vector<std::string> sorted(chains.begin(), chains.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
  return sorted;
}

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
  name = detail::without_wrappers(std::move(name));
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view prefix : detail::kPrefixes)
      if (name.starts_with(prefix)) {
        name.erase(0, prefix.size());
        again = true;
      }
  }
  return name;
}

ATLAS_INLINE FittedWeights fit_state_dict(const StateDict& given, const StateDict& model) {
  FittedWeights fitted;
  StateDict from_file = given;
  size_t best = 0;
  for (const auto& [name, t] : model) best += given.contains(name);
  // As the names are, then without the wrappers of layers; of each, shorter chains first. Only better ones replace.
  for (const StateDict& names : {given, detail::without_wrappers(given)})
    for (const std::string& chain : detail::prefix_chains(names)) {
      size_t n = 0;
      for (const auto& [name, t] : model) n += names.contains(chain + name);
      if (n <= best) continue;
      best = n;
      fitted.prefix = chain;
      from_file = names;
    }
  std::set<std::string> used;
  for (const auto& [name, t] : model) {
    const auto it = from_file.find(fitted.prefix + name);
    if (it == from_file.end()) {
      if (!may_be_missing(name)) fitted.missing.push_back(name);
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
