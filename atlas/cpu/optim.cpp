// Compiled mode: the optimiser kernels.
#include "atlas/cpu/optim-inl.h"
