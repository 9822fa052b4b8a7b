// matmul, the plain matrix product, sums of columns and of slices.
#include <atomic>

#include "atlas/cuda/epilogue.cuh"
#include "atlas/cuda/gemm.cuh"
#include "atlas/cuda/product.cuh"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

std::atomic<bool>& tf32_allowed() {
  static std::atomic<bool> allowed = switched_on("ATLAS_CUDA_TF32", false);
  return allowed;
}
std::atomic<bool>& three_products() {
  static std::atomic<bool> wanted = switched_on("ATLAS_CUDA_TF32X3", true);
  return wanted;
}

/// Results of a batch of products, finished and laid one after another.
template <class T, class Out>
struct StoreFinished {
  View<Out> to;
  Epilogue<T> finish;
  int64_t m, n;
  __device__ int64_t row(int64_t problem, int64_t, int64_t i) const { return (problem * m + i) * n; }
  __device__ void put(int64_t row, int64_t j, Compute<T> v) const { to[row + j] = store<Out>(finish(v, j, row + j)); }
};

/// y = activation(y) + residual over contiguous rows of n, where cuBLASLt left something to do.
template <class T>
__global__ void finish_kernel(View<T> y, Epilogue<T> finish, int64_t count, int64_t n) {
  constexpr int kPiece = 16 / sizeof(T);
  for (int64_t at = global_thread() * kPiece; at < count; at += global_threads() * kPiece) {
    if (at + kPiece <= count) {
      alignas(16) T piece[kPiece];
      *reinterpret_cast<int4*>(piece) = *reinterpret_cast<const int4*>(y.at(at, kPiece));
#pragma unroll
      for (int i = 0; i < kPiece; ++i)
        piece[i] = store<T>(finish(load(piece[i]), finish.bias ? (at + i) % n : 0, at + i));
      *reinterpret_cast<int4*>(y.at(at, kPiece)) = *reinterpret_cast<const int4*>(piece);
    } else {
      for (int64_t i = at; i < count; ++i) y[i] = store<T>(finish(load(y[i]), finish.bias ? i % n : 0, i));
    }
  }
}

template <class F>
void visit_gemm(const Gemm& g, F&& f) {
  if (g.dtype == DType::float32) return f(float{});
  if (g.dtype == DType::float64) return f(double{});
  f(bf16{});
}

template <class T>
Epilogue<T> epilogue_of(const Gemm& g) {
  return {{static_cast<const T*>(g.bias), g.bias ? g.n : 0},
          {static_cast<const T*>(g.residual), g.residual ? g.batch() * g.m * g.n : 0},
          g.activation};
}

/// An operand whose lines along the sum are contiguous, or those across it.
template <class T>
MatrixOperand<T> operand(const Gemm& g, const void* p, bool along, int64_t across, int64_t ld, const int64_t* step) {
  int64_t reach = ((along ? across : g.k) - 1) * ld + (along ? g.k : across);
  for (int i = 0; i < g.axes; ++i) reach += (g.size[i] - 1) * step[i];
  MatrixOperand<T> o{{static_cast<const T*>(p), g.k > 0 ? reach : 0}, along ? ld : 1, along ? 1 : ld, g.axes};
  std::copy_n(g.size, g.axes, o.size);
  std::copy_n(step, g.axes, o.step);
  return o;
}

}  // namespace

void gemm_plain(const Gemm& g) {
  visit_gemm(g, [&](auto tag) {
    using T = decltype(tag);
    const auto run = [&](auto out) {
      using Out = decltype(out);
      const StoreFinished<T, Out> to{{static_cast<Out*>(g.c), g.batch() * g.m * g.n}, epilogue_of<T>(g), g.m, g.n};
      plain_product<T>(g.device, g.op, {g.m, g.n, g.k, g.batch()}, operand<T>(g, g.a, !g.trans_a, g.m, g.lda, g.step_a),
                       operand<T>(g, g.b, g.trans_b, g.n, g.ldb, g.step_b), to);
    };
    if constexpr (std::is_same_v<T, bf16>)
      if (g.result == DType::float32) return run(float{});
    run(tag);
  });
}

void set_tf32(bool allowed) { tf32_allowed() = allowed; }
bool tf32() { return tf32_allowed(); }
void set_tf32x3(bool allowed) { three_products() = allowed; }
bool tf32x3() { return three_products(); }

void gemm(const Gemm& g) {
  if (g.m == 0 || g.n == 0 || g.batch() == 0) return;
  if (g.k > 0 && gemm_tf32(g)) return;
  Gemm left = g;
  if (g.k == 0 || !gemm_lt(g, left)) return gemm_plain(g);
  if (left.activation == Activation::none && left.residual == nullptr && left.bias == nullptr) return;
  visit_gemm(left, [&](auto tag) {
    using T = decltype(tag);
    const int64_t count = left.batch() * left.m * left.n;
    launch(
        {left.device, left.op, blocks_for(count * static_cast<int64_t>(sizeof(T)) / 16 + 1, 256), dim3(256), 0, true},
        finish_kernel<T>, View<T>(static_cast<T*>(left.c), count), epilogue_of<T>(left), count, left.n);
  });
}

namespace {

/// What a product's own epilogue does not know: z = c + bias is kept, c = activation(z) scale + residual.
template <class T>
__global__ void finish_product_kernel(View<T> c, View<T> kept, View<const T> bias, View<const T> scale,
                                      View<const T> residual, Activation activation, int64_t count, int64_t n) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    Compute<T> z = load(c[i]);
    if (bias) z += load(bias[i % n]);
    if (kept) kept[i] = store<T>(z);
    z = activate(activation, z);
    if (scale) z *= load(scale[i % n]);
    if (residual) z += load(residual[i]);
    c[i] = store<T>(z);
  }
}

/// c = c activation'(at)
template <class T>
__global__ void times_derivative_kernel(View<T> c, View<const T> at, Activation activation, int64_t count) {
  for (int64_t i = global_thread(); i < count; i += global_threads())
    c[i] = store<T>(load(c[i]) * activation_derivative(activation, load(at[i])));
}

}  // namespace

void matmul(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& c, const FusedProduct& fused) {
  if (c.numel() == 0) return;
  if (fused.scale.defined() || fused.pre_activation.defined()) {
    matmul(a, b, {}, c, FusedProduct{});
    visit_cuda_float(c, "matmul", [&](auto tag) {
      using T = decltype(tag);
      Tensor kept = fused.pre_activation;
      launch({c.device(), "matmul", blocks_for(c.numel(), 256), dim3(256)}, finish_product_kernel<T>, view<T>(c),
             view<T>(kept), view<const T>(bias), view<const T>(fused.scale), view<const T>(fused.residual),
             fused.activation, c.numel(), c.size(-1));
    });
    return;
  }
  const int axes = c.dim() - 2;
  const MatrixLayout la = matrix_layout(a), lb = matrix_layout(b);
  visit_cuda_float(a, "matmul", [&](auto) {});
  Gemm g{.device = c.device(),
         .dtype = a.dtype(),
         .result = c.dtype(),
         .op = "matmul",
         .trans_a = la.transposed,
         .trans_b = lb.transposed,
         .m = c.shape()[axes],
         .n = c.shape()[axes + 1],
         .k = a.shape()[axes + 1],
         .lda = la.ld,
         .ldb = lb.ld,
         .a = a.raw(),
         .b = b.raw(),
         .c = c.raw(),
         .bias = bias ? bias.raw() : nullptr,
         .residual = fused.residual ? fused.residual.raw() : nullptr,
         .activation = fused.activation};
  for (int axis = 0; axis < axes; ++axis) {
    const int64_t size = c.shape()[axis], step_a = a.strides()[axis], step_b = b.strides()[axis];
    if (size == 1) continue;
    // An axis that goes on where the next one ends is one with it.
    if (g.axes > 0 && g.step_a[g.axes - 1] == size * step_a && g.step_b[g.axes - 1] == size * step_b) {
      g.size[g.axes - 1] *= size;
      g.step_a[g.axes - 1] = step_a;
      g.step_b[g.axes - 1] = step_b;
      continue;
    }
    g.size[g.axes] = size;
    g.step_a[g.axes] = step_a;
    g.step_b[g.axes++] = step_b;
  }
  gemm(g);
}

void matmul_times_derivative(const Tensor& a, const Tensor& b, Activation activation, const Tensor& at, Tensor& c) {
  matmul(a, b, {}, c, FusedProduct{});
  if (c.numel() == 0) return;
  visit_cuda_float(c, "matmul", [&](auto tag) {
    using T = decltype(tag);
    launch({c.device(), "matmul", blocks_for(c.numel(), 256), dim3(256)}, times_derivative_kernel<T>, view<T>(c),
           view<const T>(at), activation, c.numel());
  });
}

namespace {

inline constexpr int kSumLines = 8;  // rows that a block adds at once

/// Sums of the rows of a slice: a thread adds every eighth row of kPiece columns, then the eight are added in order.
template <class T, int kPiece>
__global__ void __launch_bounds__(kWarp* kSumLines)
    column_sums_kernel(View<const T> x, View<Compute<T>> sums, int64_t rows, int64_t columns, int64_t step,
                       int64_t slice) {
  using C = Compute<T>;
  __shared__ C shared[kSumLines][kWarp * kPiece];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, line = static_cast<int>(threadIdx.x) / kWarp;
  const int64_t c0 = (int64_t{blockIdx.x} * kWarp + lane) * kPiece;
  const int64_t begin = blockIdx.y * slice, end = begin + slice < rows ? begin + slice : rows;
  C sum[kPiece] = {};
  if (c0 < columns) {
#pragma unroll 4
    for (int64_t r = begin + line; r < end; r += kSumLines) {
      alignas(16) T piece[kPiece];
      if constexpr (kPiece == 1)
        piece[0] = x[r * step + c0];
      else
        *reinterpret_cast<int4*>(piece) = *reinterpret_cast<const int4*>(x.at(r * step + c0, kPiece));
#pragma unroll
      for (int i = 0; i < kPiece; ++i) sum[i] += load(piece[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < kPiece; ++i) shared[line][lane * kPiece + i] = sum[i];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kWarp * kPiece; i += kWarp * kSumLines) {
    const int64_t c = int64_t{blockIdx.x} * kWarp * kPiece + i;
    if (c >= columns) continue;
    C all = 0;
    for (int l = 0; l < kSumLines; ++l) all += shared[l][i];
    sums[blockIdx.y * columns + c] = all;
  }
}

template <class T>
__global__ void sum_slices_kernel(View<const Compute<T>> partial, View<T> out, int64_t slices, int64_t count) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    Compute<T> sum = 0;
#pragma unroll 8
    for (int64_t s = 0; s < slices; ++s) sum += partial[s * count + i];
    out[i] = store<T>(sum);
  }
}

}  // namespace

template <class T>
void sum_slices(Device device, const char* op, const Compute<T>* partial, int64_t slices, T* out, int64_t count) {
  launch({device, op, blocks_for(count, 128), dim3(128), 0, true}, sum_slices_kernel<T>,
         View<const Compute<T>>(partial, slices * count), View<T>(out, count), slices, count);
}

template void sum_slices(Device, const char*, const float*, int64_t, float*, int64_t);
template void sum_slices(Device, const char*, const double*, int64_t, double*, int64_t);
template void sum_slices(Device, const char*, const float*, int64_t, bf16*, int64_t);

template <class C>
void sum_slices(Device device, const char* op, const C* partial, int64_t slices, Tensor& out) {
  if constexpr (std::is_same_v<C, double>) {
    sum_slices<double>(device, op, partial, slices, out.data<double>(), out.numel());
  } else {
    if (out.dtype() == DType::float32)
      return sum_slices<float>(device, op, partial, slices, out.data<float>(), out.numel());
    sum_slices<bf16>(device, op, partial, slices, out.data<bf16>(), out.numel());
  }
}
template void sum_slices(Device, const char*, const float*, int64_t, Tensor&);
template void sum_slices(Device, const char*, const double*, int64_t, Tensor&);

void column_sums(const Tensor& x, Tensor& out) {
  const int64_t rows = x.shape()[0], columns = x.shape()[1], step = x.strides()[0];
  if (columns == 0) return;
  visit_cuda_float(x, "column_sums", [&](auto tag) {
    using T = decltype(tag);
    constexpr int kWide = 16 / sizeof(T);
    const bool wide = columns % kWide == 0 && step % kWide == 0 && reinterpret_cast<uintptr_t>(x.raw()) % 16 == 0;
    const int piece = wide ? kWide : 1;
    const int64_t across = (columns + kWarp * piece - 1) / (kWarp * piece);
    // Slices of at least 64 rows, as many as keep a large card busy: a cut that depends on the sizes alone.
    const int64_t wanted = std::max<int64_t>(1, std::min<int64_t>((rows + 63) / 64, 1056 / across));
    const int64_t slice = std::max<int64_t>(1, (rows + wanted - 1) / wanted);
    const int64_t slices = std::max<int64_t>(1, (rows + slice - 1) / slice);
    Compute<T>* partial = workspace<Compute<T>>(x.device(), slices * columns);
    const auto kernel = wide ? column_sums_kernel<T, kWide> : column_sums_kernel<T, 1>;
    launch({x.device(), "column_sums", dim3(static_cast<unsigned>(across), static_cast<unsigned>(slices)),
            dim3(kWarp * kSumLines)},
           kernel, view<const T>(x), View<Compute<T>>(partial, slices * columns), rows, columns, step, slice);
    sum_slices(x.device(), "column_sums", partial, slices, out);
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
