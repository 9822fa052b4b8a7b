// The plain kernels of windows. Elements of any type are moved byte by byte.
#pragma once

#include "atlas/kernels/window.h"
#include "atlas/reference/window.h"

namespace atlas::inline ATLAS_ABI::cpu::plain {

ATLAS_INLINE void window_partition(const Tensor& map, const WindowLayout& layout, Tensor& windows) {
  reference::window_partition(map.size(0), map.size(3) * item_size(map.dtype()), layout,
                              static_cast<const unsigned char*>(map.raw()), static_cast<unsigned char*>(windows.raw()));
}
ATLAS_INLINE void window_reverse(const Tensor& windows, const WindowLayout& layout, Tensor& map) {
  reference::window_reverse(map.size(0), map.size(3) * item_size(map.dtype()), layout,
                            static_cast<const unsigned char*>(windows.raw()), static_cast<unsigned char*>(map.raw()));
}

}  // namespace atlas::inline ATLAS_ABI::cpu::plain
