// Makes small zip archives and pickles by hand, good and bad.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <vector>

namespace atlas_test {

template <class T>
std::string little(T v) {
  std::string s(sizeof(T), '\0');
  for (size_t i = 0; i < sizeof(T); ++i) s[i] = static_cast<char>(static_cast<uint64_t>(v) >> (8 * i));
  return s;
}

/// CRC-32, as zip archives have it.
inline uint32_t checksum(const void* data, size_t bytes) {
  return static_cast<uint32_t>(::crc32_z(0, static_cast<const Bytef*>(data), bytes));
}

/// A text, as BINUNICODE.
inline std::string pickled(const std::string& text) { return 'X' + little(static_cast<uint32_t>(text.size())) + text; }
inline std::string pickled(int32_t v) { return 'J' + little(v); }

/// The arguments (storage, offset, shape, strides) and the call that make a float tensor.
inline std::string pickled_tensor(const std::string& key, int32_t elements, int32_t offset, std::vector<int32_t> shape,
                                  std::vector<int32_t> strides, const std::string& type = "FloatStorage") {
  std::string s = "ctorch._utils\n_rebuild_tensor_v2\n((" + pickled("storage") + "ctorch\n" + type + "\n" +
                  pickled(key) + pickled("cpu") + pickled(elements) + "tQ" + pickled(offset);
  for (const auto& numbers : {shape, strides}) {
    s += '(';
    for (const int32_t v : numbers) s += pickled(v);
    s += 't';
  }
  return s + "\x89}tR";
}
/// {"w": value}, a whole pickle.
inline std::string pickle_of(const std::string& value, int protocol = 2) {
  return std::string("\x80") + static_cast<char>(protocol) + "}" + pickled("w") + value + "s.";
}

struct ZipEntry {
  std::string name{}, content{};
  uint16_t method = 0, flags = 0;
  uint32_t wrong_crc = 0;  // added to the true one
  int64_t claim = -1;      // unpacked length that the list of entries claims
};

inline std::string deflated(const std::string& plain) {
  z_stream z{};
  deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&z, static_cast<uLong>(plain.size())) + 16, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  z.avail_in = static_cast<uInt>(plain.size());
  z.next_out = reinterpret_cast<Bytef*>(packed.data());
  z.avail_out = static_cast<uInt>(packed.size());
  deflate(&z, Z_FINISH);
  packed.resize(z.total_out);
  deflateEnd(&z);
  return packed;
}

inline std::string zip(const std::vector<ZipEntry>& entries, const std::string& comment = "") {
  std::string file, list;
  for (const ZipEntry& e : entries) {
    const std::string data = e.method == 8 ? deflated(e.content) : e.content;
    const uint32_t crc = e.wrong_crc + checksum(e.content.data(), e.content.size());
    const auto size = static_cast<uint32_t>(e.claim >= 0 ? e.claim : static_cast<int64_t>(e.content.size()));
    const std::string common = little<uint16_t>(20) + little(e.flags) + little(e.method) + little<uint32_t>(0) +
                               little(crc) + little(static_cast<uint32_t>(data.size())) + little(size) +
                               little(static_cast<uint16_t>(e.name.size())) + little<uint16_t>(0);
    list += "PK\1\2" + little<uint16_t>(20) + common + little<uint16_t>(0) + little<uint32_t>(0) + little<uint32_t>(0) +
            little(static_cast<uint32_t>(file.size())) + e.name;
    file += "PK\3\4" + common + e.name + data;
  }
  const auto count = little(static_cast<uint16_t>(entries.size()));
  return file + list + "PK\5\6" + little<uint32_t>(0) + count + count + little(static_cast<uint32_t>(list.size())) +
         little(static_cast<uint32_t>(file.size())) + little(static_cast<uint16_t>(comment.size())) + comment;
}

/// A PyTorch file: a pickle and storages by key.
inline std::string torch_zip(const std::string& pickle,
                             const std::vector<std::pair<std::string, std::string>>& storages) {
  std::vector<ZipEntry> entries = {{"a/data.pkl", pickle}, {"a/byteorder", "little"}};
  for (const auto& [key, content] : storages) entries.push_back({"a/data/" + key, content});
  return zip(entries);
}

}  // namespace atlas_test
