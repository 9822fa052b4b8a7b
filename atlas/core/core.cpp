// Compiled mode: errors, shapes, storage, threads, the profile.
#include "atlas/core/device-inl.h"
#include "atlas/core/error-inl.h"
#include "atlas/core/nearest-inl.h"
#include "atlas/core/parallel-inl.h"
#include "atlas/core/profile-inl.h"
#include "atlas/core/select_device-inl.h"
#include "atlas/core/shape-inl.h"
#include "atlas/core/storage-inl.h"
