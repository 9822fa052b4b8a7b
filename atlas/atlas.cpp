// Compiled mode: the bodies of every -inl.h file, compiled once into a library.
#ifndef ATLAS_COMPILED_LIB
#error "atlas.cpp is compiled with ATLAS_COMPILED_LIB, as the CMake target atlas::compiled does"
#endif
#include "atlas/core/config.h"
