#!/usr/bin/env bash
# A parent project adds atlas as a subdirectory, built for size and linked statically. The parent's strict warnings are
# about its own code, and the program that classifies is at most 5 MB stripped.
# ctest-labels: slow
# ctest-timeout: 900
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

static=ON
echo 'int main() {}' | "$CXX" -x c++ - -static -lz -o "$scratch/linked" 2>/dev/null || static=OFF
quietly "$CMAKE" -S "$ATLAS_SOURCE_DIR/tests/frame/consumer" -B "$scratch/build" "-DATLAS_FROM=$ATLAS_SOURCE_DIR" \
  "-DCMAKE_CXX_COMPILER=$CXX" "-DCMAKE_CXX_COMPILER_LAUNCHER=$(command -v ccache || true)" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
  -DCMAKE_BUILD_TYPE=MinSizeRel -DATLAS_STATIC=$static -DATLAS_EXAMPLES=ON \
  "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror -Wconversion -Wsign-conversion -Wfloat-equal -Wold-style-cast -Wshadow"
quietly "$CMAKE" --build "$scratch/build" --target with_compiled classify --parallel "$JOBS"
quietly "$scratch/build/with_compiled"
hands_on_no_flags "$scratch/build"

program=$scratch/build/atlas/examples/classify
quietly "$program" --help
if [ $static = OFF ]; then
  echo "no static libraries here"
  exit 77
fi
strip "$program"
size=$(stat -c %s "$program")
echo "classify, static and stripped: $size bytes"
if readelf -d "$program" | grep -q NEEDED; then
  fail "it needs shared libraries"
fi
[ "$size" -le 5000000 ] || fail "that is more than 5 MB"
