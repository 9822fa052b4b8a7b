// Compiled mode: the matrix products.
#include "atlas/cpu/gemm-inl.h"

namespace atlas::inline ATLAS_ABI::cpu {

template void gemm_serial<float>(bool, bool, int64_t, int64_t, int64_t, float, const float*, int64_t, const float*,
                                 int64_t, float, float*, int64_t);
template void gemm_serial<double>(bool, bool, int64_t, int64_t, int64_t, double, const double*, int64_t, const double*,
                                  int64_t, double, double*, int64_t);
template void gemm_batched<float>(std::span<const GemmOperands<float>>, bool, bool, int64_t, int64_t, int64_t, float,
                                  int64_t, int64_t, float, int64_t, const GemmEpilogue<float>&);
template void gemm_batched<double>(std::span<const GemmOperands<double>>, bool, bool, int64_t, int64_t, int64_t, double,
                                   int64_t, int64_t, double, int64_t, const GemmEpilogue<double>&);

}  // namespace atlas::inline ATLAS_ABI::cpu
