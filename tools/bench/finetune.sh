#!/usr/bin/env bash
# Is fine-tuning worth it? Pretrains on five classes of Fashion-MNIST, then learns the other five from few images, once from
# those weights and once from random ones, in the same number of epochs and images (so the same time).
#
#   tools/bench/finetune.sh [OUT]       after cmake --build build/release; about five minutes on two cores
#
# Prints a table of test accuracies. Runs that exist already in OUT are not repeated.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=${ATLAS_BIN_DIR:-build/release/bin}
out=${1:-runs/finetune}
images=${IMAGES:-250} epochs=${EPOCHS:-10}
mkdir -p "$out"
[ -d "$out/first" ] || "$bin/image_folders" "$out/first" --classes 0,1,2,3,4 --test 1000
[ -d "$out/second" ] || "$bin/image_folders" "$out/second" --classes 5,6,7,8,9 --train "$images" --test 5000

# run NAME PROGRAM ARGUMENT...: trains into OUT/NAME unless that is there already.
run() {
  local name=$1
  shift
  [ -f "$out/$name/confusion.csv" ] || "$@" --out "$out/$name" --resume >"$out/$name.txt"
}
# accuracy NAME, seconds NAME: of the last epoch, and of training and testing in all epochs.
accuracy() { sed -nE 's/^test accuracy ([0-9.]+) %.*/\1/p' "$out/$1.txt"; }
seconds() { sed -nE 's/.*"seconds": ?([0-9.]+).*/\1/p' "$out/$1/log.jsonl" | awk '{ s += $1 } END { printf "%.1f", s }'; }

echo "| model | start | test accuracy | seconds |"
echo "|---|---|---|---|"
for model in atlas-toy mambavision-toy; do
  run "$model-first" "$bin/train" --model "$model" --data "folder:$out/first" --epochs 5
  from=(--checkpoint "$out/$model-first/best.ckpt")
  to=(--data "folder:$out/second" --epochs "$epochs" --batch-size 32)
  for seed in 0 1 2; do
    for lr in 3e-3 6e-3; do run "$model-scratch-$lr-$seed" "$bin/train" --model "$model" "${to[@]}" --lr $lr --seed $seed; done
    run "$model-tuned-$seed" "$bin/finetune" "${from[@]}" "${to[@]}" --seed $seed
    run "$model-head-$seed" "$bin/finetune" "${from[@]}" "${to[@]}" --seed $seed --freeze backbone --lr 1e-2
  done
  for kind in scratch-3e-3 scratch-6e-3 tuned head; do
    for seed in 0 1 2; do echo "$(accuracy "$model-$kind-$seed") $(seconds "$model-$kind-$seed")"; done |
      awk -v model=$model -v kind=$kind '{ a += $1; t += $2; l = (NR == 1 || $1 < l) ? $1 : l; h = ($1 > h) ? $1 : h }
        END { printf "| %s | %s | %.2f %% (%.2f to %.2f) | %.1f |\n", model, kind, a / NR, l, h, t / NR }'
  done
done
