// Compiled mode: kernels of boxes and regions of maps.
#include "atlas/cpu/nms-inl.h"
#include "atlas/cpu/paste_masks-inl.h"
#include "atlas/cpu/roi_align-inl.h"
