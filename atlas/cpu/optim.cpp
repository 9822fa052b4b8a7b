// Compiled mode: the optimizer kernels.
#include "atlas/cpu/optim-inl.h"
