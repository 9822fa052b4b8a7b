#!/usr/bin/env bash
# --device, --precision, --augment and --cuda-graph: what programs say where there is no GPU, and that a run does not
# depend on who crops and mixes.
set -euo pipefail
bin=$ATLAS_BIN_DIR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
small=(--data shapes:32 --limit-train 64 --limit-test 32 --batch-size 16 --epochs 1 --workers 0)

# shellcheck source=tests/expect.sh
source "$ATLAS_SOURCE_DIR/tests/expect.sh"

expect "'gpu' is no device" "$bin/train" "${small[@]}" --out "$work/a" --device gpu
expect "cuda:99" "$bin/train" "${small[@]}" --out "$work/a" --device cuda:99
expect "'int8' is unknown" "$bin/train" "${small[@]}" --out "$work/a" --precision int8
expect "bf16 is for training on CUDA devices" "$bin/train" "${small[@]}" --out "$work/a" --device cpu --precision bf16
expect "[cuda-graph]" "$bin/train" "${small[@]}" --out "$work/a" --device cpu --cuda-graph
expect "accumulate = 2" "$bin/train" "${small[@]}" --out "$work/a" --device cpu --cuda-graph --accumulate 2
expect "there are auto, host and device" "$bin/train" "${small[@]}" --out "$work/a" --augment gpu
[ ! -e "$work/a" ] || { echo "FAILED: a run that could not start left a folder" >&2; failures=$((failures + 1)); }

# The same pictures and targets whoever makes them: losses agree to rounding.
for where in host device; do
  "$bin/train" "${small[@]}" --out "$work/$where" --device cpu --augment $where --mixup 0.4 --erase 0.5 --cutmix 1 >/dev/null
done
loss() { sed -n 2p "$work/$1/log.csv" | cut -d, -f4; }
if ! awk -v a="$(loss host)" -v b="$(loss device)" 'BEGIN { exit !(a > 0 && (a - b) ^ 2 < (1e-3 * a) ^ 2) }'; then
  echo "FAILED: loss $(loss host) with pictures of the host, $(loss device) with those of the device" >&2
  failures=$((failures + 1))
fi

# Checkpoints know no device.
expect "cuda:99" "$bin/classify" --device cuda:99 --checkpoint "$work/host/best.ckpt" "$work/host/predictions.png"
expect "cuda:99" "$bin/features" --device cuda:99 --checkpoint "$work/host/best.ckpt" --out "$work/f" "$work/host/predictions.png"
expect "cuda:99" "$bin/attention_maps" --device cuda:99 --checkpoint "$work/host/best.ckpt" "$work/host/predictions.png"
expect "cuda:99" "$bin/golden_check" --device cuda:99 "$ATLAS_SOURCE_DIR/tests/golden"
"$bin/classify" --device auto --checkpoint "$work/host/best.ckpt" "$work/host/predictions.png" >/dev/null
exit $((failures > 0))
