// Bodies of pytorch.h: the two containers, the choice of the weights, and tensors out of storages.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "atlas/core/parallel.h"
#include "atlas/io/mapped_file.h"
#include "atlas/io/pytorch.h"
#include "atlas/io/torch_pickle-inl.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "atlas/tensor/print.h"

namespace atlas::inline ATLAS_ABI::io {

namespace detail {

/// Where the bytes of storages are. Both containers give them by key.
class StorageSource {
 public:
  virtual ~StorageSource() = default;
  /// The bytes of a storage, which may lie in `buffer`. Called from several threads.
  virtual Bytes read(const std::string& key, int64_t bytes, std::vector<std::byte>& buffer) const = 0;
};

/// The zip format: archive/data.pkl, archive/data/KEY, archive/byteorder, archive/version.
class ZipStorages final : public StorageSource {
 public:
  ZipStorages(Bytes bytes, const std::string& name) : zip_(bytes, name), name_(name) {
    for (const auto& [entry, e] : zip_.entries())
      if (entry == "data.pkl" || (entry.ends_with("/data.pkl") && entry.find('/') == entry.size() - 9)) {
        prefix_ = entry.substr(0, entry.size() - 8);
        found_ = true;
      }
    check(found_, "pytorch", "{} is a zip archive without data.pkl: no PyTorch file", name_);
    check(zip_.find(prefix_ + "constants.pkl") == nullptr, "pytorch",
          "{} is a TorchScript archive, a program with weights (save model.state_dict() instead)", name_);
    std::vector<std::byte> buffer;
    if (zip_.find(prefix_ + "byteorder") != nullptr) {
      const Bytes order = zip_.read(prefix_ + "byteorder", buffer);
      check(order.size() == 6 && std::memcmp(order.data(), "little", 6) == 0, "pytorch",
            "{} was written on a big-endian machine (its byteorder entry is not 'little'); such files are not read",
            name_);
    }
  }
  Bytes pickle(std::vector<std::byte>& buffer) const { return zip_.read(prefix_ + "data.pkl", buffer); }
  Bytes read(const std::string& key, int64_t bytes, std::vector<std::byte>& buffer) const override {
    const std::string entry = prefix_ + "data/" + key;
    const ZipArchive::Entry* e = zip_.find(entry);
    check(e != nullptr, "pytorch", "{}: storage '{}' is missing (no entry '{}')", name_, key, entry);
    check(e->size == static_cast<uint64_t>(bytes), "pytorch", "{}: storage '{}' has {} bytes where its tensors need {}",
          name_, key, e->size, bytes);
    return zip_.read(entry, buffer);
  }

 private:
  ZipArchive zip_;
  std::string name_, prefix_;
  bool found_ = false;
};

/// The older format: pickles of a magic number, a version, the machine, the objects and the storages' keys; then, for
/// each key, the number of elements and the bytes.
class LegacyStorages final : public StorageSource {
 public:
  LegacyStorages(Bytes bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}

  /// The objects. `keep` owns them.
  PickleValue* open(std::unique_ptr<TorchUnpickler>& keep) {
    uint64_t at = 0;
    std::unique_ptr<TorchUnpickler> part;
    const auto next = [&] {
      part = std::make_unique<TorchUnpickler>(bytes_.subspan(at), name_);
      PickleValue* v = part->load();
      at += part->position();
      return v;
    };
    next();  // the magic number, by which this format was recognized
    check(next()->integer == 1001, "pytorch", "{} is of an unknown version of the older PyTorch format", name_);
    const PickleValue* little = next()->find("little_endian");
    check(little != nullptr && little->integer == 1, "pytorch",
          "{} was written on a big-endian machine; such files are not read", name_);
    PickleValue* objects = next();
    keep = std::move(part);
    const PickleValue* keys = next();
    check(keys->is(PickleValue::Kind::list), "pytorch", "{}: the list of storages is damaged", name_);
    std::map<std::string, int64_t> item;  // bytes of an element, from the tensors that were described
    for (const PickleValue& v : keep->values())
      if (v.is(PickleValue::Kind::storage)) item.emplace(v.text, element_type(v.dtype)->size);
    for (const PickleValue* key : keys->items) {
      const auto known = item.find(key->text);
      check(known != item.end(), "pytorch", "{}: storage '{}' belongs to no tensor", name_, key->text);
      check(bytes_.size() - at >= 8, "pytorch", "{} is truncated before storage '{}'", name_, key->text);
      const int64_t count = number_at<int64_t>(bytes_, at);
      int64_t size = 0;
      check(count >= 0 && !__builtin_mul_overflow(count, known->second, &size) &&
                static_cast<uint64_t>(size) <= bytes_.size() - at - 8,
            "pytorch", "{} is truncated: storage '{}' has {} elements", name_, key->text, count);
      check(places_.emplace(key->text, std::pair(at + 8, static_cast<uint64_t>(size))).second, "pytorch",
            "{} has storage '{}' twice", name_, key->text);
      at += 8 + static_cast<uint64_t>(size);
    }
    return objects;
  }
  Bytes read(const std::string& key, int64_t bytes, std::vector<std::byte>&) const override {
    const auto place = places_.find(key);
    check(place != places_.end(), "pytorch", "{}: storage '{}' is missing", name_, key);
    check(place->second.second == static_cast<uint64_t>(bytes), "pytorch",
          "{}: storage '{}' has {} bytes where its tensors need {}", name_, key, place->second.second, bytes);
    return bytes_.subspan(place->second.first, place->second.second);
  }

 private:
  Bytes bytes_;
  std::string name_;
  std::map<std::string, std::pair<uint64_t, uint64_t>> places_;  // key -> offset, bytes
};

/// The elements of a storage as a flat tensor of the type they become.
inline Tensor storage_tensor(const StorageSource& source, const PickleValue& storage, const ElementType& type,
                             const std::shared_ptr<const MappedFile>& owner, bool rounded) {
  std::vector<std::byte> buffer;  // of a deflated storage, which then lies outside the file
  const Bytes raw = source.read(storage.text, storage.integer * element_type(storage.dtype)->size, buffer);
  const int64_t count = static_cast<int64_t>(raw.size()) / type.size;
  return elements(raw.first(static_cast<size_t>(count * type.size)), type, {type.complex ? 2 * count : count},
                  buffer.empty() ? owner : nullptr, rounded);
}

/// The numbers of a negated or conjugated view, of which `t` are those before: a copy with other signs. Conjugates are
/// pairs.
inline Tensor with_signs(const Tensor& t, bool negative, bool conjugate) {
  Tensor y = copy_of(t);
  const int64_t item = item_size(y.dtype());
  auto* bytes = static_cast<unsigned char*>(y.raw());
  for (int64_t i = 0; i < y.numel(); ++i)
    if (negative != (conjugate && i % 2 == 1)) bytes[(i + 1) * item - 1] ^= 0x80;  // little-endian: the sign is last
  return y;
}

/// Reads the storages of `wanted` on all threads, and makes the tensors.
inline StateDict make_tensors(const StorageSource& source, const std::map<std::string, const PickleValue*>& wanted,
                              const std::shared_ptr<const MappedFile>& owner, std::set<std::string>* rounded) {
  std::map<std::pair<std::string, std::string>, Tensor> storages;  // by key and by the type they are read as
  for (const auto& [name, v] : wanted) storages[{v->storage->text, v->dtype}];
  std::vector<std::pair<const PickleValue*, Tensor*>> jobs;
  std::set<const Tensor*> taken;
  for (const auto& [name, v] : wanted)
    if (Tensor* t = &storages[{v->storage->text, v->dtype}]; taken.insert(t).second) jobs.emplace_back(v, t);
  parallel_for(static_cast<int64_t>(jobs.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto& [v, t] = jobs[static_cast<size_t>(i)];
      *t = storage_tensor(source, *v->storage, *element_type(v->dtype), owner, rounded != nullptr);
    }
  });
  StateDict dict;
  for (const auto& [name, v] : wanted) {
    const ElementType& type = *element_type(v->dtype);
    Shape shape = v->shape, strides = v->strides;
    int64_t offset = v->offset;
    if (type.complex) {
      for (int i = 0; i < shape.size(); ++i) strides[i] *= 2;
      shape.push_back(2);
      strides.push_back(1);
      offset *= 2;
    }
    const Tensor view = raw_view(storages[{v->storage->text, v->dtype}], shape, strides, offset);
    if (view.dtype() != type.becomes) rounded->insert(name);
    dict.emplace(name, v->negative || v->conjugate ? with_signs(view, v->negative, v->conjugate) : view);
  }
  return dict;
}

/// What list_tensors() finds in a file.
struct TensorList {
  std::string file;
  std::map<std::string, const PickleValue*> tensors;
  std::vector<std::string> skipped;
  int64_t visits = 0;
  std::string dictionary;  // its key in the file
};
/// Dictionaries and lists within each other whose tensors get names.
inline constexpr int kMaxNesting = 8;

/// A key as messages show it: 'a', 1, None, ('a', 1).
inline std::string key_text(const PickleValue& key, int depth = 0) {
  using Kind = PickleValue::Kind;
  switch (key.kind) {
    case Kind::text:
      return fmt::format("'{}'", escaped(key.text));
    case Kind::bytes:
      return fmt::format("b'{}'", escaped(key.text));
    case Kind::integer:
      return std::to_string(key.integer);
    case Kind::real:
      return fmt::format("{}", key.real);
    case Kind::boolean:
      return key.integer != 0 ? "True" : "False";
    case Kind::none:
      return "None";
    case Kind::tuple: {
      std::string all;
      for (size_t i = 0; i < key.items.size(); ++i) {
        if (i == 8 || depth == 3) return "(" + all + "...)";
        all += (i > 0 ? ", " : "") + key_text(*key.items[i], depth + 1);
      }
      return "(" + all + (key.items.size() == 1 ? ",)" : ")");
    }
    default:
      return "(an object)";
  }
}

/// Whether a value is a tensor or holds one, down to where names end.
inline bool holds_any(const PickleValue& v, int depth, TensorList& list) {
  check(++list.visits <= 1'000'000, "pytorch", "{}: its dictionaries hold too many entries, or each other", list.file);
  if (v.is(PickleValue::Kind::tensor)) return true;
  const size_t first = v.is_map() ? 1 : 0, step = v.is_map() ? 2 : 1;
  if (depth > kMaxNesting || !(v.is_map() || v.is_sequence() || v.is(PickleValue::Kind::set))) return false;
  for (size_t i = first; i < v.items.size(); i += step)
    if (holds_any(*v.items[i], depth + 1, list)) return true;
  return false;
}

inline void list_tensors(const PickleValue& from, const std::string& prefix, int depth, TensorList& list);

/// What stands under a name: a tensor, more of them ("name.inner", "name.0"), or what is skipped.
inline void list_value(const std::string& name, const PickleValue& value, int depth, TensorList& list) {
  using Kind = PickleValue::Kind;
  constexpr const char* op = "pytorch";
  check(is_utf8(name), op, "{}: the name '{}' is not UTF-8", list.file, escaped(name));
  if (value.is(Kind::tensor)) {
    check(value.refusal.empty(), op, "{}: '{}' is {}", list.file, name, value.refusal);
    check(list.tensors.emplace(name, &value).second, op, "{}: two tensors have the name '{}'", list.file, name);
    return;
  }
  const bool map = value.is_map() && !value.items.empty();
  const bool more = map || ((value.is_sequence() || value.is(Kind::set)) && holds_any(value, depth, list));
  if (more && depth < kMaxNesting && !value.is(Kind::set)) return list_tensors(value, name + ".", depth + 1, list);
  check(!more || !holds_any(value, depth, list), op, "{}: tensors in '{}' have no name of their own ({})", list.file,
        name, value.is(Kind::set) ? "they are in a set" : fmt::format("it lies {} levels deep", kMaxNesting));
  if (list.skipped.size() < 1000) list.skipped.push_back(name);
}

/// The tensors of a dictionary, of dictionaries in it as "outer.inner", of lists as "outer.0"; everything else goes to
/// `skipped`. Names are made of texts and whole numbers. No tensor is lost to another of the same name, or to a key
/// that makes no name.
inline void list_tensors(const PickleValue& from, const std::string& prefix, int depth, TensorList& list) {
  using Kind = PickleValue::Kind;
  constexpr const char* op = "pytorch";
  const auto count = [&] {
    check(++list.visits <= 1'000'000 && list.tensors.size() <= 100'000, op,
          "{}: its dictionaries hold too many entries, or each other", list.file);
  };
  if (from.is_sequence()) {
    for (size_t i = 0; i < from.items.size(); ++i) {
      count();
      list_value(prefix + std::to_string(i), *from.items[i], depth, list);
    }
    return;
  }
  const auto named = [](const PickleValue& key) { return key.is(Kind::text) || key.is(Kind::integer); };
  const auto part = [](const PickleValue& key) { return key.is(Kind::text) ? key.text : std::to_string(key.integer); };
  std::map<std::pair<Kind, std::string>, size_t> last;  // the last assignment of a key counts
  for (size_t i = 0; i + 1 < from.items.size(); i += 2)
    if (const PickleValue& key = *from.items[i]; named(key)) last[{key.kind, part(key)}] = i;
  for (size_t i = 0; i + 1 < from.items.size(); i += 2) {
    count();
    const PickleValue &key = *from.items[i], &value = *from.items[i + 1];
    if (!named(key)) {
      check(!holds_any(value, depth, list), op,
            "{}: a tensor in {} has the key {}, which makes no name (names are made of texts and whole numbers)",
            list.file,
            prefix.empty()
                ? (list.dictionary.empty() ? "the outermost dictionary" : "'" + escaped(list.dictionary) + "'")
                : "'" + escaped(prefix.substr(0, prefix.size() - 1)) + "'",
            key_text(key));
      list.skipped.push_back(prefix + "(an entry without a name)");
    } else if (last.at({key.kind, part(key)}) == i) {
      list_value(prefix + part(key), value, depth, list);
    }
  }
}

inline bool holds_tensors(const PickleValue* v) {
  if (v == nullptr || !v->is_map()) return false;
  for (size_t i = 1; i < v->items.size(); i += 2)
    if (v->items[i]->is(PickleValue::Kind::tensor)) return true;
  return false;
}

/// The dictionary with the weights and its name in the file.
inline std::pair<const PickleValue*, std::string> find_weights(const PickleValue* root, const std::string& which,
                                                               const std::string& file) {
  check(root->is_map(), "pytorch", "{} holds no dictionary of tensors", file);
  static const std::vector<std::string> kPlain = {"state_dict", "model", "model_state_dict"};
  static const std::vector<std::string> kAveraged = {"state_dict_ema", "ema", "model_ema", "ema_state_dict"};
  const auto among = [&](const std::vector<std::string>& keys) -> std::pair<const PickleValue*, std::string> {
    for (const std::string& key : keys) {
      const PickleValue* v = root->find(key);
      if (holds_tensors(v)) return {v, key};
      for (const auto* inner : {&kPlain, &kAveraged})  // {"ema": {"state_dict": {...}}}
        for (const std::string& key2 : *inner)
          if (v != nullptr && holds_tensors(v->find(key2))) return {v->find(key2), key + "." + key2};
    }
    return {nullptr, ""};
  };
  if (which == "ema") {
    const auto found = among(kAveraged);
    check(found.first != nullptr, "pytorch", "{} holds no averaged weights (looked for state_dict_ema, ema, model_ema)",
          file);
    return found;
  }
  if (!which.empty()) {
    const PickleValue* v = root->find(which);
    check(v != nullptr && v->is_map(), "pytorch", "{} holds no dictionary called '{}'", file, which);
    const auto found = among({which});
    return found.first != nullptr ? found : std::pair(v, which);  // tensors may lie deeper
  }
  if (const auto found = among(kPlain); found.first != nullptr) return found;
  if (holds_tensors(root)) return {root, ""};
  const auto found = among(kAveraged);
  if (found.first == nullptr)  // {"a": [tensor, tensor]}
    for (size_t i = 1; i < root->items.size(); i += 2)
      for (const PickleValue* v : root->items[i]->items)
        if (root->items[i]->is_sequence() && v->is(PickleValue::Kind::tensor)) return {root, ""};
  check(found.first != nullptr, "pytorch",
        "{} holds no dictionary of tensors (looked for state_dict, model, model_state_dict and the top level)", file);
  return found;
}

/// `owner` has mapped the bytes, or is null.
inline PytorchFile read_pytorch(Bytes bytes, const std::string& name, const std::string& which,
                                const std::shared_ptr<const MappedFile>& owner, std::set<std::string>* rounded) {
  static constexpr unsigned char kMagic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
  std::unique_ptr<TorchUnpickler> unpickler;
  std::unique_ptr<StorageSource> source;
  std::vector<std::byte> buffer;
  const PickleValue* root = nullptr;
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), "PK\3\4", 4) == 0) {
    auto zip = std::make_unique<ZipStorages>(bytes, name);
    unpickler = std::make_unique<TorchUnpickler>(zip->pickle(buffer), name);
    root = unpickler->load();
    source = std::move(zip);
  } else {
    const auto* first = reinterpret_cast<const unsigned char*>(bytes.data());
    const auto* last = first + std::min<size_t>(bytes.size(), 32);
    check(!bytes.empty() && *first == 0x80 && std::search(first, last, std::begin(kMagic), std::end(kMagic)) != last,
          "pytorch", "{} is no PyTorch file: it is neither a zip archive nor starts with PyTorch's magic number", name);
    auto legacy = std::make_unique<LegacyStorages>(bytes, name);
    root = legacy->open(unpickler);
    source = std::move(legacy);
  }
  PytorchFile file;
  const auto [dict, found_in] = find_weights(root, which, name);
  file.found_in = found_in;
  TensorList list{name, {}, {}, 0, found_in};
  list_tensors(*dict, "", 0, list);
  check(!list.tensors.empty(), "pytorch", "{}: '{}' holds no tensors", name, found_in);
  file.tensors = make_tensors(*source, list.tensors, owner, rounded);
  file.skipped = std::move(list.skipped);
  return file;
}

}  // namespace detail

ATLAS_INLINE PytorchFile parse_pytorch(std::span<const std::byte> bytes, const std::string& name,
                                       const std::string& which, std::set<std::string>* rounded) {
  return detail::read_pytorch(bytes, name, which, nullptr, rounded);
}

ATLAS_INLINE PytorchFile load_pytorch(const std::string& path, const std::string& which,
                                      std::set<std::string>* rounded) {
  const auto file = std::make_shared<const MappedFile>(path, "pytorch");
  return detail::read_pytorch(file->bytes(), path, which, file, rounded);
}

}  // namespace atlas::inline ATLAS_ABI::io
