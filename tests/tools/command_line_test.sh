#!/usr/bin/env bash
# Values of options on the command lines of all programs: an empty one is empty, and no option takes the word after it.
set -euo pipefail
bin=$ATLAS_BIN_DIR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
source "$(dirname "${BASH_SOURCE[0]}")/../expect.sh"
cd "$work"
train=("$bin/train" --data shapes:16 --model atlas-toy --image-size 32 --limit-train 32 --limit-test 16 --workers 0)

# An empty text is one; the options after it are read.
"${train[@]}" --rand-augment= --epochs 1 --batch-size=16 --group= --out run >out 2>err || { cat err; failures=1; }
settings=$(tr -d ' \n' <run/config.json)
for setting in '"rand_augment":""' '"epochs":1,' '"batch_size":16,'; do
  grep -qF "$setting" <<<"$settings" || { echo "FAILED: no $setting in config.json" >&2; failures=$((failures + 1)); }
done
expect "'' is no whole number" "${train[@]}" --epochs= --batch-size 16 --out none
expect "'' is no finite number" "${train[@]}" --lr= --batch-size 16 --out none
expect "'' is no finite number" "${train[@]}" --lr "" --batch-size 16 --out none
expect "'0.1x' is no finite number" "${train[@]}" --lr 0.1x --out none
expect "dim" "${train[@]}" --model.dim= --batch-size 16 --out none
expect "epochs" "${train[@]}" --rand-augment= --epochs 0 --out none
expect "/nowhere" "$bin/golden_check" --filter= /nowhere
expect "--mode" "$bin/models" --mode= --runs 1

# Where an output cannot be is said before the work.
expect "there is no folder gone for gone/found.json" "$bin/detect" --checkpoint none --json gone/found.json x
expect "there is no folder gone for gone/trace" "${train[@]}" --profile gone/trace --out none

# So is a name that no program has, and a flag's value is not left out behind the sign.
expect "there is no option --epochz" "${train[@]}" --epochz= 3
expect "--resume= lacks a value; without one, write --resume" "${train[@]}" --resume= --out none
expect "--cuda-graph= lacks a value" "${train[@]}" --cuda-graph= --out none
expect "--json= lacks a value" "$bin/classify" --json= --checkpoint none picture.png

# Lists end with the word: what follows is something else, and an item is never nothing.
"$bin/image_folders" --data shapes:16 --train 4 --test 4 --classes 0,3 made >out 2>err || { cat err; failures=$((failures + 1)); }
[ "$(find made/train -name '*.png' | wc -l)" -eq 4 ] || { echo "FAILED: not four pictures" >&2; failures=$((failures + 1)); }
for list in , 1, 1,,2 ""; do
  expect "'' is no whole number" "$bin/image_folders" --classes="$list" none --data shapes:16
  expect "'' is no finite number" "${train[@]}" --milestones="$list" --out none
done
picture=$(find made/train -name '*.png' | head -n 1)
"$bin/show_augmentation" --box 1,1,9,9 --box 2,2,9,9 "$picture" --out sheet.png >out 2>err && [ -s sheet.png ] ||
  { cat err; echo "FAILED: --box takes the picture" >&2; failures=$((failures + 1)); }
[ ! -e none ] || { echo "FAILED: something was written" >&2; failures=$((failures + 1)); }
[ $failures -eq 0 ]
