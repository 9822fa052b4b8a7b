#!/usr/bin/env bash
# What including the headers costs: processor time of the compiler as a ratio to `#include <Eigen/Core>` alone, all in
# one run, in turn, medians of the repetitions.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/bench/compile_time.sh [--repeat N] [--check]

Compiles a program of one line (`ones({2, 3}).shape()`) with $CXX -O2 (default g++): header-only and for the compiled
library, with the umbrella atlas.h and with the one header that it uses.

  --repeat N   measurements of each, in turn (default 5)
  --check      exit with 1 when a ratio is over its goal (5 and 3 header-only, 3 and 2 compiled)
TEXT
}

repeat=5
check=no
while [ $# -gt 0 ]; do
  case $1 in
    --repeat)
      shift
      repeat=${1:-}
      ;;
    --check) check=yes ;;
    -h | --help) usage; exit 0 ;;
    *) echo "compile_time: unknown option '$1' (see --help)" >&2; exit 2 ;;
  esac
  shift
done
[[ $repeat =~ ^[1-9][0-9]*$ ]] || { echo "compile_time: --repeat needs a positive number, got '$repeat'" >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
compiler=${CXX:-g++}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
export CCACHE_DISABLE=1

echo '#include <Eigen/Core>
int main() {}' >eigen.cpp
program='int main() { return static_cast<int>(atlas::ones({2, 3}).shape().numel()) - 6; }'
printf '#include <atlas/atlas.h>\n%s\n' "$program" >umbrella.cpp
printf '#include <atlas/tensor/create.h>\n%s\n' "$program" >own.cpp

eigen=(-isystem /usr/include/eigen3)
IFS=':' read -r -a prefixes <<<"${CMAKE_PREFIX_PATH:-}"
for prefix in "${prefixes[@]}"; do
  [ -n "$prefix" ] && eigen+=(-isystem "$prefix/include" -isystem "$prefix/include/eigen3")
done

# seconds NAME ARGUMENT...: user time of one compilation, appended to times.NAME
seconds() {
  local name=$1 time
  shift
  TIMEFORMAT=%U
  time=$( { time "$compiler" -std=c++20 -O2 "-I$root" "${eigen[@]}" "$@" -c -o out.o; } 2>&1)
  echo "$time" >>"times.$name"
}
for ((i = 0; i < repeat; ++i)); do
  seconds eigen eigen.cpp
  seconds header-only-umbrella umbrella.cpp
  seconds header-only-own own.cpp
  seconds compiled-umbrella -DATLAS_COMPILED_LIB umbrella.cpp
  seconds compiled-own -DATLAS_COMPILED_LIB own.cpp
done

median() { sort -n "times.$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
base=$(median eigen)
printf '%-24s %8s %8s %8s\n' "$("$compiler" -dumpversion) $compiler" seconds ratio goal
printf '%-24s %8.2f %8.2f\n' '#include <Eigen/Core>' "$base" 1
over=0
while read -r name goal; do
  time=$(median "$name")
  ratio=$(awk "BEGIN { print $time / $base }")
  printf '%-24s %8.2f %8.2f %8s\n' "$name" "$time" "$ratio" "$goal"
  awk "BEGIN { exit !($ratio > $goal) }" && over=$((over + 1))
done <<'GOALS'
header-only-umbrella 5
header-only-own 3
compiled-umbrella 3
compiled-own 2
GOALS
[ $check = no ] || [ $over -eq 0 ]
