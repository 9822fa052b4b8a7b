// Bodies of group.h: checks, and the transport of a process alone. That of MPI is mpi.cpp, that of NCCL nccl.cpp.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "atlas/core/failure.h"
#include "atlas/dist/group.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::dist {

namespace detail {

/// Complete as soon as it is started.
class Done final : public Running {
 public:
  bool test() override { return true; }
  void wait() override {}
};

/// A process alone.
class Alone final : public Transport {
 public:
  void all_reduce(void*, int64_t, DType, Reduce) override {}
  std::unique_ptr<Running> start_all_reduce(void*, int64_t, DType) override { return std::make_unique<Done>(); }
  void reduce_scatter(const void* from, void* to, int64_t count, DType dtype) override {
    all_gather(from, to, count * item_size(dtype));
  }
  void all_gather(const void* from, void* to, int64_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  void broadcast(void*, int64_t, int) override {}
  void barrier() override {}
};

ATLAS_INLINE void Transport::end_all(const std::string& line) { throw Failure(line); }

ATLAS_INLINE void keep_for_good(const Tensor& x) {
  static auto* const kept = new std::vector<Tensor>();
  kept->push_back(x);
}

ATLAS_INLINE int64_t launched_processes() {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    if (const char* text = std::getenv(variable)) return std::strtoll(text, nullptr, 10);
  return 1;
}

#ifndef ATLAS_COMPILED_LIB
inline std::shared_ptr<Transport> mpi_transport() {
  check(launched_processes() <= 1, "dist",
        "started as one of {} processes, but a header-only program is always alone: link the compiled library, built "
        "with MPI (apt install libopenmpi-dev openmpi-bin)",
        launched_processes());
  return nullptr;
}
inline std::shared_ptr<Transport> nccl_transport(Device, Transport&) { return nullptr; }  // nobody to talk to
#endif

/// Names and values, each ended by a zero.
ATLAS_INLINE std::string join_settings(const Settings& settings) {
  std::string all;
  for (const auto& [name, value] : settings) all += name + '\0' + value + '\0';
  return all;
}

/// The first field in which `here` differs from `first`, as a sentence; empty when they agree.
ATLAS_INLINE std::string first_difference(const Settings& first, const Settings& here) {
  for (size_t i = 0; i < std::max(first.size(), here.size()); ++i) {
    if (i >= here.size()) return fmt::format("it lacks '{}'", first[i].first);
    if (i >= first.size()) return fmt::format("it has '{}', which rank 0 lacks", here[i].first);
    if (first[i].first != here[i].first)
      return fmt::format("it has '{}' where rank 0 has '{}'", here[i].first, first[i].first);
    if (first[i].second != here[i].second)
      return fmt::format("'{}' is {}, but {} on rank 0", here[i].first, here[i].second, first[i].second);
  }
  return {};
}

}  // namespace detail

ATLAS_INLINE Group::Group() : transport_(std::make_shared<detail::Alone>()) {}

ATLAS_INLINE Group Group::world() {
  std::shared_ptr<detail::Transport> mpi = detail::mpi_transport();
  return mpi ? Group(std::move(mpi)) : Group();
}

ATLAS_INLINE detail::Transport& Group::carrier(Device device) const {
  if (!device.is_cuda() || size() == 1) return *transport_;
  if (transport_->of_device == nullptr) transport_->of_device = detail::nccl_transport(device, *transport_);
  const Device own = transport_->of_device->device;
  check(own == device, "dist", "rank {} of {}: a process has one device, and this one's is {}, not {}", rank(), size(),
        own.str(), device.str());
  return *transport_->of_device;
}

ATLAS_INLINE void Group::use(Device device) const { carrier(device); }

ATLAS_INLINE void Group::check_tensor(const Tensor& x, const char* op) const {
  check(x.defined() && (x.dtype() == float32 || x.dtype() == float64 || x.dtype() == bfloat16 || x.dtype() == int64),
        op, "rank {} of {}: takes float32, float64, bfloat16 and int64 tensors, got {}", rank(), size(), describe(x));
  check(x.is_contiguous(), op, "rank {} of {}: takes contiguous tensors, got {} (x.contiguous())", rank(), size(),
        describe(x));
  check(x.numel() <= std::numeric_limits<int>::max(), op, "rank {} of {}: takes fewer than 2^31 elements, got {}",
        rank(), size(), describe(x));
}

ATLAS_INLINE void Group::check_root(int root) const {
  check(root >= 0 && root < size(), "broadcast", "rank {} of {}: there is no rank {} to broadcast from", rank(), size(),
        root);
}

ATLAS_INLINE void Group::all_reduce(Tensor x, Reduce how) const {
  check_tensor(x, "all_reduce");
  carrier(x.device()).all_reduce(x.raw(), x.numel(), x.dtype(), how);
  x.bump_version();
}

ATLAS_INLINE PendingReduce Group::start_all_reduce(Tensor x) const {
  check_tensor(x, "all_reduce");
  x.bump_version();
  void* const data = x.raw();
  const int64_t count = x.numel();
  const DType dtype = x.dtype();
  detail::Transport& by = carrier(x.device());
  return {std::move(x), by.start_all_reduce(data, count, dtype)};
}

ATLAS_INLINE Tensor Group::reduce_scatter(const Tensor& x) const {
  check_tensor(x, "reduce_scatter");
  check(x.dim() >= 1 && x.shape()[0] % size() == 0, "reduce_scatter",
        "rank {} of {}: the first axis of {} is not divisible by the number of ranks", rank(), size(), describe(x));
  Shape shape = x.shape();
  shape[0] /= size();
  Tensor part = empty(shape, x.dtype(), x.device());
  if (size() == 1)
    copy_elements(part, x);
  else
    carrier(x.device()).reduce_scatter(x.raw(), part.raw(), part.numel(), x.dtype());
  return part;
}

ATLAS_INLINE Tensor Group::all_gather(const Tensor& x) const {
  check_tensor(x, "all_gather");
  check(x.dim() >= 1, "all_gather", "rank {} of {}: needs an axis to join, got {}", rank(), size(), describe(x));
  Shape shape = x.shape();
  shape[0] *= size();
  Tensor all = empty(shape, x.dtype(), x.device());
  if (size() == 1)
    copy_elements(all, x);
  else
    carrier(x.device()).all_gather(x.raw(), all.raw(), x.numel() * item_size(x.dtype()));
  return all;
}

ATLAS_INLINE std::vector<std::string> Group::all_gather(const std::string& text) const {
  const auto ranks = static_cast<size_t>(size());
  std::vector<int64_t> lengths(ranks);
  const auto length = static_cast<int64_t>(text.size());
  transport_->all_gather(&length, lengths.data(), static_cast<int64_t>(sizeof length));
  const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  std::string padded = text, joined(static_cast<size_t>(longest) * ranks, '\0');
  padded.resize(static_cast<size_t>(longest));
  transport_->all_gather(padded.data(), joined.data(), longest);
  std::vector<std::string> all;
  for (size_t i = 0; i < ranks; ++i)
    all.push_back(joined.substr(i * static_cast<size_t>(longest), static_cast<size_t>(lengths[i])));
  return all;
}

ATLAS_INLINE void Group::broadcast(Tensor x, int root) const {
  check_root(root);
  check(x.defined() && x.is_contiguous(), "broadcast", "rank {} of {}: takes contiguous tensors, got {}", rank(),
        size(), describe(x));
  carrier(x.device()).broadcast(x.raw(), x.numel() * item_size(x.dtype()), root);
  x.bump_version();
}

ATLAS_INLINE void Group::broadcast(std::string& text, int root) const {
  check_root(root);
  auto length = static_cast<int64_t>(text.size());
  transport_->broadcast(&length, static_cast<int64_t>(sizeof length), root);
  text.resize(static_cast<size_t>(length));
  transport_->broadcast(text.data(), length, root);
}

ATLAS_INLINE bool Group::any(bool here) const {
  if (size() == 1) return here;
  int64_t flag = here ? 1 : 0;
  transport_->all_reduce(&flag, 1, int64, Reduce::max);
  return flag != 0;
}

ATLAS_INLINE void Group::barrier() const { transport_->barrier(); }

ATLAS_INLINE void check_agree(const Group& group, const std::string& what, const Settings& settings) {
  if (group.size() == 1) return;
  std::string first = detail::join_settings(settings);
  group.broadcast(first);
  Settings of_first;
  for (size_t at = 0; at < first.size();) {
    const size_t middle = first.find('\0', at), end = first.find('\0', middle + 1);
    of_first.emplace_back(first.substr(at, middle - at), first.substr(middle + 1, end - middle - 1));
    at = end + 1;
  }
  const std::vector<std::string> found = group.all_gather(detail::first_difference(of_first, settings));
  for (size_t rank = 0; rank < found.size(); ++rank)
    check(found[rank].empty(), "dist", "{} of rank {} is another than that of rank 0: {}", what, rank, found[rank]);
}

}  // namespace atlas::inline ATLAS_ABI::dist
