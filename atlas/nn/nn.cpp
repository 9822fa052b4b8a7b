// Compiled mode: modules, their state, what watches them.
#include "atlas/nn/attention_probe-inl.h"
#include "atlas/nn/container-inl.h"
#include "atlas/nn/finite_guard-inl.h"
#include "atlas/nn/init-inl.h"
#include "atlas/nn/module-inl.h"
#include "atlas/nn/state-inl.h"
