#!/usr/bin/env bash
# Runs every test of tests/dist with several processes on this machine.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/dist_check.sh [N]...
       tools/dist_check.sh --kills K

Runs the tests of tests/dist over MPI (Open MPI's mpirun; more processes than cores are fine): with 1, 2, 3 and N
processes (default: 4), or with as many as each of several numbers says. The release preset has to be built before:
cmake --build build/release --target test_dist

  --kills K    instead: K times, a rank of a training with two processes is killed at a random moment and the run goes
               on; all must end soon, and the checkpoint become that of a run that was left alone. Needs the target train
  -h, --help   this text

ATLAS_BIN_DIR in the environment names the folder of the test program (default: build/release/bin).
TEXT
}

counts=()
kills=0
while [ $# -gt 0 ]; do
  argument=$1
  shift
  case $argument in
    -h | --help) usage; exit 0 ;;
    --kills)
      if ! [[ ${1:-} =~ ^[1-9][0-9]*$ ]]; then
        echo "dist_check: --kills needs a number, got '${1:-}' (see --help)" >&2
        exit 2
      fi
      kills=$1
      shift
      ;;
    *)
      if ! [[ $argument =~ ^[1-9][0-9]*$ ]]; then
        echo "dist_check: needs numbers of processes, got '$argument' (see --help)" >&2
        exit 2
      fi
      counts+=("$argument")
      ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=${ATLAS_BIN_DIR:-build/release/bin}/test_dist
if [ ! -x "$program" ]; then
  echo "dist_check: $program is not there: cmake --build build/release --target test_dist" >&2
  exit 2
fi
if ! command -v mpirun >/dev/null; then
  echo "dist_check: mpirun is missing: apt install libopenmpi-dev openmpi-bin, then run cmake and build again" >&2
  exit 2
fi

root=()
[ "$(id -u)" -ne 0 ] || root=(--allow-run-as-root)
# kill_ranks: kills $kills ranks of a training, one after the other, and compares its end with that of one left alone.
kill_ranks() {
  local train=${program%/*}/train scratch done=0 round=0 worst=0
  scratch=$(mktemp -d)
  trap "rm -rf '$scratch'" EXIT
  local settings=(--data shapes:32 --model atlas-toy --limit-train 512 --limit-test 64 --batch-size 8 --accumulate 2
    --epochs 4 --lr 1e-3 --ema 0.9 --mixup 0.2 --drop-path 0.2 --checkpoint-steps 1 --seed 3)
  mpirun "${root[@]}" --oversubscribe -n 2 "$train" "${settings[@]}" --out "$scratch/alone" >"$scratch/log" 2>&1 ||
    { cat "$scratch/log" >&2; return 1; }
  while [ $done -lt "$kills" ]; do
    round=$((round + 1))
    timeout 300 mpirun "${root[@]}" --oversubscribe -n 2 "$train" "${settings[@]}" --out "$scratch/killed" --resume \
      >"$scratch/log" 2>&1 &
    local job=$! victim=$((RANDOM % 2)) started process rank
    sleep "$((1 + RANDOM % 2)).$((RANDOM % 10))"
    for process in $(pgrep -f -- "--out $scratch/killed" || true); do
      [[ $(readlink "/proc/$process/exe") == */train ]] || continue
      rank=$(tr '\0' '\n' <"/proc/$process/environ" | sed -n 's/^OMPI_COMM_WORLD_RANK=//p') || continue
      if [ "$rank" = $victim ] && kill -9 "$process" 2>/dev/null; then done=$((done + 1)); fi
    done
    started=$(date +%s)
    wait $job && { rm -rf "$scratch/killed"; continue; } # it was through: from the beginning
    started=$(($(date +%s) - started))
    [ $started -le $worst ] || worst=$started
    [ $started -lt 60 ] || { echo "dist_check: took $started s to end" >&2; return 1; }
  done
  mpirun "${root[@]}" --oversubscribe -n 2 "$train" "${settings[@]}" --out "$scratch/killed" --resume \
    >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; return 1; }
  cmp "$scratch/alone/last.ckpt" "$scratch/killed/last.ckpt" || return 1
  echo "$done kills in $round runs: all ended within $worst s, and the checkpoint is that of a run left alone"
}
export ATLAS_DIST_TIMEOUT=${ATLAS_DIST_TIMEOUT:-30}
if [ "$kills" -gt 0 ]; then
  kill_ranks
  exit
fi
export ATLAS_NUM_THREADS=1
failed=0
[ ${#counts[@]} -gt 0 ] || counts=(4)
if [ ${#counts[@]} -eq 1 ]; then # a number that is among them already counts once
  mapfile -t counts < <(printf '%s\n' 1 2 3 "${counts[0]}" | sort -nu)
fi
for n in "${counts[@]}"; do
  echo "== $n processes"
  mpirun "${root[@]}" --oversubscribe --bind-to none -n "$n" "$program" --no-colors=true --minimal=true || failed=1
done
exit $failed
