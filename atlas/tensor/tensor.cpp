// Compiled mode: creation, copies, fills, sums and printing of tensors.
#include "atlas/tensor/create-inl.h"
#include "atlas/tensor/memory-inl.h"
#include "atlas/tensor/print-inl.h"
#include "atlas/tensor/tensor-inl.h"
