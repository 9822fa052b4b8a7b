// Compiled mode: reductions.
#include "atlas/cpu/order-inl.h"
#include "atlas/cpu/reduce-inl.h"
