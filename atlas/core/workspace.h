// Scratch memory of kernels: one growing buffer per thread and slot, kept between calls.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <memory>

#include "atlas/core/storage.h"

namespace atlas::inline ATLAS_ABI {

/// Scratch of at least `count` elements of T, 64-byte aligned, uninitialized, private to the calling thread.
/// From 512 KiB on it is long enough to lie on huge pages: kernels walk over many rows of it at once.
/// Valid until the same thread asks for the same slot again (slots 0..11: a kernel that needs two buffers uses two).
template <class T>
T* workspace(int64_t count, int slot = 0) {
  constexpr int64_t kLong = int64_t{512} << 10, kHuge = int64_t{4} << 20;
  thread_local std::unique_ptr<Storage> slots[12];
  auto& s = slots[slot];
  int64_t bytes = 0;
  if (__builtin_mul_overflow(count, static_cast<int64_t>(sizeof(T)), &bytes))
    fail("workspace", "scratch memory for {} elements overflows 64 bits", count);
  if (!s || s->bytes() < bytes) {
    s.reset();
    s = std::make_unique<Storage>(std::max(bytes, bytes < kLong ? int64_t{4096} : kHuge), Device{});
  }
  return static_cast<T*>(s->data());
}

}  // namespace atlas::inline ATLAS_ABI
