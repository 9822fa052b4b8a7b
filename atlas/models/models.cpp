// Compiled mode: models by name and configurations from JSON.
#include "atlas/models/presets-inl.h"
