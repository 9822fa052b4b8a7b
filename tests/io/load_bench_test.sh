#!/usr/bin/env bash
# tools/bench/load writes a model in both formats, loads it, says how fast, and leaves nothing behind.
set -euo pipefail
load=$ATLAS_BIN_DIR/load
[ -x "$load" ] || { echo "load is not built"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$load" --model mambavision-toy --runs 1 --folder "$work" >"$work/out"
for format in safetensors pth; do
  grep -Eq "^mambavision-toy-[0-9]+\.$format +0\.005 GB .* GB/s" "$work/out" || { echo "$format:"; cat "$work/out"; exit 1; }
done
[ "$(ls "$work")" = out ] || { echo "left behind:"; ls "$work"; exit 1; }

status=0
"$load" --file "$work/none.pth" >"$work/out" 2>&1 || status=$?
[ $status = 2 ] && grep -q "none.pth: No such file" "$work/out" && [ "$(wc -l <"$work/out")" = 1 ] || {
  echo "a file that is not there: status $status"
  cat "$work/out"
  exit 1
}
