// Compiled mode: recording, backward, checkpoints, gradient checks.
#include "atlas/autograd/autocast-inl.h"
#include "atlas/autograd/backward-inl.h"
#include "atlas/autograd/checkpoint-inl.h"
#include "atlas/autograd/gradcheck-inl.h"
#include "atlas/autograd/node-inl.h"
