// Compiled mode: attention and the selective scan.
#include "atlas/cpu/attention-inl.h"
#include "atlas/cpu/scan-inl.h"
