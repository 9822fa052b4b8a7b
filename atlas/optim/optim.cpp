// Compiled mode: optimizers.
#include "atlas/optim/optimizer-inl.h"
