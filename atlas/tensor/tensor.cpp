// Compiled mode: copies, fills and sums of tensors.
#include "atlas/tensor/memory-inl.h"
