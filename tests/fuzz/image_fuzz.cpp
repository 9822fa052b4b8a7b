// Image files: any bytes give a picture of at most the allowed size, or an atlas::Error.
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "atlas/data/image.h"
#include "atlas/ops/arithmetic.h"

namespace {

// A small cap, so that the time goes into many files and not into large ones.
constexpr int64_t kPixels = 1 << 16;

void decode(const std::vector<uint8_t>& bytes) {
  try {
    const atlas::Tensor image = atlas::data::decode_image(bytes, "fuzz", kPixels);
    if (image.dim() != 3 || image.shape()[2] != 3 || image.numel() == 0 || image.numel() > 3 * kPixels) std::abort();
  } catch (const atlas::Error&) {
  }
}

/// Makes the check sums of a PNG file's chunks right: nothing that mutates bytes gets past them otherwise.
void repair_png(std::vector<uint8_t>& bytes) {
  for (size_t at = 8; at + 12 <= bytes.size();) {
    size_t length = 0;
    for (size_t i = 0; i < 4; ++i) length = length << 8 | bytes[at + i];
    if (length > bytes.size() - at - 12) return;
    const unsigned long sum = crc32_z(0, bytes.data() + at + 4, length + 4);
    for (size_t i = 0; i < 4; ++i) bytes[at + 8 + length + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
    at += 12 + length;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);  // its own block: a read past the end is seen
  decode(bytes);
  if (size > 8 && std::memcmp(data, "\x89PNG\r\n\x1A\n", 8) == 0) {
    repair_png(bytes);
    decode(bytes);
  }
  return 0;
}
