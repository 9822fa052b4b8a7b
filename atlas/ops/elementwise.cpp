// Compiled mode: element-wise ops.
#include "atlas/ops/arithmetic-inl.h"
#include "atlas/ops/cast-inl.h"
#include "atlas/ops/compare-inl.h"
#include "atlas/ops/dropout-inl.h"
#include "atlas/ops/logic-inl.h"
#include "atlas/ops/select-inl.h"
#include "atlas/ops/unary-inl.h"
