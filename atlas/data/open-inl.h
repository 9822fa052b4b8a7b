// Body of open.h.
#pragma once

#include "atlas/core/whole_number.h"
#include "atlas/data/cifar.h"
#include "atlas/data/mnist.h"
#include "atlas/data/open.h"
#include "atlas/data/shapes.h"

namespace atlas::inline ATLAS_ABI::data {

ATLAS_INLINE DataPair open_data(const std::string& what, const FolderOptions& options) {
  const size_t colon = what.find(':');
  const std::string kind = what.substr(0, colon), rest = colon == std::string::npos ? "" : what.substr(colon + 1);
  const auto folder = [&]() -> const std::string& {
    check(!rest.empty(), "data", "{} needs a folder: {}:FOLDER", kind, kind);
    return rest;
  };
  if (kind == "fashion-mnist") {
    const std::string path = rest.empty() ? kFashionMnistFolder : rest;
    return {fashion_mnist(true, path), fashion_mnist(false, path)};
  }
  if (kind == "mnist") return {mnist(folder(), true), mnist(folder(), false)};
  if (kind == "cifar10") return {cifar10(folder(), true), cifar10(folder(), false)};
  if (kind == "cifar100") return {cifar100(folder(), true), cifar100(folder(), false)};
  if (kind == "folder") return open_folder(folder(), options);
  if (kind == "shapes") {
    int64_t side = 32;
    if (!rest.empty()) side = whole_number(rest, "shapes:SIZE");
    return {std::make_shared<Shapes>(2000, side, 4, 0), std::make_shared<Shapes>(500, side, 4, 1)};
  }
  fail("data",
       "unknown data set {}; there are fashion-mnist[:FOLDER], mnist:FOLDER, cifar10:FOLDER, cifar100:FOLDER, "
       "folder:FOLDER and "
       "shapes[:SIZE]",
       what);
}

}  // namespace atlas::inline ATLAS_ABI::data
