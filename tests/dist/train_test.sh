#!/usr/bin/env bash
# train under mpirun: one run of several processes, kills, resuming with other numbers of them, and what is refused.
# ctest-timeout: 900
source "$(dirname "${BASH_SOURCE[0]}")/../frame/common.sh"

needs_mpi
train=$ATLAS_BIN_DIR/train
root=()
[ "$(id -u)" -ne 0 ] || root=(--allow-run-as-root)
export ATLAS_DIST_TIMEOUT=20
mpi() { timeout 120 mpirun "${root[@]}" --oversubscribe "$@"; }
settings=(--data shapes:32 --model atlas-toy --limit-train 192 --limit-test 50 --batch-size 8 --accumulate 2 --epochs 2
  --lr 1e-3 --ema 0.9 --mixup 0.2 --erase 0.2 --drop-path 0.2 --checkpoint-steps 2 --workers 1 --seed 3)

# No further option; rank 0 alone speaks and writes.
mpi -n 2 "$train" "${settings[@]}" --out "$scratch/alone" >"$scratch/log" 2>&1 ||
  { cat "$scratch/log"; fail "train with two processes"; }
[ "$(grep -c ' M parameters' "$scratch/log")" = 1 ] || { cat "$scratch/log"; fail "not one header"; }
grep -q '2 epochs of 6 updates, batch 8 x 2 x 2 processes' "$scratch/log" || { cat "$scratch/log"; fail "the header"; }
head -1 "$scratch/alone/log.csv" | grep -q 'fastest_step_seconds,slowest_step_seconds,slowest_rank' || fail "no step times in the log"

# A recipe's updates have as many images, whatever the number of processes that share them.
mpi -n 2 "$train" --recipe mambavision-t --explain >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "--explain"; }
grep -q '^images per update  4096 (128 x 16 x 2 processes)$' "$scratch/log" || { cat "$scratch/log"; fail "a shared update"; }
mpi -n 2 "$train" --recipe mambavision-t --accumulate 32 --explain >"$scratch/log" 2>&1
grep -q '^images per update  8192 (128 x 32 x 2 processes)$' "$scratch/log" || { cat "$scratch/log"; fail "--accumulate given"; }

# Rank 1, rank 0 or all are killed; the run goes on to the same checkpoint, byte for byte.
kills=0
for who in 1 0 all; do
  mpi -n 2 "$train" "${settings[@]}" --out "$scratch/killed" --resume >"$scratch/killed.log" 2>&1 &
  job=$!
  for _ in $(seq 400); do
    [ -e "$scratch/killed/last.ckpt" ] && break
    sleep 0.02
  done
  sleep "0.$((RANDOM % 5))"
  started=$SECONDS
  for process in $(pgrep -f -- "--out $scratch/killed --resume" || true); do
    [ "$(readlink "/proc/$process/exe")" = "$train" ] || continue
    rank=$(tr '\0' '\n' <"/proc/$process/environ" | sed -n 's/^OMPI_COMM_WORLD_RANK=//p') || continue
    if [ "$who" = all ] || [ "$who" = "$rank" ]; then kill -9 "$process" && kills=$((kills + 1)); fi
  done
  wait $job || true
  [ $((SECONDS - started)) -lt 60 ] || fail "killing $who: took $((SECONDS - started)) s to end"
done
[ $kills -ge 1 ] || fail "nothing was killed: the test proves nothing"
mpi -n 2 "$train" "${settings[@]}" --out "$scratch/killed" --resume >"$scratch/log" 2>&1 ||
  { cat "$scratch/log"; fail "resuming after kills"; }
cmp "$scratch/alone/last.ckpt" "$scratch/killed/last.ckpt" || fail "killed $kills times and resumed: another checkpoint"

# One process is asked to stop: all do, with a checkpoint. Then another number of processes goes on.
mpi -n 2 "$train" "${settings[@]}" --out "$scratch/stopped" >"$scratch/stopped.log" 2>&1 &
job=$!
for _ in $(seq 400); do
  [ -e "$scratch/stopped/last.ckpt" ] && break
  sleep 0.02
done
for process in $(pgrep -f -- "--out $scratch/stopped" || true); do
  tr '\0' '\n' <"/proc/$process/environ" | grep -q '^OMPI_COMM_WORLD_RANK=1' && kill -TERM "$process"
done
status=0
wait $job || status=$?
[ $status -eq 130 ] || { cat "$scratch/stopped.log"; fail "status $status after a signal to rank 1"; }
[ "$(grep -c 'go on with' "$scratch/stopped.log")" = 1 ] || { cat "$scratch/stopped.log"; fail "what it said"; }
"$train" --out "$scratch/stopped" --resume >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "going on with one process"; }
grep -q '2 processes before, 1 now: --accumulate 4 keeps updates at 32 images' "$scratch/log" ||
  { cat "$scratch/log"; fail "accumulation was not changed"; }
[ "$(wc -l <"$scratch/stopped/log.csv")" = 3 ] || fail "the log of a run with two numbers of processes"

# refused STATUS TEXT ARGS...: one line of ours, with TEXT in it.
refused() {
  local status=0
  "${@:2}" >"$scratch/log" 2>&1 || status=$?
  [ $status -ne 0 ] || fail "${*:2}: ended with success"
  local lines
  lines=$(grep -cE '\[[a-z_-]+\] |^(rank [0-9]+: )?train: ' "$scratch/log") || true
  [ "$lines" = 1 ] || { cat "$scratch/log"; fail "${*:2}: $lines lines, not one"; }
  grep -qE -- "$1" "$scratch/log" || { cat "$scratch/log"; fail "${*:2}: lacks '$1'"; }
}
out() { echo "$scratch/out-$RANDOM"; }
cp -r "$scratch/killed" "$scratch/copy"
refused 'has updates of 32 images .batch_size 8 x accumulate 2 x 2 processes., which 3 x batch_size 8 do not divide' \
  mpi -n 3 "$train" --out "$scratch/copy" --resume --epochs 3
o=$(out)
refused "the start of rank 1 is another than that of rank 0: 'lr' is 0.02, but 0.01 on rank 0" \
  mpi -n 1 "$train" "${settings[@]}" --lr 0.01 --out "$o" : -n 1 "$train" "${settings[@]}" --lr 0.02 --out "$o"
for differs in any-memory:--any-memory augment:'--augment host'; do
  # shellcheck disable=SC2086 # an option and its value
  refused "the start of rank 1 is another than that of rank 0: '--${differs%%:*}' is" \
    mpi -n 1 "$train" "${settings[@]}" --out "$o" : -n 1 "$train" "${settings[@]}" ${differs#*:} --out "$o"
done
refused '3 were asked for, but 2 were started' mpi -n 2 "$train" "${settings[@]}" --processes 3 --out "$(out)"
refused '3 were asked for, but 1 was started' "$train" "${settings[@]}" --processes 3 --out "$(out)"
refused '192 training images are fewer than batch_size 64 x accumulate 2 x 2 processes' \
  mpi -n 2 "$train" "${settings[@]}" --batch-size 64 --out "$(out)"
refused 'no-such-option' mpi -n 2 "$train" --no-such-option
refused 'no-such-folder' mpi -n 2 "$train" --data folder:/no-such-folder --out "$(out)"

refused "wire = 'half' is unknown; there are float32, bf16" mpi -n 2 "$train" "${settings[@]}" --wire half --out "$(out)"

# Gradients as bfloat16 on the wire: half the bytes, almost the same losses.
declare -A bytes losses
for wire in float32 bf16; do
  mpi -n 2 "$train" "${settings[@]}" --epochs 1 --wire $wire --profile "$scratch/profile" --out "$scratch/$wire" \
    >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "--wire $wire"; }
  bytes[$wire]=$(sed -n 's/.*gradients .* updates, \([0-9.]* .iB\) each, .*/\1/p' "$scratch/log")
  losses[$wire]=$(tail -1 "$scratch/$wire/log.csv")
done
awk -v whole="${bytes[float32]}" -v half="${bytes[bf16]}" 'BEGIN {
  split(whole, a); split(half, b); k["KiB"] = 1; k["MiB"] = 1024
  ratio = a[1] * k[a[2]] / (b[1] * k[b[2]]); exit !(ratio > 1.95 && ratio < 2.05) }' ||
  fail "bytes of gradients: ${bytes[float32]} as float32, ${bytes[bf16]} as bf16"
[ "${losses[float32]}" != "${losses[bf16]}" ] || fail "--wire bf16 changed nothing"

refused 'an update of 4096 images .batch_size 128 x accumulate 32. is not shared by 3 processes' \
  mpi -n 3 "$train" --recipe mambavision-t --explain

# Heads of segmenters share the statistics of their batch norms: one image for each process is enough for several.
pixels=(--model upernet-mambavision-toy --data scenes:64 --image-size 64 --limit-train 8 --limit-test 4 --batch-size 1
  --epochs 1 --workers 0 --seed 3)
mpi -n 2 "$train" "${pixels[@]}" --out "$scratch/pixels" >"$scratch/log" 2>&1 ||
  { cat "$scratch/log"; fail "a segmenter with one image for each of two processes"; }
refused 'more than 1 value per channel' "$train" "${pixels[@]}" --out "$(out)"

# A disk that takes longer for a checkpoint, a picture, the last report or a trace than ranks wait for each other.
cat >"$scratch/slow.c" <<'TEXT'
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int fsync(int file) {
  sleep(3);
  return (int)syscall(SYS_fsync, file);
}
int rename(const char* from, const char* to) {
  static int reports = 0;
  const int last_report = strstr(to, "predictions.png") != NULL && reports++ == 1;
  if (last_report || strstr(to, "curves.png") != NULL || strstr(to, "trace.json") != NULL) {
    fprintf(stderr, "slow: %s\n", to);
    sleep(6);
  }
  return renameat(AT_FDCWD, from, AT_FDCWD, to);
}
TEXT
"$CXX" -x c -shared -fPIC -o "$scratch/slow.so" "$scratch/slow.c"
started=$SECONDS
ATLAS_DIST_TIMEOUT=5 mpi -n 2 -x LD_PRELOAD="$scratch/slow.so" "$train" "${settings[@]}" --checkpoint-steps 0 --epochs 1 \
  --profile "$scratch/trace.json" --out "$scratch/slow" >"$scratch/log" 2>&1 ||
  { cat "$scratch/log"; fail "a slow disk ended a healthy run"; }
[ $((SECONDS - started)) -ge 24 ] && [ "$(grep -c '^slow: ' "$scratch/log")" = 3 ] ||
  { cat "$scratch/log"; fail "the disk was not slow: the test proves nothing"; }

# A rank that hangs before the first step, without dying, is found as soon as one in training.
cat >"$scratch/hangs.c" <<'TEXT'
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
int stat(const char* path, struct stat* found) {
  const char* rank = getenv("OMPI_COMM_WORLD_RANK");
  if (strstr(path, "last.ckpt") != NULL && rank != NULL && rank[0] == '1') {
    fprintf(stderr, "hangs\n");
    pause();
  }
  return fstatat(AT_FDCWD, path, found, 0);
}
TEXT
"$CXX" -x c -shared -fPIC -o "$scratch/hangs.so" "$scratch/hangs.c"
started=$SECONDS
ATLAS_DIST_TIMEOUT=5 refused '\] rank 0 of 2 waited 5 s for rank 1: all processes are ended' \
  mpi -n 2 -x LD_PRELOAD="$scratch/hangs.so" "$train" "${settings[@]}" --out "$(out)"
[ $((SECONDS - started)) -lt 40 ] || fail "a rank that hangs at the start: took $((SECONDS - started)) s"

# Ranks that test see one checkpoint.
for wire in float32 bf16; do mkdir "$scratch/sees-$wire" && cp -r "$scratch/$wire" "$scratch/sees-$wire/run"; done
refused "run/best.ckpt of rank 1 is another than that of rank 0: 'model\." \
  mpi -n 1 -wdir "$scratch/sees-float32" "$train" --out run --eval-only --wire float32 : \
  -n 1 -wdir "$scratch/sees-bf16" "$train" --out run --eval-only --wire float32
mpi -n 2 "$train" --out "$scratch/killed" --eval-only >"$scratch/log" 2>&1 ||
  { cat "$scratch/log"; fail "--eval-only with two processes"; }

# Other programs, data and weights.
cp "$train" "$scratch/other" && echo >>"$scratch/other"
refused "the program of rank 1 is another than that of rank 0: 'executable'" \
  mpi -n 1 "$train" "${settings[@]}" --out "$o" : -n 1 "$scratch/other" "${settings[@]}" --out "$o"

refused "the model of rank 1 is another than that of rank 0: '[a-z0-9_.]*' is " \
  mpi -n 1 -wdir "$scratch/sees-float32" "$train" "${settings[@]}" --weights run/best.ckpt --out "$o" : \
  -n 1 -wdir "$scratch/sees-bf16" "$train" "${settings[@]}" --weights run/best.ckpt --out "$o"
for wire in float32 bf16; do
  for folder in train/a train/b val/a val/b; do
    mkdir -p "$scratch/sees-$wire/d/$folder" && cp "$scratch/alone/curves.png" "$scratch/sees-$wire/d/$folder/1.png"
  done
done
echo >>"$scratch/sees-bf16/d/val/b/1.png"
refused "the test data of rank 1 is another than that of rank 0: 'd/val/b/1.png' is [0-9]* bytes, but [0-9]* bytes on rank 0" \
  mpi -n 1 -wdir "$scratch/sees-float32" "$train" "${settings[@]}" --data folder:d --batch-size 1 --accumulate 1 --out "$o" : \
  -n 1 -wdir "$scratch/sees-bf16" "$train" "${settings[@]}" --data folder:d --batch-size 1 --accumulate 1 --out "$o"

# A disk that is full in the middle of the run, for rank 0.
if command -v prlimit >/dev/null; then
  mpi -n 2 "$train" "${settings[@]}" --epochs 50 --out "$scratch/full" >"$scratch/full.log" 2>&1 &
  job=$!
  for _ in $(seq 400); do
    [ -e "$scratch/full/last.ckpt" ] && break
    sleep 0.02
  done
  cp "$scratch/full/last.ckpt" "$scratch/before.ckpt"
  for process in $(pgrep -f -- "--out $scratch/full" || true); do
    [ "$(readlink "/proc/$process/exe")" = "$train" ] || continue
    prlimit --pid "$process" --fsize=20000
  done
  started=$SECONDS status=0
  wait $job || status=$?
  [ $status -ne 0 ] && [ $((SECONDS - started)) -lt 60 ] || fail "a full disk: status $status after $((SECONDS - started)) s"
  grep -q 'last.ckpt.*File too large' "$scratch/full.log" || { cat "$scratch/full.log"; fail "a full disk was not named"; }
  "$train" --out "$scratch/full" --eval-only >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "its checkpoint is damaged"; }
fi
echo "ok ($kills kills)"
