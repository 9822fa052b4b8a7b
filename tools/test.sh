#!/usr/bin/env bash
# Sets up, builds and runs every test. The last line is `N passed, N failed`; the exit code is 0 when none failed.
set -uo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/test.sh [OPTION]...

Installs what is missing (tools/setup.sh), builds the release preset and runs all tests, then the tests of
tensors, ops, layers and models once more on an emulated CUDA device, whose kernels run on the CPU.
The last line says `N passed, N failed`; the exit code is not 0 when one failed.

  --cuda       then compile the CUDA library and a program with nvcc, where it is found (for one architecture;
               ATLAS_CUDA_ARCHS=90 in the environment chooses it)
  --sanitize   then build and run the unit tests with address and undefined-behavior sanitizers
  --clang      then build everything (library, examples, tools, tests) with clang and the same sanitizers, and run the
               unit tests: one build for both; the set-up then includes clang
  --fuzz       then run each fuzz target for a minute (tools/fuzz.sh); the set-up then includes clang
  --quick      leave out tests with the label "slow"
  --werror     warnings are errors
  --jobs N     processes to build and test with (default: all cores)
  -h, --help   this text

Single tests:  ctest --test-dir build/release -R ops.softmax --output-on-failure
TEXT
}

cuda=no
sanitize=no
clang=no
fuzz=no
quick=no
werror=OFF
jobs=$(nproc)
while [ $# -gt 0 ]; do
  case $1 in
    --cuda) cuda=yes ;;
    --sanitize) sanitize=yes ;;
    --clang) clang=yes ;;
    --fuzz) fuzz=yes ;;
    --quick) quick=yes ;;
    --werror) werror=ON ;;
    --jobs | -j)
      shift
      jobs=${1:-}
      ;;
    --jobs=*) jobs=${1#--jobs=} ;;
    -h | --help) usage; exit 0 ;;
    *) echo "test: unknown option '$1' (see --help)" >&2; exit 2 ;;
  esac
  shift
done
if ! [[ $jobs =~ ^[1-9][0-9]*$ ]]; then
  echo "test: --jobs needs a positive number, got '$jobs'" >&2
  exit 2
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
setup=()
[ $fuzz$clang != nono ] && setup=(--optional) # clang, and the library that decodes JPEG
[ $cuda = yes ] && setup+=(--cuda)
tools/setup.sh "${setup[@]}" || exit 1
if command -v ninja >/dev/null; then
  export CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja} # where a tree exists already, its own generator stays
fi

passed=0
failed=0

# build PRESET TARGETS CMAKE_OPTION...: configures and builds; false when one of them fails.
build() {
  local preset=$1 targets=$2 log=build/$1/configure.log
  shift 2
  mkdir -p "build/$preset"
  if ! cmake --preset "$preset" -DATLAS_WERROR=$werror "$@" >"$log" 2>&1; then
    cat "$log"
    return 1
  fi
  # shellcheck disable=SC2086 # several targets
  cmake --build "build/$preset" --parallel "$jobs" --target $targets
}

# run_tests PRESET TARGET CTEST_ARGUMENT...: builds a preset, runs its tests and adds to the counts. A preset that
# does not build counts as one failed test.
run_tests() {
  local preset=$1 target=$2 tree=build/$1 started=$SECONDS
  shift 2
  echo "== $preset: build"
  if ! build "$preset" "$target"; then
    failed=$((failed + 1))
    return
  fi
  echo "== $preset: built in $((SECONDS - started)) s, tests"
  started=$SECONDS
  local report=$PWD/$tree/tests.xml
  rm -f "$report"
  ctest --test-dir "$tree" --parallel "$jobs" --output-on-failure --no-tests=error --output-junit "$report" "$@"
  local status=$?
  local count bad
  count=$(sed -n 's/^[[:space:]]*tests="\([0-9]*\)".*/\1/p;q' <(grep -m1 'tests=' "$report" 2>/dev/null))
  bad=$(sed -n 's/^[[:space:]]*failures="\([0-9]*\)".*/\1/p;q' <(grep -m1 'failures=' "$report" 2>/dev/null))
  local skipped
  skipped=$(sed -n 's/^[[:space:]]*skipped="\([0-9]*\)".*/\1/p;q' <(grep -m1 'skipped=' "$report" 2>/dev/null))
  if [ -z "$count" ] || { [ "$status" -ne 0 ] && [ "$bad" = 0 ]; }; then
    bad=$((${bad:-0} + 1)) # ctest itself failed: never report that as success
    count=$((${count:-0} + 1))
  fi
  echo "== $preset: tests took $((SECONDS - started)) s${skipped:+, $skipped skipped}"
  failed=$((failed + bad))
  passed=$((passed + count - bad - ${skipped:-0}))
}

labels=()
[ $quick = yes ] && labels=(--label-exclude '^slow$')
run_tests release all "${labels[@]}"
run_tests emulate atlas_unit_tests --label-regex '^emulate$' "${labels[@]}"

# The CUDA library and a program with it: compiled and linked, as one test.
compile_cuda() {
  if [ -z "${CUDACXX:-}" ] && ! command -v nvcc >/dev/null && [ -x /usr/local/cuda/bin/nvcc ]; then
    export CUDACXX=/usr/local/cuda/bin/nvcc
  fi
  if [ -z "${CUDACXX:-}" ] && ! command -v nvcc >/dev/null; then
    echo "== cuda: nvcc was not found, so the CUDA library is not compiled (its kernels were tested by emulation)"
    return
  fi
  echo "== cuda: build"
  local nccl=$PWD/build/nccl/nvidia/nccl # where tools/setup.sh had to get it
  [ -d "$nccl" ] && local -x CMAKE_PREFIX_PATH=$nccl${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}
  local started=$SECONDS
  if build cuda-check "atlas_cuda train" -DATLAS_CUDA_ARCHS="${ATLAS_CUDA_ARCHS:-90}"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
  echo "== cuda: built in $((SECONDS - started)) s"
  grep 'atlas: NCCL [0-9]' build/cuda-check/configure.log && return
  echo "== cuda: without NCCL, so atlas/dist/nccl.cpp was not checked (tools/setup.sh --optional --cuda gets it and Open MPI)"
}
[ $cuda = yes ] && compile_cuda
if [ $sanitize = yes ]; then
  export UBSAN_OPTIONS=print_stacktrace=1
  # Golden, frame and example tests are left out: they would repeat the same code at a tenth of the speed.
  run_tests asan atlas_unit_tests --label-regex '^unit$' "${labels[@]}"
fi
if [ $clang = yes ]; then
  export UBSAN_OPTIONS=print_stacktrace=1
  run_tests clang all --label-regex '^unit$' "${labels[@]}"
fi

if [ $fuzz = yes ]; then
  echo "== fuzz"
  mkdir -p build/fuzz
  tools/fuzz.sh --jobs "$jobs" | tee build/fuzz/summary.log
  case ${PIPESTATUS[0]} in
    77) ;; # no clang: it said so
    0 | 1)
      counts=$(sed -n 's/^fuzz: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' build/fuzz/summary.log)
      read -r good bad <<<"${counts:-0 1}" # no counts: it did not build
      passed=$((passed + good))
      failed=$((failed + bad))
      ;;
    *) failed=$((failed + 1)) ;;
  esac
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
