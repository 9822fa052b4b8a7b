// Index pictures: any bytes give numbers of at most the allowed size, or an atlas::Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "atlas/data/index_png.h"
#include "tests/fuzz/repair_png.h"

namespace {

// A small cap, so that the time goes into many files and not into large ones.
constexpr int64_t kPixels = 1 << 16;

void decode(const std::vector<uint8_t>& bytes) {
  try {
    const atlas::Tensor map = atlas::data::decode_index_png(bytes, "fuzz", kPixels);
    if (map.dim() != 2 || map.numel() == 0 || map.numel() > kPixels) std::abort();
    // What was read can be written and is the same again.
    if (map.dtype() != atlas::uint8) return;
    const atlas::Tensor again =
        atlas::data::decode_index_png(atlas::data::encode_index_png(map, {}), "written", kPixels);
    for (int64_t i = 0; i < map.numel(); ++i)
      if (map.data<uint8_t>()[i] != again.data<uint8_t>()[i]) std::abort();
  } catch (const atlas::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);  // its own block: a read past the end is seen
  decode(bytes);
  repair_png(bytes);
  decode(bytes);
  return 0;
}
