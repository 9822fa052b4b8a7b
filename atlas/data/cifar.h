// CIFAR-10 and CIFAR-100, binary version (Krizhevsky, 2009).
#pragma once

#include <memory>
#include <string>

#include "atlas/data/dataset.h"

namespace atlas::inline ATLAS_ABI::data {

/// CIFAR-10: `folder` holds data_batch_1.bin .. data_batch_5.bin and test_batch.bin, of records label, 3 x 32 x 32.
/// @throws Error naming the file when its length is no multiple of a record or a label is outside the classes.
std::shared_ptr<const TensorDataset> cifar10(const std::string& folder, bool train);

/// CIFAR-100 with its fine labels: `folder` holds train.bin and test.bin, of records coarse label, fine label, 3 x 32
/// x 32. Class names come from fine_label_names.txt beside them when it is there.
std::shared_ptr<const TensorDataset> cifar100(const std::string& folder, bool train);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/cifar-inl.h"
#endif
