// Times every heavy kernel at the shapes of the published models: milliseconds, TFLOP/s, GB/s, and the share of what
// the device was measured to reach. On a GPU, by its own clock.
//
//   bench_kernels --device cuda --dtype bfloat16          all kernels
//   bench_kernels --device cuda --filter conv --markdown  the lines of a table
//   bench_kernels --device cpu --tiny                     the same on small shapes: that it runs
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/core/cuda_async.h"
#include "atlas/core/select_device.h"
#include "atlas/kernels/attention.h"
#include "atlas/kernels/augment.h"
#include "atlas/kernels/conv.h"
#include "atlas/kernels/functors.h"
#include "atlas/kernels/gemm.h"
#include "atlas/kernels/norm.h"
#include "atlas/kernels/optim.h"
#include "atlas/kernels/scan.h"
#include "atlas/kernels/unary.h"
#include "atlas/kernels/window.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/logic.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/norm.h"
#include "atlas/ops/pool.h"
#include "atlas/ops/scan.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/softmax.h"
#include "atlas/ops/unary.h"
#include "atlas/ops/window.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tools/program/command_line.h"

namespace {

using namespace atlas;

struct Settings {
  std::string device = "auto", dtype = "float32", filter;
  bool tiny = false, markdown = false, list = false;
  double seconds = 0.05;
  Device on;
  DType type = float32;
};

/// A kernel at one shape, with its operands.
struct Work {
  std::function<void()> run;
  double flops = 0, bytes = 0;
};
struct Case {
  std::string name;
  std::function<Work()> make;  // operands exist only while they are used
};

/// Seconds of one call of f: median of five stretches, each at least a fifth of `seconds` long.
double time_of(const std::function<void()>& f, const Settings& s) {
  const auto stretch = [&](int64_t times) {
    if constexpr (kWithCuda) {
      if (s.on.is_cuda()) {
        cuda::Event from(s.on, true), to(s.on, true);
        from.record();
        for (int64_t i = 0; i < times; ++i) f();
        to.record();
        to.wait();
        return cuda::Event::seconds_between(from, to);
      }
    }
    const auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < times; ++i) f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  f();  // whatever is made once
  const double once = std::max(stretch(1), 1e-7);
  const auto times = std::clamp<int64_t>(static_cast<int64_t>(s.seconds / 5 / once), 1, 10000);
  std::vector<double> all;
  for (int i = 0; i < 5; ++i) all.push_back(stretch(times) / static_cast<double>(times));
  std::sort(all.begin(), all.end());
  return all[2];
}

class Cases {
 public:
  explicit Cases(const Settings& s) : s_(s) {
    for (const auto& [batch, side, channels] :
         {std::tuple<int64_t, int64_t, int64_t>{8, 256, 192}, {8, 128, 384}, {128, 56, 128}, {128, 28, 256}})
      for (const char* pass : {"forward", "dx", "dW"}) conv(batch, side, channels, 1, pass);
    for (const char* pass : {"forward", "dx", "dW"}) conv(8, 256, 192, 2, pass);
    for (const auto& [rows, in, out] : {std::tuple<int64_t, int64_t, int64_t>{131072, 768, 768},
                                        {131072, 768, 3072},
                                        {131072, 3072, 768},
                                        {25088, 512, 2048}})
      for (const char* pass : {"forward", "dx", "dW"}) linear(rows, in, out, pass);
    for (const auto& [windows, queries, keys, heads, d] :
         {std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>{512, 256, 512, 12, 64},
          {128, 196, 196, 8, 64},
          {128, 196, 196, 8, 40},
          {128, 49, 49, 16, 64}})
      for (const char* pass : {"forward", "backward"}) attention(windows, queries, keys, heads, d, pass);
    for (const auto& [length, channels] : {std::pair<int64_t, int64_t>{196, 256}, {49, 512}})
      for (const char* pass : {"forward", "backward"}) scan(128, length, channels, pass);
    norms();
    elementwise();
    rearranging();
  }
  const std::vector<Case>& all() const { return all_; }

 private:
  /// Normally distributed. The host makes a part along the first axis, and the device repeats it: that is quick.
  Tensor random(Shape shape, DType type) const {
    Shape part = shape;
    while (part[0] % 2 == 0 && part.numel() > 1 << 22) part[0] /= 2;
    const Tensor made = randn(part).to(type).to(s_.on);
    const int64_t times = shape[0] / part[0], n = part.numel();
    return times == 1 ? made : reshape(contiguous(expand(reshape(made, {1, n}), {times, n})), shape);
  }
  Tensor random(Shape shape) const { return random(shape, s_.type); }
  Tensor random32(Shape shape) const { return random(shape, s_.type == float64 ? float64 : float32); }
  Tensor fresh(const Shape& shape) const { return empty(shape, s_.type, s_.on); }
  /// A length of the tiny shapes.
  int64_t cut(int64_t n, int64_t to) const { return s_.tiny ? std::min(n, to) : n; }
  static double bytes(std::initializer_list<Tensor> tensors) {
    double sum = 0;
    for (const Tensor& t : tensors) sum += static_cast<double>(t.numel() * item_size(t.dtype()));
    return sum;
  }
  void add(std::string name, std::function<Work()> make) { all_.push_back({std::move(name), std::move(make)}); }

  void conv(int64_t batch, int64_t side, int64_t channels, int64_t stride, const std::string& pass) {
    batch = cut(batch, 1);
    side = cut(side, 8);
    channels = cut(channels, 16);
    const int64_t out = stride == 2 ? 2 * channels : channels;
    add(fmt::format("conv3x3 {} {}x{}x{}x{} to {}, stride {}", pass, batch, side, side, channels, out, stride),
        [=, this] {
          const Tensor x = random({batch, side, side, channels}), w = random({out, 3, 3, channels}), b = random({out});
          const Conv2dShape s = detail::conv2d_shape(x, w, {.stride = {stride, stride}, .padding = {1, 1}});
          Tensor y = random({batch, s.out[0], s.out[1], out}), dx = fresh(x.shape()), dw = fresh(w.shape());
          const double flops = 18.0 * static_cast<double>(y.numel() * channels);
          if (pass == "dx")
            return Work{[=]() mutable { kernels::conv2d_backward_input(y, w, dx, s); }, flops, bytes({x, w, y})};
          if (pass == "dW")
            return Work{[=]() mutable { kernels::conv2d_backward_weight(x, y, dw, s); }, flops, bytes({x, w, y})};
          return Work{[=]() mutable { kernels::conv2d_forward(x, w, b, y, s, {}); }, flops, bytes({x, w, y})};
        });
  }
  void linear(int64_t rows, int64_t in, int64_t out, const std::string& pass) {
    rows = cut(rows, 64);
    in = cut(in, 64);
    out = cut(out, 64);
    add(fmt::format("linear {} {}x{} to {}", pass, rows, in, out), [=, this] {
      const Tensor x = random({rows, in}), w = random({out, in}), b = random({out}), dy = random({rows, out});
      Tensor y = fresh({rows, out}), dx = fresh({rows, in}), dw = fresh({out, in});
      const double flops = 2.0 * static_cast<double>(rows * in * out);
      if (pass == "dx") return Work{[=]() mutable { kernels::matmul(dy, w, {}, dx, {}); }, flops, bytes({x, w, y})};
      if (pass == "dW")
        return Work{[=]() mutable { kernels::matmul(dy.transpose(0, 1), x, {}, dw, {}); }, flops, bytes({x, w, y})};
      return Work{[=]() mutable { kernels::matmul(x, w.transpose(0, 1), b, y, {}); }, flops, bytes({x, w, y})};
    });
  }
  void attention(int64_t windows, int64_t queries, int64_t keys, int64_t heads, int64_t d, const std::string& pass) {
    windows = cut(windows, 2);
    queries = cut(queries, 49);
    keys = cut(keys, 64);
    heads = cut(heads, 2);
    add(fmt::format("attention {} {} x {}, {} keys, {} heads of {}", pass, windows, queries, keys, heads, d), [=,
                                                                                                               this] {
      const Tensor q = random({windows, queries, heads, d}), k = random({windows, keys, heads, d}),
                   v = random({windows, keys, heads, d}), dy = random(q.shape());
      Tensor y = fresh(q.shape()), lse = empty({windows, heads, queries}, statistics_dtype(q), s_.on);
      Tensor dq = fresh(q.shape());
      std::vector<KeyValue> from{{k, v, {}}}, to{{fresh(k.shape()), fresh(v.shape()), {}}};
      const double scale = detail::attention_scale(q, 0),
                   one = 2.0 * static_cast<double>(windows * queries * keys * heads * d);
      kernels::attention_forward(q, from, scale, y, lse);
      if (pass == "backward")
        return Work{[=]() mutable { kernels::attention_backward(q, from, scale, y, lse, dy, dq, to); }, 5 * one,
                    2 * bytes({q, k, v, y})};
      return Work{[=]() mutable { kernels::attention_forward(q, from, scale, y, lse); }, 2 * one, bytes({q, k, v, y})};
    });
  }
  void scan(int64_t batch, int64_t length, int64_t channels, const std::string& pass) {
    batch = cut(batch, 2);
    length = cut(length, 20);
    channels = cut(channels, 32);
    add(fmt::format("scan {} {}x{}x{}, 8 states", pass, batch, length, channels), [=, this] {
      const ScanTensors in{random({batch, length, channels}),
                           random({batch, length, channels}),
                           neg(exp(random32({channels, 8}))),
                           random({batch, length, 8}),
                           random({batch, length, 8}),
                           random32({channels}),
                           random32({channels})};
      Tensor y = random(in.u.shape());
      const double elements = static_cast<double>(in.u.numel());
      if (pass == "backward") {
        ScanTensors g{empty_like(in.u), empty_like(in.delta), empty_like(in.a),         empty_like(in.b),
                      empty_like(in.c), empty_like(in.d),     empty_like(in.delta_bias)};
        return Work{[=]() mutable { kernels::scan_backward(in, y, g); }, elements * 8 * 15,
                    bytes({in.u, in.u, in.u, in.u, in.u, in.b, in.b, in.c, in.c})};
      }
      return Work{[=]() mutable { kernels::scan_forward(in, y); }, elements * 8 * 6,
                  bytes({in.u, in.delta, y, in.b, in.c})};
    });
  }
  void norms() {
    const int64_t rows = cut(131072, 64), pixels = cut(8 * 256 * 256, 200), features = cut(768, 64),
                  channels = cut(192, 64);
    for (const bool back : {false, true})
      add(fmt::format("layer_norm {} {}x{}", back ? "backward" : "forward", rows, features), [=, this] {
        const Tensor x = random({rows, features}), w = random32({features}), b = random32({features});
        Tensor y = random(x.shape()), dx = fresh(x.shape()), dw = empty_like(w), db = empty_like(w);
        Tensor mean = empty({rows}, statistics_dtype(x), s_.on), rstd = empty_like(mean);
        kernels::layer_norm_forward(x, w, b, 1e-5, y, mean, rstd);
        if (back)
          return Work{[=]() mutable { kernels::layer_norm_backward(x, w, mean, rstd, y, dx, dw, db, false); }, 0,
                      bytes({x, y, dx})};
        return Work{[=]() mutable { kernels::layer_norm_forward(x, w, b, 1e-5, y, mean, rstd); }, 0, bytes({x, y})};
      });
    for (const char* part : {"statistics", "forward", "backward"})
      add(fmt::format("batch_norm {} {}x{}", part, pixels, channels), [=, this] {
        const Tensor x = random({pixels, channels}), w = random32({channels}), b = random32({channels});
        Tensor y = random(x.shape()), dx = fresh(x.shape()), dw = empty_like(w), db = empty_like(w);
        Tensor mean = zeros({channels}, w.dtype()).to(s_.on), one = ones({channels}, w.dtype()).to(s_.on),
               var = empty_like(mean);
        if (std::string(part) == "statistics")
          return Work{[=]() mutable { kernels::batch_norm_statistics(x, mean, var); }, 0, bytes({x})};
        if (std::string(part) == "backward")
          return Work{[=]() mutable {
                        kernels::batch_norm_backward(x, mean, one, w, b, Activation::none, y, true, dx, dw, db);
                      },
                      0, bytes({x, x, y, y, dx})};
        return Work{[=]() mutable { kernels::batch_norm_forward(x, mean, one, w, b, Activation::none, y); }, 0,
                    bytes({x, y})};
      });
    const int64_t columns = cut(256, 64);
    add(fmt::format("softmax {}x{}", rows, columns), [=, this] {
      const Tensor x = random({rows, columns});
      return Work{[=] { softmax(x); }, 0, 2 * bytes({x})};
    });
  }
  void elementwise() {
    const int64_t n = cut(int64_t{1} << 26, 1000);
    const auto unary = [&](const char* name, Tensor (*f)(const Tensor&)) {
      add(fmt::format("{} {}", name, n), [=, this] {
        const Tensor x = random({n});
        return Work{[=] { f(x); }, 0, 2 * bytes({x})};
      });
    };
    unary("gelu", gelu);
    unary("silu", silu);
    add(fmt::format("gelu backward {}", n), [=, this] {
      const Tensor x = random({n}), dy = random({n});
      Tensor dx = fresh({n});
      return Work{[=]() mutable { kernels::unary_backward(functors::Gelu{}, x, dy, dx); }, 0, 3 * bytes({x})};
    });
    add(fmt::format("add {}", n), [=, this] {
      const Tensor a = random({n}), b = random({n});
      return Work{[=] { atlas::add(a, b); }, 0, 3 * bytes({a})};
    });
    add(fmt::format("float32 to bfloat16 {}", n), [=, this] {
      const Tensor x = random32({n});
      Tensor y = empty({n}, bfloat16, s_.on);
      return Work{[=]() mutable { copy_elements(y, x); }, 0, bytes({x, y})};
    });
    add(fmt::format("AdamW {}", n), [=, this] {
      std::vector<ParameterUpdate> all(1);
      const Tensor p = random32({n});
      all[0] = {p, random32({n}), zeros_like(p), ones_like(p), 1e-4, 0.05, 1};
      return Work{[=]() mutable { kernels::adam_update(all, {0.9, 0.999, 1e-8, true, 1}); }, 0, 7 * bytes({p})};
    });
  }
  void rearranging() {
    const int64_t batch = cut(32, 1), side = cut(64, 16), channels = cut(768, 32), images = cut(128, 2),
                  pixels = cut(224, 16);
    add(fmt::format("window_partition {}x{}x{}x{}", batch, side, side, channels), [=, this] {
      const Tensor x = random({batch, side, side, channels});
      const WindowLayout layout{side, side, side / 4, side / 4};
      Tensor y = fresh({batch * layout.windows(), layout.pixels(), channels});
      return Work{[=]() mutable { kernels::window_partition(x, layout, y); }, 0, bytes({x, y})};
    });
    add(fmt::format("max_pool2d 4 {}x{}x{}x{}", batch, side, side, channels), [=, this] {
      const Tensor x = random({batch, side, side, channels});
      return Work{[=] { max_pool2d(x, {4, 4}, {4, 4}); }, 0, bytes({x}) * 17 / 16};
    });
    const int64_t length = cut(196, 20), width = cut(512, 32);
    add(fmt::format("conv1d_depthwise {}x{}x{}", images, length, width), [=, this] {
      const Tensor x = random({images, length, width}), w = random({3, width});
      return Work{[=] { conv1d_depthwise(x, w); }, 0, 2 * bytes({x})};
    });
    add(fmt::format("augment_images {}x{}x{}", images, pixels, pixels), [=, this] {
      const Tensor x = zeros({images, pixels, pixels, 3}, uint8).to(s_.on);
      const Tensor plans = zeros({images, static_cast<int64_t>(sizeof(ImageAugment))}, uint8).to(s_.on);
      Tensor y = empty(x.shape(), float32, s_.on);
      BatchAugment all;
      all.mix = 1;
      all.lambda = 0.5f;
      return Work{[=]() mutable { kernels::augment_images(x, plans, all, y); }, 0, bytes({x, y})};
    });
  }

  const Settings& s_;
  std::vector<Case> all_;
};

int run(Settings s) {
  s.on = select_device(s.device);
  s.type = s.dtype == "bfloat16" ? bfloat16 : s.dtype == "float64" ? float64 : float32;
  check(s.type != bfloat16 || s.on.is_cuda(), "bench_kernels",
        "bfloat16 is computed with on CUDA devices alone, not on {}", s.on.str());
  const NoGrad off;
  const Cases cases(s);
  if (s.list) {
    for (const Case& c : cases.all()) fmt::print("{}\n", c.name);
    return 0;
  }
  std::string where = "the CPU";
  if constexpr (kWithCuda)
    if (s.on.is_cuda()) where = cuda::describe_device(s.on);
  // What this device reaches: the largest square product, and a plain copy.
  const int64_t side = s.tiny           ? 64
                       : s.on.is_cuda() ? 8192
                                        : 1024,
                length = s.tiny           ? 4096
                         : s.on.is_cuda() ? int64_t{1} << 28
                                          : 1 << 24;
  double matrix_rate = 0, memory_rate = 0;
  {
    const Tensor a = randn({side, side}).to(s.type).to(s.on), b = randn({side, side}).to(s.type).to(s.on);
    Tensor c = empty({side, side}, s.type, s.on);
    matrix_rate = 2.0 * static_cast<double>(side * side * side) / time_of([&] { kernels::matmul(a, b, {}, c, {}); }, s);
  }
  {
    const Tensor a = zeros({length}).to(s.on);
    Tensor b = empty({length}, float32, s.on);
    memory_rate = 8.0 * static_cast<double>(length) / time_of([&] { copy_elements(b, a); }, s);
  }
  fmt::print("{}{}, {}: {:.1f} TFLOP/s in a product of {} x {} matrices, {:.0f} GB/s in a copy\n{}",
             s.markdown ? "\n" : "", where, s.dtype, matrix_rate / 1e12, side, side, memory_rate / 1e9,
             s.markdown ? "\n" : "");
  if (s.markdown)
    fmt::print("| kernel | ms | TFLOP/s | of the product | GB/s | of the copy |\n|---|---|---|---|---|---|\n");
  for (const Case& c : cases.all()) {
    if (!s.filter.empty() && c.name.find(s.filter) == std::string::npos) continue;
    const Work w = c.make();
    const double t = time_of(w.run, s);
    const auto cell = [&](double value, const char* unit) {
      return value > 0 ? fmt::format("{:.1f}{}", value, unit) : std::string("-");
    };
    const std::string tflops = cell(w.flops / t / 1e12, ""), of_product = cell(100 * w.flops / t / matrix_rate, " %"),
                      rate = cell(w.bytes / t / 1e9, ""), of_copy = cell(100 * w.bytes / t / memory_rate, " %");
    if (s.markdown)
      fmt::print("| {} | {:.4f} | {} | {} | {} | {} |\n", c.name, t * 1e3, tflops, of_product, rate, of_copy);
    else
      fmt::print("{:<58} {:>10.4f} ms {:>8} TFLOP/s {:>8} {:>8} GB/s {:>8}\n", c.name, t * 1e3, tflops, of_product,
                 rate, of_copy);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  program::CommandLine app("Times every heavy kernel at the shapes of the published models.", "bench_kernels");
  app.add("--device", s.device, "cpu, cuda, cuda:N or auto");
  app.add("--dtype", s.dtype, "type of the operands").choices({"float32", "float64", "bfloat16"});
  app.add("--filter", s.filter, "only kernels whose name holds this text");
  app.add("--seconds", s.seconds, "least time measured for each kernel").range(0.0, 600.0);
  app.add("--tiny", s.tiny, "small shapes: that everything runs");
  app.add("--markdown", s.markdown, "a table in Markdown");
  app.add("--list", s.list, "names of the kernels, nothing else");
  return app.run(argc, argv, [&] { return run(s); });
}
