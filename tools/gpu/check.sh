#!/usr/bin/env bash
# Everything that a machine with a GPU can check, in parts that each end within nine minutes.
set -uo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/gpu/check.sh [OPTION]... PART...

For a bare machine with a CUDA toolkit, a C++ compiler and CMake, but no internet: third-party packages are looked for in
the folders of CMAKE_PREFIX_PATH. Each part ends within nine minutes and can be run alone. What did not fit goes on when
the part is run again, which leaves out what passed since its program was built. The last line is `N passed, N failed`;
the exit code is 0 when none failed, 2 without a GPU.

  build          configures and builds build/gpu for the GPU of this machine
  tests          every unit test with tensors on the device
  golden         every golden file on the device, in float32 and float64
  sanitize       the tests of ops and optimizers under compute-sanitizer: memcheck, then racecheck and synccheck where
                 blocks share memory
  train          the toy models: float32, bf16, as a CUDA graph, interrupted and resumed
  bench-kernels  tools/gpu/bench.sh kernels
  bench-models   tools/gpu/bench.sh models
  all            these in this order

  --emulate      build/emulate instead: kernels run on the CPU, to try this script without a GPU (no sanitize; tiny benches)
  --jobs N       processes to build with (default: all cores)
  --build DIR    build tree (default build/gpu, or build/emulate)
  -h, --help     this text

Example: CMAKE_PREFIX_PATH=$PWD/.deps/usr tools/gpu/check.sh build tests golden
TEXT
}

fail() {
  echo "check: $*" >&2
  exit 2
}

emulate=no
jobs=$(nproc)
tree=
parts=()
while [ $# -gt 0 ]; do
  case $1 in
    --emulate) emulate=yes ;;
    --jobs) [[ ${2-} =~ ^[1-9][0-9]*$ ]] || fail "--jobs needs a number"; shift; jobs=$1 ;;
    --build) [ $# -gt 1 ] || fail "--build needs a folder"; shift; tree=$1 ;;
    -h | --help) usage; exit 0 ;;
    build | tests | golden | sanitize | train | bench-kernels | bench-models) parts+=("$1") ;;
    all) parts+=(build tests golden sanitize train bench-kernels bench-models) ;;
    *) fail "unknown part or option '$1' (see --help)" ;;
  esac
  shift
done
[ ${#parts[@]} -gt 0 ] || fail "name a part: build, tests, golden, sanitize, train, bench-kernels, bench-models or all"
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
if [ $emulate = yes ]; then
  tree=${tree:-build/emulate}
else
  tree=${tree:-build/gpu}
fi
bin=$tree/bin
logs=$tree/check
mkdir -p "$logs"
limit=530 # seconds for one part

passed=0
failed=0
# try NAME COMMAND...: runs it, prints one line, counts it; its output goes to a log that is shown when it fails.
try() {
  local name=$1 status=0 started=$SECONDS
  shift
  "$@" >"$logs/${name//[ \/]/_}.log" 2>&1 || status=$?
  if [ $status -eq 0 ]; then
    passed=$((passed + 1))
    echo "  passed  $name ($((SECONDS - started)) s)"
  else
    failed=$((failed + 1))
    echo "  FAILED  $name (status $status, $((SECONDS - started)) s), $logs/${name//[ \/]/_}.log ends:"
    tail -n 15 "$logs/${name//[ \/]/_}.log" | sed 's/^/    /'
  fi
  return $status
}
# rest: what is left of the part's time, at least one second.
rest() { echo $((part_started + limit > SECONDS ? part_started + limit - SECONDS : 1)); }
# once NAME PROGRAM COMMAND...: try, unless it passed since PROGRAM was built; not when the part's time is nearly over.
once() {
  local name=$1 program=$2 done=$logs/${1//[ \/]/_}.passed
  shift 2
  if [ "$done" -nt "$program" ]; then
    passed=$((passed + 1))
    echo "  passed  $name (before)"
  elif [ "$(rest)" -lt 20 ]; then
    failed=$((failed + 1))
    echo "  not done: $name; run this part again"
  else
    rm -f "$done"
    try "$name" timeout "$(rest)" "$@" && touch "$done"
  fi
}

need_device() {
  need_built models
  [ $emulate = no ] || return 0
  local text
  text=$("$bin/models" --device cuda --model atlas-toy --image-size 32 --batch 1 --mode forward --seconds 0 2>&1 >/dev/null) || fail "$text"
}
need_built() { [ -x "$bin/$1" ] || fail "$bin/$1 is not built: tools/gpu/check.sh build comes first"; }

part_build() {
  local options=(-S . -B "$tree" -DCMAKE_BUILD_TYPE=Release)
  if [ $emulate = yes ]; then
    options+=(-DATLAS_CUDA_EMULATE=ON)
  else
    local nvcc archs
    nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
    [ -x "$nvcc" ] || fail "there is no nvcc: put the CUDA toolkit's bin folder on PATH"
    options+=(-DATLAS_CUDA=ON "-DCMAKE_CUDA_COMPILER=$nvcc")
    # One architecture builds several times faster than all; without a driver, what CMakeLists.txt says.
    archs=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '.')
    [ -z "$archs" ] || options+=("-DATLAS_CUDA_ARCHS=$archs")
  fi
  [ -f "$tree/CMakeCache.txt" ] || ! command -v ninja >/dev/null || options+=(-G Ninja)
  try configure cmake "${options[@]}" || return
  local status=0 started=$SECONDS
  timeout -s INT "$(rest)" cmake --build "$tree" --parallel "$jobs" \
    --target atlas_unit_tests train classify golden_check models bench_kernels >"$logs/build.log" 2>&1 || status=$?
  case $status in
    0) passed=$((passed + 1)); echo "  passed  build ($((SECONDS - started)) s)" ;;
    124) failed=$((failed + 1)); echo "  not done: the build goes on when this part is run again ($(grep -c . "$logs/build.log") lines so far)" ;;
    *) failed=$((failed + 1)); echo "  FAILED  build, $logs/build.log:"; grep -E 'error|Error' "$logs/build.log" | head -n 15 | sed 's/^/    /' ;;
  esac
}

part_tests() {
  need_built test_ops
  need_device
  local program name cpu_only
  # Files about the CPU alone run there.
  cpu_only=$(grep -lr 'ctest-device: *cpu' tests --include='*_test.cpp' | sed 's/^/*/' | paste -sd ,)
  for program in "$bin"/test_*; do
    name=$(basename "$program")
    [ $emulate = yes ] || case $name in
      test_ops | test_nn | test_core | test_models | test_optim) once "$name, about the CPU" "$program" "$program" "--source-file=$cpu_only" ;;
    esac
    case $name in
      # Readers of files have nothing on a device; the training loop chooses the GPU by itself.
      test_data | test_io | test_train) once "$name" "$program" "$program" ;;
      # Bad labels and indices are errors where the host waits next; these tests expect them at once.
      test_ops) once "$name on the device" "$program" env ATLAS_CUDA_SYNC=1 "$program" --device cuda "--source-file-exclude=$cpu_only" ;;
      *) once "$name on the device" "$program" "$program" --device cuda "--source-file-exclude=$cpu_only" ;;
    esac
  done
  [ $emulate = yes ] || once "convolution without wgmma" "$bin/test_cuda" timeout 120 env ATLAS_CUDA_WGMMA=0 ATLAS_CUDA_SYNC=1 \
    "$bin/test_cuda" --device cuda '--test-case=*convolution*'
}

part_golden() {
  need_built golden_check
  need_device
  local check=$bin/golden_check
  once "golden files, float32" "$check" "$check" --device cuda tests/golden
  [ $emulate = yes ] || once "golden files, float64" "$check" "$check" --device cuda --dtype float64 tests/golden
}

part_sanitize() {
  [ $emulate = no ] || { echo "  left out: compute-sanitizer looks at GPUs"; return; }
  need_built test_ops
  need_built test_optim
  need_device
  local tool file sanitizer
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  if [ ! -x "$sanitizer" ]; then
    failed=$((failed + 1))
    echo "  FAILED  there is no compute-sanitizer: it comes with the CUDA toolkit"
    return
  fi
  for tool in memcheck racecheck synccheck; do
    for file in tests/ops/*_test.cpp tests/optim/*_test.cpp; do
      local name room
      name=$(basename "$file" .cpp)
      room=$(basename "$(dirname "$file")")
      case $tool:$name in
        memcheck:* | *:softmax_test | *:norm_test | *:reduce_test | *:matmul_test | *:conv_test | *:attention_test | *:scan_test | *:loss_test | *:optimizer_test) ;;
        *) continue ;;
      esac
      once "$tool $room/$name" "$bin/test_$room" env ATLAS_CUDA_SYNC=1 "$sanitizer" --tool "$tool" --error-exitcode 99 \
        "$bin/test_$room" --device cuda "--source-file=*/$room/$name.cpp"
    done
  done
}

# Value of a column in the last line of a run's log.csv.
logged() {
  awk -F, -v want="$2" 'NR == 1 { for (i = 1; i <= NF; ++i) if ($i == want) c = i } { value = $c } END { print value }' "$1/log.csv"
}
same_loss() {
  local one other
  one=$(logged "$1" train_loss)
  other=$(logged "$2" train_loss)
  [ "$one" = "$other" ] || { echo "losses differ: $one and $other"; return 1; }
}
# train_to ACCURACY FOLDER OPTION...: trains, and fails below the accuracy.
train_to() {
  local least=$1 to=$2 reached
  shift
  rm -rf "$to"
  "$bin/train" --out "$@" || return
  reached=$(logged "$to" test_accuracy)
  awk -v a="$reached" -v b="$least" 'BEGIN { exit !(a >= b) }' || { echo "accuracy $reached, expected $least"; return 1; }
}
# train_killed FOLDER OPTION...: kills a run some steps behind its first checkpoint, and resumes it.
train_killed() {
  rm -rf "$1"
  "$bin/train" --out "$@" --checkpoint-steps 2 &
  local run=$!
  while [ ! -e "$1/last.ckpt" ] && kill -0 $run 2>/dev/null; do sleep 0.1; done
  sleep 0.3
  kill -KILL $run
  wait $run
  "$bin/train" --out "$1" --resume --device cuda
}

part_train() {
  need_built train
  need_built classify
  need_device
  export bin
  export -f logged same_loss train_to train_killed
  local data=shapes:32 least=0.9 epochs=8 model out=$logs/runs common folder train=$bin/train prefixes=${CMAKE_PREFIX_PATH-}
  # Fashion-MNIST, where a package brought it.
  for folder in ${prefixes//[:;]/ } /usr; do
    [ -d "$folder/share/datasets/fashion-mnist" ] && data=fashion-mnist:$folder/share/datasets/fashion-mnist least=0.84 epochs=2 && break
    [ -d "$folder/share/dataset-fashion-mnist" ] && data=fashion-mnist:$folder/share/dataset-fashion-mnist least=0.84 epochs=2 && break
  done
  common=(--device cuda --data "$data" --epochs $epochs)
  [ $emulate = no ] || { common=(--device cuda --data shapes:32 --limit-train 32 --limit-test 16 --batch-size 8 --epochs 1); least=0; }
  for model in atlas-toy mambavision-toy; do
    once "train $model" "$train" bash -c 'train_to "$@"' - "$least" "$out/$model" --model $model "${common[@]}"
    once "train $model, bf16" "$train" bash -c 'train_to "$@"' - "$least" "$out/$model-bf16" --precision bf16 --model $model "${common[@]}"
    # The same kernels in the same order, only started otherwise: the same numbers.
    once "train $model as a graph" "$train" bash -c 'train_to "${@:2}" && same_loss "$1" "$3"' - "$out/$model" "$least" "$out/$model-graph" \
      --cuda-graph --model $model "${common[@]}"
    once "classify with $model on the CPU" "$bin/classify" "$bin/classify" --device cpu --checkpoint "$out/$model/best.ckpt" \
      "$out/$model/predictions.png"
  done
  # The same losses as in one go.
  once "train, killed and resumed" "$train" bash -c 'train_killed "${@:2}" && same_loss "$1" "$2"' - "$out/atlas-toy" "$out/killed" \
    --model atlas-toy "${common[@]}"
}

bench() {
  local options=(--build "$tree")
  [ $emulate = no ] || options+=(--tiny)
  tools/gpu/bench.sh "$1" "${options[@]}" && passed=$((passed + 1)) || failed=$((failed + 1))
}

for part in "${parts[@]}"; do
  echo "== $part"
  part_started=$SECONDS
  case $part in
    build) part_build ;;
    tests) part_tests ;;
    golden) part_golden ;;
    sanitize) part_sanitize ;;
    train) part_train ;;
    bench-kernels) need_built bench_kernels; need_device; bench kernels ;;
    bench-models) need_built models; need_device; bench models ;;
  esac
  echo "== $part took $((SECONDS - part_started)) s"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
