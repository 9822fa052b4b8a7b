// Image files: any bytes give a picture of at most the allowed size, or an atlas::Error; a part that is decoded alone
// is that of the picture.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "atlas/data/encoded_image.h"
#include "atlas/data/image.h"
#include "atlas/ops/arithmetic.h"
#include "tests/fuzz/repair_png.h"

namespace {

// A small cap, so that the time goes into many files and not into large ones.
constexpr int64_t kPixels = 1 << 16;

/// A part whose place depends on the bytes, decoded alone.
void decode_part(const std::vector<uint8_t>& bytes, const atlas::Tensor& whole) {
  const atlas::data::EncodedImage encoded(bytes, "fuzz", kPixels);
  const int64_t h = encoded.height(), w = encoded.width(), n = static_cast<int64_t>(bytes.size());
  const atlas::data::Crop crop{n % h, n / 7 % w, 1 + (h - n % h - 1) / 2, 1 + (w - n / 7 % w - 1) / 2};
  const atlas::data::Geometry part({crop, atlas::data::Scale{1 + n % 40, 1 + n % 37}});
  const atlas::Tensor one = encoded.moved(part);
  if (!whole.defined()) return;
  const atlas::Tensor other = part.image(whole);
  if (one.shape() != other.shape()) std::abort();
  for (int64_t i = 0; i < one.numel(); ++i)
    if (std::abs(int{one.data<uint8_t>()[i]} - int{other.data<uint8_t>()[i]}) > 1) std::abort();
}

void decode(const std::vector<uint8_t>& bytes) {
  atlas::Tensor whole;
  try {
    const atlas::Tensor image = atlas::data::decode_image(bytes, "fuzz", kPixels);
    if (image.dim() != 3 || image.shape()[2] != 3 || image.numel() == 0 || image.numel() > 3 * kPixels) std::abort();
    whole = image;
  } catch (const atlas::Error&) {
  }
  try {
    decode_part(bytes, whole);
  } catch (const atlas::data::UnreadableImage&) {
    if (whole.defined()) std::abort();
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
