// Your own op: forward code, its gradient beside it, and a check that the two belong together.
//
//   03_custom_op      (no arguments)
//
// The op is Swish with a learnable slope (Ramachandran et al., "Searching for activation functions", 2017):
//
//     y = x s,   s = sigmoid(beta x)
//     dx    = dy (s + beta x s (1 - s))
//     dbeta = sum over all elements of dy x² s (1 - s)
#include <fmt/core.h>

#include <chrono>
#include <cstdio>

#include "atlas/atlas.h"
#include "atlas/core/program.h"

using namespace atlas;

namespace {

// [op]
/// y = x sigmoid(beta x).   x: any shape, beta: a scalar of the same dtype -> y: shape of x
Tensor swish(const Tensor& x, const Tensor& beta) {
  check(beta.numel() == 1 && beta.dtype() == x.dtype(), "swish", "beta must be one number of x's type: x {}, beta {}",
        describe(x), describe(beta));
  // Element loops want contiguous memory (contiguous() copies only when it has to) and functions that compilers can
  // vectorize, which those of atlas/core/math.h are and those of <cmath> are not.
  const Tensor in = x.contiguous();
  Tensor y = empty_like(in);
  visit_float(x.dtype(), "swish", [&](auto tag) {
    using T = decltype(tag);
    const T b = *beta.data<T>();
    const T* from = in.data<T>();
    T* to = y.data<T>();
    parallel_for(x.numel(), 16384, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = from[i] * math::sigmoid(b * from[i]);
    });
  });
  // record() ties y to its inputs. The lambda gets dL/dy and returns dL/dx and dL/dbeta, in the order of the inputs.
  // Saved remembers the tensors' version: if someone changes them in place before backward, it says so.
  return record("swish", y, {x, beta}, [x = Saved(in, "swish"), beta = Saved(beta, "swish")](const Tensor& dy) {
    const Tensor g = dy.contiguous();
    Tensor dx = empty_like(x()), dbeta = zeros_like(beta());
    visit_float(dx.dtype(), "swish", [&](auto tag) {
      using T = decltype(tag);
      const T b = *beta().template data<T>();
      const T *v = x().template data<T>(), *up = g.data<T>();
      T* to = dx.data<T>();
      double total = 0;
      for (int64_t i = 0; i < dx.numel(); ++i) {
        const T s = math::sigmoid(b * v[i]), slope = v[i] * s * (1 - s);
        to[i] = up[i] * (s + b * slope);
        total += static_cast<double>(up[i] * v[i] * slope);
      }
      *dbeta.data<T>() = static_cast<T>(total);
    });
    return Grads{dx, dbeta};
  });
}
// [op]

/// The same from existing ops, which bring their gradients: three passes over memory instead of one.
Tensor swish_reference(const Tensor& x, const Tensor& beta) { return x * sigmoid(x * beta); }

/// What a slip looks like: the slope of the sigmoid is forgotten.
Tensor swish_with_a_mistake(const Tensor& x, const Tensor& beta) {
  NoGrad guard;
  Tensor y = swish_reference(x, beta);
  GradMode on(true);
  return record("swish_with_a_mistake", y, {x, beta},
                [x = Saved(x, "swish"), beta = Saved(beta, "swish")](const Tensor& dy) {
                  return Grads{dy * sigmoid(x() * beta()), Tensor()};
                });
}

double milliseconds(const auto& work) {
  work();  // once for memory and caches
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 10; ++i) work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count() / 10;
}

void tour() {
  manual_seed(3);
  const Tensor x = randn({3, 4}, float64), beta = full({}, 1.5, float64);
  fmt::print("swish(x, 1.5) =\n{}\n", to_string(swish(x, beta)));
  const Tensor difference = max(abs(swish(x, beta) - swish_reference(x, beta)));
  fmt::print("largest difference from the reference: {:.1e}\n\n", difference.item());

  // [gradcheck]
  const auto result = gradcheck([](const std::vector<Tensor>& in) { return swish(in[0], in[1]); }, {x, beta});
  fmt::print("gradcheck: {} derivatives agree with finite differences to {:.1e}\n", result.checked,
             result.max_difference);
  // A view with odd strides goes through the same code.
  gradcheck([](const std::vector<Tensor>& in) { return swish(in[0].transpose(0, 1), in[1]); }, {x, beta});
  // [gradcheck]
  try {
    gradcheck([](const std::vector<Tensor>& in) { return swish_with_a_mistake(in[0], in[1]); }, {x, beta});
  } catch (const Error& e) {
    fmt::print("and a wrong gradient is found:\n  {}\n\n", e.what());
  }

  // A tensor that changes between forward and backward would give a wrong gradient in silence.
  Tensor leaf = randn({4}).set_requires_grad();
  const Tensor hidden = leaf * 2;
  const Tensor y = sum(swish(hidden, full({}, 1.0)));
  hidden.detach().fill_(0);
  try {
    y.backward();
  } catch (const Error& e) {
    fmt::print("changed in place too early:\n  {}\n\n", e.what());
  }

  const Tensor large = randn({1000, 1000}), one = full({}, 1.0);
  fmt::print("a million elements: own op {:.2f} ms, from existing ops {:.2f} ms\n",
             milliseconds([&] { swish(large, one); }), milliseconds([&] { swish_reference(large, one); }));
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) {
    std::fprintf(stderr, "03_custom_op: takes no arguments\n");
    return 2;
  }
  return run_program("03_custom_op", [&] {
    tour();
    return 0;
  });
}
