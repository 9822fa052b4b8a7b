#!/usr/bin/env bash
# cpack makes a Debian package whose programs run and whose CMake files build somebody's project, unpacked elsewhere.
# ctest-labels: slow
# ctest-timeout: 900
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for tool in cpack dpkg-deb; do
  command -v "$tool" >/dev/null || { echo "no $tool here"; exit 77; }
done
for program in train classify; do
  [ -x "$ATLAS_BIN_DIR/$program" ] || { echo "the programs are not built"; exit 77; }
done
pack() { # pack ARGUMENT...
  (cd "$scratch" && cpack --config "$ATLAS_BUILD_DIR/CPackConfig.cmake" -B "$scratch/package" "$@") >"$scratch/log" 2>&1
}
# Code for this machine alone is no package for others, unless somebody says so.
if grep -q '^set(CPACK_ATLAS_NATIVE "ON")' "$ATLAS_BUILD_DIR/CPackConfig.cmake"; then
  if pack; then fail "cpack packs what -march=native compiled"; fi
  grep -q 'this machine alone (-march=native); configure it with --preset package' "$scratch/log" ||
    { cat "$scratch/log" >&2; fail "cpack does not say what is wrong with -march=native"; }
fi
pack -D CPACK_ATLAS_ALLOW_NATIVE=ON || { cat "$scratch/log" >&2; fail "cpack"; }
package=$(echo "$scratch"/package/*.deb)
[ -e "$package" ] || fail "cpack made no package"
quietly dpkg-deb --extract "$package" "$scratch/root"
for file in usr/bin/atlas-{train,classify,segment,detect,model-info,data-card} usr/include/atlas/atlas.h; do
  [ -e "$scratch/root/$file" ] || fail "the package has no $file"
done
quietly "$scratch/root/usr/bin/atlas-model-info" --model atlas-toy
quietly "$scratch/root/usr/bin/atlas-train" --help

# It depends on what its programs link and on what its CMake files require; Threads is a part of libc.
depends=$(dpkg-deb --field "$package" Depends)
grep -q libstdc++6 <<<"$depends" || fail "the package does not depend on what its programs link: $depends"
config=$(find "$scratch/root/usr" -path '*/cmake/atlas/atlasConfig.cmake')
[ -n "$config" ] || fail "the package has no CMake files"
declare -A brings=([Eigen3]=libeigen3-dev [fmt]=libfmt-dev [ZLIB]=zlib1g-dev [JPEG]=libjpeg-dev [Threads]=libc6)
found=0
for name in $(sed '/^if("OFF")/,/^endif/d; s/^ *find_dependency(\([A-Za-z0-9]*\).*/\1/p; d' "$config"); do
  [ "$name" != CUDAToolkit ] || continue # it comes from NVIDIA
  grep -qE "(^|, )${brings[$name]:-$name}( |,|\$)" <<<"$depends" || fail "atlasConfig.cmake requires $name; the package: $depends"
  found=$((found + 1))
done
[ $found -ge 4 ] || fail "atlasConfig.cmake requires only $found libraries"

# A project builds against it, also where the files of MPI for development are not installed, and its program runs.
quietly "$CMAKE" -S "$ATLAS_SOURCE_DIR/tests/frame/consumer" -B "$scratch/build" "-DCMAKE_CXX_COMPILER=$CXX" \
  "-Datlas_ROOT=$scratch/root/usr" -DCMAKE_DISABLE_FIND_PACKAGE_MPI=ON -DCMAKE_DISABLE_FIND_PACKAGE_NCCL=ON \
  "-DCMAKE_CXX_COMPILER_LAUNCHER=$(command -v ccache || true)"
quietly "$CMAKE" --build "$scratch/build" --target with_compiled --parallel "$JOBS"
quietly "$scratch/build/with_compiled"
if readelf -d "$scratch/build/with_compiled" | grep 'NEEDED.*libmpi'; then
  fail "a program that uses no other process links MPI"
fi
