// safetensors files: any bytes give tensors that can be read, or an atlas::Error.
#include <cstddef>
#include <cstdint>
#include <span>

#include "atlas/io/safetensors.h"
#include "atlas/ops/cast.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto file = atlas::io::parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz");
    for (const auto& [name, t] : file.tensors) t.to(atlas::float64);  // reads every element
  } catch (const atlas::Error&) {
  }
  return 0;
}
