// Compiled mode: element-wise kernels.
#include "atlas/cpu/binary-inl.h"
#include "atlas/cpu/select-inl.h"
#include "atlas/cpu/unary-inl.h"
