// Compiled mode: products, convolutions and attention.
#include "atlas/ops/attention-inl.h"
#include "atlas/ops/conv-inl.h"
#include "atlas/ops/conv_transpose-inl.h"
#include "atlas/ops/fuse-inl.h"
#include "atlas/ops/matmul-inl.h"
#include "atlas/ops/mlp-inl.h"
