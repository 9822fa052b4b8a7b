#!/usr/bin/env bash
# tools/golden_check: what passes, what fails, and the exit status of each.
set -u
check="$ATLAS_BIN_DIR/golden_check"
golden="$ATLAS_SOURCE_DIR/tests/golden"
[ -x "$check" ] || { echo "golden_check is not built"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# expect STATUS TEXT ARGS...: golden_check ARGS exits with STATUS and prints TEXT.
expect() {
  local status=$1 text=$2 output got
  shift 2
  output=$("$check" "$@" 2>&1)
  got=$?
  if [ "$got" != "$status" ] || ! grep -qF -- "$text" <<<"$output"; then
    printf 'golden_check %s: status %s, expected %s and "%s", printed:\n%s\n' "$*" "$got" "$status" "$text" "$output"
    failures=$((failures + 1))
  fi
}

expect 0 '1 passed, 0 failed' "$golden" --filter scan_length1
expect 0 'atlas_patch4                     small' "$golden" --list
expect 1 '0 passed, 1 failed' "$golden" --filter scan_length1 --tolerance 1e-12
expect 0 '1 passed, 0 failed' "$golden" --filter scan_length1 --kernels reference
expect 2 'golden_check: ' --kernels slow
expect 0 'peak memory' "$golden" --filter scan_length1 --dtype float64

# One changed number is found, a truncated file is a failure of that file and not the end of the run.
mkdir "$work/changed" "$work/broken" "$work/empty"
cp "$golden/scan_length1.safetensors" "$work/changed/a.safetensors"
printf '\x7f' | dd of="$work/changed/a.safetensors" bs=1 seek=$(($(stat -c %s "$work/changed/a.safetensors") - 2)) conv=notrunc status=none
chmod u+w "$work/changed/a.safetensors"
expect 1 'FAIL a' "$work/changed"
head -c 1000 "$golden/scan_length1.safetensors" >"$work/broken/a.safetensors"
cp "$golden/scan_length1.safetensors" "$work/broken/b.safetensors"
expect 1 '1 passed, 1 failed' "$work/broken"

# A discrete result that differs says how many pixels lie so near to the threshold that rounding may decide.
# changed FOLDER FILE ENTRY BYTE: a copy of the golden file of which two bytes of that entry, from BYTE on, are others.
changed() {
  local copy=$work/$1/a.safetensors header at
  mkdir "$work/$1"
  cp "$golden/dense/$2.safetensors" "$copy"
  chmod u+w "$copy"
  header=$(od -An -tu8 -N8 "$copy")
  at=$(head -c $((8 + header)) "$copy" | grep -ao "\"$3\"[^}]*" | sed -E 's/.*data_offsets": \[([0-9]+),.*/\1/')
  printf '\xff\xff' | dd of="$copy" bs=1 seek=$((8 + header + at + $4)) conv=notrunc status=none
}
changed mask cascade_small eval.mask_area0 0
expect 1 ' pixels of all masks lie within 1e-05 of the threshold 0.5, where rounding decides)' "$work/mask"
changed pixels upernet_small train.decode.acc_seg 1
expect 1 ' pixels have two largest logits within 1e-05 of the largest of all, where rounding decides)' "$work/pixels"

expect 2 'no *.safetensors file' "$work/empty"
expect 2 'is not a folder' "$work/nothing"
expect 2 'no *.safetensors file' "$golden" --filter no-such-file
expect 2 'golden_check: ' --dtype int8
expect 2 'golden_check: ' --no-such-option
expect 2 'is no device' "$golden" --device tpu

[ "$failures" = 0 ] && echo "golden_check behaves"
exit "$failures"
