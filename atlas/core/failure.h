// Failure: work that failed, as opposed to work that was asked for wrongly.
// Not in atlas.h: include it by name.
#pragma once

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

/// Work that failed although nothing wrong was asked for, such as numbers that are not finite: programs end with status
/// 1 instead of the 2 of a user's mistake.
class Failure : public Error {
 public:
  using Error::Error;
};

}  // namespace atlas::inline ATLAS_ABI
