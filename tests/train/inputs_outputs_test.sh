#!/usr/bin/env bash
# What programs do to the files of their users: results of pictures of one name get different names, nothing that was
# read is written over, what is no file is not waited for, and names need not be UTF-8.
# ctest-timeout: 900
source "$ATLAS_SOURCE_DIR/tests/programs.sh"
# refuse STATUS TEXT PROGRAM ARGUMENT...: in time, that exit status and one line on stderr, with TEXT.
refuse() {
  local wanted=$1 text=$2 program=$3 status=0
  shift 3
  timeout 60 "$bin/$program" "$@" >out 2>err || status=$?
  if [ $status -ne "$wanted" ] || [ "$(wc -l <err)" -ne 1 ] || ! grep -qF -- "$text" err; then
    complain "$program $* : status $status, expected $wanted and one line with '$text'"
  fi
}
few=(--limit-train 8 --limit-test 4 --batch-size 4 --epochs 1 --workers 0)
"$bin/train" --data shapes:32 "${few[@]}" --out cls >out 2>err || complain "train a classifier"
"$bin/train" --model upernet-mambavision-toy --data scenes:64 --image-size 64 "${few[@]}" --out seg >out 2>err ||
  complain "train a segmenter"
"$bin/train" --model cascade-mask-rcnn-mambavision-toy --data objects --image-size 96 "${few[@]}" --out det >out 2>err ||
  complain "train a detector"
cls=(--checkpoint cls/best.ckpt) seg=(--checkpoint seg/best.ckpt) det=(--checkpoint det/best.ckpt)

# Pictures of one name in several folders and formats: a result for each, whatever lies between.
"$bin/show_augmentation" cls/predictions.png --op rotate --out s.png >out 2>err || complain show_augmentation
mkdir x y
for copy in x/s.png x/s.jpg y/s.png y/s_2.png; do cp s.png $copy; done
"$bin/detect" "${det[@]}" --out found x y >out 2>err || complain "detect --out"
"$bin/segment" "${seg[@]}" --out areas x y >out 2>err || complain "segment --out"
for name in s s_2 s_3 s_2_2; do
  [ -s found/$name.png ] || complain "detect lost a picture: there is no $name.png among $(ls found)"
  [ -s areas/${name}_overlay.png ] && [ -s areas/${name}_classes.png ] || complain "segment lost a picture: $name"
done

# Nothing that is read is written over: pictures, also through links and other ways to say their names, and models.
mkdir own linked
cp s.png own/0.png && cp s.png own/a_overlay.png && cp s.png own/a.png && cp s.png own/files.txt
ln -s ../own/0.png linked/0.png
cp -r own kept
refuse 2 "over the input own/0.png" detect "${det[@]}" --threshold 0 --out own own/0.png
refuse 2 "over the input own/0.png" detect "${det[@]}" --threshold 0 --out "$work/own/" own/0.png
refuse 2 "over the input linked/0.png" detect "${det[@]}" --out own linked/0.png
refuse 2 "over the input own/0.png" detect "${det[@]}" --out linked own/0.png
refuse 2 "over the input own/0.png" detect "${det[@]}" --json own/0.png own/0.png
refuse 2 "over the input det/best.ckpt" detect "${det[@]}" --json det/best.ckpt own/0.png
refuse 2 "over the input own/a_overlay.png" segment "${seg[@]}" --out own own/a.png own/a_overlay.png
refuse 2 "over the input own/files.txt" features "${cls[@]}" --out own own/files.txt
refuse 2 "over the input own/0.png" attention_maps "${cls[@]}" --out own/0.png own/0.png
refuse 2 "over the input own/0.png" attention_maps "${cls[@]}" --out linked/0.png own/0.png
refuse 2 "over the input own/0.png" show_augmentation own/0.png --out own/0.png
refuse 2 "over the input own/a.png" show_augmentation own/0.png --mask own/a.png --out own/a.png
refuse 2 "over the input own/0.png" classify "${cls[@]}" --profile own/0.png own/0.png
refuse 2 "over the input cls/best.ckpt" convert_checkpoint cls/best.ckpt cls/best.ckpt
mkdir -p classes/a classes/b && cp s.png classes/a && cp own/0.png classes/b
refuse 2 "over the input classes/a/s.png" data_card classes --sheet classes/a/s.png
cmp s.png classes/a/s.png || complain "data_card wrote over a picture"
diff -r own kept || complain "what was read is not what it was"
[ -L linked/0.png ] || complain "a link was replaced"

# A FIFO to which nobody writes: said at once, wherever a file is read.
mkfifo fifo
for program in "classify" "features --out none" "attention_maps --out none.png" "segment --out none" "detect"; do
  read -ra words <<<"$program"
  refuse 2 "fifo: is a device, not a file" "${words[@]}" --checkpoint fifo s.png
done
refuse 2 "fifo: is a device, not a file" classify --model atlas-toy --weights fifo s.png
refuse 2 "fifo: is a device, not a file" classify --model atlas-toy --weights cls/best.ckpt --model-options fifo s.png
refuse 2 "fifo: is a device, not a file" segment --model upernet-mambavision-toy --weights fifo --out none s.png
refuse 2 "fifo: is a device, not a file" detect --model cascade-mask-rcnn-mambavision-toy --weights fifo s.png
refuse 2 "fifo: is a device, not a file" detect "${det[@]}" --coco fifo s.png
refuse 2 "fifo: is a device, not a file" convert_checkpoint fifo --list
for option in --weights --backbone-weights --config; do
  refuse 2 "fifo: is a device, not a file" train --model atlas-toy --data shapes:32 $option fifo --out none --dry-run
done
for name in log.jsonl last.ckpt; do
  cp -r cls piped && rm piped/$name && mkfifo piped/$name
  refuse 2 "$name: is a device, not a file" train --out piped --resume
  rm -r piped
done
[ ! -e none ] && [ ! -e none.png ] || complain "something was made of a FIFO"

# Weights that are finite, and give numbers that are not: said once, nothing is written.
enlarge() { # enlarge FROM TO: some weights become 8e37 (bytes 0x7e), as damage to a file would leave them
  cp "$1" "$2"
  head -c 20000 /dev/zero | tr '\0' '\176' | dd of="$2" bs=4 seek=$(($(stat -c %s "$1") / 24)) conv=notrunc 2>/dev/null
}
for run in cls seg det; do enlarge $run/best.ckpt $run/big.ckpt; done
for program in "cls classify" "cls features --out none" "seg segment --out none-seg" \
  "det detect --json none.json --out none-det"; do
  read -ra words <<<"$program"
  refuse 1 "not finite" "${words[@]:1}" --checkpoint "${words[0]}/big.ckpt" own x
done
[ ! -e none.json ] && [ ! -e none ] && [ -z "$(ls none-det)" ] && [ ! -e none-seg/areas.jsonl ] ||
  complain "results that are not finite"

# Told to end, they keep what they have done.
mkdir many
for i in $(seq 400); do ln s.png many/$i.png; done
cut_short() { # cut_short FILE PROGRAM ARGUMENT...: ended when FILE is there
  local done=$1 status=0
  "$bin/$2" "${@:3}" many >out 2>err &
  for _ in $(seq 600); do [ ! -s "$done" ] || break; sleep 0.05; done
  kill -TERM $!
  wait $! || status=$?
  [ $status = 130 ] || complain "$2 that was told to end: status $status"
}
cut_short cut/1.png detect "${det[@]}" --threshold 0 --out cut --json cut.json
[ -s cut.json ] && [ "$(ls cut | wc -l)" -lt 400 ] || complain "detect that was told to end"
cut_short cut-seg/areas.jsonl segment "${seg[@]}" --out cut-seg
[ "$(wc -l <cut-seg/areas.jsonl)" = "$(ls cut-seg/*_overlay.png | wc -l)" ] || complain "segment that was told to end"

# Names that are not UTF-8: in files.txt as they are, in JSON escaped or replaced. (Some file systems refuse them.)
mkdir names
if cp s.png $'names/\xff\xfe.png' 2>/dev/null; then
  cp s.png $'names/\xff\xfd.png'
  "$bin/features" "${cls[@]}" --out vectors names >out 2>err || complain "features of names that are not UTF-8"
  printf 'names/\xff\xfd.png\nnames/\xff\xfe.png\n' | cmp - vectors/files.txt || complain "names in files.txt"
  LC_ALL=C grep -qF 'names/\\xff\\xfd.png\nnames/\\xff\\xfe.png\n' vectors/features.safetensors ||
    complain "names in features.safetensors"
  "$bin/classify" "${cls[@]}" --json names >out 2>err || complain "classify --json of names that are not UTF-8"
  "$bin/segment" "${seg[@]}" --json --out named names >out 2>err || complain "segment of names that are not UTF-8"
  "$bin/detect" "${det[@]}" --json named.json --out named names >out 2>err || complain "detect of names that are not UTF-8"
  mkdir -p classes/$'c\xff'
  for class in a b $'c\xff'; do
    for i in 1 2 3 4; do cp s.png "classes/$class/$i.png"; done
  done
  refuse 2 "the class 'c\xff' of folder:classes is not UTF-8" train --data folder:classes "${few[@]}" --out none
  mv classes $'classes\xff'
  refuse 2 "data 'folder:classes\xff' is not UTF-8" train --data folder:$'classes\xff' "${few[@]}" --out none
  [ ! -e none/log.csv ] || complain "training began with names that checkpoints cannot hold"
  [ -s named.json ] && [ -s $'named/\xff\xfe.png' ] && [ "$(wc -l <named/areas.jsonl)" = 2 ] || complain "their results"
fi
cp s.png $'names/a\nb.png'
refuse 2 'names/a\x0ab.png' features "${cls[@]}" --out broken names
[ ! -e broken ] || complain "features began with a name that files.txt cannot hold"

[ $failures -eq 0 ] && echo "files in and out are right"
exit $failures
