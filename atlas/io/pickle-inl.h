// A reader of Python's pickles (protocols 2 to 5) that executes nothing: an interpreter for the opcodes that
// checkpoints use. What names mean is up to a derived class, which refuses all but a short list.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "atlas/core/error.h"
#include "atlas/core/shape.h"
#include "atlas/io/zip-inl.h"
#include "atlas/ops/arithmetic.h"

namespace atlas::inline ATLAS_ABI::io::detail {

/// What a pickle can hold. `items` are the elements of lists, tuples and sets, and keys and values of dictionaries and
/// objects in turn.
struct PickleValue {
  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    real,
    text,
    bytes,
    list,
    tuple,
    dict,
    set,
    global,
    storage,
    tensor,
    object
  };
  Kind kind = Kind::none;
  int64_t integer = 0;  // of integers and booleans; of storages: their number of elements
  double real = 0;
  std::string text;   // of texts, bytes and globals; of storages: their key
  std::string dtype;  // of storages and tensors: "float32", ...; of globals: what they make
  std::vector<PickleValue*> items;
  PickleValue* storage = nullptr;            // of tensors
  Shape shape, strides;                      // of tensors
  int64_t offset = 0;                        // of tensors, in elements; of storages that are views of another: likewise
  bool negative = false, conjugate = false;  // of tensors: their numbers are those of the storage, negated, conjugated
  std::string refusal;                       // of tensors that cannot be made: why, for whoever wants them by name

  bool is(Kind k) const { return kind == k; }
  bool is_map() const { return kind == Kind::dict || kind == Kind::object; }
  bool is_sequence() const { return kind == Kind::list || kind == Kind::tuple; }
  /// The value of a text key, or null.
  const PickleValue* find(const std::string& key) const {
    if (!is_map()) return nullptr;
    for (size_t i = items.size(); i >= 2; i -= 2)  // the last assignment counts
      if (items[i - 2]->is(Kind::text) && items[i - 2]->text == key) return items[i - 1];
    return nullptr;
  }
};

/// One pickle out of `bytes`.
class Unpickler {
 public:
  using Value = PickleValue;
  using Kind = PickleValue::Kind;

  Unpickler(Bytes bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}
  virtual ~Unpickler() = default;
  Unpickler(const Unpickler&) = delete;
  Unpickler& operator=(const Unpickler&) = delete;

  /// Runs until STOP. Values live as long as this object.
  /// @throws Error naming the file and the byte for damaged data, unknown opcodes, refused names and exceeded limits.
  Value* load() {
    stack_.clear();
    marks_.clear();
    memo_.clear();
    for (;;) {
      start_ = at_;
      const auto opcode = static_cast<uint8_t>(take(1)[0]);
      if (opcode == '.') return pop();
      step(opcode);
      need(stack_.size() + marks_.size() <= kMaxStack, "its stack grows beyond every checkpoint's");
    }
  }
  uint64_t position() const { return at_; }
  const std::deque<Value>& values() const { return values_; }

 protected:
  /// A name such as "collections" "OrderedDict". @throws Error for every name that is not known to be harmless.
  virtual Value* global(const std::string& module, const std::string& item) = 0;
  /// The result of calling `f`, a value of global(), with a tuple of arguments.
  virtual Value* construct(Value* f, Value* args) = 0;
  /// What a persistent identifier stands for.
  virtual Value* persistent(Value* id) = 0;

  static constexpr size_t kMaxStack = 1'000'000, kMaxValues = 1'000'000, kMaxText = size_t{1} << 26;

  template <class... A>
  void need(bool ok, fmt::format_string<A...> text, A&&... args) const {
    if (!ok)
      fail("pickle", "{}: byte {} of the pickle: {}", name_, start_, fmt::format(text, std::forward<A>(args)...));
  }
  Bytes take(uint64_t n) {
    need(n <= bytes_.size() - at_, "it is truncated");
    at_ += n;
    return bytes_.subspan(at_ - n, n);
  }
  template <class T>
  T number() {
    return number_at<T>(take(sizeof(T)), 0);
  }
  std::string text(uint64_t n) {
    need(n <= kMaxText, "a text of {} bytes", n);
    const Bytes b = take(n);
    return {reinterpret_cast<const char*>(b.data()), b.size()};
  }
  std::string line() {
    std::string s;
    for (char c = 0; (c = static_cast<char>(take(1)[0])) != '\n'; s += c) need(s.size() < 4096, "an endless name");
    return s;
  }

  Value* make(Kind kind) {
    need(values_.size() < kMaxValues, "it has more than {} values", kMaxValues);
    values_.emplace_back();
    values_.back().kind = kind;
    return &values_.back();
  }
  Value* integer(int64_t v) {
    Value* x = make(Kind::integer);
    x->integer = v;
    return x;
  }
  Value* string(Kind kind, std::string s) {
    Value* x = make(kind);
    x->text = std::move(s);
    return x;
  }
  Value* collect(Kind kind, std::vector<Value*> items) {
    Value* x = make(kind);
    x->items = std::move(items);
    return x;
  }
  void push(Value* v) { stack_.push_back(v); }
  Value* pop() {
    need(stack_.size() > (marks_.empty() ? 0 : marks_.back()), "it takes from an empty stack");
    Value* v = stack_.back();
    stack_.pop_back();
    return v;
  }
  Value* top() {
    Value* v = pop();
    push(v);
    return v;
  }
  std::vector<Value*> pop_mark() {
    need(!marks_.empty(), "it has no mark");
    const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Value*> items(from, stack_.end());
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return items;
  }
  void add(Value* to, const std::vector<Value*>& items, bool pairs) {
    need(pairs ? to->is_map() : to->is(Kind::list) || to->is(Kind::set), "it adds items to what is no container");
    need(!pairs || items.size() % 2 == 0, "a key without a value");
    append(to, items);
  }
  /// Counts what containers hold: copying one container again and again would grow faster than the file.
  void append(Value* to, const std::vector<Value*>& items) {
    need(items_ + items.size() <= 4 * kMaxValues, "its containers hold too many items");
    items_ += items.size();
    to->items.insert(to->items.end(), items.begin(), items.end());
  }
  void remember(uint64_t index, Value* v) {
    need(memo_.size() < kMaxValues, "its memo is too large");
    memo_[index] = v;
  }
  Value* recall(uint64_t index) {
    const auto it = memo_.find(index);
    need(it != memo_.end(), "it recalls value {}, which was never stored", index);
    return it->second;
  }

 private:
  void step(uint8_t opcode) {
    switch (opcode) {
      case 0x80: {  // PROTO
        const int version = number<uint8_t>();
        return need(version >= 2 && version <= 5, "it is of protocol {} (2 to 5 can be read)", version);
      }
      case 0x95:
        return static_cast<void>(take(8));  // FRAME
      case '(':
        return marks_.push_back(stack_.size());
      case '0':
        return static_cast<void>(pop());
      case '1':
        return static_cast<void>(pop_mark());
      case '2':
        return push(top());
      case 'N':
        return push(make(Kind::none));
      case 0x88:
      case 0x89:
        push(make(Kind::boolean));
        stack_.back()->integer = opcode == 0x88;
        return;
      case 'J':
        return push(integer(number<int32_t>()));
      case 'K':
        return push(integer(number<uint8_t>()));
      case 'M':
        return push(integer(number<uint16_t>()));
      case 0x8a:
        return long_integer(number<uint8_t>());
      case 0x8b:
        return long_integer(number<uint32_t>());
      case 'G': {  // a big-endian double
        const uint64_t bits = __builtin_bswap64(number<uint64_t>());
        push(make(Kind::real));
        std::memcpy(&stack_.back()->real, &bits, 8);
        return;
      }
      case 'X':
        return push(string(Kind::text, text(number<uint32_t>())));
      case 0x8c:
        return push(string(Kind::text, text(number<uint8_t>())));
      case 0x8d:
        return push(string(Kind::text, text(number<uint64_t>())));
      case 'T':
        return push(string(Kind::text, text(number<uint32_t>())));
      case 'U':
        return push(string(Kind::text, text(number<uint8_t>())));
      case 'B':
        return push(string(Kind::bytes, text(number<uint32_t>())));
      case 'C':
        return push(string(Kind::bytes, text(number<uint8_t>())));
      case 0x8e:
      case 0x96:
        return push(string(Kind::bytes, text(number<uint64_t>())));
      case ']':
        return push(make(Kind::list));
      case ')':
        return push(make(Kind::tuple));
      case '}':
        return push(make(Kind::dict));
      case 0x8f:
        return push(make(Kind::set));
      case 'l':
        return push(collect(Kind::list, pop_mark()));
      case 't':
        return push(collect(Kind::tuple, pop_mark()));
      case 0x91:
        return push(collect(Kind::set, pop_mark()));
      case 0x85:
      case 0x86:
      case 0x87: {  // TUPLE1 to TUPLE3
        std::vector<Value*> items(static_cast<size_t>(opcode - 0x84));
        for (size_t i = items.size(); i-- > 0;) items[i] = pop();
        return push(collect(Kind::tuple, std::move(items)));
      }
      case 'd': {
        const auto items = pop_mark();
        push(make(Kind::dict));
        return add(stack_.back(), items, true);
      }
      case 'a': {
        Value* v = pop();
        return add(top(), {v}, false);
      }
      case 'e':
      case 0x90: {
        const auto items = pop_mark();
        return add(top(), items, false);
      }
      case 's': {
        Value *v = pop(), *k = pop();
        return add(top(), {k, v}, true);
      }
      case 'u': {
        const auto items = pop_mark();
        return add(top(), items, true);
      }
      case 'q':
        return remember(number<uint8_t>(), top());
      case 'r':
        return remember(number<uint32_t>(), top());
      case 0x94:
        return remember(memo_.size(), top());
      case 'h':
        return push(recall(number<uint8_t>()));
      case 'j':
        return push(recall(number<uint32_t>()));
      case 'c': {
        const std::string module = line(), item = line();
        return push(global(module, item));
      }
      case 0x93: {
        Value *item = pop(), *module = pop();
        need(item->is(Kind::text) && module->is(Kind::text), "a global whose name is no text");
        return push(global(module->text, item->text));
      }
      case 'R':
      case 0x81: {  // REDUCE, NEWOBJ
        Value *args = pop(), *f = pop();
        return push(construct(f, args));
      }
      case 0x92: {  // NEWOBJ_EX
        Value* named = pop();
        need(named->is(Kind::dict) && named->items.empty(), "a constructor with named arguments");
        Value *args = pop(), *f = pop();
        return push(construct(f, args));
      }
      case 'b': {  // BUILD: the attributes of an object
        Value* state = pop();
        if (top()->is(Kind::object) && state->is(Kind::dict)) add(top(), state->items, true);
        return;  // of dictionaries and tensors: metadata that nothing here needs
      }
      case 'Q':
        return push(persistent(pop()));
      default:
        need(false, "opcode 0x{:02x} does not occur in checkpoints", opcode);
    }
  }

  void long_integer(uint64_t n) {
    const Bytes b = take(n);
    if (n > 8) return push(string(Kind::bytes, {reinterpret_cast<const char*>(b.data()), b.size()}));  // a magic number
    uint64_t v = n > 0 && (static_cast<uint8_t>(b[n - 1]) & 0x80) != 0 ? ~uint64_t{0} : 0;
    std::memcpy(&v, b.data(), n);
    push(integer(static_cast<int64_t>(v)));
  }

  Bytes bytes_;
  std::string name_;
  uint64_t at_ = 0, start_ = 0;
  size_t items_ = 0;
  std::deque<Value> values_;
  std::vector<Value*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, Value*> memo_;
};

}  // namespace atlas::inline ATLAS_ABI::io::detail
