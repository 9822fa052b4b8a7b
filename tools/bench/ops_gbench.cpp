// Google Benchmark of the heavy ops, forward and backward, at shapes that the models use. Counters: GFLOP/s, GB/s.
//
//   ops_gbench --benchmark_filter=conv      ATLAS_NUM_THREADS sets the threads
#include <benchmark/benchmark.h>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/core/program.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/norm.h"
#include "atlas/ops/scan.h"
#include "atlas/ops/softmax.h"
#include "atlas/ops/unary.h"
#include "atlas/tensor/create.h"

namespace {

using namespace atlas;

constexpr double kGiga = 1e9;

void count(benchmark::State& state, double flops, double bytes) {
  using Counter = benchmark::Counter;
  if (flops > 0) state.counters["GFLOP/s"] = Counter(flops / kGiga, Counter::kIsIterationInvariantRate);
  if (bytes > 0) state.counters["GB/s"] = Counter(bytes / kGiga, Counter::kIsIterationInvariantRate);
}

/// Times f() without recording.
template <class F>
void forward(benchmark::State& state, F&& f, double flops, double bytes) {
  NoGrad off;
  for (auto _ : state) benchmark::DoNotOptimize(f());
  count(state, flops, bytes);
}
/// Times f() and the gradients of its inputs.
template <class F>
void training(benchmark::State& state, F&& f, std::vector<Tensor> inputs, double flops) {
  for (Tensor& t : inputs) t.set_requires_grad();
  for (auto _ : state) {
    const Tensor y = f();
    benchmark::DoNotOptimize(grad({y}, inputs, {y.detach()}));
  }
  count(state, flops, 0);
}

void linear_forward(benchmark::State& state) {
  const int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  const Tensor x = randn({rows, in}), w = randn({out, in}), b = randn({out});
  forward(
      state, [&] { return linear(x, w, b); }, 2.0 * static_cast<double>(rows * in * out), 0);
}
void linear_training(benchmark::State& state) {
  const int64_t rows = state.range(0), in = state.range(1), out = state.range(2);
  const Tensor x = randn({rows, in}), w = randn({out, in}), b = randn({out});
  training(
      state, [&] { return linear(x, w, b); }, {x, w, b}, 6.0 * static_cast<double>(rows * in * out));
}
BENCHMARK(linear_forward)
    ->Args({6272, 320, 320})
    ->Args({6272, 320, 1280})
    ->Args({4096, 768, 3072})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(linear_training)
    ->Args({6272, 320, 1280})
    ->Args({4096, 768, 3072})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void conv3x3(benchmark::State& state, bool train) {
  const int64_t side = state.range(0), channels = state.range(1), stride = state.range(2);
  const Tensor x = randn({1, side, side, channels}), w = randn({channels, 3, 3, channels}), b = randn({channels});
  const auto f = [&] { return conv2d(x, w, b, {.stride = {stride, stride}, .padding = {1, 1}}); };
  const int64_t out = (side - 1) / stride + 1;
  const double flops = 18.0 * static_cast<double>(out * out * channels * channels);
  if (train)
    training(state, f, {x, w, b}, 3 * flops);
  else
    forward(state, f, flops, 0);
}
BENCHMARK_CAPTURE(conv3x3, forward, false)
    ->Args({256, 192, 1})
    ->Args({128, 384, 1})
    ->Args({128, 96, 2})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(conv3x3, training, true)
    ->Args({128, 192, 1})
    ->Args({128, 96, 2})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void window_attention(benchmark::State& state, bool train) {
  const int64_t windows = state.range(0), queries = state.range(1), keys = state.range(2), heads = state.range(3),
                d = state.range(4);
  const Tensor q = randn({windows, queries, heads, d}), k = randn({windows, keys, heads, d}),
               v = randn({windows, keys, heads, d});
  const double flops = 4.0 * static_cast<double>(windows * queries * keys * heads * d);
  if (train)
    training(
        state, [&] { return attention(q, k, v); }, {q, k, v}, 3.5 * flops);
  else
    forward(
        state, [&] { return attention(q, k, v); }, flops, 0);
}
BENCHMARK_CAPTURE(window_attention, forward, false)
    ->Args({16, 256, 512, 12, 64})
    ->Args({32, 196, 196, 8, 40})
    ->Args({64, 49, 49, 16, 40})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(window_attention, training, true)
    ->Args({16, 256, 512, 12, 64})
    ->Args({32, 196, 196, 8, 40})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void scan(benchmark::State& state, bool train) {
  const int64_t b = state.range(0), l = state.range(1), d = state.range(2), n = 8;
  const Tensor u = randn({b, l, d}), delta = randn({b, l, d}), a = mul(exp(randn({d, n})), -1.0), bm = randn({b, l, n}),
               cm = randn({b, l, n}), dd = randn({d}), bias = randn({d});
  const auto f = [&] { return selective_scan(u, delta, a, bm, cm, dd, bias); };
  if (train)
    training(state, f, {u, delta, a, bm, cm, dd, bias}, 0);
  else
    forward(state, f, 0, 12.0 * static_cast<double>(b * l * d));
}
BENCHMARK_CAPTURE(scan, forward, false)
    ->Args({32, 196, 160})
    ->Args({32, 49, 320})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(scan, training, true)->Args({32, 196, 160})->UseRealTime()->Unit(benchmark::kMillisecond);

void norms(benchmark::State& state, bool batch) {
  const int64_t rows = state.range(0), channels = state.range(1);
  const Tensor x = randn({rows, channels}), w = ones({channels}), b = zeros({channels});
  const auto f = [&] { return batch ? batch_norm(x, w, b, {}, {}, true) : layer_norm(x, w, b); };
  forward(state, f, 0, 8.0 * static_cast<double>(rows * channels));
}
BENCHMARK_CAPTURE(norms, layer, false)
    ->Args({6272, 320})
    ->Args({65536, 192})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(norms, batch, true)->Args({65536, 192})->UseRealTime()->Unit(benchmark::kMicrosecond);

void elementwise(benchmark::State& state, Tensor (*op)(const Tensor&)) {
  const Tensor x = randn({state.range(0)});
  forward(
      state, [&] { return op(x); }, 0, 8.0 * static_cast<double>(x.numel()));
}
BENCHMARK_CAPTURE(elementwise, gelu, gelu)->Arg(1 << 18)->Arg(1 << 23)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(elementwise, silu, silu)->Arg(1 << 18)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(elementwise, exp, exp)->Arg(1 << 18)->UseRealTime()->Unit(benchmark::kMicrosecond);

void softmax_rows(benchmark::State& state) {
  const Tensor x = randn({state.range(0), state.range(1)});
  forward(
      state, [&] { return softmax(x); }, 0, 8.0 * static_cast<double>(x.numel()));
}
BENCHMARK(softmax_rows)->Args({4096, 512})->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace

int main(int argc, char** argv) {
  return atlas::run_program("ops_gbench", [&] {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
  });
}
