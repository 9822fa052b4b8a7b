#!/usr/bin/env bash
# From a fresh clone to a trained model: installs what is missing, builds, trains on photographs of clothes, shows the result.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/quickstart.sh [--task classify|segment|detect] [--model atlas|mambavision] [TRAIN OPTION]...

Installs what is missing (tools/setup.sh), builds the example programs and trains a small model on Fashion-MNIST:
60,000 photographs of ten kinds of clothes. Takes some minutes on two cores. At the end it prints the accuracy on the
10,000 test images and the paths of two pictures: the training curves, and test images with what the model says.

  --task NAME    classify (default); segment: a class for every pixel of drawn scenes, in two minutes; shows pictures beside
                 truth, prediction and mistakes; or detect: boxes and masks of drawn objects, in two minutes (MambaVision).
                 At the end of both the trained model looks at some test pictures, as it would at photographs
  --model NAME   atlas or mambavision; the default is atlas to classify, mambavision to segment and detect
  --device NAME  cpu, cuda, cuda:N or auto (default): with cuda, the programs are built for GPUs (needs nvcc)
  -h, --help     this text

Everything else goes to build/release/bin/train (see its --help), for example: tools/quickstart.sh --epochs 6
TEXT
}

fail() {
  echo "quickstart: $*" >&2
  exit 2
}

model=
task=classify
extra=()
data=
out=
device=auto
while [ $# -gt 0 ]; do
  case $1 in
    --model) [ $# -gt 1 ] || fail "--model needs a name: atlas or mambavision"; shift; model=$1 ;;
    --model=*) model=${1#--model=} ;;
    --task) [ $# -gt 1 ] || fail "--task needs a name: classify, segment or detect"; shift; task=$1 ;;
    --task=*) task=${1#--task=} ;;
    --data) [ $# -gt 1 ] || fail "--data needs a name, such as coco:FOLDER"; shift; data=$1; extra+=(--data "$1") ;;
    --data=*) data=${1#--data=}; extra+=("$1") ;;
    --out) [ $# -gt 1 ] || fail "--out needs a folder"; shift; out=$1 ;;
    --out=*) out=${1#--out=} ;;
    --device) [ $# -gt 1 ] || fail "--device needs a name: cpu, cuda, cuda:N or auto"; shift; device=$1 ;;
    --device=*) device=${1#--device=} ;;
    -h | --help) usage; exit 0 ;;
    *) extra+=("$1") ;;
  esac
  shift
done
if [ -z "$model" ]; then
  [ "$task" = classify ] && model=atlas || model=mambavision
fi
[ "$task-$model" != detect-atlas ] || fail "--task detect has no model over atlas: leave --model out"
case $model in
  atlas | mambavision) ;;
  *) fail "--model is atlas or mambavision, got '$model'" ;;
esac

case $task in
  classify) what=(--recipe toy --model "$model-toy") programs=(train) ;;
  segment) what=(--recipe segmentation-toy --model "upernet-$model-toy") programs=(train segment image_folders) ;;
  detect) what=(--recipe detection-toy) programs=(train detect image_folders) ;;
  *) fail "--task is classify, segment or detect, got '$task'" ;;
esac

tree=build/release
options=()
case $device in
  cuda*)
    command -v nvcc >/dev/null || fail "--device $device needs nvcc: put the CUDA toolkit's bin folder on PATH"
    tree=build/gpu
    options=(-B "$tree" -DATLAS_CUDA=ON)
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
started=$SECONDS
tools/setup.sh

echo "== building (a few minutes the first time)"
if command -v ninja >/dev/null; then
  export CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja}
fi
mkdir -p "$tree"
if ! cmake --preset release "${options[@]}" >"$tree/configure.log" 2>&1; then
  cat "$tree/configure.log" >&2
  exit 1
fi
cmake --build "$tree" --parallel "$(nproc)" --target "${programs[@]}"

: "${out:=runs/quickstart-$model-$(date +%Y%m%d-%H%M%S)}"
echo "== training (built in $((SECONDS - started)) s)"
"$tree/bin/train" "${what[@]}" --device "$device" --out "$out" "${extra[@]}"
# Scenes are drawn larger for this: they are looked at in the size of the training, and shown in their own.
pictures() { # pictures DEFAULT
  [ -d "$out/pictures" ] || "$tree/bin/image_folders" "$out/pictures" --data "${data:-$1}" --train 1 --test 6
}
if [ "$task" = segment ]; then
  echo "== segmenting test pictures"
  pictures scenes:320
  "$tree/bin/segment" --checkpoint "$out/best.ckpt" --out "$out/segmented" "$out/pictures/val"
fi
if [ "$task" = detect ]; then
  echo "== detecting objects in test pictures"
  pictures objects:320
  "$tree/bin/detect" --checkpoint "$out/best.ckpt" --out "$out/detected" "$out/pictures/val"
  echo "pictures with what was found: $out/detected/"
fi
echo "== done in $((SECONDS - started)) s"
