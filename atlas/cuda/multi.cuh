// Kernels over lists of tensors: one launch for all parameters of a model. A table on the device says where the tensors
// lie; a block finds its tensor in it. Tables of former calls are kept, so in the steady state of training nothing is
// copied.
#pragma once

#include <cstring>
#include <list>
#include <mutex>
#include <vector>

#include "atlas/cuda/vector.cuh"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::cuda {

inline constexpr int kListThreads = 256;
/// Elements of a block: a multiple of what its threads move at once in any type.
inline constexpr int64_t kListChunk = 8192;

/// One entry of a list: P tensors of n elements. `set` chooses among the coefficients of the launch.
template <class T, int P>
struct ListEntry {
  T* p[P];
  int64_t n, first_block;
  int32_t set;
  int32_t wide;  ///< all of them are 16-byte aligned
};

/// Tables on devices by content, the last of them.
class TableCache {
 public:
  /// The bytes in device memory, valid until the next 31 calls with other contents have been made.
  const void* get(Device device, const void* bytes, size_t size) {
    const std::lock_guard lock(mutex_);
    const auto* from = static_cast<const unsigned char*>(bytes);
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      if (it->device == device && it->bytes.size() == size && std::memcmp(it->bytes.data(), from, size) == 0) {
        entries_.splice(entries_.begin(), entries_, it);
        return entries_.front().table.raw();
      }
    }
    Tensor table = empty({static_cast<int64_t>(size)}, uint8, device);
    copy_bytes(table.raw(), device, from, Device{}, static_cast<int64_t>(size));
    entries_.push_front({device, std::vector<unsigned char>(from, from + size), table});
    if (entries_.size() > 32) entries_.pop_back();
    return entries_.front().table.raw();
  }
  static TableCache& instance() {
    static auto& cache = *new TableCache;  // outlives everything: the driver may be gone when statics are destroyed
    return cache;
  }

 private:
  struct Entry {
    Device device;
    std::vector<unsigned char> bytes;
    Tensor table;
  };
  std::mutex mutex_;
  std::list<Entry> entries_;  // last used first
};

/// A list while it is being put together; blocks are counted through all of it.
template <class T, int P>
class TensorList {
 public:
  explicit TensorList(Device device) : device_(device) {}
  /// Appends P tensors of one length, given as raw pointers; entries without elements are left out.
  void add(const std::array<void*, P>& pointers, int64_t n, int32_t set = 0) {
    if (n == 0) return;
    ListEntry<T, P> e{};
    e.wide = 1;
    for (size_t i = 0; i < P; ++i) {
      e.p[i] = static_cast<T*>(pointers[i]);
      if (reinterpret_cast<uintptr_t>(pointers[i]) % 16 != 0) e.wide = 0;
    }
    e.n = n;
    e.first_block = blocks_;
    e.set = set;
    entries_.push_back(e);
    blocks_ += (n + kListChunk - 1) / kListChunk;
  }
  bool empty() const { return entries_.empty(); }
  int64_t blocks() const { return blocks_; }
  int size() const { return static_cast<int>(entries_.size()); }
  Device device() const { return device_; }
  View<const ListEntry<T, P>> table() const {
    return {static_cast<const ListEntry<T, P>*>(
                TableCache::instance().get(device_, entries_.data(), entries_.size() * sizeof(ListEntry<T, P>))),
            static_cast<int64_t>(entries_.size())};
  }
  Launch launch_of(const char* op, bool alone) const {
    return {device_, op, dim3(static_cast<unsigned>(blocks_)), dim3(kListThreads), 0, alone};
  }

 private:
  Device device_;
  std::vector<ListEntry<T, P>> entries_;
  int64_t blocks_ = 0;
};

/// The index of the last entry that begins at or before this block.
template <class T, int P>
__device__ int entry_of_block(const View<const ListEntry<T, P>>& table, int entries) {
  int low = 0, high = entries - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (table[middle].first_block <= static_cast<int64_t>(blockIdx.x))
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

/// Calls f(values) for each element of this block's part of an entry, where values[k] is the element of tensor k, and
/// writes the values back to the tensors whose bit is set in `Written`.
template <int Written, class T, int P, class F>
__device__ void for_each_in_block(const ListEntry<T, P>& e, F&& f) {
  constexpr int N = 16 / sizeof(T);
  const int64_t begin = (static_cast<int64_t>(blockIdx.x) - e.first_block) * kListChunk;
  const int64_t end = e.n < begin + kListChunk ? e.n : begin + kListChunk;
  int64_t narrow = begin;  // where elements begin that do not move in packs
  if (e.wide != 0) {
    narrow = end - end % N;
    for (int64_t i = begin + threadIdx.x * N; i < narrow; i += int64_t{kListThreads} * N) {
      Pack<T, N> packs[P];
#pragma unroll
      for (int k = 0; k < P; ++k) packs[k] = *reinterpret_cast<const Pack<T, N>*>(e.p[k] + i);
#pragma unroll
      for (int j = 0; j < N; ++j) {
        T v[P];
#pragma unroll
        for (int k = 0; k < P; ++k) v[k] = packs[k].v[j];
        f(v);
#pragma unroll
        for (int k = 0; k < P; ++k) packs[k].v[j] = v[k];
      }
#pragma unroll
      for (int k = 0; k < P; ++k)
        if ((Written >> k & 1) != 0) *reinterpret_cast<Pack<T, N>*>(e.p[k] + i) = packs[k];
    }
  }
  for (int64_t i = narrow + threadIdx.x; i < end; i += kListThreads) {
    T v[P];
#pragma unroll
    for (int k = 0; k < P; ++k) v[k] = e.p[k][i];
    f(v);
#pragma unroll
    for (int k = 0; k < P; ++k)
      if ((Written >> k & 1) != 0) e.p[k][i] = v[k];
  }
}

}  // namespace atlas::inline ATLAS_ABI::cuda
