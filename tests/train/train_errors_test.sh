#!/usr/bin/env bash
# What the train program says about a user's mistakes: one line on stderr, exit status 2, nothing written.
set -euo pipefail
train=$ATLAS_BIN_DIR/train
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
failures=0

# expect TEXT ARGUMENT...: the run fails with status 2 and one line that holds TEXT.
expect() {
  local text=$1 status=0
  shift
  "$train" --data shapes:32 --limit-train 64 --limit-test 32 --batch-size 16 --epochs 1 --workers 0 "$@" >"$work/out" 2>"$work/err" || status=$?
  if [ $status -ne 2 ] || ! grep -qF -- "$text" "$work/err" || [ "$(wc -l <"$work/err")" -gt 1 ]; then
    echo "FAILED: $* : status $status, expected 2 and '$text', got:" >&2
    cat "$work/err" >&2
    failures=$((failures + 1))
  fi
}

expect "there is no option --epochz; did you mean --epochs?" --out "$work/a" --epochz 3
expect "there is no option --bath-size; did you mean --batch-size? (see" --out "$work/a" --bath-size=3
expect "epochs" --out "$work/a" --epochs 0
expect "optimizer = 'adamm' is unknown; there are adamw, adam, sgd, lamb; did you mean adamw or adam?" --out "$work/a" --optimizer adamm
expect "label_smoothing" --out "$work/a" --label-smoothing 1.5
expect "atlas-toy" --out "$work/a" --model resnet-50
expect "fashion-mnist" --out "$work/a" --data imagenet
expect "/nowhere" --out "$work/a" --data folder:/nowhere
expect "; did you mean shapes?" --out "$work/a" --data shaps:32
expect "is no recipe" --out "$work/a" --recipe best
expect "none.json: No such file" --out "$work/a" --config "$work/none.json"
expect "2 images are fewer than one of each" --out "$work/a" --limit-train 2 --batch-size 2
expect "batch_size 4000" --out "$work/a" --batch-size 4000
expect "model_options" --out "$work/a" --model-options '[1]'
expect "'dim' twice" --out "$work/a" --model-options '{"dim": 48, "dim": 96}'
expect "no_such_field" --out "$work/a" --model-options '{"no_such_field": 1}'
expect "image" --out "$work/a" --image-size -3
echo '{"lr": "fast"}' >"$work/bad.json"
expect "'lr' must be a number" --out "$work/a" --config "$work/bad.json"
echo '{"lrr": 1}' >"$work/bad.json"
expect "'lrr' is no setting" --out "$work/a" --config "$work/bad.json"
echo '{"lr": 1, "lr": 2}' >"$work/bad.json"
expect "'lr' twice" --out "$work/a" --config "$work/bad.json"
echo '{"lr": 1' >"$work/bad.json"
expect "not valid JSON" --out "$work/a" --config "$work/bad.json"
[ ! -e "$work/a" ] || { echo "FAILED: a run that could not start left a folder" >&2; failures=$((failures + 1)); }

# An --out that cannot be written is found before training.
touch "$work/file"
expect "$work/file" --out "$work/file/run"
mkdir "$work/locked" && chmod a-w "$work/locked"
if ! touch "$work/locked/probe" 2>/dev/null; then # root may write anywhere
  expect "$work/locked" --out "$work/locked/run"
fi

# A folder that kept the best weights of a run alone is not trained over.
mkdir "$work/kept" && echo weights >"$work/kept/best.ckpt"
expect "holds the best.ckpt of a run" --out "$work/kept"
[ "$(cat "$work/kept/best.ckpt")" = weights ] || { echo "FAILED: best.ckpt was written over" >&2; failures=$((failures + 1)); }

# Damaged checkpoints are named.
"$train" --data shapes:32 --limit-train 64 --limit-test 32 --batch-size 16 --epochs 1 --workers 0 --out "$work/run" >/dev/null
head -c 1000 "$work/run/last.ckpt" >"$work/cut" && mv "$work/cut" "$work/run/last.ckpt"
expect "last.ckpt" --out "$work/run" --resume

# A learning rate far too high ends with the update, the rate and the module in the message, and the checkpoint stays.
status=0
"$train" --data shapes:32 --limit-train 64 --limit-test 32 --batch-size 16 --epochs 40 --workers 0 --optimizer sgd --lr 1e30 --weight-decay 0 \
  --schedule constant --out "$work/nan" >"$work/out" 2>"$work/err" || status=$?
if [ $status -ne 1 ] || ! grep -q "at update .*learning rate 1e+30" "$work/err" || ! grep -q "module '\|parameter" "$work/err"; then
  echo "FAILED: a loss that is not finite: status $status" >&2
  cat "$work/err" >&2
  failures=$((failures + 1))
fi
[ $failures -eq 0 ] && echo ok
