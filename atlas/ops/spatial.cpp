// Compiled mode: norms, losses, pooling, resizing and the scan.
#include "atlas/ops/loss-inl.h"
#include "atlas/ops/norm-inl.h"
#include "atlas/ops/pool-inl.h"
#include "atlas/ops/resize-inl.h"
#include "atlas/ops/scan-inl.h"
