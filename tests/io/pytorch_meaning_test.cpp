// PyTorch files whose tensors mean more than their storages say, and dictionaries whose keys are more than texts: read
// right, or refused by name.
#include <doctest/doctest.h>

#include <set>

#include "atlas/io/pytorch.h"
#include "atlas/io/utf8.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "tests/data/data_test.h"
#include "tests/io/torch_file.h"

using namespace atlas;
using atlas_test::little;
using atlas_test::message_of;
using atlas_test::pickle_of;
using atlas_test::pickled;
using atlas_test::pickled_tensor;
using atlas_test::torch_zip;

namespace {

using List = std::vector<double>;

std::string floats(std::initializer_list<float> v) {
  return {reinterpret_cast<const char*>(v.begin()), v.size() * sizeof(float)};
}
io::PytorchFile parse(const std::string& bytes, std::set<std::string>* rounded = nullptr) {
  return io::parse_pytorch(std::as_bytes(std::span(bytes)), "x.pth", "", rounded);
}
std::string error_of(const std::string& bytes) {
  return message_of([&] { parse(bytes); });
}
List values(const Tensor& t) {
  const Tensor flat = t.to(float64).contiguous();
  return {flat.data<double>(), flat.data<double>() + flat.numel()};
}

/// A tensor of `length` elements with a seventh argument, as torch.save writes lazy views.
std::string with_metadata(int32_t length, const std::string& metadata, const std::string& type = "FloatStorage") {
  std::string t = pickled_tensor("0", length, 0, {length}, {1}, type);
  return t.substr(0, t.size() - 2) + metadata + "tR";
}
std::string flag(const std::string& key, bool on = true) { return '}' + pickled(key) + (on ? "\x88" : "\x89") + 's'; }

/// {key: tensor, ...} of one number each: 0, 1, 2.
std::string dictionary(const std::vector<std::string>& keys) {
  std::string p = "\x80\x02}";
  for (size_t i = 0; i < keys.size(); ++i)
    p += keys[i] + pickled_tensor("0", 3, static_cast<int32_t>(i), {1}, {1}) + "s";
  return torch_zip(p + ".", {{"0", floats({0, 1, 2})}});
}

}  // namespace

TEST_CASE("negated and conjugated views are worked out") {
  const auto w = [](const std::string& tensor, const std::string& storage) {
    return values(parse(torch_zip(pickle_of(tensor), {{"0", storage}})).tensors.at("w"));
  };
  CHECK(w(with_metadata(2, "N"), floats({1, -2})) == List{1, -2});
  CHECK(w(with_metadata(2, "}"), floats({1, -2})) == List{1, -2});
  CHECK(w(with_metadata(2, flag("neg", false)), floats({1, -2})) == List{1, -2});
  CHECK(w(with_metadata(2, flag("neg")), floats({1, -2})) == List{-1, 2});
  CHECK(w(with_metadata(1, flag("neg"), "DoubleStorage"), std::string("\0\0\0\0\0\0\xf8\x3f", 8)) == List{-1.5});
  CHECK(w(with_metadata(2, flag("neg"), "HalfStorage"), std::string("\0\x3c\0\xc0", 4)) == List{-1, 2});
  CHECK(w(with_metadata(2, flag("conj"), "ComplexFloatStorage"), floats({1, 2, 3, -4})) == List{1, -2, 3, 4});
  CHECK(w(with_metadata(1, flag("conj") + pickled("neg") + "\x88s", "ComplexFloatStorage"), floats({1, 2})) ==
        List{-1, 2});
}

TEST_CASE("metadata that cannot be followed is refused by name") {
  const auto error = [](const std::string& tensor, size_t bytes) {
    return error_of(torch_zip(pickle_of(tensor), {{"0", std::string(bytes, '\1')}}));
  };
  CHECK(error(with_metadata(2, flag("fold")), 8).find("the metadata 'fold', whose meaning is unknown") !=
        std::string::npos);
  CHECK(error(with_metadata(2, pickled("neg")), 8).find("metadata is no dictionary") != std::string::npos);
  CHECK(error(with_metadata(2, flag("conj")), 8).find("a conjugated tensor of float32, which is no complex type") !=
        std::string::npos);
  CHECK(error(with_metadata(1, flag("neg"), "LongStorage"), 8).find("a negated view of int64") != std::string::npos);
  CHECK(error(with_metadata(2, "}}"), 8).find("a tensor with 8 arguments, of which only 7 are known") !=
        std::string::npos);
}

TEST_CASE("no tensor is lost to a key that makes no name, or the same as another's") {
  const auto names = [](const std::vector<std::string>& keys) {
    std::vector<std::string> all;
    for (const auto& [name, t] : parse(dictionary(keys)).tensors) all.push_back(name);
    return all;
  };
  CHECK(names({pickled("a"), pickled(7)}) == std::vector<std::string>{"7", "a"});
  CHECK(values(parse(dictionary({pickled("a"), pickled("b"), pickled("a")})).tensors.at("a")) == List{2});  // as Python
  const std::string bytes_key = std::string("C\x01") + "a", real_key = std::string("G?\xf8\0\0\0\0\0\0", 9);
  for (const std::string& key : {"(" + pickled("a") + pickled(1) + "t", std::string("N"), std::string("\x88"),
                                 bytes_key, real_key, "c_codecs\nencode\n(" + pickled("a") + pickled("latin1") + "tR"})
    CHECK(error_of(dictionary({pickled("a"), key})).find("which makes no name") != std::string::npos);
  const auto key_error = [](const std::string& key) { return error_of(dictionary({pickled("a"), key})); };
  const std::string where = "x.pth: a tensor in the outermost dictionary has the key ";
  CHECK(key_error("(" + pickled("a") + pickled(1) + "t").find(where + "('a', 1), which makes no name") !=
        std::string::npos);
  CHECK(key_error("N").find(where + "None,") != std::string::npos);
  CHECK(key_error(real_key).find(where + "1.5,") != std::string::npos);
  CHECK(key_error(bytes_key).find(where + "b'a',") != std::string::npos);
  CHECK(error_of(dictionary({pickled(1), pickled("1")})).find("two tensors have the name '1'") != std::string::npos);
  // {"a": {"b": t}, "a.b": t}
  const std::string inner = "}" + pickled("b") + pickled_tensor("0", 1, 0, {1}, {1}) + "s";
  const std::string nested =
      "\x80\x02}" + pickled("a") + inner + "s" + pickled("a.b") + pickled_tensor("0", 1, 0, {1}, {1}) + "s.";
  CHECK(error_of(torch_zip(nested, {{"0", floats({1})}})).find("two tensors have the name 'a.b'") != std::string::npos);
  // Deeper down likewise; what holds no tensor may have any key.
  const std::string w = pickled("w") + pickled_tensor("0", 1, 0, {1}, {1}) + "s";
  CHECK(error_of(torch_zip("\x80\x02}" + w + "N" + inner + "s.", {{"0", floats({1})}})).find("makes no name") !=
        std::string::npos);
  const io::PytorchFile file = parse(torch_zip("\x80\x02}" + w + "N" + pickled(3) + "s.", {{"0", floats({1})}}));
  CHECK(file.tensors.size() == 1);
  CHECK(file.skipped == std::vector<std::string>{"(an entry without a name)"});
}

TEST_CASE("tensors in lists and tuples are named by their places, those in sets are refused by name") {
  const auto t = [](int32_t i) { return pickled_tensor("0", 3, i, {1}, {1}); };
  const auto file = [&](const std::string& value, const std::string& more = "") {
    return torch_zip("\x80\x02}" + pickled("a") + value + "s" + more + ".", {{"0", floats({0, 1, 2})}});
  };
  for (const std::string& both : {"](" + t(0) + t(1) + "e", "(" + t(0) + t(1) + "t"}) {
    const io::PytorchFile read = parse(file(both));
    REQUIRE(read.tensors.size() == 2);
    CHECK(values(read.tensors.at("a.0")) == List{0});
    CHECK(values(read.tensors.at("a.1")) == List{1});
    CHECK(read.skipped.empty());
  }
  // A list of dictionaries, and one of no tensors beside it.
  const io::PytorchFile deeper = parse(
      file("](}" + pickled("w") + t(2) + "se", pickled("b") + t(0) + "s" + pickled("n") + "](" + pickled(1) + "es"));
  CHECK(deeper.tensors.size() == 2);
  CHECK(values(deeper.tensors.at("a.0.w")) == List{2});
  CHECK(deeper.skipped == std::vector<std::string>{"n"});
  CHECK(error_of(file("](" + t(0) + "e", pickled("a.0") + t(1) + "s")).find("two tensors have the name 'a.0'") !=
        std::string::npos);
  const std::string set = "cbuiltins\nset\n(](" + t(0) + "etR";
  CHECK(error_of(file(set, pickled("b") + t(1) + "s")).find("tensors in 'a' have no name of their own") !=
        std::string::npos);
}

TEST_CASE("a tensor that cannot be made is refused by its name, and only where it is wanted") {
  const std::string negative = with_metadata(1, flag("neg"), "LongStorage");
  const std::string good = pickled_tensor("1", 1, 0, {1}, {1});
  const auto file = [&](const std::string& dict) {
    return torch_zip("\x80\x02" + dict + ".", {{"0", std::string(8, '\1')}, {"1", floats({5})}});
  };
  const std::string inside = "}" + pickled("w") + good + "s" + pickled("steps") + negative + "s";
  CHECK(error_of(file(inside)) == "[pytorch] x.pth: 'steps' is a negated view of int64 (save its clone instead)");
  // {"state_dict": {"w": ...}, "optimizer": {"w": ..., "steps": ...}}
  const io::PytorchFile read =
      parse(file("}" + pickled("state_dict") + "}" + pickled("w") + good + "ss" + pickled("optimizer") + inside + "s"));
  CHECK(values(read.tensors.at("w")) == List{5});
}

TEST_CASE("names are UTF-8") {
  CHECK(parse(dictionary({pickled("gr\xc3\xb6\xc3\x9f"
                                  "e")}))
            .tensors.size() == 1);
  for (const char* bad : {"a\xff", "a\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80", "\xe0\x9f\xbf"}) {
    const std::string text = error_of(dictionary({pickled(bad)}));
    CHECK_MESSAGE(text.find("' is not UTF-8") != std::string::npos, text);
    CHECK_MESSAGE(io::is_utf8(text), text);
  }
  CHECK(io::is_utf8("a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf"));
}
