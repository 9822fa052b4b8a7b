#!/usr/bin/env bash
# A run that is killed (-9, at several moments) or interrupted (Ctrl-C) and resumed ends with the same checkpoint, byte for byte, as one
# that was left alone.
set -euo pipefail
train=$ATLAS_BIN_DIR/train
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

settings=(--data shapes:32 --model atlas-toy --limit-train 192 --limit-test 64 --batch-size 16 --accumulate 2 --epochs 3
  --lr 1e-3 --ema 0.9 --mixup 0.2 --erase 0.2 --drop-path 0.2 --checkpoint-steps 2 --workers 1 --seed 3)

"$train" "${settings[@]}" --out "$work/alone" >"$work/alone.log" || { cat "$work/alone.log"; fail "the uninterrupted run"; }

# Killed without warning, again and again, until a run gets through.
kills=0
for delay in 0.15 0.4 0.7 1.0 1.3 1.7 2.2; do
  "$train" "${settings[@]}" --out "$work/killed" --resume >"$work/killed.log" 2>&1 &
  process=$!
  sleep "$delay"
  if kill -9 $process 2>/dev/null; then kills=$((kills + 1)); fi
  wait $process 2>/dev/null || true
done
"$train" "${settings[@]}" --out "$work/killed" --resume >"$work/killed.log" 2>&1 || { cat "$work/killed.log"; fail "resuming after kill -9"; }
[ $kills -ge 1 ] || fail "no run was killed: the test proves nothing"
cmp "$work/alone/last.ckpt" "$work/killed/last.ckpt" || fail "killed $kills times and resumed: another checkpoint"
cut -d, -f1-8 "$work/alone/log.csv" >"$work/a"
cut -d, -f1-8 "$work/killed/log.csv" >"$work/b"
cmp "$work/a" "$work/b" || fail "killed and resumed: another log"

# Ctrl-C: finishes the update, saves, says how to go on, exits with 130.
"$train" "${settings[@]}" --out "$work/stopped" >"$work/stopped.log" 2>&1 &
process=$!
for _ in $(seq 200); do
  [ -e "$work/stopped/last.ckpt" ] && break
  sleep 0.02
done
kill -TERM $process || fail "the run ended before it could be stopped"
status=0
wait $process || status=$?
[ $status -eq 130 ] || { cat "$work/stopped.log"; fail "exit status $status after a signal, expected 130"; }
grep -q -- "--resume" "$work/stopped.log" || fail "the message does not say how to go on"
"$train" --out "$work/stopped" --resume >"$work/stopped.log" 2>&1 || { cat "$work/stopped.log"; fail "resuming after a signal"; }
cmp "$work/alone/last.ckpt" "$work/stopped/last.ckpt" || fail "stopped and resumed: another checkpoint"

# A second run does not overwrite the first.
status=0
"$train" "${settings[@]}" --out "$work/alone" >"$work/again.log" 2>&1 || status=$?
[ $status -eq 2 ] && grep -q "holds a run already" "$work/again.log" || fail "a finished run was overwritten"

# The checkpoint of another model is refused with the names that differ.
status=0
"$train" --model mambavision-toy --out "$work/alone" --resume >"$work/other.log" 2>&1 || status=$?
[ $status -eq 2 ] && grep -q "missing" "$work/other.log" && grep -q "unexpected" "$work/other.log" || { cat "$work/other.log"; fail "another model's checkpoint"; }
echo "ok ($kills kills)"
