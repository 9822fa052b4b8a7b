// Compiled mode: element-wise kernels.
#include "atlas/cpu/unary-inl.h"
#include "atlas/cpu/binary-inl.h"
