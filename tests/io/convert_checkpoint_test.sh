#!/usr/bin/env bash
# tools/convert_checkpoint: what it writes, what it says, and that bad input leaves everything as it was.
set -u
convert="$ATLAS_BIN_DIR/convert_checkpoint"
[ -x "$convert" ] || { echo "convert_checkpoint is not built"; exit 77; }
checkpoints="$ATLAS_SOURCE_DIR/tests/golden/checkpoints"
pytorch="$ATLAS_SOURCE_DIR/tests/golden/pytorch"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# expect STATUS TEXT ARGS...
expect() {
  local status=$1 text=$2 output got
  shift 2
  output=$("$convert" "$@" 2>&1)
  got=$?
  if [ "$got" != "$status" ] || ! grep -qF -- "$text" <<<"$output" ||
    { [ "$status" = 2 ] && [ "$(wc -l <<<"$output")" != 1 ]; }; then
    printf 'convert_checkpoint %s: status %s, expected %s and "%s", printed:\n%s\n' "$*" "$got" "$status" "$text" "$output"
    failures=$((failures + 1))
  fi
}
same() {
  cmp "$work/$1" "$work/$2" || failures=$((failures + 1))
}

# The same tensors from every kind of file give the same bytes; a converted file converts to itself.
expect 0 'PyTorch file: ' "$checkpoints/plain.pth" "$work/plain"
expect 0 "from 'model'" "$checkpoints/engine_style.ckpt" "$work/engine"
expect 0 'written' "$checkpoints/legacy_not_zip.pth" "$work/legacy"
expect 0 'written' "$checkpoints/views_and_shared_storage.pth" "$work/views"
expect 0 'safetensors file: ' "$work/plain" "$work/again"
for file in engine legacy views again; do same plain "$file"; done

# uint64 beyond int64: shown, but not written as another number.
printf '\x48\0\0\0\0\0\0\0%-72s\xff\xff\xff\xff\xff\xff\xff\xff' \
  '{"big":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}}' >"$work/uint64"
expect 0 'uint64      1.845e+19' "$work/uint64" --list
expect 2 "tensor 'big' of U64 has numbers beyond int64" "$work/uint64" "$work/uint64.out"

# Types there and back, the averaged weights, lists.
expect 0 'written' "$checkpoints/half.pth" "$work/half"
expect 0 'written' "$work/half" "$work/half32" --dtype float32
expect 0 'written' "$work/half32" "$work/half16" --dtype float16
same half half16
expect 0 'bfloat16' "$checkpoints/bfloat16.pth" --list
expect 0 "from 'state_dict_ema'" "$pytorch/averaged.pth" "$work/averaged" --ema
expect 0 "module.w  [1]                float32             2           2           2           0" "$work/averaged" --list
expect 0 "beside them" "$pytorch/zip_protocol2.pth" --weights optimizer --list
expect 0 "warning: 2 elements of type.float64 are too large for float16 and became infinite" \
  "$pytorch/large.pth" "$work/large" --dtype float16

# Bad input: one line, exit status 2, and an existing file stays.
echo precious >"$work/kept"
expect 2 'cannot open' "$work/nothing" "$work/kept"
expect 2 'which is refused' "$pytorch/system.pth" "$work/kept"
expect 2 'TorchScript' "$pytorch/script.pt" "$work/kept"
expect 2 'big-endian' "$pytorch/big_endian.pth" "$work/kept"
head -c 1000 "$checkpoints/plain.pth" >"$work/cut"
expect 2 'no end record' "$work/cut" "$work/kept"
expect 2 'neither a safetensors nor a PyTorch file' "$0" "$work/kept"
expect 2 'is a folder' "$work" "$work/kept"
expect 2 "no dictionary called 'nobody'" "$checkpoints/plain.pth" "$work/kept" --weights nobody
expect 2 'no averaged weights' "$checkpoints/plain.pth" "$work/kept" --ema
expect 2 'is no mambavision-t: ' "$checkpoints/plain.pth" "$work/kept" --model mambavision-t
expect 2 "there is no preset 'nothing'" "$checkpoints/plain.pth" "$work/kept" --model nothing
expect 2 '--dtype' "$checkpoints/plain.pth" "$work/kept" --dtype int8
expect 2 'name the file to write' "$checkpoints/plain.pth"
expect 2 'in is required' --list
expect 2 "there is no folder $work/no/such/folder for $work/no/such/folder/x.safetensors" "$checkpoints/plain.pth" "$work/no/such/folder/x.safetensors"
[ "$(cat "$work/kept")" = precious ] || { echo "an existing file was changed"; failures=$((failures + 1)); }

[ "$failures" = 0 ] && echo "convert_checkpoint behaves"
exit "$failures"
