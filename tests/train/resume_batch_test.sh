#!/usr/bin/env bash
# Resuming in the middle of an epoch with another batch size or other data: every image is seen once, and what does not
# fit changes nothing in the folder.
set -uo pipefail
train=$ATLAS_BIN_DIR/train
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; cat "$work/log" >&2; exit 1; }
out=$work/run
"$train" --data shapes:32 --model atlas-toy --limit-train 256 --limit-test 32 --batch-size 16 --epochs 2 --workers 0 --checkpoint-steps 8 \
  --seed 3 --out "$out" >"$work/log" 2>&1 &
process=$!
for _ in $(seq 1000); do
  [ -e "$out/last.ckpt" ] && break
  sleep 0.005
done
kill -9 $process 2>/dev/null
wait $process 2>/dev/null
[ -e "$out/last.ckpt" ] || fail "no checkpoint"
"$ATLAS_BIN_DIR/convert_checkpoint" "$out/last.ckpt" --list >"$work/log" 2>&1
grep -q "extra.epoch_position" "$work/log" || fail "no position in the checkpoint"
cp -r "$out" "$work/saved"

for size in 64 32 7 128 100 200; do
  rm -rf "$out" && cp -r "$work/saved" "$out"
  "$train" --out "$out" --resume --batch-size $size --epochs 2 >"$work/log" 2>&1 || fail "--batch-size $size"
  grep -q "updates" "$out/log.csv" && [ "$(wc -l <"$out/log.csv")" -eq 3 ] || fail "--batch-size $size: log"
  # 8 updates of 16 images, then as many as fit into the other 128 images, then an epoch. What is left of the 128 makes a
  # smaller update where updates of 16 would have seen it.
  wanted=$((8 + 128 / size + (128 % size >= 16) + 256 / size))
  [ "$(tail -n 1 "$out/log.csv" | cut -d, -f2)" -eq $wanted ] || fail "--batch-size $size: not $wanted updates: $(tail -n 1 "$out/log.csv")"
done

# Fewer images have another order: the epoch begins anew, and says so.
rm -rf "$out" && cp -r "$work/saved" "$out"
"$train" --out "$out" --resume --limit-train 64 >"$work/log" 2>&1 || fail "--limit-train 64"
grep -q "begins anew" "$work/log" || fail "another order without a word"
[ "$(tail -n 1 "$out/log.csv" | cut -d, -f2)" -eq $((8 + 4 + 4)) ] || fail "--limit-train 64: $(tail -n 1 "$out/log.csv")"

# What cannot be resumed changes nothing: the plain resume goes on.
rm -rf "$out" && cp -r "$work/saved" "$out"
for wrong in "--batch-size 300" "--ema 0.9" "--optimizer sgd" "--model mambavision-toy" "--epochs 0" \
  "--weights $work/saved/last.ckpt" "--backbone-weights $work/saved/last.ckpt"; do
  status=0
  # shellcheck disable=SC2086
  "$train" --out "$out" --resume $wrong >"$work/log" 2>"$work/err" || status=$?
  [ $status -eq 2 ] && [ "$(wc -l <"$work/err")" -eq 1 ] || { cat "$work/err" >&2; fail "$wrong: status $status"; }
  for file in config.json last.ckpt log.csv; do
    cmp "$work/saved/$file" "$out/$file" || fail "$wrong changed $file"
  done
done
status=0
"$train" --out "$out" --resume --ema 0.9 >"$work/log" 2>&1 || status=$?
grep -q "without a moving average" "$work/log" || fail "--ema of a run without one"
status=0
"$train" --out "$out" --resume --weights "$work/saved/last.ckpt" >"$work/log" 2>&1 || status=$?
grep -q "leave --weights out" "$work/log" || fail "--weights of a run that goes on"
"$train" --out "$out" --resume >"$work/log" 2>&1 || fail "a plain resume afterwards"
grep -q "after 2 epochs" "$work/log" || fail "the number of epochs"
status=0
"$train" --out "$out" --resume --epochs 1 >"$work/log" 2>&1 || status=$?
[ $status -eq 2 ] && grep -q "2 epochs behind it" "$work/log" || fail "--resume --epochs 1 of a run of 2"

# A moving average that is given up is said.
"$train" --data shapes:16 --image-size 16 --limit-train 32 --limit-test 8 --batch-size 16 --epochs 1 --ema 0.9 \
  --out "$work/average" >"$work/log" 2>&1 || fail "a run with a moving average"
"$train" --resume --out "$work/average" --epochs 2 --ema 0 >"$work/log" 2>&1 || fail "--resume --ema 0"
grep -q "ema = 0: the moving average in $work/average/last.ckpt is left behind" "$work/log" || fail "--ema 0 is silent"

# Settings that fail at the first update leave those of the run: the plain resume goes on with them.
small=(--data shapes:16 --image-size 16 --model mambavision-toy --limit-train 16 --limit-test 8)
"$train" "${small[@]}" --batch-size 8 --epochs 1 --out "$work/small" >"$work/log" 2>&1 || fail "a small run"
status=0
"$train" --resume --out "$work/small" --epochs 2 --batch-size 1 >"$work/log" 2>&1 || status=$?
[ $status -eq 2 ] && grep -q "more than 1 value per channel" "$work/log" || fail "--batch-size 1: status $status"
grep -q '"batch_size": 8' "$work/small/config.json" || fail "settings that failed were written down"
"$train" --resume --out "$work/small" --epochs 2 >"$work/log" 2>&1 || fail "a resume after settings that failed"
echo ok
