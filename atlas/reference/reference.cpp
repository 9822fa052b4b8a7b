// Compiled mode: the kernels as plain loops.
#include "atlas/reference/attention-inl.h"
#include "atlas/reference/conv-inl.h"
#include "atlas/reference/gemm-inl.h"
#include "atlas/reference/norm-inl.h"
#include "atlas/reference/scan-inl.h"
#include "atlas/reference/softmax-inl.h"
#include "atlas/reference/window-inl.h"
