#!/usr/bin/env bash
# A toy detector learns to find drawn objects: the whole path from data to COCO's numbers, pictures and results in files.
# ctest-labels: slow
# ctest-timeout: 900
set -euo pipefail
train=$ATLAS_BIN_DIR/train
detect=$ATLAS_BIN_DIR/detect
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Objects are square: 96 pixels a side; other pictures may be longer.
"$train" --model cascade-mask-rcnn-mambavision-toy --data objects --image-size 96 --epochs 2 --batch-size 8 --lr 0.002 \
  --task-options '{"longer": 160, "shorter": 96}' --out "$work/run" >"$work/out" 2>"$work/err" || {
  cat "$work/out" "$work/err"
  exit 1
}
summary=$(grep -E '^AP .* AP50 .* masks AP' "$work/out")
echo "$summary"
boxes=$(sed -E 's/^AP [0-9.]+ %, AP50 ([0-9]+).*/\1/' <<<"$summary")
masks=$(sed -E 's/.*masks AP [0-9.]+ %, AP50 ([0-9]+).*/\1/' <<<"$summary")
[ "$boxes" -gt 50 ] || { echo "FAILED: AP50 of boxes is $boxes %, should be above 50"; exit 1; }
[ "$masks" -gt 50 ] || { echo "FAILED: AP50 of masks is $masks %, should be above 50"; exit 1; }
[ -s "$work/run/detections.png" ] || { echo "FAILED: no picture of detections"; exit 1; }

# What it finds on a picture goes into a copy, and into COCO's format; a file that is no picture is named.
echo "no picture" >"$work/text.jpg"
status=0
"$detect" --checkpoint "$work/run/best.ckpt" --threshold 0.1 --out "$work/found" --json "$work/results.json" \
  "$work/run/detections.png" "$work/text.jpg" >"$work/out" 2>"$work/err" || status=$?
[ "$status" = 2 ] || { echo "FAILED: status $status of an unreadable picture, should be 2"; cat "$work/out" "$work/err"; exit 1; }
grep -q "text.jpg" "$work/err" || { echo "FAILED: text.jpg is not named"; cat "$work/err"; exit 1; }
[ -s "$work/found/detections.png" ] || { echo "FAILED: no copy with what was found"; exit 1; }
grep -q '"category_id"' "$work/results.json" || { echo "FAILED: nothing in the results"; exit 1; }

# It looks at pictures as its run was tested, unless it is told otherwise.
found() { # found NAME OPTION...: what it finds at the size that the options say
  local name=$1
  shift
  "$detect" --checkpoint "$work/run/best.ckpt" --json "$work/$name.json" "$@" "$work/run/detections.png" >/dev/null
}
found plain
found same --longer 160 --shorter 96
found small --longer 96
cmp "$work/plain.json" "$work/same.json" || { echo "FAILED: pictures are not resized as the run was tested"; exit 1; }
! cmp -s "$work/plain.json" "$work/small.json" || { echo "FAILED: --longer changes nothing"; exit 1; }
