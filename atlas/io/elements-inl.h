// Elements out of files: tensors that lie in a mapped file where they can, and conversions where no dtype fits.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>

#include "atlas/io/float8.h"
#include "atlas/io/mapped_file.h"
#include "atlas/tensor/create.h"

namespace atlas::inline ATLAS_ABI::io::detail {

using Bytes = std::span<const std::byte>;

/// Little-endian number at `at`; the caller has checked the length.
template <class T>
T number_at(Bytes bytes, uint64_t at) {
  T v;
  std::memcpy(&v, bytes.data() + at, sizeof(T));
  return v;
}

/// A type that files have: its name, the bytes of an element, and the dtype it becomes. Complex numbers become two.
struct ElementType {
  std::string_view name;
  int64_t size;
  DType becomes;
  bool complex = false;

  /// True when the bytes in a file are the elements of a tensor.
  bool plain() const {
    return complex || (size == item_size(becomes) && name != "bool" && name != "uint64") || name == "uint8";
  }
};
inline constexpr ElementType kElementTypes[] = {{"float64", 8, float64},
                                                {"float32", 4, float32},
                                                {"float16", 2, float16},
                                                {"bfloat16", 2, bfloat16},
                                                {"int64", 8, int64},
                                                {"int32", 4, int64},
                                                {"int16", 2, int64},
                                                {"int8", 1, int64},
                                                {"uint64", 8, int64},
                                                {"uint32", 4, int64},
                                                {"uint16", 2, int64},
                                                {"uint8", 1, uint8},
                                                {"bool", 1, boolean},
                                                {"float8_e4m3fn", 1, float32},
                                                {"float8_e5m2", 1, float32},
                                                {"float8_e8m0fnu", 1, float32},
                                                {"complex64", 8, float32, true},
                                                {"complex128", 16, float64, true}};

inline const ElementType* element_type(std::string_view name) {
  for (const ElementType& t : kElementTypes)
    if (name == t.name) return &t;
  return nullptr;
}

template <class From, class To, class F>
void convert_each(Bytes from, Tensor& to, F&& convert) {
  To* p = to.data<To>();
  for (int64_t i = 0; i < to.numel(); ++i)
    p[i] = convert(number_at<From>(from, static_cast<uint64_t>(i) * sizeof(From)));
}
template <class From>
void convert_integers(Bytes from, Tensor& to) {
  convert_each<From, int64_t>(from, to, [](From v) {
    if constexpr (std::is_same_v<From, uint64_t>)
      check(v <= INT64_MAX, "read", "the unsigned number {} is beyond int64, as which it is read", v);
    return static_cast<int64_t>(v);
  });
}

inline uint64_t largest_unsigned(Bytes raw) {
  uint64_t most = 0;
  for (size_t i = 0; i + 8 <= raw.size(); i += 8) most = std::max(most, number_at<uint64_t>(raw, i));
  return most;
}
inline bool beyond_int64(Bytes raw, const ElementType& type) {
  return type.name == "uint64" && largest_unsigned(raw) > INT64_MAX;
}

/// Elements `raw` of a type as a tensor of `shape`, which has the complex axis already. It lies in the file that
/// `owner` has mapped, if there is one, the type is plain and its alignment fits; otherwise it is a copy. uint64 with
/// numbers beyond int64 is an error, or with `rounded` float64.
inline Tensor elements(Bytes raw, const ElementType& type, const Shape& shape,
                       const std::shared_ptr<const MappedFile>& owner, bool rounded = false) {
  const bool aligned = reinterpret_cast<uintptr_t>(raw.data()) % static_cast<uintptr_t>(item_size(type.becomes)) == 0;
  if (type.plain() && owner != nullptr && aligned && !raw.empty())  // the mapping is private and may be written
  {
    Tensor t = from_blob(const_cast<std::byte*>(raw.data()), shape, type.becomes, [owner] {});
    t.impl().storage->set_mapped_file();
    return t;
  }
  const bool large = rounded && beyond_int64(raw, type);
  Tensor t = empty(shape, large ? float64 : type.becomes, Device{});
  if (t.numel() == 0) return t;
  if (large) {
    convert_each<uint64_t, double>(raw, t, [](uint64_t v) { return static_cast<double>(v); });
  } else if (type.plain()) {
    std::memcpy(t.raw(), raw.data(), raw.size());
  } else if (type.name == "int32") {
    convert_integers<int32_t>(raw, t);
  } else if (type.name == "int16") {
    convert_integers<int16_t>(raw, t);
  } else if (type.name == "int8") {
    convert_integers<int8_t>(raw, t);
  } else if (type.name == "uint16") {
    convert_integers<uint16_t>(raw, t);
  } else if (type.name == "uint32") {
    convert_integers<uint32_t>(raw, t);
  } else if (type.name == "uint64") {
    convert_integers<uint64_t>(raw, t);
  } else if (type.name == "float8_e4m3fn") {
    convert_each<uint8_t, float>(raw, t, float8_e4m3fn);
  } else if (type.name == "float8_e5m2") {
    convert_each<uint8_t, float>(raw, t, float8_e5m2);
  } else if (type.name == "float8_e8m0fnu") {
    convert_each<uint8_t, float>(raw, t, float8_e8m0fnu);
  } else {  // bool: 0 or 1 in memory, whatever the file holds
    auto* to = static_cast<unsigned char*>(t.raw());
    for (size_t i = 0; i < raw.size(); ++i) to[i] = raw[i] != std::byte{0};
  }
  return t;
}

}  // namespace atlas::inline ATLAS_ABI::io::detail
