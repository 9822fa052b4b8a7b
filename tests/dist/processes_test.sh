#!/usr/bin/env bash
# The tests of this folder with several processes, and what happens when one of them fails, dies or hangs.
source "$(dirname "${BASH_SOURCE[0]}")/../frame/common.sh"

needs_mpi
quietly bash "$ATLAS_SOURCE_DIR/tools/dist_check.sh" 2 3 4 # one alone: dist.*

root=()
[ "$(id -u)" -ne 0 ] || root=(--allow-run-as-root)
options=() # of mpirun
hidden() { # hidden N WHAT: the hidden test case WHAT with N processes
  ATLAS_NUM_THREADS=1 timeout 60 mpirun "${root[@]}" --oversubscribe --bind-to none -n "$1" "${options[@]}" \
    "$ATLAS_BIN_DIR/test_dist" --no-skip --test-case="hidden: $2" >"$log" 2>&1
}
soon=40 # seconds
# ends_by N WHAT EXPECTED: a rank of N goes wrong as the hidden test case WHAT says; all must end, soon, by such a line.
ends_by() {
  local started=$SECONDS
  if hidden "$1" "$2"; then fail "$2: ended with success"; fi
  [ $((SECONDS - started)) -lt $soon ] || fail "$2: took $((SECONDS - started)) s"
  grep -qE "$3" "$log" || { cat "$log" >&2; fail "$2, $1 processes: the output lacks '$3'"; }
}
# names N WHAT OP WHO TEXT: the watchdog of one rank in WHO has one line, with the operation OP and TEXT.
names() {
  local line="^\[$3\] rank [$4] of $1 waited $ATLAS_DIST_TIMEOUT s for rank $5: all processes are ended " more=
  [ "$3" != end ] || more='; work that takes longer says so: Group::busy\(\)'
  ends_by "$1" "$2" "$line\(ATLAS_DIST_TIMEOUT sets the seconds$more\)\$"
  [ "$(grep -c ' waited .* s for rank ' "$log")" = 1 ] || { cat "$log" >&2; fail "$2, $1 processes: not one line"; }
}
goes_on() { # goes_on N WHAT: the hidden test case succeeds
  hidden "$1" "$2" || { cat "$log" >&2; fail "$2, $1 processes: a rank is taken for one that hangs"; }
}
# starts_late: rank 1 is stopped before it is a program of ours; the other one says what it waits for.
starts_late() {
  local started=$SECONDS
  if timeout 60 mpirun "${root[@]}" --oversubscribe --bind-to none -n 2 bash -c \
    '[ "$OMPI_COMM_WORLD_RANK" = 0 ] || kill -STOP $$; exec "$0" --test-case="a group knows its ranks"' \
    "$ATLAS_BIN_DIR/test_dist" >"$log" 2>&1; then fail "a rank that does not start: ended with success"; fi
  [ $((SECONDS - started)) -lt $soon ] || fail "a rank that does not start: took $((SECONDS - started)) s"
  grep -q '^\[start\] rank 0 of 2 waited 15 s for the start of the others: all processes are ended ' "$log" ||
    { cat "$log" >&2; fail "a rank that does not start is not waited for in vain"; }
}
# stops_in WHAT N WHOM LINE: a rank is stopped in a call of MPI that waits for all. One of the others says it, and not
# the one that was stopped, when the launcher wakes it up to end it.
cat >"$scratch/stops.c" <<'TEXT'
#include <signal.h>
#include <stdlib.h>
#include <string.h>
int PMPI_Init_thread(int*, char***, int, int*);
int PMPI_Finalize(void);
static void stop_in(const char* what) {
  if (strcmp(getenv("STOPS_IN"), what) == 0 && strcmp(getenv("STOPS"), getenv("OMPI_COMM_WORLD_RANK")) == 0)
    raise(SIGSTOP);
}
int MPI_Init_thread(int* argc, char*** argv, int wanted, int* provided) {
  stop_in("MPI_Init");
  return PMPI_Init_thread(argc, argv, wanted, provided);
}
int MPI_Finalize(void) {
  stop_in("MPI_Finalize");
  return PMPI_Finalize();
}
TEXT
"$CXX" -x c -shared -fPIC -o "$scratch/stops.so" "$scratch/stops.c"
stops_in() {
  local started=$SECONDS
  if timeout 60 mpirun "${root[@]}" --oversubscribe --bind-to none -n "$2" -x LD_PRELOAD="$scratch/stops.so" \
    -x STOPS_IN="$1" -x STOPS="$3" "$ATLAS_BIN_DIR/test_dist" --test-case='a group knows its ranks' >"$log" 2>&1; then
    fail "a rank that is stopped in $1: ended with success"
  fi
  [ $((SECONDS - started)) -lt $soon ] || fail "a rank that is stopped in $1: took $((SECONDS - started)) s"
  grep -qE "^$4: all processes are ended " "$log" || { cat "$log" >&2; fail "a rank that is stopped in $1 is not waited for in vain"; }
  ! grep -qE "rank $3 of $2 waited" "$log" || { cat "$log" >&2; fail "the rank that is stopped in $1 blames the others"; }
}
# crowded COMMAND...: on a machine with so much to do that a process which leaves the core to others gets it back late.
cat >"$scratch/crowded.c" <<'TEXT'
#include <unistd.h>
int sched_yield(void) { return usleep(20000); }
TEXT
"$CXX" -x c -shared -fPIC -o "$scratch/crowded.so" "$scratch/crowded.c"
crowded() {
  options=(-x LD_PRELOAD="$scratch/crowded.so")
  "$@"
}
# waits_for_ever SECONDS: that is how long a rank may hang; healthy ones end at once.
waits_for_ever() {
  local started=$SECONDS
  ATLAS_DIST_TIMEOUT=$1 goes_on 2 'rank 0 is busy for a moment'
  [ $((SECONDS - started)) -lt 30 ] || fail "ATLAS_DIST_TIMEOUT=$1: took $((SECONDS - started)) s"
}
# Long enough for two busy cores, where processes start seconds apart.
export ATLAS_DIST_TIMEOUT=8
beside starts_late
beside goes_on 3 'rank 0 is busy for long'
beside goes_on 3 'rank 0 is busy at its end'
beside goes_on 2 'an observer of rank 0 works for long'
beside stops_in MPI_Init 3 0 '\[start\] rank [12] of 3 waited 15 s for the start of the others'
beside stops_in MPI_Finalize 3 1 "\[end\] rank [02] of 3 waited $ATLAS_DIST_TIMEOUT s for MPI_Finalize to return"
beside names 2 'an observer of rank 0 is stopped' all_reduce 1 0
for n in 3 4; do beside names $n 'rank 1 hangs' all_reduce 023 1; done
beside crowded names 3 'rank 1 hangs' all_reduce 02 1
beside names 3 'rank 1 hangs while some are operations ahead' '(broadcast|all_reduce)' 023 1
beside names 4 'rank 1 hangs after it had waited' barrier 023 1
beside names 3 'ranks call different operations' '(barrier|all_reduce)' 012 '\(all wait: do they call the same\?\)'
beside names 3 'rank 0 is stopped while it is busy' barrier 12 0
beside names 3 'rank 1 hangs while rank 0 is busy' barrier 2 1
beside names 3 'rank 1 hangs after the last operation' end 02 1
for n in 2 3; do beside names $n 'rank 1 ends early' all_reduce 02 '1 \(at its end\)'; done
beside ends_by 2 'ranks gather different sizes' '\[all_gather\] rank [01] of 2: MPI_ERR_TRUNCATE: message truncated'
for seconds in 1e12 inf; do beside waits_for_ever $seconds; done
beside ends_by 3 'rank 1 dies' 'rank 1 .*signal 9'
beside ends_by 3 'rank 1 fails' 'this rank fails'
finish
# Nobody is busy for longer than twenty times as long as a rank may hang.
ATLAS_DIST_TIMEOUT=2 soon=60
beside names 2 'rank 0 is busy without an end' barrier 1 0
beside names 2 'an observer of rank 0 hangs' all_reduce 1 0
finish
unset ATLAS_DIST_TIMEOUT

# srun that was told of no MPI starts processes which do not know each other.
if SLURM_STEP_NUM_TASKS=2 "$ATLAS_BIN_DIR/test_dist" --test-case='a group knows its ranks' >"$scratch/log" 2>&1; then
  fail "srun without PMIx: ended with success"
fi
grep -qF 'srun started 2 processes that it does not introduce to each other: srun --mpi=pmix' "$scratch/log" ||
  { cat "$scratch/log" >&2; fail "srun without PMIx is not named"; }

# What all have to say against is said once.
said_once() { # said_once TEXT N: the example with N processes fails with one line, TEXT
  local status=0
  mpirun "${root[@]}" --oversubscribe --bind-to none -n "$2" "$ATLAS_BIN_DIR/06_many_processes" >"$log" 2>&1 || status=$?
  [ $status -ne 0 ] && [ "$(grep -cF "$1" "$log")" = 1 ] || { cat "$log" >&2; fail "'$1': status $status, or not one line"; }
}
said_once 'a batch of 48 cannot be shared evenly by 5 processes' 5
ATLAS_DIST_TIMEOUT=abc said_once "ATLAS_DIST_TIMEOUT needs a number of seconds, got 'abc'" 3

# One CPU that was given to all, by whoever starts mpirun or by what mpirun starts, is all that they have.
if command -v taskset >/dev/null; then
  cpu=$(taskset -cp $$ | sed 's/.*: \([0-9]*\).*/\1/')
  one=(taskset -c "$cpu")
  test=("$ATLAS_BIN_DIR/test_dist" --no-skip --test-case='hidden: one CPU for all')
  quietly "${one[@]}" mpirun "${root[@]}" --oversubscribe -n 2 "${test[@]}"
  quietly mpirun "${root[@]}" --oversubscribe -n 2 "${one[@]}" "${test[@]}"
fi

# The example gives the same numbers whatever the number of processes.
example() { # example N
  ATLAS_NUM_THREADS=1 mpirun "${root[@]}" --oversubscribe --bind-to none -n "$1" "$ATLAS_BIN_DIR/06_many_processes" |
    grep '^epoch' >"$scratch/$1"
}
example 1
example 3
[ "$(wc -l <"$scratch/1")" = 6 ] || fail "the example printed $(cat "$scratch/1")"
quietly diff "$scratch/1" "$scratch/3"
