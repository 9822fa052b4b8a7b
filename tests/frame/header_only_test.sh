#!/usr/bin/env bash
# Header-only use: atlas/ copied next to a program and one compiler call, as README.md promises.
# ctest-timeout: 900
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir "$scratch/path"
(cd "$ATLAS_SOURCE_DIR" && find atlas \( -name '*.h' -o -name '*.inc' \) -exec cp --parents {} "$scratch/path" \;)
cp "$ATLAS_SOURCE_DIR"/tests/frame/consumer/{main,other}.cpp "$scratch"
cd "$scratch"

# Where libfmt cannot be linked (its packages only unpacked), fmt header-only is the way left.
if echo 'int main() {}' | "$CXX" -x c++ - -lfmt -o linked 2>/dev/null; then
  quietly "$CXX" -std=c++20 -O2 -Ipath main.cpp -lfmt -o with_libfmt
  quietly ./with_libfmt
fi
optimize=-O2
if [ -x with_libfmt ]; then optimize=-O0; fi # once is enough to see that optimized code works
quietly "$CXX" -std=c++20 $optimize -Ipath -DFMT_HEADER_ONLY main.cpp other.cpp -o with_headers
quietly ./with_headers

# Object files of different builds are refused by the linker, instead of mixing silently.
cat >use.cpp <<'CODE'
#include "atlas/tensor/tensor.h"
long long count(const atlas::Tensor& t);
int main() { return static_cast<int>(count(atlas::Tensor())); }
CODE
cat >define.cpp <<'CODE'
#include "atlas/tensor/tensor.h"
long long count(const atlas::Tensor& t) { return t.defined() ? 1 : 0; }
CODE
build=("$CXX" -std=c++20 -Ipath -DFMT_HEADER_ONLY)
quietly "${build[@]}" -c use.cpp
quietly "${build[@]}" -c define.cpp -o same.o
quietly "${build[@]}" -c define.cpp -DATLAS_COMPILED_LIB -o other.o
quietly "$CXX" use.o same.o -o same
if "$CXX" use.o other.o -o mixed >log 2>&1; then
  fail "a header-only and a compiled-mode object were linked into one program"
fi
grep -q 'undefined reference' log || fail "linking a mixed program failed for another reason: $(cat log)"

# A program that uses nothing compiles no body: a virtual function that is not inline where it is declared would make
# its whole class part of every object file.
printf '#include "atlas/atlas.h"\nint main() {}\n' >nothing.cpp
quietly "${build[@]}" -c nothing.cpp -o nothing.o
if nm -C nothing.o | grep ' vtable for atlas::' >log; then
  fail "including the umbrella compiles classes that nobody uses: $(head -3 log)"
fi
