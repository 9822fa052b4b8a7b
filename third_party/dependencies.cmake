# Finds everything atlas is built with. Nothing is vendored: README.md lists versions, licenses and Debian packages.
# What is missing ends the configuration with one line that says what to install.

set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)  # a parent project links atlas, so it must see what atlas links
list(PREPEND CMAKE_MODULE_PATH "${CMAKE_CURRENT_LIST_DIR}")

set(atlas_missing)
set(atlas_missing_packages)
macro(atlas_find name debian_package)
  find_package(${name} ${ARGN} QUIET)
  if(NOT ${name}_FOUND)
    list(APPEND atlas_missing ${name})
    list(APPEND atlas_missing_packages ${debian_package})
  endif()
endmacro()

find_package(Threads REQUIRED)
atlas_find(Eigen3 libeigen3-dev CONFIG)
atlas_find(fmt libfmt-dev MODULE)
atlas_find(stb libstb-dev MODULE)
atlas_find(ZLIB zlib1g-dev MODULE)
atlas_find(nlohmann_json nlohmann-json3-dev CONFIG)
if(ATLAS_TESTS)
  atlas_find(doctest doctest-dev CONFIG)
endif()
if(ATLAS_EXAMPLES OR ATLAS_TOOLS)
  atlas_find(CLI11 libcli11-dev CONFIG)
endif()
# Optional (libjpeg-dev): only libjpeg-turbo, whose decoder is fuzzed all the time, takes stb_image's place.
set(ATLAS_WITH_LIBJPEG OFF)
if(ATLAS_LIBJPEG)
  find_package(JPEG QUIET)
  if(JPEG_FOUND)
    include(CheckCXXSourceCompiles)
    set(CMAKE_REQUIRED_INCLUDES ${JPEG_INCLUDE_DIRS})
    check_cxx_source_compiles("
#include <cstdio>
#include <jpeglib.h>
#ifndef LIBJPEG_TURBO_VERSION
#error
#endif
int main() {}" ATLAS_HAS_LIBJPEG_TURBO)
    unset(CMAKE_REQUIRED_INCLUDES)
    set(ATLAS_WITH_LIBJPEG ${ATLAS_HAS_LIBJPEG_TURBO})
  endif()
  if(NOT ATLAS_WITH_LIBJPEG)
    message(STATUS "atlas: libjpeg-turbo (libjpeg-dev) not found, stb_image decodes JPEG: trusted files only")
  endif()
endif()
# Optional (libopenmpi-dev, openmpi-bin): without it a process trains alone.
set(ATLAS_WITH_MPI OFF)
if(ATLAS_MPI AND NOT ATLAS_STATIC)
  find_package(MPI COMPONENTS CXX QUIET)
  if(MPI_CXX_FOUND)
    set(ATLAS_WITH_MPI ON)
  else()
    message(STATUS "atlas: MPI (libopenmpi-dev, openmpi-bin) not found: programs train with one process")
  endif()
endif()
if(ATLAS_TOOLS)
  find_package(benchmark CONFIG QUIET)  # optional (libbenchmark-dev): the *_gbench programs
endif()

list(POP_FRONT CMAKE_MODULE_PATH)
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL OFF)

if(atlas_missing)
  list(LENGTH atlas_missing count)
  if(count EQUAL 1)
    set(pronoun it)
  else()
    set(pronoun them)
  endif()
  list(JOIN atlas_missing ", " atlas_missing)
  list(JOIN atlas_missing_packages " " atlas_missing_packages)
  # A leading space keeps CMake from wrapping the line.
  message(FATAL_ERROR
    " atlas: ${atlas_missing} not found; install ${pronoun} with: apt install ${atlas_missing_packages}")
endif()
