// In what precision products of trained weights are computed when nothing is recorded.
#pragma once

#include <atomic>
#include <string_view>

#include "atlas/core/dtype.h"
#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
inline std::atomic<DType>& inference_precision_in_use() {
  static std::atomic<DType> precision{float32};
  return precision;
}
}  // namespace detail

/// The precision of layers' matrix products and convolutions in inference: float32 (default) or bfloat16.
inline DType inference_precision() { return detail::inference_precision_in_use(); }

/// Chooses it, for all threads. With bfloat16, the float32 layers Linear, Conv2d and ConvNorm round weights (once, when
/// they are packed) and the activations they read to 8 bits of mantissa and add up in float32, where no gradient is
/// recorded. Everything else stays float32: tensors, norms, attention, the scan, 3x3 convolutions that Winograd makes
/// faster. Logits move by some 1e-2 of their size. Fast on CPUs with AVX512_BF16; others give the same numbers up to
/// rounding, slower than in float32. Results do not depend on the number of threads. On CUDA devices it is as if such
/// passes ran under Autocast: tensors become bfloat16 too.
/// @param precision  float32 or bfloat16
/// @throws Error for another type.
inline void set_inference_precision(DType precision) {
  check(precision == float32 || precision == bfloat16, "set_inference_precision", "must be float32 or bfloat16, got {}",
        name(precision));
  detail::inference_precision_in_use() = precision;
}

/// float32 for "float32" and "fp32", bfloat16 for "bfloat16" and "bf16", as --precision has it. @throws Error for
/// others.
inline DType parse_precision(std::string_view text) {
  if (text == "bfloat16" || text == "bf16") return bfloat16;
  check(text == "float32" || text == "fp32", "precision", "must be float32 or bf16, got '{}'", text);
  return float32;
}

/// set_inference_precision() while it lives.
///
/// Example: `const InferencePrecision fast(bfloat16);`
class InferencePrecision {
 public:
  explicit InferencePrecision(DType precision) : before_(inference_precision()) { set_inference_precision(precision); }
  ~InferencePrecision() { set_inference_precision(before_); }
  InferencePrecision(const InferencePrecision&) = delete;
  InferencePrecision& operator=(const InferencePrecision&) = delete;

 private:
  DType before_;
};

}  // namespace atlas::inline ATLAS_ABI
