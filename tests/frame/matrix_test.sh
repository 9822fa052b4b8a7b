#!/usr/bin/env bash
# Small programs with the compilers that are here (g++, clang++), C++20 and C++23, header-only and compiled, as two
# translation units, inside a shared library, under strict warnings, and as a subdirectory of a parent that has them.
# ctest-timeout: 600
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$scratch"

cat >one.cpp <<'CODE'
#include "atlas/tensor/create.h"
#include "atlas/tensor/print.h"
double two();
extern "C" int run() {
  const atlas::Tensor x = atlas::ones({2, 3});
  return x.numel() == 6 && two() > 1.9 && atlas::to_string(x).find("float32[2,3]") != std::string::npos ? 0 : 1;
}
CODE
cat >two.cpp <<'CODE'
#include "atlas/tensor/create.h"
double two() { return atlas::full({1}, 2.0, atlas::float64).item(); }
CODE
cat >main.cpp <<'CODE'
extern "C" int run();
int main() { return run(); }
CODE

cat >CMakeLists.txt <<'CODE'
cmake_minimum_required(VERSION 3.24)
project(parent LANGUAGES CXX)
add_subdirectory("${ATLAS_FROM}" atlas EXCLUDE_FROM_ALL)
add_executable(program one.cpp two.cpp main.cpp)
target_link_libraries(program PRIVATE atlas::atlas)
CODE

IFS=':' read -r -a folders <<<"${ATLAS_DEPENDENCY_INCLUDES:-}"
includes=(-isystem "$ATLAS_SOURCE_DIR")
for folder in "${folders[@]}"; do
  [ "$folder" = /usr/include ] || includes+=(-isystem "$folder") # the compiler's own order must stay
done
strict=(-Wall -Wextra -Werror -Wconversion -Wsign-conversion -Wfloat-equal -Wshadow)
pictures=() # libraries that decode pictures, where the library was built with them
for library in jpeg png; do
  nm -u "$ATLAS_BUILD_DIR/libatlas.a" 2>/dev/null | grep -q "U ${library}_" && pictures+=("-l$library")
done
launcher=$(command -v ccache || true)
built=0
for compiler in g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  for standard in 20 23; do
    flag=-std=c++$standard
    if ! echo 'int main() {}' | "$compiler" "$flag" -x c++ - -o probe 2>/dev/null; then
      flag=-std=c++2b
      echo 'int main() {}' | "$compiler" "$flag" -x c++ - -o probe 2>/dev/null || continue
    fi
    # Header-only: two translation units, position-independent, in a shared library.
    for unit in one two; do
      quietly $launcher "$compiler" "$flag" -O1 -fPIC "${strict[@]}" "${includes[@]}" -c $unit.cpp -o $unit.o
    done
    quietly "$compiler" -shared one.o two.o -lfmt -pthread -o libuser.so
    quietly "$compiler" main.cpp -L. -luser -Wl,-rpath,"$scratch" -o with_headers
    quietly ./with_headers
    # Compiled mode: objects alone; the library itself is one compiler's.
    for unit in one two; do
      quietly $launcher "$compiler" "$flag" -O1 -fPIC -DATLAS_COMPILED_LIB "${strict[@]}" "${includes[@]}" -c $unit.cpp -o $unit.o
    done
    quietly "$compiler" -shared one.o two.o "$ATLAS_BUILD_DIR/libatlas.a" -lfmt -lz "${pictures[@]}" \
      -pthread -o libuser.so
    quietly "$compiler" main.cpp -L. -luser -Wl,-rpath,"$scratch" -o with_library
    quietly ./with_library
    built=$((built + 1))
  done
  # CMake tells the compiler that a subdirectory's headers are SYSTEM.
  quietly "$CMAKE" -S . -B "parent-$compiler" "-DATLAS_FROM=$ATLAS_SOURCE_DIR" "-DCMAKE_CXX_COMPILER=$compiler" \
    "-DCMAKE_CXX_COMPILER_LAUNCHER=$launcher" "-DCMAKE_CXX_FLAGS=${strict[*]}" -DATLAS_MPI=OFF -DATLAS_LIBJPEG=OFF
  quietly "$CMAKE" --build "parent-$compiler" --target program --parallel "$JOBS"
  quietly "parent-$compiler/program"
done
echo "$built combinations of compiler and standard"
[ "$built" -ge 1 ] || fail "no compiler was tried"
