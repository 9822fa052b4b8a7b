// Compiled mode: reading and writing files.
#include "atlas/io/checkpoint-inl.h"
#include "atlas/io/formula-inl.h"
#include "atlas/io/json_fields-inl.h"
#include "atlas/io/json_reader-inl.h"
#include "atlas/io/pytorch-inl.h"
#include "atlas/io/safetensors-inl.h"
#include "atlas/io/state_dict-inl.h"
#include "atlas/io/xml_reader-inl.h"
