#!/usr/bin/env bash
# Training on a folder of pictures of which some are unreadable, and into folders that have no room.
set -euo pipefail
train=$ATLAS_BIN_DIR/train
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

problem() {
  echo "FAILED: $*" >&2
  cat "$work/out" "$work/err" >&2
  failures=$((failures + 1))
}
# run STATUS ARGUMENT...: runs train on small settings, output in $work/out and $work/err.
run() {
  local wanted=$1 status=0
  shift
  "$train" --batch-size 8 --epochs 1 "$@" >"$work/out" 2>"$work/err" || status=$?
  [ $status -eq "$wanted" ] || problem "$*: status $status, expected $wanted"
}
# picture FILE BYTE: a gray BMP of 8 x 8 pixels.
picture() {
  printf 'BM\xf6\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x08\0\0\0\x08\0\0\0\x01\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' >"$1"
  head -c 192 /dev/zero | tr '\0' "$2" >>"$1"
}

mkdir -p "$work/pictures/dark" "$work/pictures/light"
for i in $(seq 12); do
  picture "$work/pictures/dark/$i.bmp" '\040'
  picture "$work/pictures/light/$i.bmp" '\300'
done

# Unreadable files are reported once, by name, however many epochs there are, and counted once.
: >"$work/pictures/dark/empty.png"
echo "no picture" >"$work/pictures/light/text.jpg"
head -c 100 "$work/pictures/light/1.bmp" >"$work/pictures/light/cut.bmp"
run 0 --data "folder:$work/pictures" --epochs 3 --workers 2 --out "$work/some"
for name in dark/empty.png light/text.jpg light/cut.bmp; do
  [ "$(grep -c "skipped an unreadable image: .*$name" "$work/err")" = 1 ] || problem "$name should be reported once"
done
grep -q '^3 unreadable images were skipped$' "$work/out" || problem "three unreadable files should be counted"
run 2 --data "folder:$work/pictures" --strict --epochs 3 --out "$work/strict"
grep -qE 'empty.png|text.jpg|cut.bmp' "$work/err" || problem "--strict should name the file"

# A folder where nothing is readable is an error, not an empty training.
mkdir -p "$work/broken/a" "$work/broken/b"
for i in $(seq 12); do echo x | tee "$work/broken/a/$i.png" >"$work/broken/b/$i.jpg"; done
run 2 --data "folder:$work/broken" --out "$work/none"
grep -q 'none of the 12 files of a class begins as JPEG, PNG or BMP do' "$work/err" || problem "no picture inside"
rm -r "$work/broken" && mkdir -p "$work/broken/a" "$work/broken/b"
for i in $(seq 12); do # they begin well, and end too soon
  head -c 100 "$work/pictures/light/1.bmp" | tee "$work/broken/a/$i.bmp" >"$work/broken/b/$i.bmp"
done
run 2 --data "folder:$work/broken" --out "$work/none"
grep -q 'none of the 20 training images .* could be read' "$work/err" || problem "nothing readable"

# No room for checkpoints is found before training.
(ulimit -f 100 && run 2 --data shapes:32 --limit-train 16 --limit-test 8 --out "$work/limit" && exit $failures) || failures=$((failures + 1))
grep -q 'files may have at most 0.1 MiB' "$work/err" || problem "a limit on the size of files"
grep -q 'epoch' "$work/out" && problem "the limit should be found before training"

# Any image size trains, also one that windows do not divide.
run 0 --data shapes:32 --image-size 30 --limit-train 16 --limit-test 8 --model-options '{"window": 3}' --out "$work/size"

# Data with other classes than those that were trained on would be read wrongly.
run 2 --eval-only --data shapes:32 --limit-train 16 --limit-test 8 --out "$work/some"
grep -qF 'some/best.ckpt was trained on 2 classes, but shapes:32 has 4' "$work/err" || problem "number of classes"
mv "$work/pictures/dark" "$work/pictures/mud"
run 2 --resume --epochs 4 --out "$work/some"
grep -qF 'number 0 is "dark", not "light"' "$work/err" || problem "names of classes"

run 2 --eval-only --out "$work/nothing"
grep -q "$work/nothing holds no run to test" "$work/err" || problem "nothing to test"

[ $failures -eq 0 ] && echo ok
