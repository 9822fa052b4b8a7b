// MNIST and Fashion-MNIST: IDX files, plain or gzipped.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "atlas/data/dataset.h"

namespace atlas::inline ATLAS_ABI::data {

/// Where Debian's package dataset-fashion-mnist puts its files.
inline constexpr const char* kFashionMnistFolder = "/usr/share/datasets/fashion-mnist";

/// Reads an IDX file of unsigned bytes held in memory, gzipped or not (recognized by content).
///
/// Memory is allocated only after the declared size has been found to be possible for the file's length.
/// @param name for messages, normally the file's path
/// @return uint8, with the file's own axes (one to three)
/// @throws Error naming the file, the offset, what was found and what was expected.
Tensor parse_idx(std::span<const uint8_t> bytes, const std::string& name);

/// parse_idx of a file.
Tensor read_idx(const std::string& path);

/// Digits (LeCun et al., 1998): `folder` holds train-images-idx3-ubyte, train-labels-idx1-ubyte and t10k-..., each
/// plain or with the ending .gz.   Images 28 x 28, ten classes.
std::shared_ptr<const TensorDataset> mnist(const std::string& folder, bool train);

/// Clothes (Xiao et al., 2017), in files named and laid out as MNIST's.
std::shared_ptr<const TensorDataset> fashion_mnist(bool train, const std::string& folder = kFashionMnistFolder);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/mnist-inl.h"
#endif
