#!/usr/bin/env bash
# Programs find families of models in the registry and name none: a new family is one registration and no branch
# elsewhere. Comments may show commands with a model's name.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$ATLAS_SOURCE_DIR"

programs=(examples/{train,finetune,classify,features}.cpp tools/{model_info,convert_checkpoint,golden_check}.cpp
  tools/program/*.cpp)
families='mamba|convnext|AtlasNet|AtlasConfig|AtlasBackbone|atlas_(net|config|pyramid)|"atlas"|atlas-(s|b|l|tiny|toy)([^a-z]|$)'
problems=0

# names TEXT: the lines of code that name a family
names() { sed -E 's@//.*@@' "$1" | grep -nEi "$families"; }

for file in "${programs[@]}"; do
  [ -f "$file" ] || { echo "$file is not there"; problems=$((problems + 1)); continue; }
  if found=$(names "$file"); then
    echo "$file names a family of models:"
    echo "$found"
    problems=$((problems + 1))
  fi
done

# The search finds what it looks for.
probe=$scratch/probe
for line in 'if (family == "atlas")' 'models::AtlasNet net;' '#include "atlas/models/mamba_vision.h"' 'run("atlas-toy");'; do
  echo "$line" >"$probe"
  names "$probe" >/dev/null || { echo "the search overlooks: $line"; problems=$((problems + 1)); }
done
echo '  namespace data = atlas::data;  // of mambavision-t' >"$probe"
if names "$probe"; then
  echo "the search finds what is no family"
  problems=$((problems + 1))
fi

# Training knows no task and no set of data by name either: the defaults of config.h and the table of recipes are data.
# What opens a trained detector or segmenter for a program is of one task: it resizes as that task's tests do.
tasks='classification|segmentation|detection|"(fashion-mnist|cifar10|cifar100|mnist|shapes|folder)[":[]'
for file in atlas/train/*.h; do
  case $file in */config.h | */recipes-inl.h | */trained_detector* | */trained_segmenter*) continue ;; esac
  if found=$(sed -E 's@//.*@@' "$file" | grep -nEi "$families|$tasks"); then
    echo "$file names a family, a task or a set of data:"
    echo "$found"
    problems=$((problems + 1))
  fi
done

[ "$problems" = 0 ] || fail "$problems problems with families"
