// Compiled mode: reading and writing files.
#include "atlas/io/safetensors-inl.h"
