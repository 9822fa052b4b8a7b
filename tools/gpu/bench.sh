#!/usr/bin/env bash
# Times kernels and whole models on a GPU, against PyTorch on the same card, and writes tools/gpu/RESULTS.md.
set -uo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/gpu/bench.sh [OPTION]... kernels|models

  kernels  every heavy kernel: milliseconds, TFLOP/s, GB/s and the share of what the card was measured to reach
  models   Atlas-B at 1024 px (batch 32 and 1), MambaVision-T, B and L2 at 224 px (batch 128): forward and training, float32
           and bf16, ours (kernel by kernel, and as a CUDA graph) against PyTorch (eager, as shipped and channels-last, and
           torch.compile in the faster of these layouts)

Ends within nine minutes. What was measured is kept in BUILD/bench and not repeated for the same programs: run it again
until it says that nothing is missing. Every run writes the table of what there is.

  --torch PYTHON  a Python with PyTorch (default: python3 when that has it; `none` for ours alone)
  --case TEXT     only cases whose name holds this
  --again         forget what was measured before
  --tiny          small models and shapes, to try the script; nothing is written to RESULTS.md
  --build DIR     build tree (default build/gpu)
  --limit S       end within S seconds (default 520)
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
limit=520
while [ $# -gt 0 ]; do
  case $1 in
    --torch | --case | --build | --limit) [ $# -gt 1 ] || fail "$1 needs a value" ;;
  esac
  case $1 in
    --torch) torch=$2; shift ;;
    --case) only=$2; shift ;;
    --build) tree=$2; shift ;;
    --limit) [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "--limit needs a number of seconds"; limit=$2; shift ;;
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
scan=none
[ "$torch" = none ] || ! "$torch" -c 'import mamba_ssm.ops.selective_scan_interface' 2>/dev/null || scan=mamba_ssm
seconds=1 # least time of one measurement
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
  if [ "$seconds" -lt 20 ]; then
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
  local cases=() size model side batch mode precision layout
  if [ $tiny = yes ]; then
    cases=("atlas-toy 32 2" "mambavision-toy 32 2")
  else
    cases=("atlas-b 1024 32" "atlas-b 1024 1" "mambavision-t 224 128" "mambavision-b 224 128" "mambavision-l2 224 128")
  fi
  mkdir -p "$kept/models"
  for how in ours eager compile; do
    for size in "${cases[@]}"; do
      read -r model side batch <<<"$size"
      local at=$kept/models/$model-$side-b$batch
      [[ -z $only || $at == *"$only"* ]] || continue
      case $how in
        ours)
          local ours=("$bin/models" --device cuda --model "$model" --image-size "$side" --batch "$batch" --seconds "$seconds" --precision both)
          measure "$at.ours" "${ours[@]}" --cuda-graph=both
          [[ $scan == mamba_ssm || $model != mambavision* ]] || measure "$at.no-scan" "${ours[@]}" --leave-out selective_scan
          ;;
        eager) [ "$torch" = none ] || measure "$at.eager" "$torch" tools/gpu/torch_models.py "$model" "$side" "$batch" --seconds "$seconds" ;;
        compile)
          # Minutes each: one at a time, in the layout that was the faster without.
          [ "$torch" = none ] || [ ! -s "$at.eager" ] || for mode in forward train; do
            for precision in bf16 float32; do
              layout=$(awk -v m=$mode -v p=$precision '$1 == m && $2 == p && $4 != "failed" && (best == "" || $4 < best) { best = $4; split($3, part, "/"); l = part[2] }
                END { print l }' "$at.eager")
              [ -z "$layout" ] || measure "$at.$mode-$precision.compile" "$torch" tools/gpu/torch_models.py "$model" "$side" "$batch" \
                --seconds "$seconds" --how compile --layout "$layout" --mode $mode --precision $precision
            done
          done
          ;;
      esac
    done
  done
  [ $missing = 0 ] || echo "bench: $missing measurements are not there yet: run this again"
}

# The table of what there is. Ratio: PyTorch's fastest time by ours (the faster of kernel by kernel and graph).
models_table() {
  echo "| case | ours, ms | as a graph | PyTorch eager, ms | compiled | fastest ran as | ratio to eager | to the fastest | memory, MiB: ours, PyTorch |"
  echo "|---|---|---|---|---|---|---|---|---|"
  local at mode precision
  for at in "$kept"/models/*.ours; do
    [ -f "$at" ] || continue
    at=${at%.ours}
    for mode in forward train; do
      for precision in float32 bf16; do
        { sed 's/^/ours /' "$at.ours"
          sed 's/^/rest /' "$at.no-scan" 2>/dev/null
          cat "$at.eager" "$at".*.compile 2>/dev/null; } |
          awk -v name="$(basename "$at") $mode $precision" -v mode=$mode -v precision=$precision '
            function ms(  i) { for (i = 1; i < NF; ++i) if ($(i + 1) == "ms" && $(i + 2) == "median") return $i; return "" }
            $1 == "ours" || $1 == "rest" {
              if (index($0, mode == "train" ? " training " : " forward ") && index($0, " " precision " ")) {
                if ($1 == "rest") rest = ms()
                else if (index($0, " as a graph ")) graph = ms()
                else { ours = ms(); for (i = 2; i <= NF; ++i) if ($i == "MiB") memory = $(i - 1) }
              }
              next
            }
            $1 == mode && $2 == precision && $4 != "failed" {
              if ($3 ~ /^eager/) { if (eager == "" || $4 < eager) eager = $4 } else if (compiled == "" || $4 < compiled) compiled = $4
              if (best == "" || $4 < best) { best = $4; how = $3; theirs = $5 }
            }
            function by(a, b) { return a == "" || b == "" ? "-" : sprintf("%.2fx", a / b) }
            function known(a) { return a == "" ? "-" : a }
            END {
              mine = graph != "" && (ours == "" || graph < ours) ? graph : ours
              if (how ~ /no-scan/) { mine = rest; how = how " (ours without the scan: " known(rest) ")" }
              printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s, %s |\n", name, known(ours), known(graph), known(eager), known(compiled),
                known(how), by(eager, mine), by(best, mine), known(memory), known(theirs)
            }'
      done
    done
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
    echo "Ratio: PyTorch's time by the faster of our two ways; above 1, ours is faster. Inputs are on the device; - is what did not"
    echo "fit into memory or was not measured."
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
