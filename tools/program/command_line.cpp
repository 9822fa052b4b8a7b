#include "tools/program/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "atlas/core/nearest.h"
#include "atlas/core/program.h"
#include "atlas/core/standard_output.h"
#include "atlas/core/whole_number.h"

namespace program {

Option& Option::group(const std::string& heading) {
  option_->group(heading);
  return *this;
}

Option& Option::required() {
  option_->required();
  return *this;
}

Option& Option::range(int least, int most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

Option& Option::range(double least, double most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

Option& Option::choices(const std::vector<std::string>& texts) {
  option_->check(CLI::IsMember(texts));
  return *this;
}

Option& Option::excludes(const std::string& other) {
  option_->excludes(other);
  return *this;
}

Option& Option::shown_default(const std::string& text) {
  option_->default_str(text);
  return *this;
}

Option& Option::all() {
  option_->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return *this;
}

Option& Option::joined() {
  option_->multi_option_policy(CLI::MultiOptionPolicy::Join);
  return *this;
}

CommandLine::CommandLine(const std::string& about, const std::string& name)
    : app_(std::make_unique<CLI::App>(about, name)) {
  app_->option_defaults()->always_capture_default();
}

CommandLine::~CommandLine() = default;

namespace {

/// Has texts read by atlas::whole_number() before CLI11 reads the number.
Option decimal(CLI::Option* option, const std::string& names) {
  option->transform([names](const std::string& text) { return std::to_string(atlas::whole_number(text, names)); });
  return Option(option);
}

/// What is wrong with a text as a number, or "". NaN is: every comparison with a range would let it pass.
std::string not_finite(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const bool whole = !text.empty() && end == text.c_str() + text.size();
  return whole && std::isfinite(number) ? "" : fmt::format("'{}' is no finite number", text);
}

/// A list whose items are separated by commas, each read by item(text). The next word is never part of it.
template <typename T, typename Item>
Option list(CLI::App& app, const std::string& names, std::vector<T>& items, const std::string& help, const char* type,
            Item item) {
  const auto take = [&items, item](const std::vector<std::string>& texts) {
    items.clear();
    for (const std::string& text : texts)
      for (size_t start = 0, end = 0; end != text.npos; start = end + 1) {
        end = text.find(',', start);
        items.push_back(item(text.substr(start, end - start)));
      }
  };
  CLI::Option* option = app.add_option_function<std::vector<std::string>>(names, take, help);
  return Option(
      option->type_name(type)->allow_extra_args(false)->default_str(fmt::format("[{}]", fmt::join(items, ","))));
}

/// The words of a command line, the last first, as CLI11 takes them. "--name=" means the empty text: CLI11 alone would
/// take the next word for the value.
std::vector<std::string> words_of(const CLI::App& app, int argc, char** argv) {
  std::vector<std::string> words;
  bool options = true;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    options = options && word != "--";
    const size_t length = word.size() - 1;
    const bool ends = options && word.starts_with("--") && word.find('=') == length;
    const CLI::Option* option = ends ? app.get_option_no_throw(word.substr(0, length)) : nullptr;
    if (option == nullptr) {
      words.push_back(word);
      continue;
    }
    if (option->get_items_expected_max() == 0)
      throw CLI::ArgumentMismatch(word + " lacks a value; without one, write " + word.substr(0, length));
    words.insert(words.end(), {word.substr(0, length), ""});
  }
  std::reverse(words.begin(), words.end());
  return words;
}

/// "there is no option --bath-size; did you mean --batch-size?", or "" where every option that was given is one.
std::string unknown_option(const CLI::App& app) {
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options())
    if (!option->get_group().empty())
      known.insert(known.end(), option->get_lnames().begin(), option->get_lnames().end());
  for (const std::string& text : app.remaining()) {
    const size_t start = text.find_first_not_of('-');
    if (start == 0 || start == text.npos) continue;
    const std::string name = text.substr(0, text.find('='));
    return fmt::format("there is no option {}{}", name, atlas::did_you_mean(name.substr(start), known, "--"));
  }
  return "";
}

}  // namespace

Option CommandLine::add(const std::string& names, bool& flag, const std::string& help) {
  return Option(app_->add_flag(names, flag, help));
}

Option CommandLine::add(const std::string& names, int& number, const std::string& help) {
  return decimal(app_->add_option(names, number, help), names);
}

Option CommandLine::add(const std::string& names, int64_t& number, const std::string& help) {
  return decimal(app_->add_option(names, number, help), names);
}

Option CommandLine::add(const std::string& names, double& number, const std::string& help) {
  return Option(app_->add_option(names, number, help)->check(not_finite));
}

Option CommandLine::add(const std::string& names, std::string& text, const std::string& help) {
  return Option(app_->add_option(names, text, help));
}

Option CommandLine::add(const std::string& names, std::vector<int64_t>& numbers, const std::string& help) {
  return list(*app_, names, numbers, help, "INT",
              [names](const std::string& text) { return atlas::whole_number(text, names); });
}

Option CommandLine::add(const std::string& names, std::vector<double>& numbers, const std::string& help) {
  return list(*app_, names, numbers, help, "FLOAT", [names](const std::string& text) {
    if (const std::string wrong = not_finite(text); !wrong.empty()) throw CLI::ValidationError(names, wrong);
    return std::strtod(text.c_str(), nullptr);
  });
}

Option CommandLine::add(const std::string& names, std::vector<std::string>& texts, const std::string& help) {
  const bool named = names.starts_with('-');  // it takes a text each time it is given
  return Option(app_->add_option(names, texts, help)->allow_extra_args(!named));
}

Option CommandLine::add(const std::string& names, const std::function<void(const std::string&)>& take,
                        const std::string& help) {
  return Option(app_->add_option_function<std::string>(names, take, help));
}

Option CommandLine::add_flag(const std::string& names, std::string& text, const std::string& help) {
  return Option(app_->add_flag(names, text, help));
}

Option CommandLine::add_output(const std::string& names, std::string& file, const std::string& help) {
  CLI::Option* option = app_->add_option(names, file, help);
  option->each([names](const std::string& path) {
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    std::error_code none;
    atlas::check(folder.empty() || std::filesystem::is_directory(folder, none), names, "there is no folder {} for {}",
                 folder.string(), path);
    atlas::reserve_standard_output(path, names);
  });
  return Option(option);
}

void CommandLine::last_counts() { app_->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast); }

void CommandLine::footer(const std::string& text) { app_->footer(text); }

int CommandLine::run(int argc, char** argv, const std::function<int()>& body) {
  const std::string name = app_->get_name();
  return atlas::run_program(name.c_str(), [&] {
    std::string wrong;
    try {
      app_->parse(words_of(*app_, argc, argv));
      return body();
    } catch (const CLI::ParseError& e) {
      if (e.get_exit_code() == 0) {  // --help
        if (atlas::detail::may_speak != nullptr && !atlas::detail::may_speak(false)) return 0;
        std::ostringstream text;
        app_->exit(e, text, text);
        fmt::print("{}", text.str());
        return 0;
      }
      if (e.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError)) wrong = unknown_option(*app_);
      if (wrong.empty()) wrong = e.what();
    } catch (const WrongUsage& e) {
      wrong = e.what();
    }
    atlas::detail::say_error(fmt::format("{}: {} (see {} --help)", name, wrong, name));
    return 2;
  });
}

bool CommandLine::peek(int argc, char** argv) {
  app_->set_help_flag();
  app_->allow_extras();
  try {
    app_->parse(words_of(*app_, argc, argv));
    return true;
  } catch (const CLI::ParseError&) {
    return false;
  }
}

bool CommandLine::has(const std::string& name) const { return app_->get_option(name)->count() > 0; }

}  // namespace program
