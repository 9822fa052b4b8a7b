// Bodies of safetensors.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "atlas/core/output_file.h"
#include "atlas/io/elements-inl.h"
#include "atlas/io/json_fields.h"
#include "atlas/io/safetensors.h"
#include "atlas/tensor/memory.h"

namespace atlas::inline ATLAS_ABI::io {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

namespace detail {

inline constexpr uint64_t kMaxHeader = 100'000'000;  // as the format's own library

/// A type of the format and what it is called here.
struct FileType {
  std::string_view name, element;
};
inline constexpr FileType kFileTypes[] = {{"F64", "float64"},         {"F32", "float32"},
                                          {"F16", "float16"},         {"BF16", "bfloat16"},
                                          {"I64", "int64"},           {"I32", "int32"},
                                          {"I16", "int16"},           {"I8", "int8"},
                                          {"U64", "uint64"},          {"U32", "uint32"},
                                          {"U16", "uint16"},          {"U8", "uint8"},
                                          {"BOOL", "bool"},           {"F8_E4M3", "float8_e4m3fn"},
                                          {"F8_E5M2", "float8_e5m2"}, {"F8_E8M0", "float8_e8m0fnu"},
                                          {"C64", "complex64"}};

struct Entry {
  std::string name;
  const ElementType* type = nullptr;
  Shape shape;
  uint64_t begin = 0, end = 0;
};

/// One entry of the header, checked against itself. `where` names file and entry.
inline Entry parse_entry(const std::string& name, const nlohmann::json& j, const std::string& where) {
  constexpr const char* op = "safetensors";
  check(j.is_object() && j.size() == 3 && j.contains("dtype") && j.contains("shape") && j.contains("data_offsets"), op,
        "{}: expected an object with dtype, shape and data_offsets", where);
  Entry e;
  e.name = name;
  check(j["dtype"].is_string(), op, "{}: dtype is not a string", where);
  const auto& type = j["dtype"].get_ref<const std::string&>();
  for (const FileType& t : kFileTypes)
    if (type == t.name) e.type = element_type(t.element);
  check(
      e.type != nullptr, op,
      "{}: dtype {} is unknown (known are F64, F32, F16, BF16, F8_E4M3, F8_E5M2, F8_E8M0, C64, I64, I32, I16, I8, U64, "
      "U32, U16, U8, BOOL)",
      where, type);
  const size_t most = static_cast<size_t>(kMaxDims) - (e.type->complex ? 1 : 0);
  check(j["shape"].is_array() && j["shape"].size() <= most, op, "{}: shape is not a list of at most {} lengths", where,
        most);
  uint64_t bytes = static_cast<uint64_t>(e.type->size);
  for (const auto& n : j["shape"]) {
    check(n.is_number_unsigned(), op, "{}: a length in shape is not a whole number >= 0", where);
    const uint64_t length = n.get<uint64_t>();
    check(length <= uint64_t{1} << 62 && !__builtin_mul_overflow(bytes, length, &bytes), op,
          "{}: the size of its shape overflows 64 bits", where);
    e.shape.push_back(static_cast<int64_t>(length));
  }
  const auto& offsets = j["data_offsets"];
  check(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() && offsets[1].is_number_unsigned(),
        op, "{}: data_offsets is not [begin, end]", where);
  e.begin = offsets[0].get<uint64_t>();
  e.end = offsets[1].get<uint64_t>();
  check(e.begin <= e.end && e.end - e.begin == bytes, op, "{}: data_offsets [{}, {}] do not span the {} bytes of {}{}",
        where, e.begin, e.end, bytes, type, e.shape.str());
  return e;
}

/// The JSON header, with an error for names that occur twice (a parser would keep one of them in silence).
inline nlohmann::json parse_header(std::string_view text, const std::string& path) {
  std::vector<std::set<std::string>> names;
  const auto watch = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) names.emplace_back();
    if (event == Event::object_end) names.pop_back();
    if (event == Event::key)
      check(names.back().insert(value.get<std::string>()).second, "safetensors", "{}: the header has '{}' twice", path,
            value.get_ref<const std::string&>());
    return true;
  };
  // The format wants '{' at once, and padding with spaces alone. The parser would skip a byte-order mark and stop at a
  // NUL.
  check(text.empty() || text.front() != '\xef', "safetensors",
        "{}: the header starts with a byte-order mark, it must start with '{{'", path);
  nlohmann::json header;
  try {
    header = nlohmann::json::parse(text, watch);
  } catch (const nlohmann::json::exception& e) {
    fail("safetensors", "{}: the header is not JSON: {}", path, json_reason(e.what()));
  }
  check(header.is_object(), "safetensors", "{}: the header is not a JSON object", path);
  const size_t end = text.find_last_not_of(' ');
  check(text.front() == '{' && text[end] == '}' && text.find('\0') == text.npos, "safetensors",
        "{}: the header must start with '{{' and be padded with spaces alone", path);
  return header;
}

inline std::string_view type_name(DType dtype) {
  for (const FileType& t : kFileTypes)
    if (t.element == name(dtype)) return t.name;
  return "?";
}

/// `owner` has mapped the bytes, or is null.
inline SafetensorsFile read_safetensors(Bytes bytes, const std::string& path,
                                        const std::shared_ptr<const MappedFile>& owner,
                                        std::set<std::string>* rounded) {
  constexpr const char* op = "safetensors";
  const uint64_t size = bytes.size();
  check(size >= 8, op, "{} is no safetensors file: it has {} bytes, a header length alone takes 8", path, size);
  const auto length = number_at<uint64_t>(bytes, 0);
  check(length <= size - 8 && length <= kMaxHeader, op,
        "{} is truncated or no safetensors file: it declares a header of {} bytes and has {} after the length", path,
        length, size - 8);
  const nlohmann::json header = parse_header({reinterpret_cast<const char*>(bytes.data()) + 8, length}, path);
  const uint64_t data_at = 8 + length, data_size = size - data_at;

  SafetensorsFile result;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      check(value.is_object(), op, "{}: __metadata__ is not an object", path);
      for (const auto& [key, entry] : value.items()) {
        check(entry.is_string(), op, "{}: metadata '{}' is not a string", path, key);
        result.metadata[key] = entry.get<std::string>();
      }
    } else {
      entries.push_back(parse_entry(name, value, fmt::format("{}: tensor '{}'", path, name)));
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  uint64_t at = 0;
  for (const Entry& e : entries) {
    check(e.begin == at, op, "{}: tensor '{}' begins at byte {} of the data, {} the tensor before it, which ends at {}",
          path, e.name, e.begin, e.begin < at ? "inside" : "with a gap after", at);
    check(e.end <= data_size, op, "{} is truncated: tensor '{}' ends at byte {} of the data, the file has {}", path,
          e.name, e.end, data_size);
    at = e.end;
  }
  check(at == data_size, op, "{}: {} bytes follow the last tensor, which ends at byte {} of the data", path,
        data_size - at, at);
  for (const Entry& e : entries) {
    Shape shape = e.shape;
    if (e.type->complex) shape.push_back(2);
    const Bytes raw = bytes.subspan(data_at + e.begin, e.end - e.begin);
    if (beyond_int64(raw, *e.type)) {
      check(rounded != nullptr, op, "{}: tensor '{}' of U64 has numbers beyond int64, as which it is read, up to {}",
            path, e.name, largest_unsigned(raw));
      rounded->insert(e.name);
    }
    result.tensors[e.name] = elements(raw, *e.type, shape, owner, rounded != nullptr);
  }
  return result;
}

}  // namespace detail

ATLAS_INLINE SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name,
                                               std::set<std::string>* rounded) {
  return detail::read_safetensors(bytes, name, nullptr, rounded);
}

ATLAS_INLINE SafetensorsFile load_safetensors(const std::string& path, std::set<std::string>* rounded) {
  const auto file = std::make_shared<const MappedFile>(path, "safetensors");
  return detail::read_safetensors(file->bytes(), path, file, rounded);
}

namespace detail {

/// Writes a file piece by piece. @param path  for messages
inline void write_safetensors(const std::map<std::string, Tensor>& tensors,
                              const std::map<std::string, std::string>& metadata, const std::string& path,
                              const std::function<void(const void* from, uint64_t bytes)>& write) {
  constexpr const char* op = "safetensors";
  check(!tensors.contains("__metadata__"), op, "{}: a tensor cannot be called __metadata__", path);
  std::vector<std::pair<std::string, Tensor>> order(tensors.begin(), tensors.end());
  for (const auto& [name, t] : order) check(t.defined(), op, "{}: tensor '{}' is undefined", path, name);
  // Wide types first: every tensor then starts at a multiple of its element size, as readers that map files want it.
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return item_size(a.second.dtype()) > item_size(b.second.dtype());
  });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t at = 0;
  for (const auto& [name, t] : order) {
    const int64_t end = at + t.numel() * item_size(t.dtype());
    header[name] = {{"dtype", detail::type_name(t.dtype())},
                    {"shape", std::vector<int64_t>(t.shape().begin(), t.shape().end())},
                    {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& e) {
    fail(op, "{}: a name or metadata is not UTF-8: {}", path, json_reason(e.what()));
  }
  text.append((8 - text.size() % 8) % 8, ' ');

  const uint64_t length = text.size();
  write(&length, 8);
  write(text.data(), length);
  for (const auto& [name, t] : order) {
    const Tensor flat = on_host(t);
    write(flat.raw(), static_cast<uint64_t>(flat.numel() * item_size(flat.dtype())));
  }
}

}  // namespace detail

ATLAS_INLINE void save_safetensors(const std::string& path, const std::map<std::string, Tensor>& tensors,
                                   const std::map<std::string, std::string>& metadata) {
  std::optional<OutputFile> file;  // opened when nothing is wrong with what it gets
  detail::write_safetensors(tensors, metadata, path, [&](const void* from, uint64_t bytes) {
    if (!file) file.emplace(path, "safetensors");
    file->write(from, bytes);
  });
  file->finish(true);
}

ATLAS_INLINE std::string safetensors_bytes(const std::map<std::string, Tensor>& tensors) {
  std::string bytes;
  detail::write_safetensors(tensors, {}, "memory", [&](const void* from, uint64_t count) {
    bytes.append(static_cast<const char*>(from), count);
  });
  return bytes;
}

}  // namespace atlas::inline ATLAS_ABI::io
