// Compiled mode: optimizers.
#include "atlas/optim/clip-inl.h"
#include "atlas/optim/ema-inl.h"
#include "atlas/optim/optimizer-inl.h"
#include "atlas/optim/schedule-inl.h"
