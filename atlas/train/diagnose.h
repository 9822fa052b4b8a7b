// Where numbers that are not finite come from.
// Not in atlas.h: include it by name.
#pragma once

#include <fmt/core.h>

#include <functional>
#include <optional>
#include <string>

#include "atlas/autograd/autocast.h"
#include "atlas/autograd/node.h"
#include "atlas/core/failure.h"
#include "atlas/nn/finite_guard.h"
#include "atlas/ops/norm_group.h"

namespace atlas::inline ATLAS_ABI::train {

/// What a model did with images, to be done once more: its forward(), or what its task makes of it.
using Pass = std::function<void()>;

/// The first part of a step that is not finite, in words: the same pass once more, looking at every module. The
/// generator should be as it was before the pass, so that dropout draws the same numbers.
inline std::string first_that_is_not_finite(Module& model, const Tensor& images, bool bf16, const Pass& pass) {
  if (!all_finite(images)) return "the data loader (the images themselves)";
  const NoGrad off;
  std::optional<Autocast> mixed;
  if (bf16) mixed.emplace();
  const atlas::detail::OwnStatistics alone;  // other processes do not repeat their passes
  FiniteGuard guard(model);
  try {
    pass();
  } catch (const Error& e) {  // a model that looks at its numbers itself, or batch norm that has one value alone
    if (guard.first_bad().empty()) return fmt::format("another one: {}", e.what());
  }
  return guard.first_bad().empty() ? "the loss itself" : "module '" + guard.first_bad() + "'";
}

/// Refuses results of inference that are NaN or infinite, as damaged weights give them.
/// @param images   what the model was shown
/// @param results  what it made of them: logits, features
/// @param pass     how
/// @throws Failure naming the first module whose output is not finite.
inline void require_finite(Module& model, const Tensor& images, const Tensor& results, const Pass& pass) {
  if (all_finite(results)) return;
  throw Failure(fmt::format(
      "[model] its results are not finite (NaN or infinite). The first output that is not finite is that of "
      "{}. Are the weights damaged?",
      first_that_is_not_finite(model, images, false, pass)));
}
/// The same of what forward() made of them.
inline void require_finite(Module& model, const Tensor& images, const Tensor& results) {
  require_finite(model, images, results, [&] { model(images); });
}

/// Refuses weights that are NaN or infinite, wherever they are read or a model is tested: not all of them show in what
/// a model gives (max(0, NaN) may be 0, a detector drops boxes that are not finite, argmax takes any number).
/// @param entries  names with tensors   @throws Failure naming the module of the first tensor that is not finite.
template <class Entries>
void require_finite_entries(const Entries& entries) {
  for (const auto& [name, t] : entries) {
    if (all_finite(t.dtype() == float16 ? t.to(float32) : t)) continue;
    const size_t dot = name.rfind('.');
    throw Failure(fmt::format("[model] module '{}': its {} is not finite (NaN or infinite). Are the weights damaged?",
                              dot == name.npos ? "(the model)" : name.substr(0, dot),
                              dot == name.npos ? name : name.substr(dot + 1)));
  }
}
/// The same of all parameters and buffers.
inline void require_finite_weights(const Module& model) {
  require_finite_entries(model.named_parameters());
  require_finite_entries(model.named_buffers());
}

/// The parameter nearest to the loss whose gradient is not finite.
inline std::string nearest_bad_gradient(const Module& model) {
  std::string name = "?";
  for (const auto& [key, parameter] : model.named_parameters())
    if (parameter.grad().defined() && !all_finite(parameter.grad()))
      name = key;  // the last one is the first in backward order
  return name;
}

}  // namespace atlas::inline ATLAS_ABI::train
