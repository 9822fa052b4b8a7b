#!/usr/bin/env bash
# Times kernels and whole models on a GPU, against PyTorch on the same card, and writes tools/gpu/RESULTS.md.
set -uo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/gpu/bench.sh [OPTION]... kernels|models

  kernels  every heavy kernel: milliseconds, TFLOP/s, GB/s and the share of what the card was measured to reach
  models   Atlas-B at 1024 px (batch 32 and 1), MambaVision-T, B and L2 at 224 px (batch 128): forward and training, float32
           and bf16, ours (kernel by kernel, and as a CUDA graph) against PyTorch (eager and torch.compile, as shipped and
           channels-last; the fastest counts)

Ends within nine minutes. What was measured is kept in BUILD/bench and not repeated for the same programs: run it again
until it says that nothing is missing. Every run writes the table of what there is.

  --torch PYTHON  a Python with PyTorch (default: python3 when that has it; `none` for ours alone)
  --case TEXT     only cases whose name holds this
  --again         forget what was measured before
  --tiny          small models and shapes, to try the script; nothing is written to RESULTS.md
  --build DIR     build tree (default build/gpu)
  -h, --help      this text

For MambaVision, mamba_ssm's compiled scan is used where PyTorch can import it. Otherwise everything but the scan is timed, on
both sides, and the table says so.
TEXT
}

fail() {
  echo "bench: $*" >&2
  exit 2
}

torch=
only=
again=no
tiny=no
tree=build/gpu
what=
while [ $# -gt 0 ]; do
  case $1 in
    --torch | --case | --build) [ $# -gt 1 ] || fail "$1 needs a value" ;;
  esac
  case $1 in
    --torch) torch=$2; shift ;;
    --case) only=$2; shift ;;
    --build) tree=$2; shift ;;
    --again) again=yes ;;
    --tiny) tiny=yes ;;
    -h | --help) usage; exit 0 ;;
    kernels | models) what=$1 ;;
    *) fail "unknown option '$1' (see --help)" ;;
  esac
  shift
done
[ -n "$what" ] || fail "say what to time: kernels or models"
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
bin=$tree/bin
for program in bench_kernels models; do
  [ -x "$bin/$program" ] || fail "$bin/$program is not built: tools/gpu/check.sh build"
done
if [ -z "$torch" ]; then
  torch=none
  ! python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null || torch=python3
fi
limit=520
seconds=2 # least time of one measurement
[ $tiny = no ] || seconds=0
kept=$tree/bench
[ $again = no ] || rm -rf "$kept"
mkdir -p "$kept"
commit=$(git rev-parse --short HEAD 2>/dev/null || echo -)
text=$("$bin/models" --device cuda --model atlas-toy --image-size 32 --batch 1 --mode forward --seconds 0 2>&1) || fail "$text"
card=$(head -n 1 <<<"$text")
left() { echo $((limit > SECONDS ? limit - SECONDS : 0)); }

# ---- Kernels -----------------------------------------------------------------------------------------------------------
time_kernels() {
  local type file options=()
  [ $tiny = no ] || options=(--tiny --seconds 0)
  [ -z "$only" ] || options+=(--filter "$only")
  for type in float32 bfloat16; do
    file=$kept/kernels-$type.md
    if [ -n "$only" ] || [ ! "$file" -nt "$bin/bench_kernels" ]; then
      timeout "$(left)" "$bin/bench_kernels" --device cuda --dtype $type --markdown "${options[@]}" >"$file.new" ||
        { echo "bench: kernels in $type did not finish" >&2; return 1; }
      if [ -n "$only" ]; then # some lines are no table
        cat "$file.new"
        continue
      fi
      mv "$file.new" "$file"
    fi
    cat "$file"
  done
}

# ---- Models ------------------------------------------------------------------------------------------------------------
# measure FILE COMMAND...: the command's lines in FILE, unless they are there and newer than our program. What fails is kept
# as an empty file; what was cut off is not, unless it had nearly all the time there is.
missing=0
measure() {
  local file=$1 seconds status=0
  shift
  [ ! "$file" -nt "$bin/models" ] || return 0
  seconds=$(left)
  if [ "$seconds" -lt 60 ]; then
    missing=$((missing + 1))
    return
  fi
  echo "## $(basename "$file")" >>"$kept/errors.log"
  timeout "$seconds" "$@" >"$file.new" 2>>"$kept/errors.log" || status=$?
  if [ $status -eq 124 ] && [ "$seconds" -lt $((limit - 60)) ]; then
    rm "$file.new"
    missing=$((missing + 1))
  else
    mv "$file.new" "$file"
  fi
}

time_models() {
  local cases=() size model side batch mode precision how
  if [ $tiny = yes ]; then
    cases=("atlas-toy 32 2" "mambavision-toy 32 2")
  else
    cases=("atlas-b 1024 32" "atlas-b 1024 1" "mambavision-t 224 128" "mambavision-b 224 128" "mambavision-l2 224 128")
  fi
  for size in "${cases[@]}"; do
    read -r model side batch <<<"$size"
    for mode in forward train; do
      for precision in float32 bf16; do
        local name=$model-$side-b$batch-$mode-$precision
        [[ -z $only || $name == *"$only"* ]] || continue
        local at=$kept/models/$name
        mkdir -p "$at"
        local ours=("$bin/models" --device cuda --model "$model" --image-size "$side" --batch "$batch" --mode "$mode"
          --precision "$precision" --seconds "$seconds")
        measure "$at/ours" "${ours[@]}"
        measure "$at/graph" "${ours[@]}" --cuda-graph
        case $model in mambavision*) measure "$at/ours-no-scan" "${ours[@]}" --leave-out selective_scan ;; esac
        [ "$torch" = none ] || for how in eager compile; do
          measure "$at/torch-$how" "$torch" tools/gpu/torch_models.py "$model" "$side" "$batch" $mode $precision $how
        done
        echo "$name: $(case_lines "$at" | paste -sd ';')"
      done
    done
  done
  [ $missing = 0 ] || echo "bench: $missing measurements are not there yet: run this again"
}

# What was measured of a case: lines of a name, milliseconds and MiB.
case_lines() {
  local file
  for file in "$1"/ours "$1"/graph "$1"/ours-no-scan; do
    [ -f "$file" ] || continue
    awk -v name="$(basename "$file")" '
      / ms median/ { for (i = 1; i <= NF; ++i) { if ($i == "ms" && $(i + 1) == "median") t = $(i - 1); if ($i == "MiB") m = $(i - 1) } }
      END { print name, t, m }' "$file"
  done
  cat "$1"/torch-eager "$1"/torch-compile 2>/dev/null
}

# The table of what there is. Ratio: PyTorch's fastest time by ours (the faster of kernel by kernel and graph).
models_table() {
  echo "| case | ours, ms | as a graph | PyTorch's fastest, ms | ran as | ratio | PyTorch eager by ours | memory, MiB: ours, PyTorch |"
  echo "|---|---|---|---|---|---|---|---|"
  local at
  for at in "$kept"/models/*; do
    [ -d "$at" ] || continue
    case_lines "$at" | awk -v name="$(basename "$at")" '
      $1 == "ours" { ours = $2; memory = $3; next }
      $1 == "graph" { graph = $2; next }
      $1 == "ours-no-scan" { rest = $2; next }
      NF == 3 { if (best == "" || $2 < best) { best = $2; how = $1; theirs = $3 } if ($1 ~ /^eager/ && (eager == "" || $2 < eager)) eager = $2 }
      END {
        mine = graph != "" && (ours == "" || graph < ours) ? graph : ours
        note = ""
        if (how ~ /no-scan/) { mine = rest; note = " (all but the scan, ours " rest ")" }
        printf "| %s | %s | %s | %s%s | %s | %s | %s | %s, %s |\n", name, ours == "" ? "failed" : ours, graph == "" ? "-" : graph,
          best == "" ? "-" : best, note, how == "" ? "-" : how, best == "" || mine == "" ? "-" : sprintf("%.2fx", best / mine),
          eager == "" || mine == "" ? "-" : sprintf("%.2fx", eager / mine), memory == "" ? "-" : memory, theirs == "" ? "-" : theirs
      }'
  done
}

status=0
if [ "$what" = kernels ]; then
  time_kernels || status=1
else
  time_models || status=1
  models_table | tee "$kept/models.md"
fi
[ $tiny = no ] || exit $status
{
  echo "# Measured on a GPU"
  echo
  echo "By tools/gpu/bench.sh: $card; commit $commit, $(date +%Y-%m-%d). TF32 is off on both sides. Times are medians."
  if [ -f "$kept/models.md" ]; then
    echo
    echo "## Models"
    echo
    echo "Ratio: the fastest PyTorch found here by the faster of our two ways; above 1, ours is faster. Inputs are on the device."
    if [ "$torch" = none ]; then
      echo "There was no PyTorch on this machine."
    else
      echo "PyTorch $("$torch" -c 'import torch; print(torch.__version__)')."
    fi
    echo
    cat "$kept/models.md"
  fi
  if [ -f "$kept/kernels-float32.md" ]; then
    echo
    echo "## Kernels"
    cat "$kept"/kernels-*.md
  fi
} >tools/gpu/RESULTS.md
echo "bench: wrote tools/gpu/RESULTS.md"
exit $status
