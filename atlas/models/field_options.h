// Fields of a model's configuration as options of a command line: --model.dim 96 beside --model NAME.
#pragma once

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/models/presets.h"

namespace atlas::inline ATLAS_ABI::models {

namespace detail {

/// The words of a command line and, for --name=value, what stands before the sign.
inline std::vector<std::pair<std::string, std::string>> words_of(int argc, char** argv) {
  std::vector<std::pair<std::string, std::string>> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i], name = word.substr(0, word.find('='));
    words.emplace_back(name, name.size() < word.size() ? word.substr(name.size() + 1)
                             : i + 1 < argc            ? argv[i + 1]
                                                       : "");
  }
  return words;
}

}  // namespace detail

/// Adds an option --model.FIELD for every field of the configuration of the model that follows --model on a command
/// line that is yet to be parsed, but not for the image size and the number of classes, which programs ask for by
/// themselves. Fields that do not exist are taken too: with_fields() says what is wrong with them.
/// @param app        a CLI::App
/// @param otherwise  the model where there is no --model; may be empty
/// @param given      gets the texts, for with_fields(); must live as long as the app
template <class App>
void add_model_fields(App& app, int argc, char** argv, std::string otherwise,
                      std::map<std::string, std::string>& given) {
  const auto words = detail::words_of(argc, argv);
  for (const auto& [name, value] : words)
    if (name == "--model") otherwise = value;
  const auto add = [&](const std::string& option, const std::string& field, const std::string& help) {
    return app.template add_option_function<std::string>(
        option, [&given, field](const std::string& text) { given[field] = text; }, help);
  };
  const std::vector<std::string> models = preset_names();
  std::set<std::string> options;
  if (std::find(models.begin(), models.end(), otherwise) != models.end())
    for (const FieldText& field : fields_of(otherwise)) {
      if (field.has_option) continue;
      std::string option = "--model." + field.name;
      std::replace(option.begin(), option.end(), '_', '-');
      options.insert(option);
      add(option, field.name, field.help)->default_str(field.value)->group("Configuration of " + otherwise);
    }
  constexpr std::string_view prefix = "--model.";
  const auto is_name = [](const std::string& text) {
    return std::all_of(text.begin(), text.end(),
                       [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
  };
  for (const auto& [name, value] : words)
    if (name.size() > prefix.size() && name.starts_with(prefix) && is_name(name.substr(prefix.size())) &&
        options.insert(name).second) {
      std::string field = name.substr(prefix.size());
      std::replace(field.begin(), field.end(), '-', '_');
      add(name, field, "")->group("");
    }
}

}  // namespace atlas::inline ATLAS_ABI::models
