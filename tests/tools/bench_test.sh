#!/usr/bin/env bash
# tools/bench/run.sh: works without PyTorch, records into its section and leaves the rest of the file alone, and refuses
# to compare sides that do not give the same numbers. PyTorch is played by a script that speaks its protocol.
source "$(dirname "${BASH_SOURCE[0]}")/../frame/common.sh"
run() { bash "$ATLAS_SOURCE_DIR/tools/bench/run.sh" --no-build "$@"; }
export ATLAS_NUM_THREADS=1

run --list >"$scratch/list"
for name in atlas-b-1024-train mambavision-l2-224-forward gemm-2-threads conv3x3-384-128; do
  grep -q "^$name " "$scratch/list" || fail "--list has no $name"
done

# A case alone; then another, then the first again: one row each, hand-written text stays.
page=$scratch/page.md
printf '# Numbers\n\nWritten by hand.\n' >"$page"
few=(--pairs 1 --threads 1 --record "$page")
quietly run --case conv3x3-32-32 "${few[@]}"
printf '\nAlso by hand.\n' >>"$page"
quietly run --case atlas-toy-forward "${few[@]}"
quietly run --case conv3x3-32-32 --case gemm-small "${few[@]}"
for line in '# Numbers' 'Written by hand.' 'Also by hand.'; do
  grep -qx "$line" "$page" || fail "'$line' is gone"
done
[ "$(grep -c '`conv3x3-32-32`' "$page")" = 1 ] || fail "not one row of the convolution"
[ "$(grep -c '`atlas-toy-forward`' "$page")" = 1 ] || fail "not one row of the model"
grep -q '^| 256 128 128 forward | .* % | - | - |$' "$page" || fail "no product in the record"
[ "$(grep -n 'bench:models-on-.* end' "$page" | cut -d: -f1)" -lt "$(grep -n 'Also by hand' "$page" | cut -d: -f1)" ] ||
  fail "the section moved"

# Segmentation, detection and their ops.
for name in upernet-toy-forward upernet-toy-train cascade-toy-forward cascade-toy-train roi-align-small \
  roi-align-small-train nms-200 coco-small; do
  quietly run --case $name "${few[@]}"
  grep -q "(\`$name\`) | [0-9.]* m\?s | - | - |" "$page" || fail "no row of $name"
done
rm -f "${TMPDIR:-/tmp}/atlas-bench-coco-20-100.json"

# --quick records nothing.
cp "$page" "$scratch/before.md"
(cd "$scratch" && quietly run --quick --threads 1 --case conv3x3-32-32)
cmp -s "$page" "$scratch/before.md" || fail "--quick wrote into the record"

# Growth: a row a size and the exponent.
quietly run --growth --growth-models atlas-toy --growth-sizes 32 --growth-sizes 64 --threads 1 --record "$page"
for line in 'atlas-toy | forward | 64 px' 'atlas-toy | train | 32 px' 'atlas-toy | train | \*\*exponent'; do
  grep -q "$line" "$page" || fail "no row '$line' in the table of growth"
done

# A wrong side, of one second a step.
cat >"$scratch/python" <<'PEER'
#!/usr/bin/env bash
[ "$1" = -c ] && exit 0
echo "torch 0.0"
while read -r command _; do
  case $command in
    open | use) echo "ok 1" ;;
    answer) echo "values $FAKE_VALUES" ;;
    step) echo "time 1" ;;
    memory) echo "memory 1" ;;
  esac
done
PEER
chmod +x "$scratch/python"
refuse() { # refuse TEXT ARGUMENT...: exits with an error that says TEXT
  local text=$1
  shift
  if run "$@" >"$scratch/out" 2>&1; then fail "accepted: $*"; fi
  grep -qF -- "$text" "$scratch/out" || fail "'$*' says $(cat "$scratch/out"), not '$text'"
}
peer=(--torch "$scratch/python" --quick --threads 1 --case atlas-toy-forward --choose-again --folder "$scratch/choices")
FAKE_VALUES='1 2 3' refuse "our step gives 640 numbers, PyTorch's 3" "${peer[@]}"
FAKE_VALUES=$(seq -s ' ' 640) refuse 'nothing to compare' "${peer[@]}"
[ -s "$scratch/choices/choice-atlas-toy-forward-1-torch-0.0.txt" ] || fail "the chosen variant was not kept"

refuse "there is no case 'nothing'" --quick --case nothing
refuse "unknown option '--nonsense'" --nonsense
refuse '--case needs a value' --case
refuse "there is no program '/no/python'" --torch /no/python --quick --case atlas-toy-forward
refuse 'cannot import torch' --torch false --quick --case atlas-toy-forward
