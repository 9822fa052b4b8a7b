// JSON configuration: any text gives settings that pass their own checks and survive a round trip, or an atlas::Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "atlas/io/json_fields.h"
#include "atlas/train/config.h"

namespace {

void settings(const std::string& text) {
  atlas::train::TrainConfig config;
  try {
    atlas::train::merge_json(config, text, "fuzz");
    atlas::train::validate(config);
  } catch (const atlas::Error&) {
    return;
  }
  // What was accepted is written as JSON that is accepted again, and says the same.
  atlas::train::TrainConfig again;
  atlas::train::merge_json(again, atlas::train::to_json(config), "again");
  if (atlas::train::to_json(again) != atlas::train::to_json(config)) std::abort();
}

void fields(const std::string& text) {
  try {
    atlas::io::JsonFields f(text, "fuzz");
    int64_t whole = 0;
    double number = 0;
    std::optional<double> maybe;
    std::vector<int64_t> list;
    std::array<int64_t, 4> four{};
    f.read("dim", whole);
    f.read("mlp_ratio", number);
    f.read("layer_scale", maybe);
    f.read("depths", list);
    f.read("num_heads", four);
    f.finish();
  } catch (const atlas::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  settings(text);
  fields(text);
  return 0;
}
