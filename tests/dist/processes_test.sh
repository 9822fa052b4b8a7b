#!/usr/bin/env bash
# The tests of this folder with several processes, and what happens when one of them fails, dies or hangs.
source "$(dirname "${BASH_SOURCE[0]}")/../frame/common.sh"

[ "${ATLAS_WITH_MPI:-OFF}" = ON ] && command -v mpirun >/dev/null || exit 77
quietly bash "$ATLAS_SOURCE_DIR/tools/dist_check.sh" 4

root=()
[ "$(id -u)" -ne 0 ] || root=(--allow-run-as-root)
# ends_by WHAT EXPECTED: rank 1 of 3 goes wrong as the hidden test case WHAT says; all must end, soon.
ends_by() {
  local started=$SECONDS
  if ATLAS_NUM_THREADS=1 ATLAS_DIST_TIMEOUT=3 timeout 50 mpirun "${root[@]}" --oversubscribe --bind-to none -n 3 \
    "$ATLAS_BIN_DIR/test_dist" --no-skip --test-case="$1" >"$scratch/log" 2>&1; then
    fail "$1: ended with success"
  fi
  [ $((SECONDS - started)) -lt 30 ] || fail "$1: took $((SECONDS - started)) s"
  grep -qE "$2" "$scratch/log" || { cat "$scratch/log" >&2; fail "$1: the output lacks '$2'"; }
}
ends_by 'hidden: rank 1 hangs' 'waited 3 s for rank 1:'
ends_by 'hidden: rank 1 dies' 'rank 1 .*signal 9'
ends_by 'hidden: rank 1 fails' 'this rank fails'

# srun that was told of no MPI starts processes which do not know each other.
if SLURM_STEP_NUM_TASKS=2 "$ATLAS_BIN_DIR/test_dist" --test-case='a group knows its ranks' >"$scratch/log" 2>&1; then
  fail "srun without PMIx: ended with success"
fi
grep -qF 'srun started 2 processes that it does not introduce to each other: srun --mpi=pmix' "$scratch/log" ||
  { cat "$scratch/log" >&2; fail "srun without PMIx is not named"; }

# The example gives the same numbers whatever the number of processes.
example() { # example N
  ATLAS_NUM_THREADS=1 mpirun "${root[@]}" --oversubscribe --bind-to none -n "$1" "$ATLAS_BIN_DIR/06_many_processes" |
    grep '^epoch' >"$scratch/$1"
}
example 1
example 3
[ "$(wc -l <"$scratch/1")" = 6 ] || fail "the example printed $(cat "$scratch/1")"
quietly diff "$scratch/1" "$scratch/3"
