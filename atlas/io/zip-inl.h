// Reading zip archives from memory: stored and deflated entries, zip64, checksums. Only what checkpoints need.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "atlas/core/error.h"
#include "atlas/io/elements-inl.h"

namespace atlas::inline ATLAS_ABI::io::detail {

inline uint32_t checksum(Bytes data) {
  uLong crc = 0;
  while (!data.empty()) {
    const size_t n = std::min<size_t>(data.size(), size_t{1} << 30);
    crc = ::crc32(crc, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(n));
    data = data.subspan(n);
  }
  return static_cast<uint32_t>(crc);
}

/// The entries of an archive. Reads nothing outside `bytes`, and believes no length before it is checked.
class ZipArchive {
 public:
  struct Entry {
    uint64_t local = 0, packed = 0, size = 0;  // offset of the local header; lengths in the file and unpacked
    uint32_t crc = 0;
    uint16_t method = 0, flags = 0;
  };

  /// @throws Error naming `name` when there is no sound list of entries.
  ZipArchive(Bytes bytes, const std::string& name) : bytes_(bytes), name_(name) {
    const uint64_t end = find_end();
    uint64_t count = number_at<uint16_t>(bytes_, end + 10), size = number_at<uint32_t>(bytes_, end + 12);
    uint64_t at = number_at<uint32_t>(bytes_, end + 16);
    need(number_at<uint16_t>(bytes_, end + 4) == 0, "it is one part of several");
    if ((count == 0xffff || size == 0xffffffff || at == 0xffffffff) && end >= 20 &&
        number_at<uint32_t>(bytes_, end - 20) == 0x07064b50) {
      const uint64_t wide = number_at<uint64_t>(bytes_, end - 12);
      need(inside(wide, 56) && number_at<uint32_t>(bytes_, wide) == 0x06064b50, "its zip64 record is damaged");
      count = number_at<uint64_t>(bytes_, wide + 32);
      size = number_at<uint64_t>(bytes_, wide + 40);
      at = number_at<uint64_t>(bytes_, wide + 48);
    }
    need(inside(at, size) && count <= size / 46, "its list of entries is truncated or damaged");
    for (uint64_t i = 0; i < count; ++i) at = read_entry(at);
  }

  const std::map<std::string, Entry>& entries() const { return entries_; }
  const Entry* find(const std::string& entry) const {
    const auto it = entries_.find(entry);
    return it == entries_.end() ? nullptr : &it->second;
  }

  /// The content of an entry: a view of the file when it is stored, otherwise unpacked into `buffer`.
  /// @throws Error for encrypted or otherwise packed entries, wrong lengths and wrong checksums.
  Bytes read(const std::string& entry, std::vector<std::byte>& buffer) const {
    const Entry& e = entries_.at(entry);
    const auto fail_entry = [&](const char* text) { fail("zip", "{}: entry '{}' {}", name_, entry, text); };
    if ((e.flags & 1) != 0) fail_entry("is encrypted");
    if (!inside(e.local, 30) || number_at<uint32_t>(bytes_, e.local) != 0x04034b50) fail_entry("has a damaged header");
    const uint64_t data =
        e.local + 30 + number_at<uint16_t>(bytes_, e.local + 26) + number_at<uint16_t>(bytes_, e.local + 28);
    if (!inside(data, e.packed)) fail_entry("is truncated");
    Bytes content = bytes_.subspan(data, e.packed);
    if (e.method == 8) {
      // Deflate packs at most 1032 : 1, so a length beyond that is a lie, and is found before memory is asked for.
      if (e.size / 1032 > e.packed) fail_entry("claims to be longer than its data can unpack to");
      buffer.resize(e.size);
      if (!inflate_all(content, buffer)) fail_entry("is damaged: its data does not unpack to its length");
      content = buffer;
    } else if (e.method != 0) {
      fail("zip", "{}: entry '{}' is packed by method {} (stored and deflated can be read)", name_, entry, e.method);
    } else if (e.size != e.packed) {
      fail_entry("is stored, but with two different lengths");
    }
    if (checksum(content) != e.crc) fail_entry("is damaged: its checksum differs");
    return content;
  }

 private:
  bool inside(uint64_t at, uint64_t length) const { return at <= bytes_.size() && length <= bytes_.size() - at; }
  void need(bool ok, const char* text) const { check(ok, "zip", "{} is no readable zip archive: {}", name_, text); }

  uint64_t find_end() const {
    need(bytes_.size() >= 22, "it is truncated");
    const uint64_t last = bytes_.size() - 22, first = last > 65535 ? last - 65535 : 0;
    for (uint64_t at = last + 1; at-- > first;)
      if (number_at<uint32_t>(bytes_, at) == 0x06054b50 && number_at<uint16_t>(bytes_, at + 20) <= last - at) return at;
    fail("zip", "{} is no readable zip archive: it has no end record (truncated?)", name_);
  }

  uint64_t read_entry(uint64_t at) {
    need(inside(at, 46) && number_at<uint32_t>(bytes_, at) == 0x02014b50, "its list of entries is damaged");
    Entry e;
    e.flags = number_at<uint16_t>(bytes_, at + 8);
    e.method = number_at<uint16_t>(bytes_, at + 10);
    e.crc = number_at<uint32_t>(bytes_, at + 16);
    e.packed = number_at<uint32_t>(bytes_, at + 20);
    e.size = number_at<uint32_t>(bytes_, at + 24);
    e.local = number_at<uint32_t>(bytes_, at + 42);
    const uint64_t name_length = number_at<uint16_t>(bytes_, at + 28), extra = number_at<uint16_t>(bytes_, at + 30);
    const uint64_t comment = number_at<uint16_t>(bytes_, at + 32), next = at + 46 + name_length + extra + comment;
    need(inside(at + 46, name_length + extra + comment), "its list of entries is truncated");
    const std::string entry(reinterpret_cast<const char*>(bytes_.data()) + at + 46, name_length);
    for (uint64_t x = at + 46 + name_length, stop = x + extra; x + 4 <= stop;) {  // zip64: the lengths that did not fit
      const uint64_t length = number_at<uint16_t>(bytes_, x + 2);
      need(length <= stop - x - 4, "an entry's extra field is damaged");
      if (number_at<uint16_t>(bytes_, x) == 1) {
        uint64_t field = x + 4;
        for (uint64_t* v : {&e.size, &e.packed, &e.local}) {
          if (*v != 0xffffffff) continue;
          need(field + 8 <= x + 4 + length, "an entry's zip64 field is damaged");
          *v = number_at<uint64_t>(bytes_, field);
          field += 8;
        }
      }
      x += 4 + length;
    }
    check(entries_.emplace(entry, e).second, "zip", "{} has two entries called '{}'", name_, entry);
    return next;
  }

  static bool inflate_all(Bytes packed, std::vector<std::byte>& out) {
    z_stream z{};
    if (::inflateInit2(&z, -MAX_WBITS) != Z_OK) return false;
    uint64_t from = 0, to = 0;
    int status = Z_OK;
    while (status == Z_OK) {
      const uInt in = static_cast<uInt>(std::min<uint64_t>(packed.size() - from, 1u << 30));
      const uInt room = static_cast<uInt>(std::min<uint64_t>(out.size() - to, 1u << 30));
      z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data() + from));
      z.avail_in = in;
      std::byte spare{};  // so that an empty output still has an address
      z.next_out = reinterpret_cast<Bytef*>(room > 0 ? out.data() + to : &spare);
      z.avail_out = room;
      status = ::inflate(&z, Z_NO_FLUSH);
      from += in - z.avail_in;
      to += room - z.avail_out;
      if (status == Z_OK && in == z.avail_in && room == z.avail_out) break;  // no progress
    }
    ::inflateEnd(&z);
    return status == Z_STREAM_END && to == out.size() && from == packed.size();
  }

  Bytes bytes_;
  std::string name_;
  std::map<std::string, Entry> entries_;
};

}  // namespace atlas::inline ATLAS_ABI::io::detail
