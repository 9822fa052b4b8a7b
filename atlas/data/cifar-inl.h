// Bodies of cifar.h.
#pragma once

#include <cstring>
#include <filesystem>

#include "atlas/data/cifar.h"
#include "atlas/data/file.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// Reads record files: `label_bytes` bytes, of which the last is the label, then the planes of a 32 x 32 image.
inline std::shared_ptr<const TensorDataset> cifar_records(const std::string& name, const std::string& folder,
                                                          const std::vector<std::string>& files, int64_t label_bytes,
                                                          std::vector<std::string> classes) {
  constexpr int64_t kPlane = 32 * 32;
  const int64_t record = label_bytes + 3 * kPlane;
  std::vector<Bytes> contents;
  std::vector<std::string> paths;
  int64_t images = 0;
  for (const std::string& file : files) {
    paths.push_back((std::filesystem::path(folder) / file).string());
    contents.push_back(read_file(paths.back()));
    const int64_t length = static_cast<int64_t>(contents.back().size());
    check(length > 0, name, "{}: the file is empty", paths.back());
    check(length % record == 0, name,
          "{}: is {} bytes long, no multiple of a record's {} (cut short, or not the binary version?)", paths.back(),
          length, record);
    images += length / record;
  }
  Tensor pixels = empty({images, 32, 32, 3}, uint8);
  std::vector<int64_t> labels;
  uint8_t* to = pixels.data<uint8_t>();
  for (size_t f = 0; f < contents.size(); ++f) {
    const int64_t length = static_cast<int64_t>(contents[f].size());
    for (int64_t at = 0; at < length; at += record) {
      const uint8_t* p = contents[f].data() + at + label_bytes;
      check(p[-1] < classes.size(), name, "{}: label at offset {} is {}, outside the {} classes", paths[f],
            at + label_bytes - 1, p[-1], classes.size());
      labels.push_back(p[-1]);
      for (int64_t i = 0; i < kPlane; ++i, to += 3) {
        to[0] = p[i];
        to[1] = p[kPlane + i];
        to[2] = p[2 * kPlane + i];
      }
    }
  }
  return std::make_shared<TensorDataset>(name, std::move(classes), pixels, std::move(labels));
}

}  // namespace detail

ATLAS_INLINE std::shared_ptr<const TensorDataset> cifar10(const std::string& folder, bool train) {
  std::vector<std::string> files = {"test_batch.bin"};
  if (train)
    files = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"};
  return detail::cifar_records(
      train ? "cifar10 train" : "cifar10 test", folder, files, 1,
      {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"});
}

ATLAS_INLINE std::shared_ptr<const TensorDataset> cifar100(const std::string& folder, bool train) {
  std::vector<std::string> classes;
  const std::string list = (std::filesystem::path(folder) / "fine_label_names.txt").string();
  std::error_code ignored;
  if (std::filesystem::exists(list, ignored)) {
    std::string line;
    for (const uint8_t c : read_file(list, 1 << 20)) {
      if (c == '\r') continue;
      if (c != '\n') {
        line += static_cast<char>(c);
      } else if (!line.empty()) {
        classes.push_back(std::exchange(line, {}));
      }
    }
    if (!line.empty()) classes.push_back(line);
    check(classes.size() == 100, "cifar100", "{}: has {} class names, expected 100", list, classes.size());
  } else {
    for (int i = 0; i < 100; ++i) classes.push_back(fmt::format("class {}", i));
  }
  return detail::cifar_records(train ? "cifar100 train" : "cifar100 test", folder, {train ? "train.bin" : "test.bin"},
                               2, std::move(classes));
}

}  // namespace atlas::inline ATLAS_ABI::data
