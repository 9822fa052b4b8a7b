#!/usr/bin/env bash
# The tests of nccl_test.cpp and nccl_waits_test.cpp with several processes, on the emulated device and over what plays NCCL there.
# ctest-labels: emulate
# ctest-timeout: 900
source "$(dirname "${BASH_SOURCE[0]}")/../frame/common.sh"

[ "${ATLAS_CUDA_EMULATE:-OFF}" = ON ] || exit 77
needs_mpi
root=()
[ "$(id -u)" -ne 0 ] || root=(--allow-run-as-root)
export ATLAS_NUM_THREADS=1
# ranks N ARGUMENT...: the test program with N processes.
ranks() {
  timeout 300 mpirun "${root[@]}" --oversubscribe --bind-to none -n "$1" "$ATLAS_BIN_DIR/test_cuda" --no-colors=true \
    --source-file='*/cuda/nccl*_test.cpp' "${@:2}"
}
for n in 1 2 3 4; do
  ranks $n >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "$n processes"; }
  [ "$(grep -c 'test cases: *7 | *7 passed' "$scratch/log")" = $n ] || { cat "$scratch/log"; fail "$n processes: other tests"; }
done
# ends_by WHAT EXPECTED: the hidden test case must end all, soon, with that text. Ten seconds: three processes on two busy
# cores start seconds apart.
ends_by() {
  local started=$SECONDS
  if ATLAS_DIST_TIMEOUT=10 ranks 3 --no-skip --test-case="hidden: $1" >"$log" 2>&1; then
    fail "$1: ended with success"
  fi
  [ $((SECONDS - started)) -lt 60 ] || fail "$1: took $((SECONDS - started)) s"
  grep -qE "$2" "$log" || { cat "$log" >&2; fail "$1: the output lacks '$2'"; }
}
# says WHAT LINE: the same, and one rank has said it, in this one line.
says() {
  ends_by "$1" "^$2\$"
  [ "$(grep -cE '^\[[a-z_]+\] rank ' "$log")" = 1 ] || { cat "$log" >&2; fail "$1: not one line"; }
}
beside says 'NCCL refuses' '\[reduce_scatter\] rank [012] of 3: NCCL: unhandled system error \(run with NCCL_DEBUG=INFO for details\) \(Call to connect failed: Connection refused\)'
beside says "NCCL fails behind the host's back" '\[all_reduce\] rank [012] of 3: NCCL: remote process exited or there was a network error'
beside says 'NCCL fails while a graph lives' '\[all_reduce\] rank 1 of 3: NCCL: remote process exited or there was a network error'
beside says 'rank 1 of those on devices hangs' \
  '\[[a-z_]+\] rank [02] of 3 waited 10 s for rank 1: all processes are ended \(ATLAS_DIST_TIMEOUT sets the seconds\)'
beside says 'rank 1 is stopped while NCCL starts' \
  '\[start\] rank [02] of 3 waited 10 s for rank 1: all processes are ended \(ATLAS_DIST_TIMEOUT sets the seconds\)'
beside says 'NCCL does not start' '\[start\] rank 1 of 3: NCCL: unhandled system error \(run with NCCL_DEBUG=INFO for details\)'
# All ranks are in the start for longer than they wait for one that is silent.
starts_slowly() {
  ATLAS_DIST_TIMEOUT=3 ranks 3 --no-skip --test-case='hidden: NCCL starts slowly' >"$log" 2>&1 ||
    { cat "$log" >&2; fail "a slow start of NCCL is taken for one that hangs"; }
}
beside starts_slowly
beside ends_by 'ranks on devices differ' "rank 1 is at 'id 1: all_reduce 3 float32 0', rank 0 at 'id 1: all_reduce 2 float32 0'"
finish
