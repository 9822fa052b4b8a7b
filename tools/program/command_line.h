// Command lines of programs: options that are bound to variables, --help, and wrong options as one line.
//
// CLI11, which does the work, is included in command_line.cpp alone: it takes longer to compile than most programs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace program {

/// A command line that is wrong in a way which only the program itself can see: CommandLine::run() says it as it says
/// all others, with status 2.
class WrongUsage : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What else is known about an option that was added. Valid as long as the command line that it belongs to.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  /// The heading in --help; with "" the option is not shown there.
  Option& group(const std::string& heading);
  /// Without it the program does not start.
  Option& required();
  /// Numbers that are taken, both ends included.
  Option& range(int least, int most);
  Option& range(double least, double most);
  /// Texts that are taken.
  Option& choices(const std::vector<std::string>& texts);
  /// An option that was added before and does not go together with this one.
  Option& excludes(const std::string& other);
  /// What --help shows as the default in the place of the variable's value; "" for none.
  Option& shown_default(const std::string& text);
  /// Given several times, all count: as a list, or joined into one text with line breaks.
  Option& all();
  Option& joined();

 private:
  CLI::Option* option_;
};

/// The options of a program. Variables must live as long as it; their values are the defaults, and --help shows them.
///
/// Names are "--top", several separated by commas ("--classes,--class-list"), or, without dashes, that of what needs no
/// name ("images"). Whole numbers are decimal, so that 010 is ten; others are finite; lists of numbers are separated by
/// commas. An option takes one word each time it is given, and "--name=" gives it the empty text.
class CommandLine {
 public:
  /// @param about  what the program does, for --help   @param name  of the program, also for messages
  CommandLine(const std::string& about, const std::string& name);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  Option add(const std::string& names, bool& flag, const std::string& help);
  Option add(const std::string& names, int& number, const std::string& help);
  Option add(const std::string& names, int64_t& number, const std::string& help);
  Option add(const std::string& names, double& number, const std::string& help);
  Option add(const std::string& names, std::string& text, const std::string& help);
  Option add(const std::string& names, std::vector<int64_t>& numbers, const std::string& help);
  Option add(const std::string& names, std::vector<double>& numbers, const std::string& help);
  Option add(const std::string& names, std::vector<std::string>& texts, const std::string& help);
  /// Calls take(text) where the option is given.
  Option add(const std::string& names, const std::function<void(const std::string&)>& take, const std::string& help);
  /// A flag that may also be given a text, --graph or --graph=both. A name is followed by what it means alone:
  /// "--graph{yes}".
  Option add_flag(const std::string& names, std::string& text, const std::string& help);
  /// A file to be written. Where that is the standard output (/dev/stdout), nothing else is printed there: everything
  /// that the program says goes to stderr.
  Option add_output(const std::string& names, std::string& file, const std::string& help);

  /// Of options added from here on that are given several times, the last counts. Otherwise that is an error.
  void last_counts();
  /// What stands at the end of --help.
  void footer(const std::string& text);

  /// Reads the options and runs the body of main(). Errors are handled as by atlas::run_program(); --help is printed,
  /// and what is wrong with the options is one line on stderr and the exit status 2.
  /// @param body  returns the exit status
  int run(int argc, char** argv, const std::function<int()>& body);
  /// Reads options before all are known: passes over others and over --help, which it forgets.
  /// @return whether what is known was understood
  bool peek(int argc, char** argv);
  /// Whether an option was given. @param name  one of its names
  bool has(const std::string& name) const;

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace program
