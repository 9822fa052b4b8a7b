#!/usr/bin/env bash
# clang-format leaves every file as it is. Skipped where it is not installed; another version than 14, Debian 12's, would
# have other opinions.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
needs clang-format
[[ $(clang-format --version) =~ version\ 14\. ]] || {
  echo "skipped: needs clang-format 14, found $(clang-format --version)" >&2
  exit 77
}

cd "$ATLAS_SOURCE_DIR"
# Not --dry-run: it also reports comments at the ends of namespaces that it would replace by themselves.
find atlas examples tests tools \( -name '*.h' -o -name '*.cpp' -o -name '*.inc' -o -name '*.cu' -o -name '*.cuh' \) |
  while IFS= read -r file; do clang-format "$file" | cmp -s - "$file" || echo "$file"; done >"$scratch/found"
if [ -s "$scratch/found" ]; then
  cat "$scratch/found" >&2
  fail "these files are not as clang-format writes them (clang-format -i FILE)"
fi
