// The main function of every unit-test program: doctest's, and `--device cuda` or `--device cuda:N`, which makes new
// tensors live there.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <string_view>
#include <vector>

#include "atlas/core/cuda.h"
#include "tests/source_dir.h"

std::string test::source_dir() { return ATLAS_SOURCE_DIR; }

int main(int argc, char** argv) {
  std::vector<char*> others;
  for (int i = 0; i < argc; ++i) {
    if (std::string_view(argv[i]) != "--device") {
      others.push_back(argv[i]);
      continue;
    }
    try {
      atlas::set_default_device(atlas::Device::parse(i + 1 < argc ? argv[++i] : ""));
    } catch (const atlas::Error& e) {
      std::fprintf(stderr, "%s\n", e.what());
      return 2;
    }
  }
  doctest::Context context(static_cast<int>(others.size()), others.data());
  return context.run();
}
