#!/usr/bin/env bash
# Segmentation from end to end: the toy learns drawn scenes in a minute or two, goes on after a stop, starts from a
# classifier's backbone, and segments photographs; what people get wrong is said in one line.
# ctest-labels: slow
# ctest-timeout: 900
source "$ATLAS_SOURCE_DIR/tests/programs.sh"
refuse() { # refuse TEXT PROGRAM ARGUMENT...: exit status 2 and one line on stderr with TEXT
  local text=$1 program=$2 status=0
  shift 2
  "$bin/$program" "$@" >out 2>err || status=$?
  [ $status -eq 2 ] && [ "$(grep -cF -- "$text" err)" -eq 1 ] || complain "$program $*: status $status, wanted '$text'"
}

# The whole toy: mIoU of the last epoch above 0.8.
"$bin/train" --recipe segmentation-toy --out toy >out 2>err || complain "train --recipe segmentation-toy"
column=$(head -n 1 toy/log.csv | tr ',' '\n' | grep -n '^test_mIoU$' | cut -d: -f1)
reached=$(tail -n 1 toy/log.csv | cut -d, -f"$column")
awk -v v="$reached" 'BEGIN { exit !(v > 0.8) }' || complain "mIoU $reached is not above 0.8"
for file in predictions.png confusion.csv curves.png best.ckpt; do
  [ -s "toy/$file" ] || complain "no $file"
done

# A test of the best checkpoint; pictures through the example, whole and in pieces.
"$bin/train" --out toy --eval-only >out 2>err && grep -q 'test mIoU' out || complain "eval-only"
"$bin/segment" --checkpoint toy/best.ckpt --image-size native --out whole toy/predictions.png >out 2>err || complain "segment"
for file in whole/predictions_classes.png whole/predictions_overlay.png; do
  [ -s "$file" ] || complain "no $file"
done
grep -q '"name":"background"' whole/areas.jsonl || complain "no areas"
"$bin/segment" --checkpoint toy/best.ckpt --image-size native --slide 256 --out pieces --json toy/predictions.png >out 2>err ||
  complain "segment --slide"
cmp -s out pieces/areas.jsonl || complain "--json and areas.jsonl differ"

# A classifier's backbone; a run that goes on.
small=(--data scenes:64 --limit-train 32 --limit-test 8 --batch-size 8 --epochs 1 --image-size 64 --workers 0)
"$bin/train" --model mambavision-toy --data shapes:64 --image-size 64 --limit-train 64 --limit-test 16 --batch-size 16 \
  --epochs 1 --out classifier >out 2>err || complain "classifier"
"$bin/train" --model upernet-mambavision-toy "${small[@]}" --backbone-weights classifier/best.ckpt --out tuned >out 2>err &&
  grep -q '8 start fresh: outnorm0.bias' out || complain "backbone-weights"
"$bin/train" --model upernet-mambavision-toy "${small[@]}" --epochs 2 --out tuned --resume >out 2>err || complain "resume"
"$bin/train" --model upernet-atlas-toy "${small[@]}" --out atlas >out 2>err || complain "atlas"
"$bin/train" --model upernet-mambavision-toy "${small[@]}" --weights tuned/best.ckpt --keep-head --out again >out 2>err ||
  complain "weights of a segmenter"

# Pieces as the run was tested, unless told otherwise.
"$bin/train" --model upernet-atlas-toy "${small[@]}" --task-options '{"slide_crop": 48, "slide_stride": 24}' --out sliding \
  >out 2>err || complain "train with slide_crop"
pieces() { # pieces OPTION...: the areas that segment prints
  "$bin/segment" --checkpoint sliding/best.ckpt --out pieces --json "$@" toy/predictions.png 2>err
}
pieces >as_tested || complain "segment in the pieces of the run"
pieces --slide 48 --stride 24 | cmp -s - as_tested || complain "pieces are not those of the run"
pieces --slide 0 | cmp -s - as_tested && complain "--slide 0 still cuts"
pieces --stride 48 | cmp -s - as_tested && complain "--stride alone changes nothing"

refuse "photographs are not cut: add --slide" segment --checkpoint toy/best.ckpt --stride 24 toy/predictions.png
refuse "photographs are not cut: add --slide" segment --checkpoint sliding/best.ckpt --slide 0 --stride 24 toy/predictions.png
refuse "leaves gaps" segment --checkpoint sliding/best.ckpt --stride 49 toy/predictions.png
refuse "cannot make the folder toy/log.csv: Not a directory" segment --checkpoint toy/best.ckpt --out toy/log.csv toy/predictions.png

# Names of classes, and the size of images that nobody says: the preset's own.
mkdir -p named/images/train named/images/val named/masks/train named/masks/val
for half in train val; do
  cp toy/predictions.png named/images/$half/1.png && cp whole/predictions_classes.png named/masks/$half/1.png
done
echo '["a", "b", "c", "d", "b"]' >named/classes.json
refuse "classes 1 and 4 of masks:named are both named 'b'" train --model upernet-mambavision-toy --data masks:named --batch-size 1 --out bad
echo '["a", "b", "c", "d", " "]' >named/classes.json
refuse "class 4 of masks:named has no name" train --model upernet-mambavision-toy --data masks:named --batch-size 1 --out bad
size() { "$bin/train" "$@" --explain 2>err | awk '$1 == "image_size" { print $2 }'; }
[ "$(size --model upernet-mambavision-l3-512)" = 640 ] && [ "$(size --model upernet-mambavision-toy --image-size 96)" = 96 ] &&
  [ "$(size --model atlas-toy)" = 32 ] && [ "$(size --model upernet-mambavision-t --recipe segmentation-toy)" = 64 ] ||
  complain "sizes of images"

# A bad mask among those of tests costs no training: the epoch is in last.ckpt, and goes on once the mask is mended.
echo '["a", "b", "c", "d", "e"]' >named/classes.json
head -c 33 named/masks/train/1.png >named/masks/val/1.png
for kind in images masks; do cp named/$kind/train/1.png named/$kind/train/2.png; done
tuned=(--model upernet-mambavision-toy --data masks:named --image-size 64 --batch-size 2 --epochs 1 --workers 0 --out mended)
refuse "masks/val/1.png" train "${tuned[@]}"
[ -s mended/last.ckpt ] || complain "the epoch before a bad mask is lost"
cp named/masks/train/1.png named/masks/val/1.png
"$bin/train" "${tuned[@]}" --resume >out 2>err && grep -q "epoch 1, update 1" out || complain "the epoch before a bad mask goes on"

refuse "does not fit the model's backbone" train --model upernet-mambavision-toy "${small[@]}" \
  --backbone-weights atlas/best.ckpt --out bad
refuse "needs a class for every pixel" train --model upernet-mambavision-toy --data shapes:64 --out bad
refuse "needs one class for each image" train --model mambavision-toy --data scenes:64 --image-size 64 --out bad
refuse "is made for classification" segment --checkpoint classifier/best.ckpt toy/predictions.png
refuse "there is no such folder" train --model upernet-mambavision-toy --data masks:nowhere --out bad
refuse "needs a folder" train --model upernet-mambavision-toy --data ade20k --out bad
printf broken >broken.png
refuse "1 of 2 images could not be read" segment --checkpoint toy/best.ckpt --image-size native --out two broken.png toy/predictions.png

[ $failures -eq 0 ] || exit 1
