# For scripts of tests, which set `work` (a folder) and `failures` (a number).

# expect TEXT COMMAND...: status 2 and one line on stderr that holds TEXT.
expect() {
  local text=$1 status=0
  shift
  "$@" >"$work/out" 2>"$work/err" || status=$?
  if [ $status -ne 2 ] || ! grep -qF -- "$text" "$work/err" || [ "$(wc -l <"$work/err")" -ne 1 ]; then
    echo "FAILED: $* : status $status, expected 2 and one line with '$text', got:" >&2
    cat "$work/err" >&2
    failures=$((failures + 1))
  fi
}
