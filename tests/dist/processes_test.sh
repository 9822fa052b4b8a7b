#!/usr/bin/env bash
# The tests of this folder with several processes, and what happens when one of them fails, dies or hangs.
source "$(dirname "${BASH_SOURCE[0]}")/../frame/common.sh"

needs_mpi
quietly bash "$ATLAS_SOURCE_DIR/tools/dist_check.sh" 2 3 4 # one alone: dist.*

root=()
[ "$(id -u)" -ne 0 ] || root=(--allow-run-as-root)
hidden() { # hidden N WHAT: the hidden test case WHAT with N processes
  ATLAS_NUM_THREADS=1 timeout 60 mpirun "${root[@]}" --oversubscribe --bind-to none -n "$1" \
    "$ATLAS_BIN_DIR/test_dist" --no-skip --test-case="hidden: $2" >"$log" 2>&1
}
# ends_by N WHAT EXPECTED: a rank of N goes wrong as the hidden test case WHAT says; all must end, soon, by such a line.
ends_by() {
  local started=$SECONDS
  if hidden "$1" "$2"; then fail "$2: ended with success"; fi
  [ $((SECONDS - started)) -lt 50 ] || fail "$2: took $((SECONDS - started)) s"
  grep -qE "$3" "$log" || { cat "$log" >&2; fail "$2, $1 processes: the output lacks '$3'"; }
}
# names N WHAT OP WHO TEXT: the watchdog of one rank in WHO has one line, with the operation OP and TEXT.
names() {
  local line="^\[$3\] rank [$4] of $1 waited $ATLAS_DIST_TIMEOUT s for rank $5: all processes are ended "
  ends_by "$1" "$2" "$line\(ATLAS_DIST_TIMEOUT sets the seconds\)\$"
  [ "$(grep -c ' waited .* s for rank ' "$log")" = 1 ] || { cat "$log" >&2; fail "$2, $1 processes: not one line"; }
}
goes_on() { # goes_on N WHAT: the hidden test case succeeds
  hidden "$1" "$2" || { cat "$log" >&2; fail "$2, $1 processes: a rank is taken for one that hangs"; }
}
# Long enough for two busy cores, where processes start seconds apart.
export ATLAS_DIST_TIMEOUT=8
beside goes_on 3 'rank 0 is busy for long'
for n in 3 4; do beside names $n 'rank 1 hangs' all_reduce 023 1; done
beside names 3 'rank 1 hangs while some are operations ahead' '(broadcast|all_reduce)' 023 1
beside names 4 'rank 1 hangs after it had waited' barrier 023 1
beside names 3 'ranks call different operations' '(barrier|all_reduce)' 012 '\(all wait: do they call the same\?\)'
beside names 3 'rank 0 is stopped while it is busy' barrier 12 0
beside names 3 'rank 1 hangs after the last operation' end 02 1
beside ends_by 3 'rank 1 dies' 'rank 1 .*signal 9'
beside ends_by 3 'rank 1 fails' 'this rank fails'
finish
# Nobody is busy for longer than twenty times as long as a rank may hang.
ATLAS_DIST_TIMEOUT=1.5
beside names 3 'rank 0 is busy without an end' barrier 12 0
finish
unset ATLAS_DIST_TIMEOUT

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
