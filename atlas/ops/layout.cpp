// Compiled mode: ops that move elements, reduce and order them.
#include "atlas/ops/axes-inl.h"
#include "atlas/ops/index-inl.h"
#include "atlas/ops/join-inl.h"
#include "atlas/ops/order-inl.h"
#include "atlas/ops/reduce-inl.h"
#include "atlas/ops/shape-inl.h"
#include "atlas/ops/softmax-inl.h"
#include "atlas/ops/window-inl.h"
