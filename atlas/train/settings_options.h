// The settings of a run as options of a command line.
#pragma once

#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include "atlas/core/program.h"
#include "atlas/train/config.h"

namespace atlas::inline ATLAS_ABI::train {

/// Adds an option for every setting, bound to the fields of `config`, with their present values as defaults.
/// @param app  a CLI::App
template <class App>
void add_settings(App& app, TrainConfig& config) {
  for_each_setting(config, [&](std::string name, auto& field, const char* help) {
    std::replace(name.begin(), name.end(), '_', '-');
    auto* option = add_field(app, "--" + name, field, help)->group("Settings");
    using Policy = std::decay_t<decltype(option->get_multi_option_policy())>;
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, std::vector<double>>)
      option->multi_option_policy(Policy::TakeAll);
  });
}

}  // namespace atlas::inline ATLAS_ABI::train
