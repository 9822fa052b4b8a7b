// Compiled mode: ops that are made of others.
#include "atlas/ops/arithmetic-inl.h"
#include "atlas/ops/conv_transpose-inl.h"
#include "atlas/ops/index-inl.h"
#include "atlas/ops/logic-inl.h"
#include "atlas/ops/loss-inl.h"
#include "atlas/ops/order-inl.h"
#include "atlas/ops/reduce-inl.h"
