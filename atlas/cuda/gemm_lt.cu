// Matrix products by cuBLASLt. What it is asked for is made once for each set of sizes, layouts and alignments, and
// kept with the algorithm that its heuristics chose.
//
// cuBLASLt thinks in columns: the row-major C = A B is its Cᵀ = Bᵀ Aᵀ, and a row-major matrix read as columns is
// already the transposed one. So B comes first, and nothing is copied.
#include <fmt/core.h>

#include "atlas/cuda/gemm.cuh"

#if ATLAS_CUDA_EMULATE

namespace atlas::inline ATLAS_ABI::cuda {
bool gemm_lt(const Gemm&, Gemm&) { return false; }
}  // namespace atlas::inline ATLAS_ABI::cuda

#else

#include <cublasLt.h>

#include <array>
#include <map>
#include <mutex>

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

inline constexpr int64_t kWorkspace = int64_t{32} << 20;
inline constexpr int kWorkspaceSlot = 7;

std::string describe_product(const Gemm& g) {
  return fmt::format("a {}[{},{}{}], b [{},{}{}], {} of them, on {}", name(g.dtype), g.m, g.k,
                     g.trans_a ? ", transposed" : "", g.k, g.n, g.trans_b ? ", transposed" : "", g.batch(),
                     g.device.str());
}
void check_blas(cublasStatus_t status, const Gemm& g) {
  if (status != CUBLAS_STATUS_SUCCESS)
    fail(g.op, "cuBLASLt: {} ({})", cublasLtGetStatusString(status), describe_product(g));
}

cublasLtHandle_t handle(const Gemm& g) {
  static std::map<int, cublasLtHandle_t> handles;
  cublasLtHandle_t& h = handles[g.device.index];
  if (h == nullptr) check_blas(cublasLtCreate(&h), g);
  return h;
}

/// One strided batch of products, as cuBLASLt is asked for it.
struct Request {
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  int64_t batch = 1, step_a = 0, step_b = 0, step_c = 0;
  bool residual = false;
  const char *a = nullptr, *b = nullptr, *bias = nullptr, *add = nullptr;
  char* c = nullptr;
};

/// What belongs to a set of sizes; `refused` when cuBLASLt has no algorithm.
struct Plan {
  bool refused = true;
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t first = nullptr, second = nullptr, result = nullptr;
  cublasLtMatmulHeuristicResult_t chosen{};
};

int64_t alignment(const void* p, int64_t step) {
  const auto at = reinterpret_cast<uintptr_t>(p) | static_cast<uintptr_t>(step);
  return at == 0 ? 256 : std::min<int64_t>(256, static_cast<int64_t>(at & (~at + 1)));
}
/// How operands lie in memory, in bytes: every one of a batch, so that its steps count.
struct Alignments {
  int64_t a, b, c, add, bias;
  Alignments(const Gemm& g, const Request& r) {
    const int64_t item = r.batch > 1 ? item_size(g.dtype) : 0, item_c = r.batch > 1 ? item_size(g.result) : 0;
    a = alignment(r.a, r.step_a * item);
    b = alignment(r.b, r.step_b * item);
    c = alignment(r.c, r.step_c * item_c);
    add = r.residual ? alignment(r.add, r.step_c * item_c) : c;
    bias = alignment(r.bias, 0);
  }
};

template <class T>
void set(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t which, T value, const Gemm& g) {
  check_blas(cublasLtMatmulDescSetAttribute(d, which, &value, sizeof value), g);
}

cublasLtMatrixLayout_t layout(const Gemm& g, cudaDataType_t type, int64_t rows, int64_t columns, int64_t ld,
                              int64_t batch, int64_t step) {
  cublasLtMatrixLayout_t l = nullptr;
  check_blas(cublasLtMatrixLayoutCreate(&l, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), ld), g);
  const auto count = static_cast<int32_t>(batch);
  check_blas(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count), g);
  check_blas(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step), g);
  return l;
}

Plan make_plan(const Gemm& g, const Request& r, const Alignments& aligned) {
  const auto type_of = [](DType t) {
    return t == DType::float64 ? CUDA_R_64F : t == DType::bfloat16 ? CUDA_R_16BF : CUDA_R_32F;
  };
  const cudaDataType_t type = type_of(g.dtype);
  const cublasComputeType_t compute = g.dtype == DType::float64             ? CUBLAS_COMPUTE_64F
                                      : g.dtype == DType::float32 && tf32() ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                                            : CUBLAS_COMPUTE_32F;
  Plan p;
  check_blas(cublasLtMatmulDescCreate(&p.product, compute, g.dtype == DType::float64 ? CUDA_R_64F : CUDA_R_32F), g);
  set(p.product, CUBLASLT_MATMUL_DESC_TRANSA, g.trans_b ? CUBLAS_OP_T : CUBLAS_OP_N, g);
  set(p.product, CUBLASLT_MATMUL_DESC_TRANSB, g.trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, g);
  set(p.product, CUBLASLT_MATMUL_DESC_EPILOGUE, r.epilogue, g);
  // Algorithms are chosen for the bias that is there, too; later ones are aligned as this one is.
  if (r.bias != nullptr) set(p.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(r.bias), g);
  p.first = layout(g, type, g.trans_b ? g.k : g.n, g.trans_b ? g.n : g.k, g.ldb, r.batch, r.step_b);
  p.second = layout(g, type, g.trans_a ? g.m : g.k, g.trans_a ? g.k : g.m, g.lda, r.batch, r.step_a);
  p.result = layout(g, type_of(g.result), g.n, g.m, g.n, r.batch, r.step_c);

  cublasLtMatmulPreference_t wish = nullptr;
  check_blas(cublasLtMatmulPreferenceCreate(&wish), g);
  const auto set_wish = [&](cublasLtMatmulPreferenceAttributes_t which, auto value) {
    check_blas(cublasLtMatmulPreferenceSetAttribute(wish, which, &value, sizeof value), g);
  };
  set_wish(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspace));
  set_wish(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(aligned.b));
  set_wish(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(aligned.a));
  set_wish(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(aligned.add));
  set_wish(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(aligned.c));
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle(g), p.product, p.first, p.second, p.result,
                                                               p.result, wish, 1, &p.chosen, &found);
  cublasLtMatmulPreferenceDestroy(wish);
  p.refused = status != CUBLAS_STATUS_SUCCESS || found == 0 || p.chosen.state != CUBLAS_STATUS_SUCCESS;
  if (status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE) check_blas(status, g);
  return p;
}

/// The plan of a request; made when it is asked for the first time. Its descriptors live as long as the program.
Plan& plan(const Gemm& g, const Request& r) {
  using Key = std::array<int64_t, 22>;
  static std::map<Key, Plan> plans;
  const Alignments aligned(g, r);
  const Key key{static_cast<int64_t>(g.dtype),
                static_cast<int64_t>(g.result),
                g.device.index,
                g.trans_a,
                g.trans_b,
                g.m,
                g.n,
                g.k,
                g.lda,
                g.ldb,
                static_cast<int64_t>(r.epilogue),
                r.batch,
                r.step_a,
                r.step_b,
                r.step_c,
                r.residual,
                g.dtype == DType::float32 && tf32(),
                aligned.a,
                aligned.b,
                aligned.c,
                aligned.add,
                aligned.bias};
  const auto at = plans.find(key);
  return at != plans.end() ? at->second : plans.emplace(key, make_plan(g, r, aligned)).first->second;
}

/// Queues one strided batch; false when cuBLASLt has no algorithm for it.
bool multiply(const Gemm& g, const Request& r) {
  static std::mutex one_at_a_time;  // descriptors are shared
  const std::lock_guard lock(one_at_a_time);
  const cudaStream_t on = stream(g.device);
  const Plan& p = plan(g, r);
  if (p.refused) return false;
  if (r.bias != nullptr) set(p.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(r.bias), g);
  const float one = 1, add = r.residual ? 1 : 0;
  const double one64 = 1, add64 = r.residual ? 1 : 0;
  const bool is64 = g.dtype == DType::float64;
  const void* alpha = is64 ? static_cast<const void*>(&one64) : &one;
  const void* beta = is64 ? static_cast<const void*>(&add64) : &add;
  check_blas(cublasLtMatmul(handle(g), p.product, alpha, r.b, p.first, r.a, p.second, beta, r.residual ? r.add : r.c,
                            p.result, r.c, p.result, &p.chosen.algo,
                            workspace<char>(g.device, kWorkspace, kWorkspaceSlot), static_cast<size_t>(kWorkspace), on),
             g);
  check_launch(g.device, g.op);
  return true;
}

/// All products of g with this epilogue: one call for the longest axis of the batch, and as many as the others have
/// entries.
bool multiply_all(const Gemm& g, Request r) {
  const int64_t item = item_size(g.dtype), item_c = item_size(g.result);
  int longest = 0;
  for (int i = 1; i < g.axes; ++i)
    if (g.size[i] > g.size[longest]) longest = i;
  int64_t step_c[kMaxDims], step = g.m * g.n, calls = 1;
  for (int i = g.axes - 1; i >= 0; --i) {
    step_c[i] = step;
    step *= g.size[i];
    if (i != longest) calls *= g.size[i];
  }
  if (g.axes > 0) {
    r.batch = g.size[longest];
    r.step_a = g.step_a[longest];
    r.step_b = g.step_b[longest];
    r.step_c = step_c[longest];
  }
  for (int64_t call = 0; call < calls; ++call) {
    int64_t rest = call, at_a = 0, at_b = 0, at_c = 0;
    for (int i = g.axes - 1; i >= 0; --i) {
      if (i == longest) continue;
      at_a += rest % g.size[i] * g.step_a[i];
      at_b += rest % g.size[i] * g.step_b[i];
      at_c += rest % g.size[i] * step_c[i];
      rest /= g.size[i];
    }
    r.a = static_cast<const char*>(g.a) + at_a * item;
    r.b = static_cast<const char*>(g.b) + at_b * item;
    r.c = static_cast<char*>(g.c) + at_c * item_c;
    r.add = r.residual ? static_cast<const char*>(g.residual) + at_c * item_c : nullptr;
    if (!multiply(g, r)) {
      // The first says what all will: they differ in alignment alone, and a later refusal leaves the whole to others.
      return false;
    }
  }
  return true;
}

}  // namespace

bool gemm_lt(const Gemm& g, Gemm& left) {
  const bool bias = g.bias != nullptr;
  Request fused{};
  fused.bias = static_cast<const char*>(g.bias);
  fused.epilogue = bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  bool activated = true;
  if (g.activation == Activation::relu)
    fused.epilogue = bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
  else if (g.activation == Activation::gelu_tanh && g.dtype == DType::bfloat16)
    // The only formula of GELU that cuBLASLt has, as exact as bfloat16 asks for.
    fused.epilogue = bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  else
    activated = g.activation == Activation::none;
  fused.residual = g.residual != nullptr && g.activation == Activation::none;  // it comes after the activation
  if (multiply_all(g, fused)) {
    left.bias = nullptr;
    if (activated) left.activation = Activation::none;
    if (fused.residual) left.residual = nullptr;
    return true;
  }
  return (fused.epilogue != CUBLASLT_EPILOGUE_DEFAULT || fused.residual) && multiply_all(g, Request{});
}

}  // namespace atlas::inline ATLAS_ABI::cuda

#endif
