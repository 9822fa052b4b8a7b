// CIFAR record files: any bytes give images with labels within the classes, or an atlas::Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "atlas/data/cifar.h"
#include "atlas/ops/arithmetic.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);
  for (const int64_t classes : {10, 100}) {
    // As given, and cut or filled to whole records: mutations hardly ever hit a multiple of 3073.
    for (const bool whole : {false, true}) {
      if (whole) bytes.resize((size / 3073 + 1) * (classes == 10 ? 3073 : 3074));
      try {
        const atlas::data::CifarRecords records = atlas::data::parse_cifar(bytes, "fuzz", classes);
        if (records.images.shape()[0] != static_cast<int64_t>(records.labels.size())) std::abort();
        for (const int64_t label : records.labels)
          if (label < 0 || label >= classes) std::abort();
      } catch (const atlas::Error&) {
      }
    }
  }
  return 0;
}
