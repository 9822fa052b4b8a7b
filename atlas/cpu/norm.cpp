// Compiled mode: normalization, softmax, loss and dropout kernels.
#include "atlas/kernels/norm.h"

#include "atlas/cpu/dropout-inl.h"
#include "atlas/cpu/loss-inl.h"
#include "atlas/cpu/norm-inl.h"
#include "atlas/cpu/softmax-inl.h"
#include "atlas/kernels/dropout.h"
#include "atlas/kernels/loss.h"
#include "atlas/kernels/softmax.h"
