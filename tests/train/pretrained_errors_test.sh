#!/usr/bin/env bash
# What the programs for trained models say about a user's mistakes: one line on stderr, exit status 2, nothing written.
set -euo pipefail
bin=$ATLAS_BIN_DIR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failures=0

complain() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}
# expect TEXT PROGRAM ARGUMENT...
expect() {
  local text=$1 program=$2 status=0
  shift 2
  "$bin/$program" "$@" >out 2>err || status=$?
  if [ $status -ne 2 ] || ! grep -qF -- "$text" err || [ "$(wc -l <err)" -gt 1 ]; then
    complain "$program $* : status $status, expected 2 and one line with '$text', got:"
    cat err >&2
  fi
}

"$bin/train" --data shapes:32 --limit-train 32 --limit-test 16 --batch-size 16 --epochs 1 --workers 0 --out run >log
ckpt=(--checkpoint run/best.ckpt)
picture=run/predictions.png
echo "no picture" >text.png
mkdir empty

for program in classify features attention_maps; do
  out=(--out new)
  [ $program != classify ] || out=()
  expect "--model NAME --weights FILE" $program "${out[@]}" $picture
  expect "needs --weights FILE" $program "${out[@]}" --model mambavision-t $picture
  expect "there is no preset 'resnet'" $program "${out[@]}" --model resnet --weights run/best.ckpt $picture
  expect "cannot open none.pth" $program "${out[@]}" --model atlas-toy --weights none.pth $picture
  expect "neither a safetensors nor a PyTorch file" $program "${out[@]}" --model atlas-toy --weights text.png $picture
  expect "leave --model out" $program "${out[@]}" "${ckpt[@]}" --model atlas-toy $picture
  expect "--ema go with --model" $program "${out[@]}" "${ckpt[@]}" --ema $picture
  expect "run/predictions.png is no checkpoint of a training run" $program "${out[@]}" --checkpoint $picture $picture
  expect "cannot open none.ckpt" $program "${out[@]}" --checkpoint none.ckpt $picture
  expect "'5x' is no size" $program "${out[@]}" "${ckpt[@]}" --image-size 5x $picture
  expect "--bogus" $program "${out[@]}" "${ckpt[@]}" --bogus $picture
done
expect "no .jpg, .jpeg, .png or .bmp files" classify "${ckpt[@]}" empty
printf 'one\ntwo\n' >two.txt
expect "two.txt holds 2 names" classify "${ckpt[@]}" --classes two.txt $picture
expect "--maps 0,9" features "${ckpt[@]}" --out new --maps 0,9 $picture
expect "--maps all,1" features "${ckpt[@]}" --out new --maps all,1 $picture
expect "choose an --image-size" features "${ckpt[@]}" --out new --image-size native $picture
expect "cannot make the folder text.png" features "${ckpt[@]}" --out text.png $picture
expect "outside run/predictions.png" attention_maps "${ckpt[@]}" --out new --at 99999,0 $picture
expect "write X,Y" attention_maps "${ckpt[@]}" --out new --at 5 $picture
expect "there is no head 99" attention_maps "${ckpt[@]}" --out new --head 99 $picture
expect "--head" attention_maps "${ckpt[@]}" --out new --head -7 $picture
expect "there is no block 99" attention_maps "${ckpt[@]}" --out new --block 99 $picture
expect "text.png: not a JPEG, PNG or BMP file" attention_maps "${ckpt[@]}" --out new text.png
expect "/nowhere" attention_maps "${ckpt[@]}" --out /nowhere/new $picture
expect "say what to start from" finetune --data shapes:32 --out new
expect "say what to learn" finetune "${ckpt[@]}" --out new
expect "leave --model and --weights out" finetune "${ckpt[@]}" --model atlas-toy --data shapes:32 --out new
for folder in two/{train,val}/{a,b}; do
  mkdir -p $folder
  cp $picture $folder
done
expect "weight tells 4 classes apart, the model 2" finetune "${ckpt[@]}" --keep-head --batch-size 2 --data folder:two --out new
expect "'9' is no part of this model" finetune "${ckpt[@]}" --data shapes:32 --freeze 9 --out new
expect "backbone_lr_scale" finetune "${ckpt[@]}" --data shapes:32 --backbone-lr-scale -1 --out new
expect "/nowhere" finetune "${ckpt[@]}" --data folder:/nowhere --out new
expect "no images" finetune "${ckpt[@]}" --data folder:empty --out new
expect "--epochs" finetune "${ckpt[@]}" --data shapes:32 --epochs x --out new

# Pictures that cannot be read are named and passed over.
cp $picture good.png
status=0
"$bin/classify" "${ckpt[@]}" --json good.png text.png >out 2>err || status=$?
[ $status -eq 2 ] && [ "$(wc -l <out)" -eq 1 ] && grep -q '^{"file":"good.png"' out || complain "an unreadable picture beside a good one"
grep -q "text.png: not a JPEG" err && grep -q "1 of 2 images could not be read" err || complain "what is said about it"

# Lists of several values keep them all.
"$bin/finetune" "${ckpt[@]}" --data shapes:32 --limit-train 16 --limit-test 16 --batch-size 16 --epochs 3 --workers 0 \
  --schedule multistep --milestones 1,2 --out tuned >log
tr -d ' \n' <tuned/config.json | grep -q '"milestones":\[1[.0]*,2[.0]*\]' || complain "--milestones 1,2: $(grep -A3 milestones tuned/config.json)"

# Each names the models it knows, in words that the message of a wrong name repeats.
"$bin/finetune" --help | grep -q "Models: .*mambavision-t" || complain "finetune --help does not name the models"
[ ! -e new ] || complain "a run that could not start left something"
exit $((failures > 0))
