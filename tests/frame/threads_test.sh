#!/usr/bin/env bash
# One model and one graph's leaves in several threads, under the thread sanitizer: no data race.
# ctest-timeout: 900
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$ATLAS_SOURCE_DIR"

build=("$CXX" -std=c++20 -O0 -fsanitize=thread -I. -DFMT_HEADER_ONLY "-DATLAS_SOURCE_DIR=\"$ATLAS_SOURCE_DIR\"")
if ! echo 'int main() {}' | "${build[@]}" -x c++ - -o "$scratch/probe" 2>/dev/null || ! "$scratch/probe"; then
  echo "the compiler has no thread sanitizer that runs here"
  exit 77
fi
quietly "${build[@]}" tests/main.cpp tests/autograd/threads_test.cpp -o "$scratch/threads"
export TSAN_OPTIONS=halt_on_error=1
quietly "$scratch/threads"
