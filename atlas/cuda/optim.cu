// Optimizers on CUDA: one launch updates all tensors of a list (LAMB takes three). Coefficients that differ among the
// tensors come as a few sets in the kernel's arguments; a list with more sets is cut.
#include "atlas/cuda/multi.cuh"
#include "atlas/cuda/rows.cuh"
#include "atlas/kernels/optim.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kSets = 32;  // 3.3 KiB of float64 coefficients: arguments have 4

/// Some sets of coefficients.
template <class C>
struct Sets {
  C set[kSets];
};

template <class T, bool Momentum, bool Nesterov>
__global__ void sgd_kernel(View<const ListEntry<T, Momentum ? 3 : 2>> table, int entries,
                           const __grid_constant__ Sets<SgdCoefficients<T>> sets) {
  const auto e = table[entry_of_block(table, entries)];
  const SgdCoefficients<T> c = sets.set[e.set];
  for_each_in_block<Momentum ? 0b101 : 0b001>(e, [&](auto& v) {
    if constexpr (Nesterov)
      c.nesterov(v[0], v[1], v[2]);
    else if constexpr (Momentum)
      c.heavy_ball(v[0], v[1], v[2]);
    else
      c.plain(v[0], v[1]);
  });
}

template <class T>
__global__ void adam_kernel(View<const ListEntry<T, 4>> table, int entries,
                            const __grid_constant__ Sets<AdamCoefficients<T>> sets) {
  const auto e = table[entry_of_block(table, entries)];
  const AdamCoefficients<T> c = sets.set[e.set];
  for_each_in_block<0b1101>(e, [&](T(&v)[4]) { c.adam(v[0], v[1], v[2], v[3]); });
}

// The moments, and per block the squares of weight and direction; the direction is worked out again in the last kernel.
template <class T>
__global__ void lamb_moments_kernel(View<const ListEntry<T, 4>> table, int entries,
                                    const __grid_constant__ Sets<AdamCoefficients<T>> sets, View<double> squares) {
  const auto e = table[entry_of_block(table, entries)];
  const AdamCoefficients<T> c = sets.set[e.set];
  double ww = 0, dd = 0;
  for_each_in_block<0b1100>(e, [&](T(&v)[4]) {
    c.moments(c.scale * v[1], v[2], v[3]);
    const double w = static_cast<double>(v[0]), d = static_cast<double>(c.lamb_direction(v[0], v[2], v[3]));
    ww += w * w;
    dd += d * d;
  });
  ww = block_sum(ww);
  dd = block_sum(dd);
  if (threadIdx.x == 0) {
    squares[2 * int64_t{blockIdx.x}] = ww;
    squares[2 * int64_t{blockIdx.x} + 1] = dd;
  }
}

// A block for each tensor: trust[entry] from the squares of its blocks, in order.
template <class T>
__global__ void lamb_trust_kernel(View<const ListEntry<T, 4>> table,
                                  const __grid_constant__ Sets<AdamCoefficients<T>> sets, View<const double> squares,
                                  View<double> trust) {
  const auto e = table[blockIdx.x];
  const int64_t last = e.first_block + (e.n + kListChunk - 1) / kListChunk;
  double ww = 0, dd = 0;
  for (int64_t b = e.first_block + threadIdx.x; b < last; b += blockDim.x) {
    ww += squares[2 * b];
    dd += squares[2 * b + 1];
  }
  ww = block_sum(ww);
  dd = block_sum(dd);
  if (threadIdx.x == 0) trust[blockIdx.x] = lamb_trust(ww, dd, sets.set[e.set].decay != T(0));
}

template <class T>
__global__ void lamb_update_kernel(View<const ListEntry<T, 4>> table, int entries,
                                   const __grid_constant__ Sets<AdamCoefficients<T>> sets, View<const double> trust) {
  const int at = entry_of_block(table, entries);
  const auto e = table[at];
  const AdamCoefficients<T> c = sets.set[e.set];
  const T rate = static_cast<T>(c.lr * trust[at]);
  ListEntry<T, 3> state{{e.p[0], e.p[2], e.p[3]}, e.n, e.first_block, e.set, e.wide};
  for_each_in_block<0b001>(state, [&](T(&v)[3]) { v[0] -= rate * c.lamb_direction(v[0], v[1], v[2]); });
}

template <class T>
__global__ void ema_kernel(View<const ListEntry<T, 2>> table, int entries, T keep, T take) {
  const auto e = table[entry_of_block(table, entries)];
  for_each_in_block<0b01>(e, [&](T(&v)[2]) { ema_step(v[0], v[1], keep, take); });
}

__global__ void swap_kernel(View<const ListEntry<uint8_t, 2>> table, int entries) {
  const auto e = table[entry_of_block(table, entries)];
  for_each_in_block<0b11>(e, [&](uint8_t(&v)[2]) {
    const uint8_t first = v[0];
    v[0] = v[1];
    v[1] = first;
  });
}

template <class T>
__global__ void squares_kernel(View<const ListEntry<T, 1>> table, int entries, View<double> partial) {
  const auto e = table[entry_of_block(table, entries)];
  double sum = 0;
  for_each_in_block<0>(e, [&](T(&v)[1]) { sum += static_cast<double>(v[0]) * static_cast<double>(v[0]); });
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}
__global__ void total_kernel(View<const double> partial, int64_t n, View<double> total) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += partial[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) total[0] = sum;
}

// x *= factor; or, with a sum of squares, x *= min(1, factor / (√total + 1e-6)).
template <class T>
__global__ void scale_kernel(View<const ListEntry<T, 1>> table, int entries, double factor, View<const double> total) {
  if (total) {
    factor = factor / (sqrt(total[0]) + 1e-6);
    if (factor >= 1) return;
  }
  const auto e = table[entry_of_block(table, entries)];
  const T by = static_cast<T>(factor);
  for_each_in_block<1>(e, [&](T(&v)[1]) { v[0] *= by; });
}

/// Cuts a list of updates where it would need more than kSets sets of coefficients, and calls f(tensors, sets).
/// `pointers` gives an entry's tensors, `coefficients` its set.
template <class T, int P, class C, class Pointers, class Coefficients, class F>
void with_sets(std::span<ParameterUpdate> list, const Pointers& pointers, const Coefficients& coefficients,
               const F& f) {
  size_t at = 0;
  while (at < list.size()) {
    TensorList<T, P> tensors(list[at].p.device());
    Sets<C> sets{};
    int used = 0;
    for (; at < list.size(); ++at) {
      const C c = coefficients(list[at]);
      int set = 0;
      while (set < used && !(sets.set[set] == c)) ++set;
      if (set == kSets) break;
      if (set == used) sets.set[used++] = c;
      tensors.add(pointers(list[at]), list[at].p.numel(), set);
    }
    if (!tensors.empty()) f(tensors, sets);
  }
}

template <class T, class F>
void with_adam_sets(std::span<ParameterUpdate> list, const AdamStep& s, const F& f) {
  with_sets<T, 4, AdamCoefficients<T>>(
      list,
      [](const ParameterUpdate& u) {
        return std::array{u.p.raw(), u.g.raw(), u.first.raw(), u.second.raw()};
      },
      [&](const ParameterUpdate& u) { return AdamCoefficients<T>(s, u.lr, u.weight_decay, u.step); }, f);
}

template <class T>
TensorList<T, 1> single(std::span<const Tensor> list) {
  TensorList<T, 1> tensors(list[0].device());
  for (const Tensor& t : list) tensors.add({t.raw()}, t.numel());
  return tensors;
}

void scale_list(std::span<Tensor> list, double factor, const View<const double>& total) {
  if (list.empty()) return;
  visit_float(list[0], "mul_", [&](auto tag) {
    using T = decltype(tag);
    const auto tensors = single<T>(list);
    if (!tensors.empty())
      launch(tensors.launch_of("mul_", true), scale_kernel<T>, tensors.table(), tensors.size(), factor, total);
  });
}

}  // namespace

void sgd_update(std::span<ParameterUpdate> list, const SgdStep& s) {
  if (list.empty()) return;
  visit_float(list[0].p, "SGD", [&](auto tag) {
    using T = decltype(tag);
    using C = SgdCoefficients<T>;
    const auto coefficients = [&](const ParameterUpdate& u) { return C(s, u.lr, u.weight_decay); };
    if (s.momentum == 0) {
      with_sets<T, 2, C>(
          list,
          [](const ParameterUpdate& u) {
            return std::array{u.p.raw(), u.g.raw()};
          },
          coefficients,
          [&](const auto& tensors, const Sets<C>& sets) {
            launch(tensors.launch_of("SGD", true), sgd_kernel<T, false, false>, tensors.table(), tensors.size(), sets);
          });
    } else {
      with_sets<T, 3, C>(
          list,
          [](const ParameterUpdate& u) {
            return std::array{u.p.raw(), u.g.raw(), u.first.raw()};
          },
          coefficients,
          [&](const auto& tensors, const Sets<C>& sets) {
            launch(tensors.launch_of("SGD", true), s.nesterov ? sgd_kernel<T, true, true> : sgd_kernel<T, true, false>,
                   tensors.table(), tensors.size(), sets);
          });
    }
  });
}

void adam_update(std::span<ParameterUpdate> list, const AdamStep& s) {
  if (list.empty()) return;
  visit_float(list[0].p, "Adam", [&](auto tag) {
    using T = decltype(tag);
    with_adam_sets<T>(list, s, [&](const auto& tensors, const auto& sets) {
      launch(tensors.launch_of("Adam", true), adam_kernel<T>, tensors.table(), tensors.size(), sets);
    });
  });
}

void lamb_update(std::span<ParameterUpdate> list, const AdamStep& s) {
  if (list.empty()) return;
  visit_float(list[0].p, "LAMB", [&](auto tag) {
    using T = decltype(tag);
    with_adam_sets<T>(list, s, [&](const auto& tensors, const auto& sets) {
      const Device device = tensors.device();
      const int64_t blocks = tensors.blocks(), count = tensors.size();
      double* squares = workspace<double>(device, 2 * blocks);
      double* trust = workspace<double>(device, count, 1);
      launch(tensors.launch_of("LAMB", false), lamb_moments_kernel<T>, tensors.table(), tensors.size(), sets,
             View<double>(squares, 2 * blocks));
      launch({device, "LAMB", dim3(static_cast<unsigned>(count)), dim3(128)}, lamb_trust_kernel<T>, tensors.table(),
             sets, View<const double>(squares, 2 * blocks), View<double>(trust, count));
      launch(tensors.launch_of("LAMB", true), lamb_update_kernel<T>, tensors.table(), tensors.size(), sets,
             View<const double>(trust, count));
    });
  });
}

void ema_update(std::span<TensorPair> list, double decay) {
  if (list.empty()) return;
  visit_float(list[0].a, "Ema", [&](auto tag) {
    using T = decltype(tag);
    TensorList<T, 2> tensors(list[0].a.device());
    for (const TensorPair& t : list) tensors.add({t.a.raw(), t.b.raw()}, t.a.numel());
    if (!tensors.empty())
      launch(tensors.launch_of("Ema", true), ema_kernel<T>, tensors.table(), tensors.size(), static_cast<T>(decay),
             static_cast<T>(1 - decay));
  });
}

void swap_values(std::span<TensorPair> list) {
  if (list.empty()) return;
  TensorList<uint8_t, 2> tensors(list[0].a.device());
  for (const TensorPair& t : list) tensors.add({t.a.raw(), t.b.raw()}, t.a.numel() * item_size(t.a.dtype()));
  if (!tensors.empty()) launch(tensors.launch_of("swap", true), swap_kernel, tensors.table(), tensors.size());
}

void sum_of_squares(std::span<const Tensor> list, Tensor& total) {
  if (list.empty()) return fill_bytes(total.device(), total.raw(), 0, item_size(float64));
  visit_float(list[0], "sum_of_squares", [&](auto tag) {
    using T = decltype(tag);
    const auto tensors = single<T>(list);
    const int64_t blocks = tensors.blocks();
    double* partial = workspace<double>(total.device(), blocks);
    if (!tensors.empty())
      launch(tensors.launch_of("sum_of_squares", false), squares_kernel<T>, tensors.table(), tensors.size(),
             View<double>(partial, blocks));
    launch({total.device(), "sum_of_squares", dim3(1), dim3(1024)}, total_kernel, View<const double>(partial, blocks),
           blocks, view<double>(total));
  });
}

double sum_of_squares(std::span<const Tensor> list) {
  if (list.empty()) return 0;
  Tensor total = empty({1}, float64, list[0].device());
  sum_of_squares(list, total);
  double value = 0;
  copy_bytes(&value, Device{}, total.raw(), total.device(), item_size(float64));
  return value;
}

void scale(std::span<Tensor> list, double factor) { scale_list(list, factor, {}); }
void scale_to_norm(std::span<Tensor> list, const Tensor& total, double max_norm) {
  scale_list(list, max_norm, view<const double>(total));
}

}  // namespace atlas::inline ATLAS_ABI::cuda
