#!/usr/bin/env bash
# tools/bench/data.sh: a row for each size, ratios of medians, and no table is believed whose pictures differ. torchvision
# is played by a script; our side runs.
source "$(dirname "${BASH_SOURCE[0]}")/../frame/common.sh"
bench() { bash "$ATLAS_SOURCE_DIR/tools/bench/data.sh" --no-build --folder "$scratch/photos" "$@"; }

cat >"$scratch/python" <<'PEER'
#!/usr/bin/env bash
case "$1 $2" in
  *photos_side.py\ make)
    mkdir -p "$3"
    for ((i = 0; i < $5; ++i)); do cp tools/bench/pictures/coffee_leaves.jpg "$3/$4-$i.jpg"; done
    ;;
  *photos_side.py\ time)
    [ "$(wc -l <"$5")" = "$FAKE_LINES" ] || [ "$(wc -l <"$5")" = $((FAKE_LINES / 2)) ] || exit 1
    echo "1000000.0000 ms a picture, median of $6 rounds; fastest 1.0 ms${7:+; apart $FAKE_APART}"
    ;;
  -c*torchvision.__version__*) echo "PyTorch 0.0, torchvision 0.0, Pillow 0.0" ;;
esac
PEER
chmod +x "$scratch/python"
export FAKE_APART="7 0.125 1 0.0025" FAKE_LINES=2

printf 'By hand.\n' >"$scratch/page.md"
quietly bench --torch "$scratch/python" --pictures 2 --rounds 1 --turns 1 --record "$scratch/page.md"
grep -qx 'By hand.' "$scratch/page.md" || fail "what stood in the record is gone"
for row in '2048 x 1536 | 224 px' '2048 x 1536 | 1024 px' '4096 x 3072 | 224 px' '4096 x 3072 | 1024 px'; do
  grep -qE "^\| $row \| [0-9.]+ ms \| 1000000.00 ms \| \*\*[0-9.]+\*\* \| .* \| 1 \(0.0025\) \| 7 \(0.125\), 7 \(0.125\) \|$" "$scratch/page.md" ||
    fail "no row '$row' in the record: $(cat "$scratch/page.md")"
done

for apart in '11 0.1 1 0' '5 0.6 1 0' '5 0.1 2 0' '5 0.1 1 0.02'; do
  status=0
  FAKE_APART=$apart bench --torch "$scratch/python" --pictures 2 --rounds 1 --turns 1 >"$scratch/out" 2>"$scratch/err" || status=$?
  [ $status = 1 ] || fail "pictures that differ: status $status, expected 1"
  read -r most mean exact exact_mean <<<"$apart"
  grep -qF "2048x1536 to 224: pillow gives other pictures: $most gray levels apart, $mean in the mean; Pillow in float32 $exact, $exact_mean" \
    "$scratch/err" || fail "which differ is not said: $(cat "$scratch/err")"
done

# refuse TEXT ARGUMENT...: status 2 and one line.
refuse() {
  local text=$1 status=0
  shift
  bench "$@" >"$scratch/out" 2>"$scratch/err" || status=$?
  [ $status = 2 ] && [ "$(wc -l <"$scratch/err")" = 1 ] && grep -qF -- "$text" "$scratch/err" ||
    fail "data.sh $*: status $status, expected 2 and '$text': $(cat "$scratch/err")"
}
refuse '--torch is needed'
refuse "unknown option '--size'" --size 3
refuse '--rounds needs a value' --rounds
refuse "'0' is not a number of 1 or more" --torch "$scratch/python" --turns 0
refuse "there is no program '/nowhere/python'" --torch /nowhere/python
printf '#!/bin/sh\nexit 1\n' >"$scratch/bare" && chmod +x "$scratch/bare"
refuse 'cannot import numpy, PIL, torch and torchvision' --torch "$scratch/bare"
