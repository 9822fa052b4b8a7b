#!/usr/bin/env bash
# What callers do to programs: closed descriptors, full disks, pipes that end, outputs that are devices or links, weights
# that are not finite, numbers and sizes that cannot be meant, two runs in one folder, terminals that go away.
source "$ATLAS_SOURCE_DIR/tests/programs.sh"
# refuse STATUS TEXT PROGRAM ARGUMENT...: that exit status and one line on stderr with TEXT.
refuse() {
  local wanted=$1 text=$2 program=$3 status=0
  shift 3
  "$bin/$program" "$@" >out 2>err || status=$?
  if [ $status -ne "$wanted" ] || [ "$(grep -cF -- "$text" err)" -ne 1 ]; then
    complain "$program $* : status $status, expected $wanted and one line with '$text'"
  fi
}
small=(--data shapes:32 --limit-train 64 --limit-test 32 --batch-size 16 --epochs 1 --workers 0)
"$bin/train" "${small[@]}" --out run >log 2>err || complain "train"
ckpt=(--checkpoint run/best.ckpt)
picture=run/predictions.png

# Descriptors that the caller closed are not the log's or the arrays'.
"$bin/train" "${small[@]}" --out closed >&- 2>err || complain "train >&-"
[ "$(wc -l <closed/log.csv)" -eq 2 ] && grep -q '^epoch,' closed/log.csv || complain "train >&- printed into log.csv"
printf broken >broken.png
"$bin/features" "${ckpt[@]}" --out plain $picture broken.png >out 2>err
"$bin/features" "${ckpt[@]}" --out closed2 $picture broken.png >out 2>&-
cmp plain/pooled.npy closed2/pooled.npy || complain "features 2>&- wrote into pooled.npy"
"$bin/classify" "${ckpt[@]}" $picture <&- >out 2>err || complain "classify <&-"

# A full disk under the standard output is a failure of every program; a pipe that ends is not worth a word.
for command in "classify --list-models" "classify ${ckpt[*]} --json $picture" "model_info --model atlas-toy" \
  "model_info --help" "convert_checkpoint run/last.ckpt --list" "train ${small[*]} --out full" \
  "features ${ckpt[*]} --out full2 $picture" "attention_maps ${ckpt[*]} $picture" "01_tensors"; do
  read -ra words <<<"$command"
  [ -x "$bin/${words[0]}" ] || continue
  status=0
  "$bin/${words[0]}" "${words[@]:1}" >/dev/full 2>err || status=$?
  [ $status -eq 1 ] && grep -q "cannot write to the standard output: No space left on device" err || complain "$command >/dev/full: status $status"
done
"$bin/model_info" --model mambavision-t --depth 9 2>err | head -n 1 >out
[ -s err ] && complain "model_info | head is not quiet"

# Outputs that are no plain files, or that are reached through links.
# (Never a device of this machine: what is tested here would replace it.)
mkfifo fifo
cat fifo >through &
"$bin/convert_checkpoint" run/last.ckpt fifo >out 2>err || complain "convert_checkpoint into a FIFO"
wait $!
[ -p fifo ] && [ -s through ] || complain "a FIFO was replaced"
mkdir far
: >far/real
chmod 600 far/real
ln -s far/real link
"$bin/convert_checkpoint" run/last.ckpt link >out 2>err || complain "convert_checkpoint into a link"
[ -L link ] && [ -s far/real ] && [ "$(stat -c %a far/real)" = 600 ] || complain "a link or a mode was lost"

# Weights that are not finite.
# Of the file's numbers the weights come first, then the optimizer's: some of them become NaN (all bits set).
damage() { # damage FROM TO
  cp "$1" "$2"
  head -c 20000 /dev/zero | tr '\0' '\377' | dd of="$2" bs=4 seek=$(($(stat -c %s "$1") / 24)) conv=notrunc 2>/dev/null
}
damage run/best.ckpt nan.ckpt
for program in "classify" "classify --json" "features --out nan" "attention_maps --out nan.png"; do
  read -ra words <<<"$program"
  refuse 1 "not finite" "${words[0]}" "${words[@]:1}" --checkpoint nan.ckpt $picture
done
[ ! -e nan/pooled.npy ] && [ ! -e nan.png ] || complain "results that are not finite were written"

# Numbers that are none, which comparisons with a range let pass.
for number in nan -nan inf 1e999; do
  refuse 2 "is no finite number" classify "${ckpt[@]}" --crop $number $picture
  refuse 2 "is no finite number" detect --model cascade-mask-rcnn-mambavision-toy --weights run/best.ckpt --threshold $number $picture
done

# Every way to test a model or to start from one, for all tasks: a detector would just find nothing.
few=(--limit-train 8 --limit-test 4 --batch-size 4 --epochs 1 --workers 0)
"$bin/train" --model upernet-mambavision-toy --data scenes:64 --image-size 64 "${few[@]}" --out pixels >out 2>err ||
  complain "train a segmenter"
"$bin/train" --model cascade-mask-rcnn-mambavision-toy --data objects --image-size 96 "${few[@]}" --out objects >out 2>err ||
  complain "train a detector"
# Weights of every task under the names of its model, and back.
for words in "pixels upernet-mambavision-toy segment" "objects cascade-mask-rcnn-mambavision-toy detect"; do
  read -ra word <<<"$words"
  "$bin/convert_checkpoint" "${word[0]}/best.ckpt" "${word[0]}.safetensors" --model "${word[1]}" >out 2>err &&
    "$bin/${word[2]}" --model "${word[1]}" --weights "${word[0]}.safetensors" --out back $picture >out 2>err ||
    complain "convert_checkpoint --model ${word[1]}"
done
refuse 2 "is no upernet-mambavision-toy" convert_checkpoint objects/best.ckpt none --model upernet-mambavision-toy
for folder in run pixels objects; do
  cp -r $folder "nan-$folder"
  damage $folder/best.ckpt "nan-$folder/best.ckpt"
  refuse 1 "not finite" train --out "nan-$folder" --eval-only
  refuse 1 "not finite" train --config $folder/config.json --weights "nan-$folder/best.ckpt" --out none
done
refuse 1 "not finite" segment --checkpoint nan-pixels/best.ckpt --out nan-out $picture
refuse 1 "not finite" detect --checkpoint nan-objects/best.ckpt --json nan.json $picture
refuse 1 "not finite" finetune --checkpoint nan.ckpt --data shapes:32 --out none
refuse 1 "not finite" train --model upernet-mambavision-toy --data scenes:64 --backbone-weights nan-objects/best.ckpt \
  --out none
[ ! -e nan.json ] && [ ! -e nan-out/areas.jsonl ] && [ ! -e none/last.ckpt ] || complain "results of weights that are not finite"

# An output that is the standard output holds nothing else; what is said goes to stderr.
ln -s /dev/stdout link.png
alone() { # alone FILE PROGRAM ARGUMENT...: the standard output is FILE, byte by byte
  local file=$1 program=$2
  shift 2
  "$bin/$program" "$@" 2>err | cat >out
  cmp "$file" out && [ -s err ] || complain "$program $*: something else on the standard output"
}
"$bin/convert_checkpoint" run/last.ckpt whole.safetensors >out 2>err || complain convert_checkpoint
alone whole.safetensors convert_checkpoint run/last.ckpt /dev/stdout --list
"$bin/detect" --checkpoint objects/best.ckpt --json whole.json $picture >out 2>err || complain detect
alone whole.json detect --checkpoint objects/best.ckpt --json /dev/stdout $picture
alone whole.json detect --checkpoint objects/best.ckpt --json /proc/self/fd/1 $picture
"$bin/attention_maps" "${ckpt[@]}" --out whole.png $picture >out 2>err || complain attention_maps
alone whole.png attention_maps "${ckpt[@]}" --out link.png $picture
"$bin/show_augmentation" $picture --op rotate --out whole.png >out 2>err || complain show_augmentation
alone whole.png show_augmentation $picture --op rotate --out link.png
for program in "classify ${ckpt[*]} $picture" "segment --checkpoint pixels/best.ckpt --out traced $picture" \
  "train ${small[*]} --out traced-run"; do
  read -ra words <<<"$program"
  "$bin/${words[0]}" "${words[@]:1}" --profile /dev/stdout >out 2>err || complain "$program --profile /dev/stdout"
  [ "$(head -c 1 out)" = "{" ] && [ "$(tail -n 1 out)" = "]}" ] || complain "$program mixes the trace with other things"
done
refuse 2 "has already" classify "${ckpt[@]}" --json --profile /dev/stdout $picture
refuse 2 "cannot make the folder" features "${ckpt[@]}" --out /dev/stdout $picture
"$bin/detect" --checkpoint objects/best.ckpt --json whole.json $picture >whole.json 2>err
[ "$(head -c 1 whole.json)" = "[" ] || complain "an output that the standard output goes to as well"

# Whoever read has gone, and the signal that says so is ignored: no word, and the status of work that did not arrive.
for command in "classify --list-models" "classify ${ckpt[*]} --json $picture" "model_info --model mambavision-t" \
  "model_info --help" "convert_checkpoint run/last.ckpt --list" "convert_checkpoint run/last.ckpt /dev/stdout" \
  "detect --checkpoint objects/best.ckpt --json /dev/stdout $picture" "train --out run --eval-only" \
  "segment --checkpoint pixels/best.ckpt --out traced $picture"; do
  read -ra words <<<"$command"
  (
    trap '' PIPE
    sleep 0.1
    "$bin/${words[0]}" "${words[@]:1}" 2>err
    echo $? >status
  ) | true
  [ "$(cat status)" -eq 1 ] || complain "$command into a pipe that is closed: status $(cat status)"
  ! grep -qi "broken pipe\|cannot write\|error" err || complain "$command into a pipe that is closed is not quiet"
done

# Numbers and sizes that cannot be meant.
refuse 2 "too large" train "${small[@]}" --epochs 99999999999999999999 --out none
refuse 2 "too large" train "${small[@]}" --seed 9223372036854775807 --out none
echo '{"epochs": 9223372036854775808}' >big.json
refuse 2 "whole number" train "${small[@]}" --config big.json --out none
echo '{"epochs": 100000000000000000000}' >big.json
refuse 2 "too large" train "${small[@]}" --config big.json --out none
refuse 2 "too large" train "${small[@]}" --model-options '{"dim": 100000000000000000000}' --out none
refuse 2 "too large" train "${small[@]}" --model.dim 100000000000000000000 --out none
refuse 2 "too large" train "${small[@]}" --model-options '{"depths": [1, 100000000000000000000]}' --out none
refuse 2 "too large" model_info --model atlas-toy --model-options '{"dim": 100000000000000000000}'
refuse 2 "range 0 to 1000 " model_info --model atlas-toy --depth -1
refuse 2 "range 0 to 1048576 " model_info --model atlas-toy --classes -1
refuse 2 "range 0 to 1000000000 " image_folders none --data shapes:32 --train -1
refuse 2 "--tolerance" golden_check --tolerance -1
[ "$(wc -c <err)" -lt 200 ] || complain "golden_check --tolerance -1 prints a range of hundreds of digits"
refuse 2 "crop" classify "${ckpt[@]}" --crop 0.001 $picture
refuse 2 "too large" classify "${ckpt[@]}" --image-size 999999999999999999999 $picture
refuse 2 "end the name in .png" attention_maps "${ckpt[@]}" --out x.jpg $picture
refuse 2 "profile" classify "${ckpt[@]}" --profile no/where.json $picture
refuse 2 "fewer than one of each" image_folders none --data shapes:32 --classes 0,1,2,3 --train 3
refuse 2 "named twice" image_folders none --data shapes:32 --classes 1,1,2
refuse 2 "did you mean shear-x" show_augmentation $picture --op sheer-x --out none
refuse 2 "11 is out of range" show_augmentation $picture --op rotate --magnitude 11 --out none
refuse 2 "character 9, 'x3'" show_augmentation $picture --rand-augment rand-m9-x3 --out none
[ ! -e none ] || complain "something was written"
"$bin/image_folders" made --data shapes:16 --classes 0,3 --train 010 --test 4 >out 2>err || complain "image_folders"
[ "$(find made/train -name '*.png' | wc -l)" -eq 10 ] || complain "--train 010 is not ten"
refuse 2 "made/train holds pictures already" image_folders made --data shapes:16 --classes 1,2
"$bin/image_folders" drawn --data objects:64 --train 1 --test 3 >out 2>err || complain "image_folders of objects"
[ "$(find drawn/val -name '*.png' | wc -l)" -eq 3 ] || complain "not three pictures with objects"
refuse 2 "have no class of their own" image_folders none --data scenes:64 --classes 1
"$bin/show_augmentation" $picture $picture --recipe atlas --image-size 64 --rand-augment rand-m9-mstd0.5-inc1 \
  --out sheet.png >out 2>err && [ -s sheet.png ] || complain "show_augmentation"
"$bin/train" --recipe mambavision-b --explain >out 2>err || complain "--explain"
grep -q "^weight_decay  *0.075 .*2407.08083" out || complain "--explain names no source"
"$bin/train" "${small[@]}" --dry-run --out dry >out 2>err && [ -s dry/schedule.png ] && [ ! -e dry/last.ckpt ] ||
  complain "--dry-run"
grep -q "^memory  *about .* MiB for a step of" out || complain "--dry-run says nothing of memory"
# More memory than there is: said before training, by a dry run too, with the accumulation that would fit.
large=(--model mambavision-toy --data shapes:32 --image-size 256 --batch-size 512 --accumulate 2 --epochs 1)
(ulimit -v 3000000 && refuse 2 "GiB there are: --batch-size " train "${large[@]}" --out none && exit "$failures") || failures=$((failures + 1))
[ ! -e none ] || complain "a training that would not fit left a folder"
(ulimit -v 3000000 && refuse 2 "would fit (--any-memory tries it)" train "${large[@]}" --dry-run --out dry && exit "$failures") || failures=$((failures + 1))
grep -q "^memory  *about .* GiB for a step of 512 images" out || complain "--dry-run says nothing of too much memory"
# Where that could be, steps are measured before training, which leaves no trace in it.
near=(--model mambavision-toy --data shapes:64 --image-size 64 --batch-size 64 --limit-train 128 --limit-test 32 --epochs 1 --ema 0.9 --drop-path 0.2)
(ulimit -v 4000000 && "$bin/train" "${near[@]}" --out measured >out 2>err) || complain "a training that fits, if barely"
"$bin/train" "${near[@]}" --any-memory --out unmeasured >out 2>err || complain "--any-memory"
cmp measured/last.ckpt unmeasured/last.ckpt || complain "measuring steps changed the training"
# Files for TensorBoard, beside those of a part of the run that is over; without being asked there are none.
[ -z "$(find run -name 'events.*')" ] || complain "event files that nobody asked for"
"$bin/train" "${small[@]}" --tensorboard --out board >out 2>err || complain "--tensorboard"
"$bin/train" --resume --epochs 2 --tensorboard-histograms 1 --out board >out 2>err || complain "--tensorboard-histograms"
[ "$(find board -name 'events.out.tfevents.*' | wc -l)" -eq 2 ] || complain "two event files"
[ "$(grep -lF 'gradients/' board/events.* | wc -l)" -eq 1 ] && [ "$(grep -lF 'accuracy/test' board/events.* | wc -l)" -eq 2 ] ||
  complain "what event files hold"
# The run on one page, which asks nobody for anything; that of a run that went on has all epochs.
[ -s run/report.html ] && grep -q 'src="data:image/png;base64,' run/report.html || complain "no report with pictures"
grep -qE 'https?:|<script|<link' run/report.html && complain "the report asks for something"
grep -q 'after epoch 2 of 2' board/report.html || complain "the report of a run that went on"
[ "$(grep -o '<circle' board/report.html | wc -l)" -gt "$(grep -o '<circle' run/report.html | wc -l)" ] || complain "curves of all epochs"
refuse 2 "tensorboard-histograms" train "${small[@]}" --tensorboard-histograms -1 --out none
refuse 2 "fits 'neck.*'" train "${small[@]}" --group 'neck.*: lr x 2' --out none
"$bin/show_augmentation" $picture --op rotate --magnitude 9 --sign -1 --out one.png >out 2>err || complain "--op"
grep -q "rotate with argument -27" out || complain "--sign -1"
"$bin/classify" "${ckpt[@]}" --profile trace.json $picture >out 2>err && [ -s trace.json ] || complain "classify --profile"

# Two runs in one folder: the second one is refused, and the lock ends with its holder.
slow=(--data shapes:32 --batch-size 16 --epochs 50 --workers 0 --checkpoint-steps 1 --out shared)
"$bin/train" "${slow[@]}" >log 2>&1 &
first=$!
for _ in $(seq 200); do
  [ -e shared/last.ckpt ] && break
  sleep 0.05
done
refuse 2 "another program is training into shared" train "${slow[@]}" --resume
# A terminal that goes away: everything is saved.
kill -HUP $first
status=0
wait $first || status=$?
[ $status -eq 130 ] && grep -q -- "--resume" log || complain "SIGHUP: status $status"
"$bin/train" --out shared --resume >log2 2>&1 &
second=$!
sleep 1
kill -9 $second
wait $second 2>/dev/null
rm shared/config.json # the checkpoint holds the settings as well
timeout -s TERM 5 "$bin/train" --out shared --resume >log 2>&1
grep -q "resuming from shared/last.ckpt" log && grep -q "shapes:32" log && grep -q "50 epochs" log || {
  cp log err
  complain "a run without config.json"
}
[ $failures -eq 0 ] && echo ok
exit $failures
