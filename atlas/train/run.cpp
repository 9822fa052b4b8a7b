// Compiled mode: the training loop, its observers, and runs.
#include "atlas/train/dry_run-inl.h"
#include "atlas/train/group_state-inl.h"
#include "atlas/train/observers-inl.h"
#include "atlas/train/run-inl.h"
#include "atlas/train/run_state-inl.h"
#include "atlas/train/tensorboard-inl.h"
#include "atlas/train/trainer-inl.h"
#include "atlas/train/trainer_state-inl.h"
