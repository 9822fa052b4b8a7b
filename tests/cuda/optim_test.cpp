// Optimizers over lists of tensors on CUDA against the CPU: odd sizes, several blocks, memory that is not aligned, more
// sets of coefficients than one launch takes.
#include "atlas/kernels/optim.h"

#include <doctest/doctest.h>

#include "atlas/ops/arithmetic.h"
#include "device_input.h"

using namespace test;

namespace {

const std::vector<int64_t> kSizes{1, 3, 4, 5, 31, 0, 1000, 8192, 8193, 20001};

/// The same list on both devices. Every other tensor begins one element into its memory.
struct Lists {
  std::vector<ParameterUpdate> host, device;

  Lists(DType dtype, int slots, int groups) {
    for (size_t i = 0; i < kSizes.size() * static_cast<size_t>(groups); ++i) {
      ParameterUpdate h{}, d{};
      const int group = static_cast<int>(i / kSizes.size());
      h.lr = d.lr = 0.01 * (1 + group);
      h.weight_decay = d.weight_decay = i % 3 == 0 ? 0.0 : 0.05;
      h.step = d.step = 1 + static_cast<int64_t>(i % 2);
      const auto tensor = [&](Tensor& on_host, Tensor& on_device, uint64_t seed, bool positive) {
        const int64_t n = kSizes[i % kSizes.size()], shift = i % 2 == 1 ? 1 : 0;
        Operand o = operand({n + shift}, seed + 10 * i, dtype);
        if (positive) {
          Tensor wide = copied(o.host, float64, kHost);
          for (int64_t k = 0; k < wide.numel(); ++k) wide.data<double>()[k] *= wide.data<double>()[k];
          o = Operand(wide, dtype);
        }
        on_host = raw_view(o.host, {n}, {1}, shift);
        on_device = raw_view(o.device, {n}, {1}, shift);
      };
      tensor(h.p, d.p, 1, false);
      tensor(h.g, d.g, 2, false);
      if (slots > 0) tensor(h.first, d.first, 3, false);
      if (slots > 1) tensor(h.second, d.second, 4, true);
      host.push_back(h);
      device.push_back(d);
    }
  }
  void check(DType dtype) const {
    const double limit = dtype == float32 ? 3e-6 : 1e-13;
    for (size_t i = 0; i < host.size(); ++i) {
      CAPTURE(i);
      const auto near = [&](const Tensor& h, const Tensor& d) {
        if (!h.defined()) return;
        Operand o;
        o.host = h;
        o.device = d;
        CHECK(difference(o) < limit);
      };
      near(host[i].p, device[i].p);
      near(host[i].first, device[i].first);
      near(host[i].second, device[i].second);
    }
  }
};

}  // namespace

TEST_CASE("updates of lists of tensors equal the CPU's") {
  for (const DType dtype : {float32, float64}) {
    for (const auto& [momentum, nesterov] : {std::pair{0.0, false}, {0.9, false}, {0.9, true}}) {
      Lists l(dtype, momentum > 0 ? 1 : 0, 1);
      kernels::sgd_update(l.host, {momentum, nesterov});
      kernels::sgd_update(l.device, {momentum, nesterov});
      l.check(dtype);
    }
    for (const bool decoupled : {true, false}) {
      Lists l(dtype, 2, 1);
      for (int t = 0; t < 2; ++t) {
        kernels::adam_update(l.host, {0.9, 0.999, 1e-8, decoupled, 1});
        kernels::adam_update(l.device, {0.9, 0.999, 1e-8, decoupled, 1});
      }
      l.check(dtype);
    }
    Lists l(dtype, 2, 1);
    kernels::lamb_update(l.host, {0.9, 0.999, 1e-6, true, 0.5});
    kernels::lamb_update(l.device, {0.9, 0.999, 1e-6, true, 0.5});
    l.check(dtype);
  }
}

TEST_CASE("a list with more learning rates than one launch takes is cut") {
  Lists l(float32, 2, 12);  // each with two step counts and two decays
  kernels::adam_update(l.host, {0.9, 0.999, 1e-8, true, 1});
  kernels::adam_update(l.device, {0.9, 0.999, 1e-8, true, 1});
  l.check(float32);
  Lists m(float32, 2, 12);
  kernels::lamb_update(m.host, {0.9, 0.999, 1e-6, true, 1});
  kernels::lamb_update(m.device, {0.9, 0.999, 1e-6, true, 1});
  m.check(float32);
}

TEST_CASE("averages move and values change places in lists") {
  for (const DType dtype : {float32, float64}) {
    Lists l(dtype, 0, 1);
    std::vector<TensorPair> host, device;
    for (size_t i = 0; i < l.host.size(); ++i) {
      host.push_back({l.host[i].p, l.host[i].g});
      device.push_back({l.device[i].p, l.device[i].g});
    }
    kernels::ema_update(host, 0.9);
    kernels::ema_update(device, 0.9);
    l.check(dtype);
    kernels::swap_values(host);
    kernels::swap_values(device);
    l.check(dtype);
  }
}

TEST_CASE("norms of lists, and scaling to a norm without waiting") {
  for (const DType dtype : {float32, float64}) {
    Lists l(dtype, 0, 1);
    std::vector<Tensor> host, device;
    for (size_t i = 0; i < l.host.size(); ++i) {
      host.push_back(l.host[i].p);
      device.push_back(l.device[i].p);
    }
    const double squares = kernels::sum_of_squares(std::span<const Tensor>(host));
    CHECK(kernels::sum_of_squares(std::span<const Tensor>(device)) == doctest::Approx(squares).epsilon(1e-12));
    kernels::scale(host, 0.5);
    kernels::scale(device, 0.5);
    l.check(dtype);
    Tensor total = empty({1}, float64, gpu());
    cuda::sum_of_squares(device, total);
    for (const double norm : {1e9, 2.0}) {  // the first one changes nothing
      cuda::scale_to_norm(device, total, norm);
      if (norm < 1e9) kernels::scale(host, norm / (0.5 * std::sqrt(squares) + 1e-6));
      l.check(dtype);
    }
  }
}
