#!/usr/bin/env bash
# Fields of a model's configuration on command lines: --model.FIELD, its --help, and what is said about wrong ones.
set -u
bin=$ATLAS_BIN_DIR
for program in model_info train classify; do
  [ -x "$bin/$program" ] || { echo "$program is not built"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
complain() {
  echo "$*"
  failures=$((failures + 1))
}

# expect TEXT PROGRAM ARGS...: exit status 2, one line with TEXT
expect() {
  local text=$1 output status
  shift
  output=$("$bin/$1" "${@:2}" 2>&1)
  status=$?
  [ $status = 2 ] && [ "$(wc -l <<<"$output")" = 1 ] && grep -qF -- "$text" <<<"$output" || complain "$*: $status, $output"
}
parameters() { "$bin/model_info" --json --depth 0 "$@" | sed -nE 's/^ *"parameters": ([0-9]+),/\1/p' | head -n 1; }

# As an option and as JSON: the same model. The option wins.
json=$(parameters --model mambavision-toy --model-options '{"depths": [1, 1, 1, 1], "dim": 32}')
[ -n "$json" ] || complain "no number of parameters"
for way in "--model.depths 1,1,1,1 --model.dim 32" "--model.depths=1,1,1,1 --model.dim=32" "--model.dim 32 --model.depths [1,1,1,1]"; do
  [ "$(parameters --model mambavision-toy $way)" = "$json" ] || complain "$way is not what the JSON is"
done
[ "$(parameters --model mambavision-toy --model.dim 32 --model-options '{"dim": 24, "depths": [1, 1, 1, 1]}' )" != \
  "$(parameters --model mambavision-toy --model-options '{"dim": 24, "depths": [1, 1, 1, 1]}')" ] || complain "JSON beats the option"
[ "$(parameters --model mambavision-toy --model.dim 32 --model-options '{"depths": [1, 1, 1, 1]}')" = "$json" ] ||
  complain "JSON and option do not add up"

# A deep model takes longer than a shallow one, but not with the cube of its depth.
timeout 60 "$bin/model_info" --depth 0 --model atlas-toy --model.depths 1,200 >log 2>&1 || complain "200 blocks: $(cat log)"

for program in train model_info classify features; do
  [ -x "$bin/$program" ] || continue
  help=$("$bin/$program" --model atlas-tiny --help)
  grep -q -- '--model.drop-path-rate' <<<"$help" && grep -q 'must be in \[0, 1)' <<<"$help" ||
    complain "$program --help does not list the fields of --model"
done
"$bin/train" --help | grep -q 'Configuration of atlas-toy' || complain "train --help does not list the default model's fields"

expect "'dims' is no field of AtlasNet; there are image, dim" model_info --model atlas-toy --model.dims 3
expect 'did you mean dim?' train --out none --model.dims=3
expect 'did you mean mambavision-t' model_info --model mambavison-t
expect 'did you mean mambavision-t' train --out none --model mambavison-t --model.dim 32
expect 'did you mean mambavision-t' classify --model mambavison-t --weights none picture.png
expect "[model.dim] '3x' is no whole number" model_info --model atlas-toy --model.dim 3x
expect 'drop_path_rate must be in [0, 1), got 1' model_info --model atlas-toy --model.drop-path-rate 1
expect 'patch must be 4, 8 or 16, got 5' train --out none --model.patch 5
expect 'depths must be in [0, 1000]' model_info --model atlas-toy --model.depths 1,2000000
expect 'depths must be in [0, 1000]' train --data shapes:32 --model.depths '[1,99999999999]' --dry-run --out none
expect "has 'dim' twice" model_info --model atlas-toy --model-options '{"dim": 64, "dim": 32}'
expect 'go with --model' classify --checkpoint none.ckpt --model.dim 3 picture.png

# A run keeps what it was given, and its checkpoint is read without being told again.
quick=(--data shapes:32 --limit-train 64 --limit-test 32 --batch-size 32 --epochs 1 --out run)
"$bin/train" "${quick[@]}" --model.dim 32 --model.num-heads 4 >log 2>&1 || complain "train --model.dim: $(cat log)"
grep -q '\\"dim\\": 32' run/config.json || complain "config.json does not know the field"
"$bin/train" --out run --eval-only >log 2>&1 || complain "the run is not read again: $(cat log)"
"$bin/classify" --checkpoint run/best.ckpt run/predictions.png >log 2>&1 || complain "classify: $(cat log)"

[ "$failures" = 0 ] && echo "fields of models behave"
exit "$failures"
