// Compiled mode: reductions.
#include "atlas/cpu/reduce-inl.h"
