// Where the repository is, for tests that read files of it.
#pragma once

#include <string>

namespace test {

/// The repository's folder, without a slash at the end. Only main.cpp is compiled with the path, so that compiler
/// caches serve every other file of the tests in any checkout.
std::string source_dir();

}  // namespace test
