// Tensors as text: the elements in aligned columns with the middle of long axes left out, then dtype, shape and state.
#pragma once

#include <fmt/core.h>

#include <iosfwd>
#include <string>

#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI {

/// How to_string() prints.
struct PrintOptions {
  int precision = 4;         ///< digits after the point
  int64_t threshold = 1000;  ///< tensors with more elements are shortened
  int64_t edge_items = 3;    ///< elements kept at both ends of a shortened axis
  int width = 100;           ///< a row longer than this is broken
};

/// A tensor as text, for example
///
///     [[0.1000, 2.0000],
///      [3.0000, 4.5000]] float32[2,2]
///
/// Columns are aligned; more than 1000 elements are shortened to three at both ends of each axis; very large or very
/// small numbers switch all to scientific notation; "requires_grad" and the device follow where they apply.
std::string to_string(const Tensor& t, const PrintOptions& options = {});

std::ostream& operator<<(std::ostream& out, const Tensor& t);

}  // namespace atlas::inline ATLAS_ABI

/// `fmt::format("{}", tensor)`
template <>
struct fmt::formatter<atlas::Tensor> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  template <class Context>
  auto format(const atlas::Tensor& t, Context& context) const {
    auto out = context.out();
    for (char c : atlas::to_string(t)) *out++ = c;
    return out;
  }
};

#ifndef ATLAS_COMPILED_LIB
#include "atlas/tensor/print-inl.h"
#endif
