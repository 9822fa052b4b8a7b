# Sourced by the scripts of this folder, which CTest runs with ATLAS_SOURCE_DIR, ATLAS_BUILD_DIR, CMAKE, CXX and JOBS
# in the environment. Gives them a scratch folder that is removed at the end, and a way to fail.
set -euo pipefail

: "${ATLAS_SOURCE_DIR:?run this through ctest}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Dependencies under CMAKE_PREFIX_PATH are visible to a bare compiler call too, as those of /usr are.
IFS=':' read -r -a prefixes <<<"${CMAKE_PREFIX_PATH:-}"
for prefix in "${prefixes[@]}"; do
  export CPLUS_INCLUDE_PATH="${CPLUS_INCLUDE_PATH:+$CPLUS_INCLUDE_PATH:}$prefix/include"
done

# needs COMMAND: skips the test where the command is not installed, but fails it when ATLAS_REQUIRE_TOOLS=1, as in
# continuous integration.
needs() {
  command -v "$1" >/dev/null && return
  [ "${ATLAS_REQUIRE_TOOLS:-0}" = 0 ] || fail "$1 is not installed (tools/setup.sh --optional)"
  exit 77
}

# needs_mpi: the same for what starts several processes; a build without MPI, where Open MPI is missing. Two mpirun that
# start and end at the same moment get in each other's way in the folder that they share: each test has its own.
needs_mpi() {
  needs mpirun
  export OMPI_MCA_orte_tmpdir_base=$scratch
  [ "${ATLAS_WITH_MPI:-OFF}" = OFF ] || return 0
  [ "${ATLAS_REQUIRE_TOOLS:-0}" = 0 ] || fail "built without MPI: libopenmpi-dev is not installed (tools/setup.sh --optional)"
  exit 77
}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# quietly COMMAND...: shows the output only when the command fails, and then fails the test.
quietly() {
  if ! "$@" >"$scratch/log" 2>&1; then
    cat "$scratch/log" >&2
    fail "$*"
  fi
}

# beside COMMAND...: runs it in the background with a file $log of its own, three at a time, as is good for what waits most
# of the time. finish: waits for all of them, and fails when one did.
log=$scratch/log
cases=()
beside() {
  [ ${#cases[@]} -lt 3 ] || wait "${cases[-3]}" || exit 1
  log=$(mktemp "$scratch/log.XXXXXX")
  OMPI_MCA_orte_tmpdir_base=$(mktemp -d "$scratch/mpi.XXXXXX") "$@" &
  cases+=("$!")
}
finish() {
  local case
  for case in "${cases[@]}"; do wait "$case" || exit 1; done
}

# hands_on_no_flags BUILD: what the project compiles itself with is nothing that the users who were built there get.
hands_on_no_flags() {
  if grep -E '"command".*/(main|other|ranks)\.cpp' "$1/compile_commands.json" | grep -E -e '-march|-Wpedantic|-ffast|-fno-'; then
    fail "atlas hands its own compiler flags to its users"
  fi
}
