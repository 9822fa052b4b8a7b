// Scratch memory of kernels: one growing buffer per thread and slot, kept between calls.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <memory>

#include "atlas/core/error.h"
#include "atlas/core/storage.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {
/// Bytes of `count` elements of T. @throws Error when they overflow 64 bits.
template <class T>
int64_t scratch_bytes(int64_t count) {
  int64_t bytes = 0;
  if (__builtin_mul_overflow(count, static_cast<int64_t>(sizeof(T)), &bytes))
    fail("workspace", "scratch memory for {} elements overflows 64 bits", count);
  return bytes;
}
}  // namespace detail

/// Scratch of at least `count` elements of T, 64-byte aligned, uninitialized, private to the calling thread.
/// From 512 KiB on it is long enough to lie on huge pages: kernels walk over many rows of it at once.
/// Valid until the same thread asks for the same slot again (slots 0..11: a kernel that needs two buffers uses two).
template <class T>
T* workspace(int64_t count, int slot = 0) {
  constexpr int64_t kLong = int64_t{512} << 10, kHuge = int64_t{4} << 20;
  thread_local std::unique_ptr<Storage> slots[12];
  auto& s = slots[slot];
  const int64_t bytes = detail::scratch_bytes<T>(count);
  if (!s || s->bytes() < bytes) {
    s.reset();
    s = std::make_unique<Storage>(std::max(bytes, bytes < kLong ? int64_t{4096} : kHuge), Device{});
  }
  return static_cast<T*>(s->data());
}

/// workspace() for what may be very large, for one call: from 16 MiB on it comes from the allocator and goes back at
/// the end, since buffers of this size that stay with a thread would add up to more than the tensors.
template <class T>
class Scratch {
 public:
  Scratch(int64_t count, int slot) {
    constexpr int64_t kLarge = int64_t{16} << 20;
    const int64_t bytes = detail::scratch_bytes<T>(count);
    if (bytes >= kLarge) own_ = std::make_unique<Storage>(bytes, Device{});
    data_ = own_ ? static_cast<T*>(own_->data()) : workspace<T>(count, slot);
  }
  T* data() const { return data_; }

 private:
  std::unique_ptr<Storage> own_;
  T* data_ = nullptr;
};

}  // namespace atlas::inline ATLAS_ABI
