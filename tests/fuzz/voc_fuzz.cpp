// Annotation files of Pascal VOC: any bytes give an annotation with named objects and finite boxes, or an atlas::Error.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "atlas/data/voc.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  try {
    const atlas::data::VocAnnotation a =
        atlas::data::parse_voc(std::string_view(reinterpret_cast<const char*>(bytes), size), "fuzz");
    if (a.width < 0 || a.height < 0 || a.objects.size() > size) std::abort();
    for (const auto& o : a.objects) {
      if (o.name.empty()) std::abort();
      for (const double v : o.box)
        if (!std::isfinite(v)) std::abort();
    }
  } catch (const atlas::Error&) {
  }
  return 0;
}
