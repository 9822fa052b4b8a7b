// Compiled mode: heads, families of models and their presets.
#include "atlas/models/atlas_net-inl.h"
#include "atlas/models/atlas_pyramid-inl.h"
#include "atlas/models/heads/cascade-inl.h"
#include "atlas/models/heads/rpn-inl.h"
#include "atlas/models/heads/segment-inl.h"
#include "atlas/models/mamba_vision-inl.h"
#include "atlas/models/registry-inl.h"
#include "atlas/models/stem-inl.h"
