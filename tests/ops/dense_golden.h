// Golden data of detection's and segmentation's operators: tests/golden/dense.
#pragma once

#include <string>

#include "atlas/io/safetensors.h"
#include "tests/ops/random_input.h"
#include "tests/source_dir.h"

namespace test {

/// A file of tests/golden/dense. Tensors come on the device under test.
class DenseGolden {
 public:
  explicit DenseGolden(const std::string& name)
      : file_(io::load_safetensors(source_dir() + "/tests/golden/dense/" + name + ".safetensors")) {}

  Tensor at(const std::string& name) const { return on_device(file_.tensors.at(name)); }
  /// Of a map: channels last.
  Tensor map(const std::string& name, DType dtype) const {
    return at(name).permute({0, 2, 3, 1}).contiguous().to(dtype);
  }
  Tensor as(const std::string& name, DType dtype) const { return at(name).to(dtype); }

 private:
  io::SafetensorsFile file_;
};

}  // namespace test
