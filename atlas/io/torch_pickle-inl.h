// The names that PyTorch's pickles may use, and what they make.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "atlas/io/pickle-inl.h"
#include "atlas/io/utf8.h"
#include "atlas/ops/arithmetic.h"

namespace atlas::inline ATLAS_ABI::io::detail {

/// Element types by what PyTorch calls their storages ("FloatStorage").
struct TorchType {
  std::string_view storage, dtype;
};
inline constexpr TorchType kTorchTypes[] = {{"Float", "float32"},
                                            {"Double", "float64"},
                                            {"Half", "float16"},
                                            {"BFloat16", "bfloat16"},
                                            {"Long", "int64"},
                                            {"Int", "int32"},
                                            {"Short", "int16"},
                                            {"Char", "int8"},
                                            {"Byte", "uint8"},
                                            {"Bool", "bool"},
                                            {"ComplexFloat", "complex64"},
                                            {"ComplexDouble", "complex128"},
                                            {"Untyped", "uint8"}};

/// The element type of "Float" storages, or null.
inline const ElementType* storage_type(std::string_view storage) {
  for (const TorchType& t : kTorchTypes)
    if (storage == t.storage) return element_type(t.dtype);
  return nullptr;
}

/// Interprets a PyTorch pickle: tensors become descriptions (storage, offset, shape, strides) whose numbers are read
/// later, and only if they are wanted.
class TorchUnpickler final : public Unpickler {
 public:
  using Unpickler::Unpickler;

 private:
  /// Names whose call makes what; a value of Kind::global keeps the role in `dtype`.
  Value* global(const std::string& module, const std::string& item) override {
    struct Known {
      std::string_view module, item, role;
    };
    static constexpr Known kKnown[] = {
        {"collections", "OrderedDict", "dict"},
        {"collections", "defaultdict", "dict"},
        {"collections", "Counter", "dict"},
        {"torch._utils", "_rebuild_tensor", "tensor"},
        {"torch._utils", "_rebuild_tensor_v2", "tensor"},
        {"torch._utils", "_rebuild_tensor_v3", "tensor"},
        {"torch._utils", "_rebuild_parameter", "first"},
        {"torch._utils", "_rebuild_parameter_with_state", "first"},
        {"torch._tensor", "_rebuild_from_type_v2", "call"},
        {"torch.nn.parameter", "Parameter", "first"},
        {"torch", "Tensor", "first"},
        {"torch", "Size", "tuple"},
        {"torch", "device", "object"},
        {"argparse", "Namespace", "object"},
        {"builtins", "set", "set"},
        {"__builtin__", "set", "set"},
        {"builtins", "frozenset", "set"},
        {"__builtin__", "frozenset", "set"},
        {"builtins", "object", "object"},
        {"__builtin__", "object", "object"},
        {"builtins", "list", "list"},
        {"__builtin__", "list", "list"},
        {"builtins", "int", "object"},
        {"builtins", "float", "object"},
        {"builtins", "complex", "object"},
        {"__builtin__", "complex", "object"},
        {"builtins", "bytearray", "object"},
        {"__builtin__", "bytearray", "object"},
        {"_codecs", "encode", "bytes"},
        {"copyreg", "_reconstructor", "object"},
        {"copy_reg", "_reconstructor", "object"},
        {"numpy", "dtype", "object"},
        {"numpy", "ndarray", "object"},
        {"numpy.core.multiarray", "scalar", "object"},
        {"numpy._core.multiarray", "scalar", "object"},
        {"numpy.core.multiarray", "_reconstruct", "object"},
        {"numpy.core.numeric", "_frombuffer", "object"},
        {"numpy._core.numeric", "_frombuffer", "object"},
        {"numpy._core.multiarray", "_reconstruct", "object"},
    };
    Value* v = string(Kind::global, module + "." + item);
    for (const Known& k : kKnown)
      if (module == k.module && item == k.item) {
        v->dtype = k.role;
        return v;
      }
    constexpr std::string_view kStorage = "Storage";
    if ((module == "torch" || module == "torch.storage" || module == "torch.cuda") && item.ends_with(kStorage)) {
      const std::string type = item.substr(0, item.size() - kStorage.size());
      if (const ElementType* t = storage_type(type); t != nullptr) {
        v->dtype = "storage";
        v->text = t->name;
        return v;
      }
    }
    if (module == "torch" && element_type(item) != nullptr) {
      v->dtype = "dtype";
      v->text = item;
      return v;
    }
    need(false,
         "it wants to use {}.{}, which is refused: only what tensors, dictionaries and plain values need is allowed "
         "(a file of weights is made by torch.save(model.state_dict(), ...))",
         module, item);
    return nullptr;
  }

  Value* construct(Value* f, Value* args) override {
    need(f->is(Kind::global) && args->is(Kind::tuple), "it calls what is no known constructor");
    const std::string& role = f->dtype;
    if (role == "tensor") return tensor(args->items, f->text.ends_with("_v3"));
    if (role == "first") {
      need(!args->items.empty(), "{} needs an argument", f->text);
      return args->items[0];
    }
    if (role == "bytes") {  // (text, encoding)
      need(!args->items.empty() && args->items[0]->is(Kind::text), "{} needs a text", f->text);
      return string(Kind::bytes, args->items[0]->text);
    }
    if (role == "call") {  // (function, class, its arguments, attributes)
      need(args->items.size() == 4 && args->items[0]->is(Kind::global) && args->items[0]->dtype == "tensor",
           "{} does not rebuild a tensor", f->text);
      return construct(args->items[0], args->items[2]);
    }
    if (role == "tuple" || role == "list" || role == "set") {
      Value* v = make(role == "tuple" ? Kind::tuple : role == "list" ? Kind::list : Kind::set);
      if (!args->items.empty()) append(v, args->items[0]->items);
      return v;
    }
    need(role == "dict" || role == "object", "it calls {}, which is no constructor", f->text);
    Value* v = make(role == "dict" ? Kind::dict : Kind::object);
    v->text = f->text;
    if (role == "dict" && !args->items.empty()) {  // from a list of pairs, as old files have it, or another dictionary
      const Value* from = args->items[0];
      if (from->is(Kind::dict)) add(v, from->items, true);
      if (from->is(Kind::list))
        for (const Value* pair : from->items) {
          need(pair->items.size() == 2, "{} is made from what are no pairs", f->text);
          add(v, pair->items, true);
        }
    }
    return v;
  }

  /// ("storage", type, key, device, elements[, view of another]).
  Value* persistent(Value* id) override {
    const auto& a = id->items;
    need(id->is(Kind::tuple) && a.size() >= 5 && a[0]->text == "storage" && a[1]->is(Kind::global) &&
             a[1]->dtype == "storage" && a[2]->is(Kind::text) && a[4]->is(Kind::integer) && a[4]->integer >= 0,
         "a persistent identifier that is no storage");
    Value* v = make(Kind::storage);
    v->dtype = a[1]->text;
    v->text = a[2]->text;
    v->integer = a[4]->integer;
    if (a.size() >= 6 && a[5]->is(Kind::tuple)) {  // (key, offset, elements) of a part of the storage
      need(a[5]->items.size() == 3 && a[5]->items[1]->is(Kind::integer) && a[5]->items[1]->integer >= 0,
           "a damaged view of storage '{}'", v->text);
      v->offset = a[5]->items[1]->integer;
    }
    return v;
  }

  /// {"neg": true, "conj": true}: lazy views, whose storages hold the numbers before negation and conjugation.
  void metadata(Value* v, const Value* given) const {
    if (given->is(Kind::none)) return;
    // Other tensors of the file may be all that is wanted: this one is refused when somebody asks for it.
    const auto refuse = [v](std::string why) {
      if (v->refusal.empty()) v->refusal = std::move(why);
    };
    if (!given->is(Kind::dict)) return refuse("a tensor whose metadata is no dictionary");
    for (size_t i = 0; i + 1 < given->items.size(); i += 2) {
      const Value *key = given->items[i], *on = given->items[i + 1];
      const bool known = key->is(Kind::text) && (key->text == "neg" || key->text == "conj") && on->is(Kind::boolean);
      if (!known)
        return refuse(fmt::format("a tensor with the metadata '{}', whose meaning is unknown", escaped(key->text)));
      (key->text == "neg" ? v->negative : v->conjugate) = on->integer != 0;
    }
    const ElementType* type = element_type(v->dtype);
    if (v->conjugate && !type->complex)
      refuse(fmt::format("a conjugated tensor of {}, which is no complex type", v->dtype));
    if (v->negative && !is_floating(type->becomes))
      refuse(fmt::format("a negated view of {} (save its clone instead)", v->dtype));
  }

  /// (storage, offset, shape, strides, requires_grad, hooks, ...[dtype, ][metadata]).
  Value* tensor(const std::vector<Value*>& a, bool typed) {
    need(a.size() >= 4 && a[0]->is(Kind::storage) && a[1]->is(Kind::integer) && a[1]->integer >= 0 &&
             a[2]->is(Kind::tuple) && a[3]->is(Kind::tuple) && a[2]->items.size() == a[3]->items.size(),
         "a tensor with damaged arguments");
    Value* v = make(Kind::tensor);
    v->storage = a[0];
    v->dtype = a[0]->dtype;
    if (typed) {
      need(a.size() >= 7 && a[6]->is(Kind::global) && a[6]->dtype == "dtype", "a tensor without a known dtype");
      v->dtype = a[6]->text;
    }
    const size_t plain = typed ? 7 : 6;  // arguments that every tensor has
    if (a.size() > plain + 1)
      v->refusal = fmt::format("a tensor with {} arguments, of which only {} are known", a.size(), plain + 1);
    if (a.size() > plain) metadata(v, a[plain]);
    const int64_t item = element_type(v->dtype)->size, held = element_type(a[0]->dtype)->size;
    if (a[2]->items.size() >= static_cast<size_t>(kMaxDims)) {
      v->refusal = fmt::format("a tensor of {} axes ({} can be read)", a[2]->items.size(), kMaxDims - 1);
      return v;
    }
    int64_t last = 0, bytes = 0, numel = 1;
    bool sound = !__builtin_add_overflow(a[1]->integer, a[0]->offset, &v->offset);
    for (size_t i = 0; i < a[2]->items.size(); ++i) {
      const Value *n = a[2]->items[i], *step = a[3]->items[i];
      need(n->is(Kind::integer) && step->is(Kind::integer) && n->integer >= 0 && step->integer >= 0,
           "a tensor whose shape or strides are no numbers >= 0");
      v->shape.push_back(n->integer);
      v->strides.push_back(step->integer);
      int64_t reach = 0;
      sound = sound && !__builtin_mul_overflow(std::max<int64_t>(n->integer - 1, 0), step->integer, &reach) &&
              !__builtin_add_overflow(last, reach, &last) && !__builtin_mul_overflow(numel, n->integer, &numel);
    }
    if (numel == 0)
      last = 0;  // refers to nothing, wherever it starts
    else
      sound = sound && !__builtin_add_overflow(last, v->offset, &last) && !__builtin_add_overflow(last, 1, &last);
    sound = sound && !__builtin_mul_overflow(last, item, &bytes);
    int64_t room = 0;
    sound = sound && !__builtin_mul_overflow(a[0]->integer, held, &room) && bytes <= room;
    need(sound, "a tensor {} reaches beyond its storage '{}' of {} elements", v->shape.str(), a[0]->text,
         a[0]->integer);
    // A stride of 0 repeats elements: a few bytes could otherwise ask for all memory.
    need(numel / 64 <= a[0]->integer + 1024, "a tensor {} repeats the {} elements of its storage too often",
         v->shape.str(), a[0]->integer);
    return v;
  }
};

}  // namespace atlas::inline ATLAS_ABI::io::detail
