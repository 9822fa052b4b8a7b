# Sourced by scripts that try what programs do: a folder of their own to work in, which goes away at the end, and a count
# of what went wrong. Programs write their output to the files `out` and `err` there.
set -uo pipefail
bin=$ATLAS_BIN_DIR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
# complain WHAT...: the script goes on, and fails at its end (exit code: failures).
complain() {
  echo "FAILED: $*" >&2
  tail -n 20 err out >&2 2>/dev/null
  failures=$((failures + 1))
}
