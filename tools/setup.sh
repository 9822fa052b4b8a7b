#!/usr/bin/env bash
# Installs what atlas is built with, when something is missing, from Debian's (or Ubuntu's) packages.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/setup.sh [--optional] [--cuda] [--check]

Installs with apt the compiler, CMake, the libraries of third_party/README.md and the Fashion-MNIST data set.
Does nothing when everything is there. Uses sudo only when not run as root.

  --optional   also: ccache, ninja, doxygen, clang-format, clang (for tools/fuzz.sh, tools/test.sh --clang), Google
               Benchmark and Open MPI (several processes)
  --cuda       also, beside nvcc: NCCL, where it did not come with the CUDA toolkit, from PyPI (nvidia-nccl-cu13, 200 MB)
               into build/nccl. Not to be had, it is left out: several processes then train on CPUs
  --check      install nothing; say what is missing and exit with 1 if anything is
TEXT
}

fail() {
  echo "setup: $*" >&2
  exit 1
}

optional=no
cuda=no
check=no
for argument in "$@"; do
  case $argument in
    --optional) optional=yes ;;
    --cuda) cuda=yes ;;
    --check) check=yes ;;
    -h | --help) usage; exit 0 ;;
    *) echo "setup: unknown option '$argument' (see --help)" >&2; exit 2 ;;
  esac
done

# Folders under which headers may stand: the system's, and those of CMAKE_PREFIX_PATH.
IFS=':' read -r -a prefixes <<<"${CMAKE_PREFIX_PATH:-}:/usr/local:/usr"

has_file() { # has_file RELATIVE_PATH...: does one of them exist under a prefix?
  local prefix file
  for prefix in "${prefixes[@]}"; do
    [ -n "$prefix" ] || continue
    for file in "$@"; do
      [ -e "$prefix/$file" ] && return 0
    done
  done
  return 1
}

missing=()
need_command() { command -v "$1" >/dev/null || missing+=("$2"); }
need_file() { # need_file PACKAGE RELATIVE_PATH...
  local package=$1
  shift
  has_file "$@" || missing+=("$package")
}

command -v "${CXX:-c++}" >/dev/null || missing+=(g++)
need_command cmake cmake
command -v ninja >/dev/null || need_command make make
need_file libeigen3-dev include/eigen3/Eigen/Core include/Eigen/Core
need_file libfmt-dev include/fmt/core.h
need_file libstb-dev include/stb/stb_image.h
need_file zlib1g-dev include/zlib.h
need_file libjpeg-dev include/jpeglib.h # JPEG files of strangers are safe with it alone
need_file nlohmann-json3-dev include/nlohmann/json.hpp
need_file libcli11-dev include/CLI/CLI.hpp
need_file doctest-dev include/doctest/doctest.h
need_file dataset-fashion-mnist share/datasets/fashion-mnist
if [ $optional = yes ]; then
  need_command ccache ccache
  need_command ninja ninja-build
  need_command doxygen doxygen
  need_command clang++ clang
  need_command clang-format clang-format
  need_file libbenchmark-dev include/benchmark/benchmark.h
  need_command mpicxx libopenmpi-dev
  need_command mpirun openmpi-bin
fi

if [ ${#missing[@]} -gt 0 ]; then
  [ $check = no ] || fail "missing: ${missing[*]}"
  command -v apt-get >/dev/null || fail "no apt on this system; install these (Debian's names) another way: ${missing[*]}"
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "missing packages and no sudo; as root run: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  echo "setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  # The package lists may be old or absent (containers): a failed update still lets cached packages install.
  "${as_root[@]}" apt-get update -qq >"$log" 2>&1 || true
  if ! "${as_root[@]}" apt-get install -qq -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
    cat "$log" >&2
    fail "apt-get could not install: ${missing[*]}"
  fi
fi

# NCCL is no package of Debian's: headers and library are in the wheel.
nccl() {
  local nvcc major
  nvcc=${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
  [ -x "$nvcc" ] || return 0
  nvcc=$(readlink -f "$nvcc")
  if has_file include/nccl.h || [ -e "${nvcc%/bin/nvcc}/include/nccl.h" ] || [ -e build/nccl/nvidia/nccl/include/nccl.h ]; then
    return 0
  fi
  [ $check = no ] || fail "missing: NCCL"
  major=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\).*/\1/p')
  echo "setup: getting nvidia-nccl-cu$major"
  mkdir -p build/nccl
  if ! timeout 300 python3 -m pip download -q --no-deps --only-binary :all: -d build/nccl "nvidia-nccl-cu$major" ||
    ! python3 -m zipfile -e build/nccl/*.whl build/nccl; then
    echo "setup: NCCL is left out: nvidia-nccl-cu$major could not be downloaded" >&2
    rm -rf build/nccl
  fi
  rm -f build/nccl/*.whl
}
if [ $cuda = yes ]; then
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  nccl
fi

# Versions last, because what was just installed counts.
cmake_version=$(cmake --version | sed -n '1s/^cmake version //p')
if [ "$(printf '%s\n3.24\n' "$cmake_version" | sort -V | head -n 1)" != 3.24 ]; then
  fail "CMake $cmake_version found, 3.24 or newer is needed"
fi
compiler=${CXX:-c++}
if ! echo '#include <version>
#if __cplusplus < 202002L || (!defined __clang__ && __GNUC__ < 12) || (defined __clang__ && __clang_major__ < 14)
#error
#endif' | "$compiler" -std=c++20 -fsyntax-only -x c++ - 2>/dev/null; then
  fail "$("$compiler" --version | head -n 1) found, g++ 12 or clang 14 or newer is needed (set CXX)"
fi
