// Compiled mode: the bodies of the tasks.
#include "atlas/tasks/registry-inl.h"
#include "atlas/tasks/classification-inl.h"
#include "atlas/tasks/task-inl.h"
