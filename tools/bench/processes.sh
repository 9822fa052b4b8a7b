#!/usr/bin/env bash
# Two processes of one thread beside one process of two threads, on the same global batch.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/bench/processes.sh [ROUNDS] [MODEL]

Trains MODEL (default: mambavision-toy) on 64 images an update, ROUNDS times (default: 5) as two processes of one thread and as one
process of two threads, in turn. Prints images/s of both, and how many times as long two processes take (goal: 1.15).

  -h, --help   this text

ATLAS_BIN_DIR in the environment names the folder of the program train (default: build/release/bin).
TEXT
}
case ${1:-} in -h | --help) usage; exit 0 ;; esac
rounds=${1:-5} model=${2:-mambavision-toy}
if ! [[ $rounds =~ ^[1-9][0-9]*$ ]]; then
  echo "processes: needs a number of rounds, got '$rounds' (see --help)" >&2
  exit 2
fi
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
train=${ATLAS_BIN_DIR:-build/release/bin}/train
root=()
[ "$(id -u)" -ne 0 ] || root=(--allow-run-as-root)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
settings=(--model "$model" --data shapes:64 --image-size 64 --limit-train 1024 --limit-test 64 --epochs 2 --workers 0)

# rate FOLDER: images/s of the second epoch.
rate() { awk -F, 'NR == 1 { for (i = 1; i <= NF; ++i) if ($i == "images_per_second") c = i } END { print $c }' "$1/log.csv"; }
for _ in $(seq "$rounds"); do
  rm -rf "$scratch/two" "$scratch/one"
  mpirun "${root[@]}" -n 2 "$train" "${settings[@]}" --batch-size 32 --threads 1 --out "$scratch/two" >"$scratch/log" 2>&1 ||
    { cat "$scratch/log" >&2; exit 1; }
  "$train" "${settings[@]}" --batch-size 64 --threads 2 --out "$scratch/one" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
  echo "$(rate "$scratch/two") $(rate "$scratch/one")"
done | tee "$scratch/rates" | awk '{ print "2 processes", $1, "images/s, 1 process", $2, "images/s: ratio of times", $2 / $1 }'
awk '{ print $2 / $1 }' "$scratch/rates" | sort -g | awk '{ r[NR] = $1 } END { print "median", (r[int((NR + 1) / 2)] + r[int(NR / 2) + 1]) / 2 }'
