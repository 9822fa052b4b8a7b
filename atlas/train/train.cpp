// Compiled mode: configuration, the training loop and what it leaves behind.
#include "atlas/train/attention_picture-inl.h"
#include "atlas/train/config-inl.h"
#include "atlas/train/group_rules-inl.h"
#include "atlas/train/setup-inl.h"
#include "atlas/train/start-inl.h"
#include "atlas/train/stored_settings-inl.h"
#include "atlas/train/trained_model-inl.h"
#include "atlas/train/trained_segmenter-inl.h"
