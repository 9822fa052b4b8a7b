// Fields of a model's configuration as options of a command line: --model.dim 96 beside --model NAME.
#pragma once

#include <algorithm>
#include <map>
#include <string>

#include "atlas/models/presets.h"

namespace atlas::inline ATLAS_ABI::models {

/// Adds an option --model.FIELD for every field of the configuration of a preset but the image size and the number of
/// classes, which programs ask for by themselves; no option for an unknown name, about which make_model() complains.
/// @param app    a CLI::App
/// @param given  gets the texts, for with_fields(); must live as long as the app
template <class App>
void add_model_fields(App& app, const std::string& preset, std::map<std::string, std::string>& given) {
  const std::vector<std::string> known = preset_names();
  if (std::find(known.begin(), known.end(), preset) == known.end()) return;
  for (const FieldText& field : fields_of(preset)) {
    if (field.has_option) continue;
    std::string option = "--model." + field.name;
    std::replace(option.begin(), option.end(), '_', '-');
    app.template add_option_function<std::string>(
           option, [&given, name = field.name](const std::string& text) { given[name] = text; }, field.help)
        ->default_str(field.value)
        ->group("Configuration of " + preset);
  }
}

/// What follows an option on a command line the last time, or "": looked up before the options are parsed, which depend
/// on the model.
inline std::string value_on_command_line(int argc, char** argv, const std::string& option) {
  std::string value;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == option && i + 1 < argc) value = argv[i + 1];
    if (word.starts_with(option + "=")) value = word.substr(option.size() + 1);
  }
  return value;
}

}  // namespace atlas::inline ATLAS_ABI::models
