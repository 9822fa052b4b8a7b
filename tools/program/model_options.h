// Options that say which model: its preset or checkpoint, and the fields of its configuration, --model.dim 96 beside
// --model NAME.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "atlas/core/config.h"
#include "tools/program/command_line.h"

namespace atlas::inline ATLAS_ABI::train {
struct ModelSource;
}

namespace program {

/// Adds an option --model.FIELD for every field of the configuration of the model that follows --model on a command
/// line that is yet to be parsed, but not for the image size and the number of classes, which programs ask for by
/// themselves. Fields that do not exist are taken too: atlas::models::with_fields() says what is wrong with them.
/// @param otherwise  the model where there is no --model; may be empty
/// @param given      gets the texts, for with_fields(); must live as long as the command line
void add_model_fields(CommandLine& line, int argc, char** argv, const std::string& otherwise,
                      std::map<std::string, std::string>& given);

/// Adds the options of a trained model under the heading "Model", and those of the fields of its configuration.
/// @param without  options that the program has no use for
void add_model_source(CommandLine& line, int argc, char** argv, atlas::train::ModelSource& source,
                      const std::vector<std::string>& without = {});

}  // namespace program
