#!/usr/bin/env bash
# Doxygen reads all public headers without a warning. Skipped where doxygen is not installed.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
needs doxygen

cd "$ATLAS_SOURCE_DIR"
if ! (cat Doxyfile; echo "OUTPUT_DIRECTORY = $scratch/doc") | doxygen - >"$scratch/out" 2>"$scratch/warnings" ||
  [ -s "$scratch/warnings" ]; then
  cat "$scratch/out" "$scratch/warnings"
  fail "doxygen warned"
fi
[ -f "$scratch/doc/html/index.html" ] || fail "no main page"

# Every public header has a page, and functions have one, or the settings have lost them.
while IFS= read -r header; do
  grep -qF "$(basename "$header")" "$scratch/doc/html/files.html" || fail "$header is not in the documentation"
done < <(find atlas -name '*.h' ! -name '*-inl.h')
[ -f "$scratch/doc/html/namespaceatlas.html" ] || fail "namespace atlas is not in the documentation"
