// Compiled mode: pooling, resampling, window and augmentation kernels.
#include "atlas/cpu/augment-inl.h"
#include "atlas/cpu/pool-inl.h"
#include "atlas/cpu/resize-inl.h"
#include "atlas/cpu/window-inl.h"
#include "atlas/kernels/augment.h"
#include "atlas/kernels/pool.h"
#include "atlas/kernels/resize.h"
#include "atlas/kernels/window.h"
