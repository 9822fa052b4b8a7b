// Compiled mode: the convolutions.
#include "atlas/cpu/conv-inl.h"
#include "atlas/cpu/depthwise-inl.h"
