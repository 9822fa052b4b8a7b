// Compiled mode: reading and writing files.
#include "atlas/io/json_fields-inl.h"
#include "atlas/io/safetensors-inl.h"
