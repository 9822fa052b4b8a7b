#!/usr/bin/env bash
# Times how photographs become pictures for training, against torchvision, and checks that both give the same.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/bench/data.sh --torch PYTHON [OPTION]...

Makes photographs of 2048 x 1536 and 4096 x 3072 pixels (JPEG, quality 90, 4:2:0), cuts a random piece out of each and
resizes it to 224 and 1024 pixels: our loader; torchvision through Pillow (RandomResizedCrop, ToTensor); torchvision.io
and transforms v2. All read the same files with the same crops, on one core, in turn. Times are processor time a picture,
the medians of rounds. The pictures have to be the same: as Pillow makes them in float32 to one gray level (0.01 in the mean).
Those that are timed round to whole gray levels, and cut off at 0 and 255, between columns and rows as well: at most 10 gray
levels apart, 0.5 in the mean.

  --torch PYTHON   a Python with torch, torchvision, Pillow and NumPy, such as a virtual environment's bin/python
  --pictures N     of the smaller size, and half as many of the larger one (8)
  --rounds N       times that each side reads all of them in a turn (3)
  --turns N        turns of the three; the median of their medians counts (3)
  --core N         the core that all run on (the first one allowed)
  --folder DIR     where the photographs are kept (build/bench/photos)
  --record FILE    Markdown to append the table to (none)
  --quick          four and two pictures, one round, one turn
  --no-build       use the programs of the last build
  -h, --help       this text
TEXT
}

fail() {
  echo "data.sh: $* (see --help)" >&2
  exit 2
}

torch='' pictures=8 rounds=3 turns=3 core='' folder=build/bench/photos record='' build=yes
while [ $# -gt 0 ]; do
  case $1 in
    --torch | --pictures | --rounds | --turns | --core | --folder | --record) [ $# -ge 2 ] || fail "$1 needs a value" ;;
  esac
  case $1 in
    --torch) torch=$2; shift ;;
    --pictures) pictures=$2; shift ;;
    --rounds) rounds=$2; shift ;;
    --turns) turns=$2; shift ;;
    --core) core=$2; shift ;;
    --folder) folder=$2; shift ;;
    --record) record=$2; shift ;;
    --quick) pictures=4 rounds=1 turns=1 ;;
    --no-build) build=no ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option '$1'" ;;
  esac
  shift
done
for number in "$pictures" "$rounds" "$turns"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || fail "'$number' is not a number of 1 or more"
done
[ -n "$torch" ] || fail "--torch is needed: the Python that has torchvision"

from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case $torch in
  /*) ;;
  */*) torch=$from/$torch ;;
esac
case $folder in
  /* | build/bench/photos) ;;
  *) folder=$from/$folder ;;
esac
case $record in
  '' | /*) ;;
  *) record=$from/$record ;;
esac
command -v "$torch" >/dev/null || fail "there is no program '$torch' (--torch needs a Python)"
"$torch" -c 'import numpy, PIL, torch, torchvision' 2>/dev/null ||
  fail "'$torch' cannot import numpy, PIL, torch and torchvision"
bin=${ATLAS_BIN_DIR:-build/release/bin}
if [ $build = yes ]; then
  [ -f build/release/CMakeCache.txt ] || cmake --preset release >/dev/null
  cmake --build build/release --target photos >&2
  bin=build/release/bin
fi
[ -x "$bin/photos" ] || fail "$bin/photos is not built"

[ -n "$core" ] || core=$(taskset -pc $$ | sed -E 's/.*: ([0-9]+).*/\1/')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
side=tools/bench/photos_side.py
# milliseconds LINE: of "12.3456 ms a picture, median of ..."
milliseconds() { sed -E 's/ .*//' <<<"$1"; }
# median: of the numbers on the standard input
median() { sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }

table="| photographs | to | ours | Pillow | ratio | torchvision.io | ratio | gray levels apart from Pillow in float32: at most (mean) | from Pillow, torchvision.io |
|---|---|---|---|---|---|---|---|---|"
problems=0
for size in 2048x1536 4096x3072; do
  count=$pictures
  [ $size = 2048x1536 ] || count=$(((pictures + 1) / 2))
  "$torch" $side make "$folder" $size "$count" >&2
  files=()
  for ((i = 0; i < count; ++i)); do files+=("$folder/$size-$i.jpg"); done
  for target in 224 1024; do
    : >"$work/ours" && : >"$work/pillow" && : >"$work/io"
    for ((turn = 0; turn < turns; ++turn)); do
      extra=() check=()
      [ $turn -gt 0 ] || extra=(--crops "$work/crops" --out "$work/ours.npy") check=("$work/ours.npy")
      line=$(taskset -c "$core" "$bin/photos" --size $target --rounds "$rounds" "${extra[@]}" "${files[@]}")
      milliseconds "$line" >>"$work/ours"
      for how in pillow io; do
        line=$(taskset -c "$core" "$torch" $side time $how $target "$work/crops" "$rounds" "${check[@]}")
        milliseconds "$line" >>"$work/$how"
        [ $turn -gt 0 ] || sed -E 's/.*; apart //' <<<"$line" >"$work/apart.$how"
      done
    done
    for how in pillow io; do
      read -r most mean exact exact_mean <"$work/apart.$how"
      awk -v a="$most" -v b="$mean" -v c="$exact" -v d="$exact_mean" 'BEGIN { exit !(a <= 10 && b <= 0.5 && c <= 1 && d <= 0.01) }' || {
        echo "data.sh: $size to $target: $how gives other pictures: $most gray levels apart, $mean in the mean;" \
          "Pillow in float32 $exact, $exact_mean" >&2
        problems=$((problems + 1))
      }
    done
    row=$(awk -v size=$size -v target=$target -v a="$(median <"$work/ours")" -v b="$(median <"$work/pillow")" \
      -v c="$(median <"$work/io")" -v p="$(cat "$work/apart.pillow")" -v q="$(cat "$work/apart.io")" 'BEGIN {
        split(p, f, " "); split(q, g, " ")
        sub("x", " x ", size)
        printf "| %s | %d px | %.2f ms | %.2f ms | **%.2f** | %.2f ms | **%.2f** | %s (%s) | %s (%s), %s (%s) |",
          size, target, a, b, b / a, c, c / a, f[3], f[4], f[1], f[2], g[1], g[2] }')
    echo "$row" >&2
    table+=$'\n'$row
  done
done

name=$(lscpu | sed -nE 's/^Model name: *//p' | head -n 1)
versions=$("$torch" -c 'import torchvision, torch, PIL; print(f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}")')
text="One core of $name; processor time a picture, medians of $turns turns of $rounds rounds over $pictures and $(((pictures + 1) / 2)) photographs; $versions.

$table"
echo "$text"
[ -z "$record" ] || printf '\n%s\n' "$text" >>"$record"
[ $problems = 0 ] || exit 1
