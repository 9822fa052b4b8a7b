#!/usr/bin/env bash
# What each ingredient of MambaVision's recipe brings on small pictures, at equal time.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/bench/ingredients.sh FOLDER [OPTION]...

Trains mambavision-tiny on the pictures of 32 px in FOLDER (FOLDER/train/CLASS, FOLDER/test/CLASS) with the whole recipe in
the strength that suits a short run, then without RandAugment, mixing, MESA, the moving average (and MESA, which needs it), and
all of them: each for the same time, so what costs less gets more epochs. Prints a Markdown table. The speed of each line is
measured first, with less than a minute of training each: keep the machine quiet until the table begins.

  --minutes N   of each training (10), tests included
  --out DIR     where the runs go (build/bench/ingredients); those that are complete are not repeated
  --only NAME   only this line (whole, no-rand-augment, no-mixing, no-mesa, no-average, none); may be given more than once
  --build DIR   folder with the program train (build/release/bin)
  -h, --help    this text; what stands behind -- is given to train
TEXT
}

fail() {
  echo "ingredients.sh: $* (see --help)" >&2
  exit 2
}

minutes=10 out=build/bench/ingredients build=build/release/bin folder='' only=() more=()
while [ $# -gt 0 ]; do
  case $1 in
    --minutes | --out | --only | --build) [ $# -ge 2 ] || fail "$1 needs a value" ;;
  esac
  case $1 in
    --minutes) minutes=$2; shift ;;
    --out) out=$2; shift ;;
    --only) only+=("$2"); shift ;;
    --build) build=$2; shift ;;
    -h | --help) usage; exit 0 ;;
    --) shift; more=("$@"); break ;;
    -*) fail "unknown option '$1'" ;;
    *) [ -z "$folder" ] || fail "one folder, got '$folder' and '$1'"; folder=$1 ;;
  esac
  shift
done
[ -d "$folder/train" ] && [ -d "$folder/test" ] || fail "needs a folder with train/ and test/, got '$folder'"
[[ $minutes =~ ^[0-9]+([.][0-9]+)?$ ]] || fail "--minutes needs a number, got '$minutes'"
[ -x "$build/train" ] || fail "there is no $build/train: build it, or name its folder with --build"

settings=(--recipe mambavision --model mambavision-tiny --data "folder:$folder" --image-size 32 --normalization cifar --batch-size 128
  --accumulate 1 --lr 0.005 --warmup-epochs 1 --warmup-lr 1e-5 --min-lr 1e-5 --cooldown-epochs 0 --min-crop-scale 0.7
  --rand-augment rand-m4-n1-mstd0.5-inc1 --erase 0.05 --mixup 0.2 --cutmix 1 --mix-prob 0.15 --label-smoothing 0.1 --drop-path 0.02
  --mesa 0.25 --mesa-start 0.8 --ema 0.999 --ema-ramp 1 --workers 1 --seed 1)
declare -A without=(
  [whole]=''
  [no-rand-augment]='--rand-augment EMPTY --color-jitter 0'
  [no-mixing]='--mixup 0 --cutmix 0'
  [no-mesa]='--mesa 0'
  [no-average]='--mesa 0 --ema 0'
  [none]='--rand-augment EMPTY --color-jitter 0 --mixup 0 --cutmix 0 --mesa 0 --ema 0'
)
names=(whole no-rand-augment no-mixing no-mesa no-average none)
for name in "${only[@]}"; do [ -n "${without[$name]+there}" ] || fail "there is no line '$name'"; done
[ ${#only[@]} -eq 0 ] || names=("${only[@]}")
mkdir -p "$out"

# trained NAME FOLDER EPOCHS OPTION...
trained() {
  local name=$1 to=$2 epochs=$3
  shift 3
  local off
  read -ra off <<<"${without[$name]}"
  "$build/train" "${settings[@]}" "${off[@]/#EMPTY/}" "${more[@]}" --epochs "$epochs" --out "$to" "$@" >"$to.log" 2>&1 ||
    { tail -3 "$to.log" >&2; exit 1; }
}
column() { awk -F, -v name="$2" 'NR == 1 { for (i = 1; i <= NF; ++i) if ($i == name) c = i } END { print $c }' "$1/log.csv"; }

# The speed of every line first: only these few minutes need a quiet machine, for from then on the number of epochs is known.
images=$(find -L "$folder/train/" -type f | wc -l)
for name in "${names[@]}"; do
  run=$out/$name
  [ ! -e "$run.speed" ] || continue
  rm -rf "$run" "$run.probe" "$run.done"
  # Three epochs with a fifth of the pictures: the second is timed, and the third, which has MESA where it is used, as the
  # last fifth of the real run.
  trained "$name" "$run.probe" 3 --limit-train 10000 --warmup-epochs 0.5 --mesa-start 0.4
  awk -F, '
    NR == 1 { for (i = 1; i <= NF; ++i) at[$i] = i; next }
    { rate[NR] = $at["images_per_second"]; seconds = $at["seconds"] }
    END {
      few = '"$images"' < 10000 ? '"$images"' : 10000
      once = '"$images"' * (0.8 / rate[3] + 0.2 / rate[4])
      test = seconds - few / rate[4]
      e = int('"$minutes"' * 60 / (once + test))
      e = e < 2 ? 2 : e
      print e, e * (once + test) / 60, '"$images"' / once
    }' "$run.probe/log.csv" >"$run.speed"
  rm -rf "$run.probe"
done

echo "| | epochs | minutes at that speed | images/s | test accuracy |"
echo "|---|---|---|---|---|"
for name in "${names[@]}"; do
  run=$out/$name
  read -r epochs takes rate <"$run.speed"
  [ -e "$run.done" ] || { rm -rf "$run"; trained "$name" "$run" "$epochs"; touch "$run.done"; }
  printf '| %s | %s | %.1f | %.0f | %.2f %% |\n' "$name" "$epochs" "$takes" "$rate" "$(awk "BEGIN { print 100 * $(column "$run" test_accuracy) }")"
done
