// Kernel: one entry of the contract, and everything its call has in common with all others.
#pragma once

#include <type_traits>
#include <utility>

#include "atlas/core/profile.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
inline bool& plain_kernels() {
  thread_local bool on = false;
  return on;
}
}  // namespace detail

/// Whether this thread's heavy kernels on the CPU are the plain loops of atlas/reference/.
inline bool plain_kernels() { return detail::plain_kernels(); }

/// While it lives, kernels that have a plain form run it, on the CPU and this thread: matrix products, convolutions,
/// norms, softmax, attention, the selective scan and windows. Slow; for comparison with the fast ones.
///
/// Example: `{ const PlainKernels on; want = model(images); }`
class PlainKernels {
 public:
  PlainKernels() : before_(std::exchange(detail::plain_kernels(), true)) {}
  ~PlainKernels() { detail::plain_kernels() = before_; }
  PlainKernels(const PlainKernels&) = delete;
  PlainKernels& operator=(const PlainKernels&) = delete;

 private:
  bool before_;
};

namespace kernels {

/// A kernel is called like a function: it runs where its operands are, on `cpu` or `cuda`, and appears in the profile.
/// @tparam cpu, cuda  the backends' functions, of one signature
/// @tparam plain      a function of the same signature made of plain loops, or nullptr: what PlainKernels makes of cpu
template <auto cpu, auto cuda, auto plain = nullptr, class Signature = std::decay_t<decltype(cpu)>>
class Kernel;

template <auto cpu, auto cuda, auto plain, class... Args>
class Kernel<cpu, cuda, plain, void (*)(Args...)> {
  static_assert(std::is_same_v<std::decay_t<decltype(cpu)>, std::decay_t<decltype(cuda)>>,
                "both backends need the same signature");

 public:
  /// @param op     what errors call it
  /// @param label  what profiles call it
  /// @param flops  number of floating-point operations for these arguments, or null when it is not worth counting
  constexpr Kernel(const char* op, const char* label, double (*flops)(Args...) = nullptr)
      : op_(op), label_(label), flops_(flops) {}

  /// @throws Error when operands are on different devices.
  void operator()(Args... args) const {
    const ProfileScope profile(label_, flops_ != nullptr && profiling() ? flops_(args...) : 0, args...);
    if constexpr (kWithCuda)
      if (on_cuda(op_, args...)) return cuda(args...);
    if constexpr (!std::is_null_pointer_v<decltype(plain)>)
      if (plain_kernels()) [[unlikely]]
        return plain(args...);
    cpu(args...);
  }

 private:
  const char* op_;
  const char* label_;
  double (*flops_)(Args...);
};

}  // namespace kernels
}  // namespace atlas::inline ATLAS_ABI
