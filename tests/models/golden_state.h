// What the model tests share: golden files and comparisons.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <map>
#include <string>

#include "atlas/autograd/backward.h"
#include "atlas/io/formula.h"
#include "atlas/io/safetensors.h"
#include "atlas/models/presets.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/reduce.h"
#include "atlas/ops/unary.h"
#include "tests/compare.h"
#include "tests/source_dir.h"

namespace golden {

using test::largest_difference;
using test::message_of;

using namespace atlas;

inline io::SafetensorsFile load(const std::string& name) {
  io::SafetensorsFile file = io::load_safetensors(test::source_dir() + "/tests/golden/" + name + ".safetensors");
  for (auto& [entry, t] : file.tensors) t = t.to(default_device());
  return file;
}
/// The weights that a file carries, under their own names.
inline StateDict state_of(const io::SafetensorsFile& file) {
  StateDict state;
  for (const auto& [name, t] : file.tensors)
    if (name.starts_with("state.")) state[name.substr(6)] = t;
  return state;
}
inline std::map<std::string, std::string> shapes(const StateDict& dict) {
  std::map<std::string, std::string> all;
  for (const auto& [name, t] : dict) all[name] = describe(t);
  return all;
}
/// Runs a training pass and requires a gradient other than zero at every parameter.
inline void check_gradients(models::Classifier& model, const Tensor& images) {
  Tensor target = empty({images.size(0)}, int64);
  target.fill_(1);
  model.train();
  backward(cross_entropy(model(images), target));
  for (const auto& parameter : model.named_parameters()) {
    const std::string& name = parameter.first;  // clang below 16 cannot capture a structured binding
    const Tensor& p = parameter.second;
    CAPTURE(name);
    REQUIRE(p.grad().defined());
    CHECK(max(abs(p.grad())).item() > 0);
  }
}

}  // namespace golden
