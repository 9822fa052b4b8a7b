// Compiled mode: families of models and their presets.
#include "atlas/models/registry-inl.h"
