// Compiled mode: the bodies of the tasks.
#include "atlas/tasks/classification-inl.h"
#include "atlas/tasks/coco_metric-inl.h"
#include "atlas/tasks/detection-inl.h"
#include "atlas/tasks/pixel_metrics-inl.h"
#include "atlas/tasks/registry-inl.h"
#include "atlas/tasks/segmentation-inl.h"
#include "atlas/tasks/segmentation_pipeline-inl.h"
#include "atlas/tasks/task-inl.h"
