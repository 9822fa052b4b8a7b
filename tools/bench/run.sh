#!/usr/bin/env bash
# Builds the benchmark, runs its cases (against PyTorch when a Python with it is given) and records them.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/bench/run.sh [OPTION]...

Times this library on the models and kernels of `--list`, alone or against PyTorch. With --torch, both sides first have
to give the same numbers from the same weights and images (tools/reference); then they take turns on the same cores.
PyTorch runs as its fastest of eager and torch.compile, both layouts and the allocators found here; which that is, is
tried once per case and kept (--choose-again).

  --torch PYTHON   a Python with PyTorch and NumPy, such as a virtual environment's bin/python
  --case NAME      only this case; may be given more than once. Otherwise all, which takes long
  --growth         instead: how time and memory grow with the size of the image (24 GiB of memory for 2048 px)
  --growth-models M, --growth-sizes PIXELS   other models or sizes than the record's; may be given more than once
  --list           print the cases and stop
  --quick          three pairs, and nothing is recorded
  --pairs N        pairs of runs (7)
  --threads N      threads of both sides (all cores)
  --record FILE    where the Markdown goes (tools/bench/RESULTS.md); `none` for nowhere
  --preload FILE   one more allocator for PyTorch to try (libjemalloc, libtcmalloc: those of the system are found)
  --choose-again   try PyTorch's variants again; --choose-only: and stop after that
  --compile-limit S  seconds that torch.compile may take for a variant (900)
  --folder DIR     where PyTorch's choices and compiled code are kept (build/bench)
  --no-build       use the programs of the last build
  -h, --help       this text

Close other programs first: the table says how much of the machine they took.
TEXT
}

fail() {
  echo "run.sh: $* (see --help)" >&2
  exit 2
}

cases=()
pass=()
torch=''
folder=build/bench
record=tools/bench/RESULTS.md
build=yes
growth=no
list=no
while [ $# -gt 0 ]; do
  case $1 in
    --torch | --case | --pairs | --threads | --record | --preload | --compile-limit | --folder | --growth-models | --growth-sizes)
      [ $# -ge 2 ] || fail "$1 needs a value"
      ;;
  esac
  case $1 in
    --torch) torch=$2; shift ;;
    --case) cases+=("$2"); shift ;;
    --pairs | --threads | --preload | --compile-limit | --growth-models | --growth-sizes) pass+=("$1" "$2"); shift ;;
    --record) record=$2; shift ;;
    --folder) folder=$2; shift ;;
    --choose-again | --choose-only) pass+=("$1") ;;
    --growth) growth=yes ;;
    --list) list=yes ;;
    --quick) pass+=(--pairs 3 --seconds 0.1); record=none ;;
    --no-build) build=no ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option '$1'" ;;
  esac
  shift
done

from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case $folder in
  /* | build/bench) ;;
  *) folder=$from/$folder ;;
esac
case $record in
  none | /* | tools/bench/RESULTS.md) ;;
  *) record=$from/$record ;;
esac
if [ -n "$torch" ]; then
  case $torch in
    /*) ;;
    */*) torch=$from/$torch ;;
  esac
  command -v "$torch" >/dev/null || fail "there is no program '$torch' (--torch needs a Python)"
  "$torch" -c 'import torch, numpy' 2>/dev/null || fail "'$torch' cannot import torch and numpy"
fi

bin=${ATLAS_BIN_DIR:-build/release/bin}
if [ $build = yes ]; then
  [ -f build/release/CMakeCache.txt ] || cmake --preset release >/dev/null
  cmake --build build/release --target bench >&2
  bin=build/release/bin
fi
[ -x "$bin/bench" ] || fail "$bin/bench is not built"
if [ $list = yes ]; then
  exec "$bin/bench" --list
fi

pass+=(--folder "$folder")
[ "$record" = none ] || pass+=(--record "$record")
commit=$(git rev-parse --short HEAD 2>/dev/null || echo -)
[ "$commit" = - ] || git diff --quiet HEAD -- atlas 2>/dev/null || commit+=+
pass+=(--commit "$commit")
if [ -n "$torch" ]; then
  pass+=(--torch "$torch")
  for library in /usr/lib/*/libjemalloc.so.2 /usr/lib/*/libtcmalloc_minimal.so.4 /usr/lib64/libjemalloc.so.2; do
    [ ! -e "$library" ] || pass+=(--preload "$library")
  done
fi

if [ $growth = yes ]; then
  exec "$bin/bench" --growth "${pass[@]}"
fi
if [ ${#cases[@]} = 0 ]; then
  mapfile -t cases < <("$bin/bench" --list | grep -v 'only when named' | cut -d ' ' -f 1)
fi
failed=0
for name in "${cases[@]}"; do
  "$bin/bench" --case "$name" "${pass[@]}" || failed=$((failed + 1))
done
[ $failed = 0 ] || { echo "run.sh: $failed of ${#cases[@]} cases failed" >&2; exit 1; }
