// COCO's annotation files: any text gives objects that fit their images, and masks of their size, or an atlas::Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "atlas/data/coco.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  namespace data = atlas::data;
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  try {
    const data::CocoFile file = data::parse_coco(text, "fuzz");
    if (file.offsets.size() != file.images.size() + 1 || file.offsets.back() != std::ssize(file.objects)) std::abort();
    for (const data::CocoAnnotation& o : file.objects) {
      if (o.image < 0 || o.image >= std::ssize(file.images)) std::abort();
      if (o.category < 0 || o.category >= std::ssize(file.categories)) std::abort();
      if (o.segmentation.empty()) continue;
      try {
        const data::Rle mask = data::coco_mask(o.segmentation, 20, 30, "fuzz");
        if (data::rle_decode(mask).numel() != 600) std::abort();
      } catch (const atlas::Error&) {
      }
    }
  } catch (const atlas::Error&) {
  }
  return 0;
}
