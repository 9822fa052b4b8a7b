#include "tools/program/model_options.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>
#include <utility>

#include "atlas/models/presets.h"
#include "atlas/train/trained_model.h"

namespace program {

namespace {

/// The words of a command line and, for --name=value, what stands before the sign.
std::vector<std::pair<std::string, std::string>> words_of(int argc, char** argv) {
  std::vector<std::pair<std::string, std::string>> words;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i], name = word.substr(0, word.find('='));
    words.emplace_back(name, name.size() < word.size() ? word.substr(name.size() + 1)
                             : i + 1 < argc            ? argv[i + 1]
                                                       : "");
  }
  return words;
}

}  // namespace

void add_model_fields(CommandLine& line, int argc, char** argv, const std::string& otherwise,
                      std::map<std::string, std::string>& given) {
  const auto words = words_of(argc, argv);
  std::string model = otherwise;
  for (const auto& [name, value] : words)
    if (name == "--model") model = value;
  const auto add = [&](const std::string& option, const std::string& field, const std::string& help) {
    return line.add(
        option, [&given, field](const std::string& text) { given[field] = text; }, help);
  };
  const std::vector<std::string> models = atlas::models::preset_names();
  std::set<std::string> options;
  if (std::find(models.begin(), models.end(), model) != models.end())
    for (const atlas::models::FieldText& field : atlas::models::fields_of(model)) {
      if (field.has_option) continue;
      std::string option = "--model." + field.name;
      std::replace(option.begin(), option.end(), '_', '-');
      options.insert(option);
      add(option, field.name, field.help).shown_default(field.value).group("Configuration of " + model);
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
      add(name, field, "").group("");
    }
}

void add_model_source(CommandLine& line, int argc, char** argv, atlas::train::ModelSource& source,
                      const std::vector<std::string>& without) {
  atlas::train::for_each_option(source, [&](const std::string& name, auto& field, const char* help) {
    if (std::find(without.begin(), without.end(), name) == without.end()) line.add(name, field, help).group("Model");
  });
  add_model_fields(line, argc, argv, "", source.fields);
}

}  // namespace program
