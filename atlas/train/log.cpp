// Compiled mode: the log of a run.
#include "atlas/train/log-inl.h"
