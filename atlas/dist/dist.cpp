// Compiled mode: groups of processes, data parallelism.
#include "atlas/dist/data_parallel-inl.h"
#include "atlas/dist/group-inl.h"
#include "atlas/dist/placement-inl.h"
#include "atlas/dist/reducer-inl.h"
