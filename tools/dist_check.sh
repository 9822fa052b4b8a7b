#!/usr/bin/env bash
# Runs every test of tests/dist with several processes on this machine.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/dist_check.sh [N]...

Runs the tests of tests/dist with 1, 2, 3 and N processes, over MPI (Open MPI's mpirun; more processes than cores are
fine). The release preset has to be built before: cmake --build build/release --target test_dist

  -h, --help   this text

ATLAS_BIN_DIR in the environment names the folder of the test program (default: build/release/bin).
TEXT
}

counts=(1 2 3)
for argument in "$@"; do
  case $argument in
    -h | --help) usage; exit 0 ;;
    *)
      if ! [[ $argument =~ ^[1-9][0-9]*$ ]]; then
        echo "dist_check: needs numbers of processes, got '$argument' (see --help)" >&2
        exit 2
      fi
      counts+=("$argument")
      ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=${ATLAS_BIN_DIR:-build/release/bin}/test_dist
if [ ! -x "$program" ]; then
  echo "dist_check: $program is not there: cmake --build build/release --target test_dist" >&2
  exit 2
fi
if ! command -v mpirun >/dev/null; then
  echo "dist_check: mpirun is missing: apt install libopenmpi-dev openmpi-bin, then run cmake and build again" >&2
  exit 2
fi

root=()
[ "$(id -u)" -ne 0 ] || root=(--allow-run-as-root)
export ATLAS_NUM_THREADS=1
export ATLAS_DIST_TIMEOUT=${ATLAS_DIST_TIMEOUT:-30}
failed=0
for n in $(printf '%s\n' "${counts[@]}" | sort -nu); do
  echo "== $n processes"
  mpirun "${root[@]}" --oversubscribe --bind-to none -n "$n" "$program" --no-colors=true --minimal=true || failed=1
done
exit $failed
