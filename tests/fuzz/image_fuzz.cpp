// Image files: any bytes give a picture of at most the allowed size, or an atlas::Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "atlas/data/image.h"
#include "atlas/ops/arithmetic.h"
#include "tests/fuzz/repair_png.h"

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
