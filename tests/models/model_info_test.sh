#!/usr/bin/env bash
# tools/model_info: totals agree with what was published, bad input gives one line.
set -u
info="$ATLAS_BIN_DIR/model_info"
[ -x "$info" ] || { echo "model_info is not built"; exit 77; }
failures=0
complain() {
  echo "$*"
  failures=$((failures + 1))
}

# total PRESET PARAMETERS_IN_MILLIONS GMAC: the published numbers; the paper leaves attention's
# products and scans out.
total() {
  local text line
  text=$("$info" --model "$1" --depth 0)
  line=$(grep "^$1 " <<<"$text") || { complain "$1: no total"; return; }
  awk -v p="$2" -v g="$3" '{
    if ($3 < p - 0.07 || $3 > p + 0.07) { print "parameters: " $0 ", published " p; bad = 1 }
    if ($4 < g * 0.99 || $4 > g * 1.06) { print "multiply-adds: " $0 ", published " g; bad = 1 }
  } END { exit bad }' <<<"$line" || failures=$((failures + 1))
  # "published: 31.8 M parameters and 4.4 GMAC, which ...; those are 4.5 here"
  awk -v g="$3" -v p="$2" '/^published/ { if ($2 == p && $6 == g && $(NF - 1) > g * 0.98 && $(NF - 1) < g * 1.03) ok = 1 }
    END { exit !ok }' <<<"$text" || complain "$1: linear layers and convolutions: $(grep ^published <<<"$text")"
}
total mambavision-t 31.8 4.4
total mambavision-t2 35.1 5.1
total mambavision-s 50.1 7.5
total mambavision-b 97.7 15.0
total mambavision-l 227.9 34.9
total mambavision-l2 241.5 37.5

# A batch of two: twice the work, up to twice the activations (tables of positions are shared), the same parameters;
# parts add up.
read -r p1 g1 a1 < <("$info" --model atlas-toy --depth 0 | awk '/^atlas-toy/ {print $3, $4, $5}')
read -r p2 g2 a2 < <("$info" --model atlas-toy --depth 0 --batch 2 | awk '/^atlas-toy/ {print $3, $4, $5}')
awk "BEGIN { exit !($p1 == $p2 && $g2 > 1.9 * $g1 && $g2 < 2.1 * $g1 && $a2 > 1.5 * $a1 && $a2 < 2.1 * $a1) }" ||
  complain "batch 2: $p2 $g2 $a2, batch 1: $p1 $g1 $a1"
"$info" --model mambavision-t --depth 1 | awk '/^[a-z_-]+ / && NF >= 4 && !/^module/ {
    if ($1 == "mambavision-t") total = $NF; else sum += $NF } END { exit !(sum > total * 0.99 && sum < total * 1.01) }' ||
  complain "the parts of mambavision-t do not add up"
# Segmenters and detectors: the parts add up, and each does something.
for model in upernet-mambavision-tiny cascade-mask-rcnn-mambavision-toy; do
  "$info" --model $model --image-size 64 --depth 1 | awk -v model=$model '/^[a-z_-]+ / && NF >= 4 && !/^module/ {
      if ($1 == model) { total = $(NF - 1); p = $(NF - 2) } else { sum += $(NF - 1); ps += $(NF - 2); ++n } }
    END { exit !(n >= 3 && total > 0.01 && sum > total * 0.99 && sum < total * 1.01 && ps > p * 0.999 && ps < p * 1.001) }' ||
    complain "the parts of $model do not add up"
done
"$info" --model atlas-tiny --image-size 64x48 --json | grep -q '"width": 64' || complain "no JSON"

# expect TEXT ARGS...: exit status 2, one line
expect() {
  local text=$1 output
  shift
  output=$("$info" "$@" 2>&1)
  [ $? = 2 ] && grep -qF -- "$text" <<<"$output" && [ "$(wc -l <<<"$output")" = 1 ] || complain "model_info $*: $output"
}
expect 'is required'
expect "there is no preset 'nothing'" --model nothing
expect 'is no number of pixels' --model atlas-toy --image-size 3x
expect 'is no number of pixels' --model atlas-toy --image-size -1
expect '--batch' --model atlas-toy --batch 0
# Sizes that nobody can mean are not tried.
started=$SECONDS
expect '65536 x 65536 pixels, batch 1, would' --model mambavision-t --image-size 65536
expect '8192 x 8192 pixels, batch 1, would' --model mambavision-t --image-size 8192
expect '65536 x 16 pixels, batch 65536, would' --model atlas-toy --image-size 65536x16 --batch 65536
[ $((SECONDS - started)) -lt 30 ] || complain "absurd sizes took $((SECONDS - started)) s"
[ "$failures" = 0 ] && echo "model_info behaves"
exit "$failures"
