#!/usr/bin/env bash
# Builds the fuzz targets of tests/fuzz and runs them: what reads files from strangers gets damaged ones,
# and chains of ops get any shapes.
set -uo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/fuzz.sh [OPTION]... [TARGET]...

Builds the preset `fuzz` (clang, libFuzzer, address and undefined-behavior sanitizers) and runs the named targets, or
all. Inputs that reach new code are kept in build/fuzz/corpus/TARGET, and a later run starts from them and from
tests/fuzz/seeds/TARGET. An input that fails is kept in build/fuzz/crashes, with the command that runs it again.
The exit code is 0 when nothing failed, 1 when something did, 77 when there is no clang with libFuzzer.

  --seconds N   run each target so long (60)
  --jobs N      targets at a time, and processes to build with (all cores)
  --memory N    limit of a target's memory in MiB; a single allocation may take a quarter of it (512, or what a line
                `fuzz-memory: N` in the target's source says)
  --list        name the targets and stop
  -h, --help    this text

A crash that is fixed becomes a seed:  cp build/fuzz/crashes/image-crash-... tests/fuzz/seeds/image/bug_SHORT_NAME
TEXT
}

die() {
  echo "fuzz: $*" >&2
  exit 2
}

seconds=60
jobs=$(nproc)
memory=
list=no
targets=()
while [ $# -gt 0 ]; do
  case $1 in
    --seconds | --jobs | --memory)
      [ $# -ge 2 ] || die "$1 needs a number (see --help)"
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    --seconds=* | --jobs=* | --memory=*)
      option=${1%%=*}
      printf -v "${option#--}" %s "${1#*=}"
      ;;
    --list) list=yes ;;
    -h | --help) usage; exit 0 ;;
    -*) die "unknown option '$1' (see --help)" ;;
    *) targets+=("$1") ;;
  esac
  shift
done
for option in seconds jobs memory; do
  [ "$option$memory" = memory ] || [[ ${!option} =~ ^[1-9][0-9]{0,8}$ ]] || die "--$option needs a positive number, got '${!option}'"
done

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
known=()
for file in tests/fuzz/*_fuzz.cpp; do
  name=${file##*/}
  known+=("${name%_fuzz.cpp}")
done
if [ $list = yes ]; then
  printf '%s\n' "${known[@]}"
  exit 0
fi
[ ${#targets[@]} -gt 0 ] || targets=("${known[@]}")
for target in "${targets[@]}"; do
  [[ " ${known[*]} " == *" $target "* ]] || die "there is no target '$target'; there are ${known[*]}"
done

tree=build/fuzz
mkdir -p $tree/crashes
if ! echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' |
  clang++ -fsanitize=fuzzer,address -x c++ - -o $tree/probe 2>/dev/null; then
  echo "fuzz: skipped, no clang++ with libFuzzer here (apt install clang)"
  exit 77
fi
rm -f $tree/probe
if command -v ninja >/dev/null; then
  export CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja} # where a tree exists already, its own generator stays
fi
if ! cmake --preset fuzz >$tree/configure.log 2>&1; then
  cat $tree/configure.log
  exit 1
fi
cmake --build $tree --parallel "$jobs" --target "${targets[@]/#/fuzz_}" || exit 1

# run_target TARGET: its output goes to a log of its own.
run_target() {
  local corpus=$tree/corpus/$1 limit
  limit=${memory:-$(sed -n 's|^// fuzz-memory: \([0-9]*\)$|\1|p' "tests/fuzz/$1_fuzz.cpp")}
  limit=${limit:-512}
  mkdir -p "$corpus"
  rm -f "$tree/crashes/$1"-*
  "$tree/bin/fuzz_$1" -max_total_time="$seconds" -rss_limit_mb="$limit" -malloc_limit_mb=$((limit / 4)) -timeout=10 \
    -max_len=16384 -print_final_stats=1 -artifact_prefix="$tree/crashes/$1-" "$corpus" "tests/fuzz/seeds/$1" \
    >"$tree/$1.log" 2>&1
}

failed=0
for ((i = 0; i < ${#targets[@]}; i += jobs)); do
  batch=("${targets[@]:i:jobs}")
  pids=()
  for target in "${batch[@]}"; do
    run_target "$target" &
    pids+=($!)
  done
  for k in "${!batch[@]}"; do
    target=${batch[k]}
    if wait "${pids[k]}"; then
      runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$tree/$target.log")
      echo "fuzz: $target: $seconds s, ${runs:-?} inputs, nothing found"
      continue
    fi
    failed=$((failed + 1))
    grep -vE '^(INFO|#[0-9]+)' "$tree/$target.log" | tail -n 60
    echo "fuzz: $target: FAILED, the whole log is $tree/$target.log"
    for input in "$tree/crashes/$target"-*; do
      [ -e "$input" ] && echo "fuzz: $target: reproduce with: $tree/bin/fuzz_$target $input"
    done
  done
done
echo "fuzz: $((${#targets[@]} - failed)) passed, $failed failed"
[ $failed -eq 0 ]
