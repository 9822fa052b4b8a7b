// Compiled mode: the kernels of gather and of positions.
#include "atlas/cpu/compact-inl.h"
#include "atlas/cpu/gather-inl.h"
