// The main function of every unit-test program.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "tests/source_dir.h"

std::string test::source_dir() { return ATLAS_SOURCE_DIR; }
