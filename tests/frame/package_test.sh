#!/usr/bin/env bash
# cpack makes a Debian package whose programs run and whose CMake files are found, unpacked elsewhere.
# ctest-labels: slow
# ctest-timeout: 900
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for tool in cpack dpkg-deb; do
  command -v "$tool" >/dev/null || { echo "no $tool here"; exit 77; }
done
for program in train classify; do
  [ -x "$ATLAS_BIN_DIR/$program" ] || { echo "the programs are not built"; exit 77; }
done
(cd "$scratch" && quietly cpack --config "$ATLAS_BUILD_DIR/CPackConfig.cmake" -B "$scratch/package")
package=$(echo "$scratch"/package/*.deb)
[ -e "$package" ] || fail "cpack made no package"
dpkg-deb --field "$package" Depends | grep -q libeigen3-dev || fail "the package does not depend on what its headers need"
dpkg-deb --field "$package" Depends | grep -q libstdc++6 || fail "the package does not depend on what its programs link"
quietly dpkg-deb --extract "$package" "$scratch/root"
for file in usr/bin/atlas-train usr/bin/atlas-classify usr/bin/atlas-model-info usr/include/atlas/atlas.h; do
  [ -e "$scratch/root/$file" ] || fail "the package has no $file"
done
find "$scratch/root/usr" -path '*/cmake/atlas/atlasConfig.cmake' | grep -q . || fail "the package has no CMake files"
quietly "$scratch/root/usr/bin/atlas-model-info" --model atlas-toy
quietly "$scratch/root/usr/bin/atlas-train" --help
