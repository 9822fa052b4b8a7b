#!/usr/bin/env bash
# A program that classifies, linked statically without CUDA and built for size, is at most 5 MB stripped.
# ctest-labels: slow
# ctest-timeout: 900
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if ! echo 'int main() {}' | "$CXX" -x c++ - -static -lz -o "$scratch/linked" 2>/dev/null; then
  echo "no static libraries here"
  exit 77
fi
quietly "$CMAKE" -S "$ATLAS_SOURCE_DIR" -B "$scratch/static" "-DCMAKE_CXX_COMPILER=$CXX" -DATLAS_STATIC=ON -DCMAKE_BUILD_TYPE=MinSizeRel -DATLAS_TESTS=OFF \
  -DATLAS_TOOLS=OFF -DATLAS_NATIVE=OFF
quietly "$CMAKE" --build "$scratch/static" --target classify --parallel "$JOBS"
program=$scratch/static/bin/classify
strip "$program"
size=$(stat -c %s "$program")
echo "classify, static and stripped: $size bytes"
if readelf -d "$program" | grep -q NEEDED; then
  fail "it needs shared libraries"
fi
quietly "$program" --help
[ "$size" -le 5000000 ] || fail "that is more than 5 MB"
