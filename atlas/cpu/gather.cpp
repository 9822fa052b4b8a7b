// Compiled mode: the gather kernels.
#include "atlas/cpu/gather-inl.h"
