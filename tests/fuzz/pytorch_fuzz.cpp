// PyTorch checkpoints: any bytes give tensors that can be read, or an atlas::Error. Input that starts like a pickle is
// also put into an archive, whose checksums would otherwise keep every mutation out.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "atlas/io/pytorch.h"
#include "atlas/ops/cast.h"
#include "tests/io/torch_file.h"

namespace {

void parse(const std::string& bytes, const char* which) {
  try {
    for (const auto& [name, t] : atlas::io::parse_pytorch(std::as_bytes(std::span(bytes)), "fuzz", which).tensors)
      if (t.numel() < 1 << 16) t.to(atlas::float64);  // reads every element
  } catch (const atlas::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  parse(bytes, "");
  parse(bytes, "ema");
  if (size > 2 && data[0] == 0x80)
    parse(atlas_test::torch_zip(bytes, {{"0", std::string(64, '\1')}, {"1", std::string(8, '\2')}}), "");
  return 0;
}
