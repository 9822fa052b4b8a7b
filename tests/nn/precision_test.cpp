// Inference in bfloat16: products against rounded operands, on every instruction set; models against float32.
// ctest-device: cpu
#include "atlas/core/precision.h"

#include <doctest/doctest.h>

#include <cmath>

#include "atlas/autograd/node.h"
#include "atlas/core/isa.h"
#include "atlas/core/parallel.h"
#include "atlas/io/formula.h"
#include "atlas/models/presets.h"
#include "atlas/nn/conv.h"
#include "atlas/nn/linear.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/memory.h"
#include "tests/compare.h"

using namespace atlas;
using test::same_bits;

namespace {

Tensor formula(const char* name, const Shape& shape) { return io::formula_tensor(name, shape); }
Tensor rounded(const Tensor& t) { return t.detach().to(bfloat16).to(float64); }
double difference(const Tensor& a, const Tensor& b) {
  const Tensor x = a.detach().to(float64).contiguous(), y = b.detach().to(float64).contiguous();
  double away = 0, size = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double d = x.data<double>()[i] - y.data<double>()[i];
    away += d * d;
    size += y.data<double>()[i] * y.data<double>()[i];
  }
  return std::sqrt(away / size);
}
/// Calls f with each instruction set of this machine.
template <class F>
void for_each_isa(F&& f) {
  const CpuIsa before = cpu_isa();
  for (const CpuIsa isa : {CpuIsa::portable, CpuIsa::avx2, CpuIsa::avx512}) {
    if (!cpu_supports(isa)) continue;
    INFO("instruction set ", std::string(name(isa)));
    set_cpu_isa(isa);
    f();
  }
  set_cpu_isa(before);
}

}  // namespace

TEST_CASE("Linear in bfloat16 is the product of rounded operands with float32 sums") {
  for_each_isa([] {
    for (const auto& [rows_, in_, out_] :
         {std::array<int64_t, 3>{1, 1, 1}, {7, 33, 20}, {200, 64, 49}, {37, 1601, 130}}) {
      const auto &rows = rows_, &in = in_, &out = out_;  // clang below 16 captures no structured binding
      INFO(rows, " x ", in, " -> ", out);
      Linear layer(in, out);
      copy_elements(layer.weight, formula("w", {out, in}));
      const Tensor x = formula("x", {rows, in});
      const NoGrad off;
      const Tensor want = linear(rounded(x), rounded(layer.weight), layer.bias.detach().to(float64));
      const InferencePrecision fast(bfloat16);
      CHECK(difference(layer(x), want) < 2e-6);
      CHECK(difference(layer.activated(x, Activation::gelu), gelu(want)) < 2e-6);  // packed weights stay
    }
  });
}

TEST_CASE("convolutions in bfloat16 are those of rounded operands") {
  for_each_isa([] {
    for (const Conv2dOptions& options :
         {Conv2dOptions{.stride = {2, 2}, .padding = {1, 1}},
          Conv2dOptions{.stride = {1, 2}, .padding = {2, 0}, .dilation = {2, 1}}, Conv2dOptions{.stride = {3, 3}}}) {
      for (const int64_t kernel : {1, 3}) {
        Conv2d layer(6, 35, kernel, options);
        const Tensor x = formula("x", {2, 13, 11, 6});
        const NoGrad off;
        const Tensor want = conv2d(rounded(x), rounded(layer.weight), layer.bias.detach().to(float64), options);
        const InferencePrecision fast(bfloat16);
        CHECK(difference(layer(x), want) < 2e-6);
      }
    }
  });
}

TEST_CASE("logits in bfloat16 are within 1.5 times PyTorch's own error, for any number of threads") {
  struct Known {
    const char *family, *config;
    int64_t side;
    double torch;  // relative error of the reference's logits under torch.autocast("cpu", torch.bfloat16), PyTorch 2.15
  };
  for (const Known& k : {Known{"mambavision",
                               R"({"dim": 16, "in_dim": 8, "depths": [1, 1, 3, 2], "num_heads": [2, 2, 2, 4],
                                   "window_size": [8, 8, 4, 2], "num_classes": 7, "drop_path_rate": 0})",
                               64, 1.049e-2},
                         Known{"atlas",
                               R"({"image": 256, "dim": 32, "num_heads": 2, "depths": [1, 2], "window": 8, "ratio": 2,
                                   "num_classes": 7, "stem_dim": 8, "drop_path_rate": 0})",
                               256, 6.514e-3}}) {
    INFO(std::string(k.family));
    const auto model = models::make_model_from_config(k.family, k.config);
    io::formula_fill(*model);
    model->eval();
    const Tensor images = io::formula_image(2, k.side, k.side);
    const NoGrad off;
    const Tensor exact = (*model)(images);
    Tensor first;
    const int before = num_threads();
    {
      const InferencePrecision fast(bfloat16);
      for (const int threads : {1, 2, 4}) {
        set_num_threads(threads);
        const Tensor logits = (*model)(images);
        if (!first.defined()) first = logits;
        CHECK(same_bits(logits, first));
      }
      set_num_threads(before);
      const double error = difference(first, exact);
      MESSAGE(std::string(k.family), ": ", error, ", PyTorch ", k.torch);
      CHECK(error > 1e-5);  // it is another precision
      CHECK(error <= 1.5 * k.torch);
    }
    CHECK(same_bits((*model)(images), exact));  // what was packed for bfloat16 is not used in float32
  }
}

TEST_CASE("what records gradients computes in float32") {
  Linear layer(32, 16);
  Tensor x = formula("x", {8, 32});
  const Tensor want = layer(x).detach();
  const InferencePrecision fast(bfloat16);
  CHECK(same_bits(layer(x).detach(), want));
  CHECK_THROWS_WITH(set_inference_precision(float64),
                    "[set_inference_precision] must be float32 or bfloat16, got float64");
  CHECK(inference_precision() == bfloat16);
}
