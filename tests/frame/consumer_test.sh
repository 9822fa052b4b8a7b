#!/usr/bin/env bash
# A project outside the tree uses atlas after `cmake --install` through find_package, and through add_subdirectory.
# ctest-timeout: 900
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# build_and_run NAME CMAKE_ARGUMENT...: builds the consumer header-only and compiled, and runs both programs.
build_and_run() {
  local build=$scratch/$1
  shift
  quietly "$CMAKE" -S "$scratch/consumer" -B "$build" "-DCMAKE_CXX_COMPILER=$CXX" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
    "-DCMAKE_CXX_COMPILER_LAUNCHER=$(command -v ccache || true)" "$@"
  quietly "$CMAKE" --build "$build" --parallel "$JOBS"
  quietly "$build/with_atlas"
  quietly "$build/with_compiled"
  if [ -e "$build/with_cuda" ]; then
    quietly "$build/with_cuda"
  fi
  # What the project compiles itself with is nothing its users should get.
  if grep -E '"command".*(main|other)\.cpp' "$build/compile_commands.json" | grep -E -e '-march|-Wconversion|-ffast|-fno-'; then
    fail "atlas hands its own compiler flags to its users"
  fi
}

cp -r "$ATLAS_SOURCE_DIR/tests/frame/consumer" "$scratch/consumer"

quietly "$CMAKE" --install "$ATLAS_BUILD_DIR" --prefix "$scratch/prefix"
if grep -rnE -e "-march|$ATLAS_SOURCE_DIR|$ATLAS_BUILD_DIR" "$scratch"/prefix/lib*/cmake; then
  fail "the installed package names the build machine's flags or folders"
fi
mv "$scratch/prefix" "$scratch/moved" # a package may be moved after installation
build_and_run installed "-Datlas_ROOT=$scratch/moved"

# A version that does not fit is refused.
sed 's/atlas 0.1 REQUIRED/atlas 99 REQUIRED/' -i "$scratch/consumer/CMakeLists.txt"
if "$CMAKE" -S "$scratch/consumer" -B "$scratch/version" "-Datlas_ROOT=$scratch/moved" >"$scratch/log" 2>&1; then
  fail "find_package(atlas 99) succeeded"
fi
grep -q 'version' "$scratch/log" || fail "find_package(atlas 99) does not speak of the version"

# Without a build type the library is compiled fast and not tuned: this is about building, not about speed.
build_and_run subdirectory "-DATLAS_FROM=$ATLAS_SOURCE_DIR"
