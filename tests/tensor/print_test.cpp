// Tensors as text.
#include "atlas/tensor/print.h"

#include <doctest/doctest.h>

#include <limits>
#include <sstream>

#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"

using namespace atlas;

TEST_CASE("aligned columns, dtype and shape") {
  CHECK(to_string(from_vector<float>({0.1f, -2, 30, 4.5f}, {2, 2})) ==
        "[[ 0.1000, -2.0000],\n [30.0000,  4.5000]] float32[2,2]");
  CHECK(to_string(from_vector<float>({1, 2, -30})) == "[  1.,   2., -30.] float32[3]");
  CHECK(to_string(from_vector<int64_t>({1, -20, 300}, {3, 1})) == "[[  1],\n [-20],\n [300]] int64[3,1]");
  CHECK(to_string(from_vector<bool>({true, false})) == "[ true, false] bool[2]");
  CHECK(to_string(full({}, 3)) == "3. float32[]");
  CHECK(to_string(zeros({2, 1, 1})) == "[[[0.]],\n\n [[0.]]] float32[2,1,1]");
  CHECK(to_string(zeros({0, 3}, uint8)) == "[] uint8[0,3]");
  CHECK(to_string(full({1}, 0.5, bfloat16)) == "[0.5000] bfloat16[1]");
  CHECK(to_string(Tensor()) == "undefined");
}

TEST_CASE("views print what they show") {
  const Tensor x = arange(6).reshape({2, 3});
  CHECK(to_string(x.transpose(0, 1)) == "[[0, 3],\n [1, 4],\n [2, 5]] int64[3,2]");
  CHECK(to_string(x[1].slice(0, 0, 3, 2)) == "[3, 5] int64[2]");
}

TEST_CASE("nan, infinity, very large and very small numbers") {
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(to_string(from_vector<double>({1.5, inf, -inf, std::nan("")})) ==
        "[1.5000,    inf,   -inf,    nan] float64[4]");
  CHECK(to_string(from_vector<double>({1e-9, 1})) == "[1.0000e-09, 1.0000e+00] float64[2]");
  CHECK(to_string(from_vector<double>({3e10})) == "[3.0000e+10] float64[1]");
}

TEST_CASE("long tensors are shortened in the middle, long rows are broken") {
  CHECK(to_string(arange(1200).reshape({2, 600})) ==
        "[[   0,    1,    2, ...,  597,  598,  599],\n [ 600,  601,  602, ..., 1197, 1198, 1199]] int64[2,600]");
  const std::string tall = to_string(zeros({2000, 1}));
  CHECK(tall == "[[0.],\n [0.],\n [0.],\n ...,\n [0.],\n [0.],\n [0.]] float32[2000,1]");
  CHECK(to_string(arange(1000)).find("...") == std::string::npos);
  std::istringstream lines(to_string(arange(100)));
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 115);
  PrintOptions options;
  options.precision = 2;
  options.threshold = 4;
  options.edge_items = 1;
  CHECK(to_string(from_vector<float>({0.126f, 1, 2, 3, 4}), options) == "[0.13, ..., 4.00] float32[5]");
}

TEST_CASE("streams, fmt, gradients") {
  Tensor x = zeros({2});
  x.set_requires_grad();
  std::ostringstream out;
  out << x;
  CHECK(out.str() == "[0., 0.] float32[2] requires_grad");
  CHECK(fmt::format("{} of {}", x.detach(), x.shape()) == "[0., 0.] float32[2] of [2]");
}
