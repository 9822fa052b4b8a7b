#!/usr/bin/env bash
# tools/data_card: its lines, its JSON, its sheet, and what it says of folders and lists that are wrong; and training on
# the classes of a list.
set -euo pipefail
card=$ATLAS_BIN_DIR/data_card
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
source "$(dirname "${BASH_SOURCE[0]}")/../expect.sh"
problem() {
  echo "FAILED: $*" >&2
  cat "$work/out" "$work/err" >&2
  failures=$((failures + 1))
}
"$ATLAS_BIN_DIR/image_folders" "$work/set" --data shapes:16 --classes 0,1,2,3 --train 80 --test 20 >/dev/null
classes=("$work"/set/train/*)
names=("${classes[@]##*/}")
cp "$(ls "${classes[0]}"/*.png | head -n 1)" "$work/set/val/${names[0]}/copy.png"
head -c 60 "$(ls "${classes[1]}"/*.png | head -n 1)" >"${classes[1]}/cut.png"

"$card" "$work/set" --sheet "$work/sheet.png" >"$work/out" 2>"$work/err" || problem "data_card"
grep -q ': 102 images of 4 classes, ' "$work/out" || problem "number of images"
grep -q "^${names[0]}  *20  *6$" "$work/out" || problem "images of ${names[0]}"
grep -q '^broken files    1$' "$work/out" || problem "one broken file"
grep -q "${names[1]}/cut.png: PNG .*cut short" "$work/out" || problem "the broken file is named"
grep -q "val/${names[0]}/copy.png  (in both halves)" "$work/out" || problem "a training image among those of the test"
[ "$(head -c 4 "$work/sheet.png" | tail -c 3)" = PNG ] || problem "no sheet"
[ ! -s "$work/err" ] || problem "nothing is to be said of a small folder on stderr"

printf '# two of four\n%s\n%s\n' "${names[3]}" "${names[0]}" >"$work/two.txt"
"$card" "$work/set" --classes "$work/two.txt" --decode --threads 1 --json >"$work/out" || problem "data_card --json"
for part in '"images": 51,' "\"name\": \"${names[3]}\"," '"png": 51' '"across_halves": true' '"across_classes": false'; do
  grep -qF -- "$part" "$work/out" || problem "JSON lacks $part"
done
grep -qF "\"${names[1]}\"" "$work/out" && problem "JSON has a class that is not in the list"
[ "$(grep -nF "\"${names[3]}\"" "$work/out" | cut -d: -f1)" -lt "$(grep -nF "\"${names[0]}\"" "$work/out" | cut -d: -f1)" ] ||
  problem "the order of classes is not that of the list"
"$card" "$work/set" --json --sheet /dev/stdout >"$work/sheet" 2>"$work/out" || problem "the sheet on the standard output"
[ "$(head -c 4 "$work/sheet" | tail -c 3)" = PNG ] || problem "the sheet is not alone on the standard output"

# Training on them: the order is that of the list, and is kept with the run.
train=("$ATLAS_BIN_DIR/train" --data "folder:$work/set" --image-size 16 --model-options '{"window": 2}' --batch-size 8 --epochs 1)
"${train[@]}" --classes "$work/two.txt" --out "$work/run" >"$work/out" 2>"$work/err" || problem "training on two classes"
grep -q ': 40 training and 11 test images, 2 classes' "$work/out" || problem "40 and 11 images"
grep -q "2 of 4 class folders are not in $work/two.txt and left out" "$work/err" || problem "other classes are left out"
head -n 1 "$work/run/confusion.csv" | grep -qF ",${names[3]},${names[0]}" || problem "order of classes"
"$ATLAS_BIN_DIR/train" --out "$work/run" --eval-only >"$work/out" 2>"$work/err" || problem "the list is a setting of the run"

expect "/nowhere: no such folder" "$card" /nowhere
expect "none.txt: No such file" "$card" "$work/set" --classes "$work/none.txt"
echo "${names[0]}x" >"$work/bad.txt"
expect "bad.txt line 1: $work/set/train has no folder ${names[0]}x; did you mean ${names[0]}?" "$card" "$work/set" --classes "$work/bad.txt"
expect "bad.txt line 1: $work/set/train has no folder ${names[0]}x; did you mean ${names[0]}?" "${train[@]}" --classes "$work/bad.txt" --out "$work/none"
printf '%s\n%s\n' "${names[0]}" "${names[0]}" >"$work/bad.txt"
expect "bad.txt line 2: ${names[0]} stands in line 1 already" "${train[@]}" --classes "$work/bad.txt" --out "$work/none"
mkdir "$work/set/train/hollow" "$work/set/val/hollow"
printf '%s\nhollow\n' "${names[0]}" >"$work/bad.txt"
expect "bad.txt line 2: folder hollow of $work/set/train holds no images" "${train[@]}" --classes "$work/bad.txt" --out "$work/none"
expect "cannot be applied to shapes:16" "$ATLAS_BIN_DIR/train" --data shapes:16 --classes "$work/two.txt" --out "$work/none"
[ ! -e "$work/none" ] || problem "a run that could not start left a folder"
[ $failures -eq 0 ] && echo ok
