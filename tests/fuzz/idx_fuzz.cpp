// IDX files, plain and gzipped: any bytes give a tensor of the declared size, or an atlas::Error.
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "atlas/data/mnist.h"
#include "atlas/ops/arithmetic.h"

namespace {

void parse(const std::vector<uint8_t>& bytes) {
  try {
    const atlas::Tensor t = atlas::data::parse_idx(bytes, "fuzz");
    if (t.dtype() != atlas::uint8 || t.dim() < 1 || t.dim() > 3) std::abort();
    // A byte unpacks to 1032 at most.
    if (t.numel() > static_cast<int64_t>(bytes.size()) * 1032 + 65536) std::abort();
  } catch (const atlas::Error&) {
  }
}

/// The bytes as a gzip file, so that what lies behind its check sum is reached as well.
std::vector<uint8_t> gzipped(const std::vector<uint8_t>& plain) {
  z_stream z{};
  if (deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) std::abort();
  std::vector<uint8_t> packed(deflateBound(&z, static_cast<uLong>(plain.size())) + 64);
  z.next_in = const_cast<Bytef*>(plain.data());
  z.avail_in = static_cast<uInt>(plain.size());
  z.next_out = packed.data();
  z.avail_out = static_cast<uInt>(packed.size());
  if (deflate(&z, Z_FINISH) != Z_STREAM_END) std::abort();
  packed.resize(z.total_out);
  deflateEnd(&z);
  return packed;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> bytes(data, data + size);
  parse(bytes);
  if (size > 0 && size <= 512) parse(gzipped(bytes));
  return 0;
}
