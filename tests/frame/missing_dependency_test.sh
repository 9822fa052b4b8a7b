#!/usr/bin/env bash
# A dependency that is not installed ends the configuration with one line that names its Debian package.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# expect_line LINE CMAKE_ARGUMENT...: configuring fails, and LINE is the one line about it.
expect_line() {
  local line=$1
  shift
  if "$CMAKE" -U 'CMAKE_DISABLE_FIND_PACKAGE_*' -S "$ATLAS_SOURCE_DIR" -B "$scratch/build" "$@" >"$scratch/out" 2>&1; then
    fail "cmake $* succeeded"
  fi
  local found
  found=$(grep -c 'not found' "$scratch/out") || true
  if [ "$found" != 1 ] || ! grep -qxF "  $line" <(sed 's/^ */  /' "$scratch/out"); then
    cat "$scratch/out"
    fail "cmake $*: expected the line: $line"
  fi
}

while read -r name package; do
  expect_line "atlas: $name not found; install it with: apt install $package" \
    "-DCMAKE_DISABLE_FIND_PACKAGE_$name=ON" "-DCMAKE_CXX_COMPILER=$CXX"
done <<'LIST'
Eigen3 libeigen3-dev
fmt libfmt-dev
stb libstb-dev
ZLIB zlib1g-dev
nlohmann_json nlohmann-json3-dev
doctest doctest-dev
CLI11 libcli11-dev
LIST

expect_line "atlas: Eigen3, stb not found; install them with: apt install libeigen3-dev libstb-dev" \
  -DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON -DCMAKE_DISABLE_FIND_PACKAGE_stb=ON "-DCMAKE_CXX_COMPILER=$CXX"

# What only programs need is not asked of someone who builds the library alone.
quietly "$CMAKE" -S "$ATLAS_SOURCE_DIR" -B "$scratch/library" "-DCMAKE_CXX_COMPILER=$CXX" -DATLAS_TESTS=OFF \
  -DATLAS_EXAMPLES=OFF -DATLAS_TOOLS=OFF -DCMAKE_DISABLE_FIND_PACKAGE_doctest=ON -DCMAKE_DISABLE_FIND_PACKAGE_CLI11=ON
