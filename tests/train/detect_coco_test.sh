#!/usr/bin/env bash
# detect --coco: pictures are found by the end of their paths and categories by name, objects need no mask, and what is
# annotated wrongly costs a line and nothing else.
# ctest-timeout: 900
source "$ATLAS_SOURCE_DIR/tests/programs.sh"
"$bin/train" --model cascade-mask-rcnn-mambavision-toy --data objects --image-size 96 --limit-train 8 --limit-test 4 \
  --batch-size 4 --epochs 1 --workers 0 --out run >out 2>err || complain "train"
mkdir cam1 cam2
cp run/detections.png cam1/1.png && cp run/detections.png cam2/1.png
# found WANTED STATUS, LINES ON STDERR, ARGUMENT...: detect --coco with --json found.json.
found() {
  local wanted=$1 lines=$2 status=0
  shift 2
  rm -f found.json
  "$bin/detect" --checkpoint run/best.ckpt --json found.json --coco "$@" >out 2>err || status=$?
  [ $status -eq "$wanted" ] && [ "$(wc -l <err)" -eq "$lines" ] || complain "detect --coco $*: status $status"
}
# annotations ID0 ID1 ID2 ID3 IMAGES OBJECTS: with the categories of drawn objects under these numbers.
annotations() {
  printf '{"categories": [{"id": %s, "name": "circle"}, {"id": %s, "name": "square"}, {"id": %s, "name": "triangle"},
    {"id": %s, "name": "cross"}], "images": [%s], "annotations": [%s]}' "$@"
}
both='{"id": 11, "file_name": "cam1/1.png"}, {"id": 12, "file_name": "cam2/1.png"}'
box='"category_id": 1, "bbox": [10, 10, 50, 40]'

# Masks for some objects only, of pictures whose size the file does not say; each picture under its own number.
annotations 1 2 3 4 "$both" "{\"image_id\": 11, $box, \"segmentation\": []}, {\"image_id\": 12, $box},
  {\"image_id\": 12, $box, \"segmentation\": [[10, 10, 60, 10, 60, 50, 10, 50]]}" >some.json
found 0 0 some.json cam1 cam2
grep -q '"image_id": 11,' found.json && grep -q '"image_id": 12,' found.json || complain "numbers of pictures"
grep -q '^masks' out && grep -q 'some.json: 2 objects without a mask' out || complain "numbers of masks"
cp found.json straight.json

# The same categories under other numbers: names decide.
annotations 40 30 20 10 "$both" "" >turned.json
found 0 0 turned.json cam1 cam2
sed -E 's/"category_id": ([1-4]),/"category_id": \10,/; s/: 10,/: x,/; s/: 40,/: 10,/; s/: x,/: 40,/; s/: 20,/: y,/; s/: 30,/: 20,/; s/: y,/: 30,/' \
  straight.json | cmp -s - found.json || complain "categories went by number"
grep -q '^masks' out && complain "masks were compared with none"
annotations 1 2 3 4 "$both" "" | sed 's/circle/circles/' >named.json
found 2 1 named.json cam1
grep -qF "named.json has no category 'circle', which is a class of the model; did you mean circles?" err ||
  complain "a category of another name"

# A mask that does not fit, a picture of another size, one that is not there: one line each, and the rest is not lost.
annotations 1 2 3 4 "$both" "{\"image_id\": 11, $box, \"segmentation\": {\"size\": [3, 3], \"counts\": [9]}}" >bad.json
found 2 1 bad.json cam1 cam2
grep -q "cam1/1.png: a mask's size is not that of its image" err && grep -q '"image_id": 12,' found.json &&
  grep -q '1 of 2 pictures' out || complain "a bad mask"
annotations 1 2 3 4 "{\"id\": 12, \"file_name\": \"1.png\", \"width\": 3, \"height\": 3}" "" >small.json
found 2 2 small.json run/detections.png cam1
grep -q "run/detections.png is not in small.json" err && grep -q "cam1/1.png has .* its annotations say 3 x 3" err ||
  complain "pictures that are not those of the file"

# Splits that share a folder: the file's own pictures are looked at, the others are counted.
annotations 1 2 3 4 '{"id": 12, "file_name": "cam2/1.png"}' "" >one.json
found 0 0 one.json cam1 cam2
grep -q '1 of 2 pictures are not in one.json: passed over' out && grep -q '1 of 1 pictures' out || complain "a shared folder"
mkdir other && cp cam1/1.png other/9.png
found 2 1 one.json other
grep -q 'none of the 1 pictures is in one.json' err || complain "a folder of another split"
found 2 1 some.json cam1 --shorter 500
grep -q 'needs shorter <= longer, got 500 and 96: give a larger longer side, too' err || complain "--shorter"
found 2 1 some.json cam1 --out run/log.csv
grep -q 'cannot make the folder run/log.csv: Not a directory' err || complain "--out FILE"

# Training: boxes without masks are none for a model of masks, and enough beside others that have one.
mkdir -p set/images && cp cam1/1.png set/images/1.png
for segmentation in "[]" "[[10, 10, 60, 10, 60, 50, 10, 50]]"; do
  annotations 1 2 3 4 '{"id": 1, "file_name": "1.png"}' "{\"image_id\": 1, $box, \"segmentation\": []},
    {\"image_id\": 1, $box, \"segmentation\": $segmentation}" | tee set/train.json >set/val.json
  status=0
  "$bin/train" --model cascade-mask-rcnn-mambavision-toy --data coco:set --image-size 96 --batch-size 1 --epochs 1 \
    --workers 0 --out "set/run" >out 2>err || status=$?
  if [ "$segmentation" = "[]" ]; then
    [ $status -eq 2 ] && grep -q "the model learns masks, but the objects have none" err || complain "boxes alone"
  else
    [ $status -eq 0 ] && grep -q "coco train: 1 objects without a mask" out &&
      grep -qE '^class +AP +AP50 +mask AP mask AP50 +objects$' out || complain "masks of some objects"
  fi
done

# A test of training and detect --coco say the same, also of objects that reach beyond their picture: as annotated here is
# what the model finds, every second object a third larger and beyond.
eager=(--model cascade-mask-rcnn-mambavision-toy --model-options '{"score_threshold": 0.01}' --data coco:set --image-size 96 --batch-size 1
  --eval-batch-size 1 --epochs 1 --lr 1e-9 --weights run/best.ckpt --workers 0)
annotations 1 2 3 4 '{"id": 1, "file_name": "1.png"}' "{\"image_id\": 1, $box}, {\"image_id\": 1, $box, \"segmentation\": [[10, 10, 60, 10, 60, 50]]}" |
  tee set/train.json >set/val.json
rm -rf set/run
"$bin/train" "${eager[@]}" --out set/run >out 2>err || complain "train for the comparison"
"$bin/detect" --checkpoint set/run/best.ckpt --coco set/val.json --json found.json set/images >out 2>err || complain "detect for the comparison"
objects=$(sed -n 's/.*"category_id": \([0-9]*\), "bbox": \[\([^]]*\)\].*/\1 \2/p' found.json | tr -d , | head -n 20 | awk '{
  x = $2; w = $4; if (NR % 2 == 0) { x = x - w / 3; w = w * 4 / 3 }
  if (NR % 4 == 0) x = -w / 3
  printf "%s{\"image_id\": 1, \"category_id\": %s, \"bbox\": [%.3f, %s, %.3f, %s], \"segmentation\": [[1, 1, 9, 1, 9, 9]]}", (NR > 1 ? ", " : ""), $1, x, $3, w, $5 }')
annotations 1 2 3 4 '{"id": 1, "file_name": "1.png"}' "$objects" >set/val.json
"$bin/train" --out set/run --eval-only >out 2>err || complain "eval-only"
tested=$(grep -oE '^AP [0-9.]+ %, AP50 [0-9.]+' out | grep -oE '[0-9.]+' | head -n 1)
"$bin/detect" --checkpoint set/run/best.ckpt --coco set/val.json set/images >out 2>err || complain "detect"
grep -q 'boxes beyond their image' out || complain "no box reaches beyond"
ap=$(awk '/^boxes/ { on = 1 } on && $1 == "AP" { print $2; exit }' out)
awk -v a="$tested" -v b="$ap" 'BEGIN { exit !(a > 5 && a < 95 && (a - b) ^ 2 < 0.06 ^ 2) }' || complain "AP $tested % in training, $ap % of detect"

# Two pictures for one image, two images for one picture.
found 2 1 small.json cam1 cam2
grep -qF "cam1/1.png and cam2/1.png would both be 1.png of small.json" err && [ ! -e found.json ] || complain "one image twice"
cp cam1/1.png 1.png
found 2 1 some.json 1.png
grep -qF "1.png could be cam1/1.png or cam2/1.png of some.json" err || complain "two images for one picture"

[ $failures -eq 0 ] && echo "annotations and pictures belong together"
exit $failures
