#!/usr/bin/env bash
# tools/gpu/check.sh and bench.sh where there is no GPU: one line and status 2, for a mistake too.
set -euo pipefail
cd "$ATLAS_SOURCE_DIR"
tree=$(dirname "$ATLAS_BIN_DIR")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# shellcheck source=tests/expect.sh
source "$ATLAS_SOURCE_DIR/tests/expect.sh"

expect "name a part" tools/gpu/check.sh
expect "unknown part or option 'everything'" tools/gpu/check.sh everything
expect "--jobs needs a number" tools/gpu/check.sh build --jobs
expect "is not built" tools/gpu/check.sh golden --build "$work"
expect "say what to time" tools/gpu/bench.sh
expect "unknown option '--fast'" tools/gpu/bench.sh kernels --fast
expect "is not built" tools/gpu/bench.sh kernels --build "$work"
for part in tests golden train bench-kernels bench-models; do
  CUDA_VISIBLE_DEVICES='' expect "[device] cuda" tools/gpu/check.sh $part --build "$tree"
done
CUDA_VISIBLE_DEVICES='' expect "[device] cuda" tools/gpu/bench.sh models --build "$tree"
tools/gpu/check.sh --help | grep -q "Usage: tools/gpu/check.sh"
tools/gpu/bench.sh --help | grep -q "Usage: tools/gpu/bench.sh"
# The kernels' table, on the CPU.
"$ATLAS_BIN_DIR/bench_kernels" --device cpu --tiny --seconds 0 --markdown >"$work/table"
grep -q "^| layer_norm forward" "$work/table"
expect "bfloat16 is computed with on CUDA devices" "$ATLAS_BIN_DIR/bench_kernels" --device cpu --dtype bfloat16
exit $((failures > 0))
