// For fuzzers of PNG files.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <vector>

/// Makes the check sums of a PNG file's chunks right: nothing that mutates bytes gets past them otherwise.
inline void repair_png(std::vector<uint8_t>& bytes) {
  for (size_t at = 8; at + 12 <= bytes.size();) {
    size_t length = 0;
    for (size_t i = 0; i < 4; ++i) length = length << 8 | bytes[at + i];
    if (length > bytes.size() - at - 12) return;
    const unsigned long sum = crc32_z(0, bytes.data() + at + 4, length + 4);
    for (size_t i = 0; i < 4; ++i) bytes[at + 8 + length + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
    at += 12 + length;
  }
}
