// Tensors: how they are made, looked at, cut up and combined, and what an error says.
//
//   01_tensors        (no arguments; prints a short tour)
//
// A Tensor is a handle: copying one copies no numbers. Views (slices, transposes) share memory with the tensor they
// come from; arithmetic makes new tensors.
#include <fmt/core.h>

#include <cstdio>
#include <vector>

#include "atlas/atlas.h"
#include "atlas/core/program.h"

using namespace atlas;

namespace {

void title(const char* text) { fmt::print("\n--- {} ---\n", text); }

void creation() {
  title("Creation");
  // [creation]
  Tensor a = from_vector<float>({1, 2, 3, 4, 5, 6}, {2, 3});  // two rows, three columns
  Tensor b = zeros({2, 3});
  Tensor count = arange(5);         // 0 1 2 3 4, int64
  Tensor grid = linspace(0, 1, 5);  // float32
  manual_seed(7);                   // the same numbers on every machine, with any number of threads
  Tensor noise = randn({2, 4}, float64);
  // [creation]
  fmt::print("a =\n{}\nb =\n{}\ncount = {}\ngrid  = {}\nnoise =\n{}\n", to_string(a), to_string(b), to_string(count),
             to_string(grid), to_string(noise));

  std::vector<float> mine{10, 20, 30};
  const Tensor borrowed = from_blob(mine.data(), {3}, float32);  // no copy: the vector keeps the memory
  mine[1] = 21;
  fmt::print("a tensor over a std::vector sees it change: {}\n", to_string(borrowed));
}

void views() {
  title("Views share memory");
  // [views]
  Tensor x = arange(0, 12).reshape({3, 4});
  Tensor row = x[1];                // second row, [4]
  Tensor column = x.select(1, -1);  // last column, [3]
  Tensor corner = x.slice(0, 0, 2).slice(1, 0, 2);
  Tensor turned = x.transpose(0, 1);  // [4,3]: only the strides change
  // [views]
  fmt::print("x =\n{}\nrow 1       = {}\nlast column = {}\ncorner =\n{}\ntransposed =\n{}\n", to_string(x),
             to_string(row), to_string(column), to_string(corner), to_string(turned));
  corner.fill_(-1);
  fmt::print("after corner.fill_(-1), x =\n{}\n", to_string(x));
  fmt::print("contiguous: x {}, x transposed {}, its copy {}\n", x.is_contiguous(), turned.is_contiguous(),
             turned.contiguous().is_contiguous());
}

void arithmetic() {
  title("Arithmetic and broadcasting");
  // [broadcasting]
  Tensor column = from_vector<float>({1, 2, 3}, {3, 1});
  Tensor row = from_vector<float>({10, 20, 30, 40}, {1, 4});
  Tensor table = column + row;                       // [3,1] and [1,4] stretch to [3,4]
  Tensor centered = table - mean(table, {0}, true);  // mean of each column, kept as [1,4]
  // [broadcasting]
  fmt::print("table =\n{}\nminus the mean of each column =\n{}\n", to_string(table), to_string(centered));
  fmt::print("sum {}, mean {}, largest {}\n", sum(table).item(), mean(table).item(), max(table).item());

  Tensor product = matmul(table, table.transpose(0, 1));
  fmt::print("table times its transpose =\n{}\n", to_string(product));
  fmt::print("softmax over each row of -(column - row / 10)² =\n{}\n",
             to_string(softmax(-square(column - row / 10), -1)));
}

void types() {
  title("Types and memory");
  const Tensor x = from_vector<double>({0.1, 1.0 / 3, 1000.001});
  for (DType type : {float64, float32, bfloat16, int64}) fmt::print("{}\n", to_string(x.to(type), {.precision = 9}));
  const Tensor large = zeros({1000, 1000});
  const MemoryStats memory = memory_stats();
  fmt::print("a long tensor is shortened:\n{}\n", to_string(large));
  fmt::print("tensors use {:.1f} MB now, {:.1f} MB at most so far\n", static_cast<double>(memory.current) / 1e6,
             static_cast<double>(memory.peak) / 1e6);
}

void errors() {
  title("Errors say what is wrong");
  const auto show = [](const auto& action) {
    try {
      action();
    } catch (const Error& e) {
      fmt::print("{}\n", e.what());
    }
  };
  // [errors]
  show([] { return matmul(zeros({8, 384}), zeros({64, 384})); });
  show([] { return zeros({2, 3}) + zeros({4, 3}); });
  show([] { return zeros({2, 3}) + zeros({2, 3}, float64); });
  show([] { return zeros({2, 3}).reshape({4, -1}); });
  show([] { return zeros({2, 3}).at<float>({2, 0}); });
  // [errors]
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) {
    std::fprintf(stderr, "01_tensors: takes no arguments\n");
    return 2;
  }
  return run_program("01_tensors", [&] {
    creation();
    views();
    arithmetic();
    types();
    errors();
    return 0;
  });
}
