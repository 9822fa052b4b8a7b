// Compiled mode: products in bfloat16.
#include "atlas/cpu/bf16-inl.h"
