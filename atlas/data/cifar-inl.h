// Bodies of cifar.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <iterator>

#include "atlas/data/cifar.h"
#include "atlas/data/file.h"
#include "atlas/data/find_file.h"
#include "atlas/data/text.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// How many images a file of this length holds.
inline int64_t count_cifar(size_t bytes, const std::string& name, int64_t classes) {
  const int64_t length = static_cast<int64_t>(bytes), record = (classes == 10 ? 1 : 2) + 3 * 32 * 32;
  check(length > 0, "cifar", "{}: the file is empty", name);
  check(length % record == 0, "cifar",
        "{}: is {} bytes long, no multiple of a record's {} (cut short, or not the binary version?)", name, length,
        record);
  return length / record;
}

/// Writes a file's images to `to` and appends their labels.
inline void unpack_cifar(std::span<const uint8_t> bytes, const std::string& name, int64_t classes, uint8_t* to,
                         std::vector<int64_t>& labels) {
  constexpr size_t kPlane = 32 * 32;
  const size_t label_bytes = classes == 10 ? 1 : 2;
  for (size_t at = 0; at < bytes.size(); at += label_bytes + 3 * kPlane) {
    const uint8_t* p = bytes.data() + at + label_bytes;
    check(p[-1] < classes, "cifar", "{}: label at offset {} is {}, outside the {} classes", name, at + label_bytes - 1,
          p[-1], classes);
    labels.push_back(p[-1]);
    for (size_t i = 0; i < kPlane; ++i, to += 3) {
      to[0] = p[i];
      to[1] = p[kPlane + i];
      to[2] = p[2 * kPlane + i];
    }
  }
}

/// Where the binary version lies: in `folder` or in the folder that the archive makes.
/// @param test  name of the test file without .bin, which is what the Python version calls it
/// @param files  of both halves   @param needed  those of them that will be read
/// @throws Error naming all files that are missing, when one that is needed is.
inline std::string cifar_folder(const std::string& folder, const std::string& test,
                                const std::vector<std::string>& files, const std::vector<std::string>& needed,
                                const std::string& op) {
  const std::string found = folder_with(folder, files, op);
  const auto is_there = [&](const std::string& file) {
    std::error_code ignored;
    return !found.empty() && std::filesystem::exists(std::filesystem::path(found) / file, ignored);
  };
  if (std::all_of(needed.begin(), needed.end(), is_there)) return found;
  const std::string python = folder_with(folder, {"batches.meta", "meta"}, op);
  check(python.empty() || !std::filesystem::exists(std::filesystem::path(python) / test), op,
        "{} holds the Python version of the data set; the binary version is needed (its archive ends in "
        "-binary.tar.gz and holds {}.bin)",
        python, test);
  std::vector<std::string> missing;
  std::copy_if(files.begin(), files.end(), std::back_inserter(missing), [&](const auto& f) { return !is_there(f); });
  fail_missing(op, found.empty() ? folder : found, missing,
               op == "cifar10" ? "cifar-10-binary.tar.gz makes cifar-10-batches-bin with them"
                               : "cifar-100-binary.tar.gz makes cifar-100-binary with them");
}

inline std::shared_ptr<const TensorDataset> cifar_files(const std::string& name, const std::string& folder,
                                                        const std::vector<std::string>& files,
                                                        std::vector<std::string> class_names) {
  const int64_t classes = static_cast<int64_t>(class_names.size());
  std::vector<Bytes> contents;
  std::vector<std::string> paths;
  int64_t images = 0;
  for (const std::string& file : files) {
    paths.push_back((std::filesystem::path(folder) / file).string());
    contents.push_back(read_file(paths.back()));
    images += count_cifar(contents.back().size(), paths.back(), classes);
  }
  Tensor pixels = empty({images, 32, 32, 3}, uint8, Device{});
  std::vector<int64_t> labels;
  for (size_t f = 0; f < contents.size(); ++f)
    unpack_cifar(contents[f], paths[f], classes, pixels.data<uint8_t>() + labels.size() * 32 * 32 * 3, labels);
  return std::make_shared<TensorDataset>(name, std::move(class_names), pixels, std::move(labels));
}

}  // namespace detail

ATLAS_INLINE CifarRecords parse_cifar(std::span<const uint8_t> bytes, const std::string& name, int64_t classes) {
  check(classes == 10 || classes == 100, "cifar", "there are versions of 10 and of 100 classes, asked for {}", classes);
  CifarRecords records{empty({detail::count_cifar(bytes.size(), name, classes), 32, 32, 3}, uint8, Device{}), {}};
  detail::unpack_cifar(bytes, name, classes, records.images.data<uint8_t>(), records.labels);
  return records;
}

ATLAS_INLINE std::shared_ptr<const TensorDataset> cifar10(const std::string& given, bool train) {
  const std::vector<std::string> all = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                        "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"};
  const std::vector<std::string> files(train ? all.begin() : all.end() - 1, train ? all.end() - 1 : all.end());
  const std::string folder = detail::cifar_folder(given, "test_batch", all, files, "cifar10");
  return detail::cifar_files(
      train ? "cifar10 train" : "cifar10 test", folder, files,
      {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"});
}

ATLAS_INLINE std::shared_ptr<const TensorDataset> cifar100(const std::string& given, bool train) {
  const std::vector<std::string> files = {train ? "train.bin" : "test.bin"};
  const std::string folder = detail::cifar_folder(given, "test", {"train.bin", "test.bin"}, files, "cifar100");
  std::vector<std::string> classes;
  const std::string list = (std::filesystem::path(folder) / "fine_label_names.txt").string();
  std::error_code ignored;
  if (std::filesystem::exists(list, ignored)) {
    classes = read_lines(list, 1 << 20);
    std::erase(classes, "");
    check(classes.size() == 100, "cifar100", "{}: has {} class names, expected 100", list, classes.size());
  } else {
    for (int i = 0; i < 100; ++i) classes.push_back(fmt::format("class {}", i));
  }
  return detail::cifar_files(train ? "cifar100 train" : "cifar100 test", folder, files, std::move(classes));
}

}  // namespace atlas::inline ATLAS_ABI::data
