// CIFAR-10 and CIFAR-100, binary version (Krizhevsky, 2009).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "atlas/data/dataset.h"

namespace atlas::inline ATLAS_ABI::data {

/// The images of one record file.
struct CifarRecords {
  Tensor images;                ///< uint8 [N,32,32,3]
  std::vector<int64_t> labels;  ///< N of them, each below the number of classes
};

/// Reads the records of a CIFAR-10 or CIFAR-100 file held in memory: label (CIFAR-100: coarse and fine label, of which
/// the fine one is kept), then the planes of a 32 x 32 image.
/// @param classes  10 or 100    @param name for messages, normally the file's path
/// @throws Error naming the file when its length is no multiple of a record or a label is outside the classes.
CifarRecords parse_cifar(std::span<const uint8_t> bytes, const std::string& name, int64_t classes);

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
