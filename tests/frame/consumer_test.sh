#!/usr/bin/env bash
# A project outside the tree uses atlas after `cmake --install` through find_package (subdirectory_test.sh: through
# add_subdirectory).
# ctest-timeout: 900
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

quietly "$CMAKE" --install "$ATLAS_BUILD_DIR" --prefix "$scratch/prefix"
if grep -rnE -e "-march|$ATLAS_SOURCE_DIR|$ATLAS_BUILD_DIR" "$scratch"/prefix/lib*/cmake; then
  fail "the installed package names the build machine's flags or folders"
fi
mv "$scratch/prefix" "$scratch/moved" # a package may be moved after installation
cp -r "$ATLAS_SOURCE_DIR/tests/frame/consumer" "$scratch/consumer"
build=$scratch/build
quietly "$CMAKE" -S "$scratch/consumer" -B "$build" "-DCMAKE_CXX_COMPILER=$CXX" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
  "-DCMAKE_CXX_COMPILER_LAUNCHER=$(command -v ccache || true)" "-Datlas_ROOT=$scratch/moved"
quietly "$CMAKE" --build "$build" --parallel "$JOBS"
programs=(with_atlas with_compiled)
[ "${ATLAS_WITH_MPI:-OFF}" = OFF ] || programs+=(with_ranks)
[ ! -e "$build/with_cuda" ] || programs+=(with_cuda)
for program in "${programs[@]}"; do quietly "$build/$program"; done
hands_on_no_flags "$build"

# A version that does not fit is refused.
sed 's/atlas 0.1 REQUIRED/atlas 99 REQUIRED/' -i "$scratch/consumer/CMakeLists.txt"
if "$CMAKE" -S "$scratch/consumer" -B "$build" >"$scratch/log" 2>&1; then
  fail "find_package(atlas 99) succeeded"
fi
grep -q 'version' "$scratch/log" || fail "find_package(atlas 99) does not speak of the version"
