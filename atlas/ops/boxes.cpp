// Compiled mode: boxes and regions of maps.
#include "atlas/ops/boxes-inl.h"
#include "atlas/ops/roi_align-inl.h"
