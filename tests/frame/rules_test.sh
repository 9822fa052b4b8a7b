#!/usr/bin/env bash
# The rules of the house that a search can check: what is on the top level, which room may include what, where
# third-party headers may appear, the inline namespace, and the length of files.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$ATLAS_SOURCE_DIR"

problems=0
problem() {
  echo "$*"
  problems=$((problems + 1))
}

# The top level, of what is under version control.
while IFS= read -r entry; do
  [[ $entry =~ ^(CMakeLists\.txt|CMakePresets\.json|Doxyfile|LICENSE|README\.md|atlas|examples|tests|third_party|tools|\..*)$ ]] ||
    problem "$entry does not belong on the top level"
done < <(git ls-files 2>/dev/null | cut -d/ -f1 | sort -u)

# Rooms that each room may include, besides itself.
declare -A may_include=(
  [core]=""
  [tensor]="core"
  [autograd]="core tensor"
  [kernels]="core tensor cpu cuda reference"
  [cpu]="core tensor kernels"
  [cuda]="core tensor kernels"
  [reference]="core tensor kernels"
  [ops]="core tensor autograd kernels"
  [nn]="core tensor autograd ops"
  [optim]="core tensor autograd kernels ops nn"
  [data]="core tensor autograd ops nn io"
  [io]="core tensor autograd ops nn optim data"
  [models]="core tensor autograd ops nn io"
  [tasks]="core tensor autograd ops nn data models"
  [dist]="core tensor autograd ops nn"
  [train]="core tensor autograd ops nn optim data io models tasks dist"
)

# Third-party headers and the only files that may name them.
allow_only() { # allow_only WHAT INCLUDE_REGEX FILE_REGEX
  local line
  while IFS= read -r line; do
    [[ ${line%%:*} =~ $3 ]] || problem "$1 does not belong here: $line"
  done < <(grep -rnE "^ *# *include *<($2)" --include=*.h --include=*.cpp --include=*.cu --include=*.cuh \
    atlas examples tools tests || true)
}
allow_only Eigen '(eigen3/)?Eigen/' '^atlas/cpu/.*-inl\.h$|^tools/bench/'
allow_only JSON 'nlohmann/' '^atlas/(io|train)/.*(-inl\.h|\.cpp)$|^(tests|tools|examples)/'
allow_only stb '(stb/)?stb_' '^atlas/(data|io)/.*(-inl\.h|\.cpp)$|^tests/'
allow_only libjpeg '(jpeglib|jerror)\.h' '^atlas/data/.*-inl\.h$|^tests/'
allow_only zlib 'zlib\.h' '^atlas/(data|io)/.*(-inl\.h|\.cpp)$|^tests/'
allow_only MPI 'mpi\.h' '^atlas/dist/mpi\.cpp$'
allow_only NCCL 'nccl\.h' '^atlas/dist/nccl\.cpp$'
allow_only CLI11 'CLI/' '^tools/program/command_line\.cpp$'
allow_only doctest 'doctest/' '^tests/'

while IFS= read -r file; do
  room=${file#atlas/}
  case $room in
    */*) room=${room%%/*} ;;
    *) room= ;;
  esac
  if [ -n "$room" ]; then
    [ -n "${may_include[$room]+known}" ] || problem "$file: room $room is not in the list of $0"
    while IFS= read -r included; do
      [[ " $room ${may_include[$room]:-} " == *" $included "* ]] || problem "$file: $room may not include atlas/$included"
    done < <(sed -nE 's/^ *# *include *[<"]atlas\/([a-z_]+)\/.*/\1/p' "$file" | sort -u)
  fi
  case $file in
    *.h | *.cuh) grep -q '^#pragma once' "$file" || problem "$file: no #pragma once" ;;
  esac
  if grep -nE '^ *namespace +atlas( *\{|::)' "$file" | grep -vE 'namespace atlas::inline ATLAS_ABI'; then
    problem "$file: reopens namespace atlas without ATLAS_ABI"
  fi
done < <(find atlas -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' | sort)

# A copy of a specification, which is read beside the original, stays as it is.
while read -r lines file; do
  [ "$file" = total ] || [ "$lines" -le 400 ] || problem "$file: $lines lines, more than 400"
done < <(find atlas examples tests tools -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.inc' \
  -o -name '*.sh' -o -name '*.py' -o -name '*.cmake' \) ! -path tools/reference/cascade_mask_rcnn.py -exec wc -l {} +)

# Header-only, every header can be the first that a program includes.
while IFS= read -r line; do
  problem "$line"
done < <(find atlas -name '*.h' | sort | xargs awk -f tests/frame/include_order.awk)

# The umbrella names every header that is for users; others say that they are not there. Kernels and bodies come along
# with the ops.
while IFS= read -r file; do
  head -n 12 "$file" | grep -qF 'Not in atlas.h' && continue
  grep -qF "\"$file\"" atlas/atlas.h || problem "$file: atlas/atlas.h does not include it"
done < <(find atlas -mindepth 2 -name '*.h' ! -name '*-inl.h' ! -path 'atlas/cpu/*' ! -path 'atlas/cuda/*' \
  ! -path 'atlas/kernels/*' ! -path 'atlas/reference/*' ! -path atlas/io/json_fields.h | sort)

# A layer has one body: where it runs, whether it is recorded and who watches is asked by ops/ (watch.h, fuse.h) alone.
asks='is_cuda|grad_enabled|layer_observer|inference_mode|needs_record|is_recomputing|autocasts|plain_kernels|kernels::'
while IFS= read -r line; do
  problem "a layer asks what ops/ decide: $line"
done < <(grep -rnE "$asks" atlas/nn atlas/models || true)

for file in examples/*.cpp; do
  lines=$(wc -l <"$file")
  [ "$lines" -lt 200 ] || problem "$file: $lines lines; an example is shorter than 200"
done

[ "$problems" = 0 ] || fail "$problems broken rules"
