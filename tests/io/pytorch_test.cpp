// PyTorch files: those that PyTorch wrote (tests/golden, made by tools/reference), and damaged ones made here.
#include "atlas/io/pytorch.h"

#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "atlas/autograd/node.h"
#include "atlas/io/formula.h"
#include "atlas/io/safetensors.h"
#include "atlas/io/state_dict.h"
#include "atlas/models/presets.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/create.h"
#include "tests/data/data_test.h"
#include "tests/io/torch_file.h"
#include "tests/source_dir.h"

using namespace atlas;
using atlas_test::message_of;
using atlas_test::pickle_of;
using atlas_test::pickled;
using atlas_test::pickled_tensor;
using atlas_test::torch_zip;

namespace {

const std::string kFolder = test::source_dir() + "/tests/golden/";

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
io::PytorchFile parse(const std::string& bytes, const std::string& which = "") {
  return io::parse_pytorch(std::as_bytes(std::span(bytes)), "x.pth", which);
}
std::string error_of(const std::string& bytes, const std::string& which = "") {
  return message_of([&] { parse(bytes, which); });
}
std::vector<double> values(const Tensor& t) {
  const Tensor flat = t.to(float64).contiguous();
  return {flat.data<double>(), flat.data<double>() + flat.numel()};
}
using List = std::vector<double>;
std::string floats(std::initializer_list<float> v) {
  return {reinterpret_cast<const char*>(v.begin()), v.size() * sizeof(float)};
}

/// Logits of the tiny model of tests/golden/checkpoints.
std::unique_ptr<models::Classifier> tiny_model(int64_t classes = 3) {
  return models::make_model("mambavision-t", {.num_classes = classes, .overrides = R"({"dim": 8, "in_dim": 4,
      "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": [8, 8, 4, 2]})"});
}
double difference(const Tensor& a, const Tensor& b) {
  const List x = values(a), y = values(b);
  REQUIRE(x.size() == y.size());
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
  return worst;
}

}  // namespace

TEST_CASE("the checkpoints people have load and give the logits of the formula weights") {
  const NoGrad off;
  const Tensor image = io::formula_image(2, 64, 64);
  const auto formula = tiny_model();
  io::formula_fill(*formula);
  formula->eval();
  const Tensor expected = (*formula)(image);
  for (const auto& [file, key, prefix, tolerance] : {std::tuple{"plain.pth", "", "", 0.0},
                                                     {"timm_style.pth.tar", "state_dict", "module.", 0.0},
                                                     {"engine_style.ckpt", "model", "", 0.0},
                                                     {"legacy_not_zip.pth", "", "", 0.0},
                                                     {"views_and_shared_storage.pth", "", "", 0.0},
                                                     {"half.pth", "", "", 2e-3},
                                                     {"bfloat16.pth", "", "", 2e-2}}) {
    const std::string captured = file;
    CAPTURE(captured);
    const io::LoadedWeights loaded = io::load_state_dict(kFolder + "checkpoints/" + file);
    CHECK(loaded.format == "PyTorch");
    CHECK(loaded.found_in == key);
    CHECK(loaded.skipped.empty());
    const auto model = tiny_model();
    const io::FittedWeights fitted = io::fit_state_dict(loaded.tensors, model->state_dict());
    CHECK(fitted.prefix == prefix);
    CHECK(fitted.ignored.empty());
    CHECK(fitted.missing.empty());
    model->load_state_dict(fitted.tensors);
    model->eval();
    CHECK(difference((*model)(image), expected) <= tolerance);
  }
}

TEST_CASE("tensors of every type, view and neighborhood, from both containers and every protocol") {
  for (const char* container : {"zip", "legacy"})
    for (int protocol = 2; protocol <= 5; ++protocol) {
      const std::string path = fmt::format("{}pytorch/{}_protocol{}.pth", kFolder, container, protocol);
      CAPTURE(path);
      const io::PytorchFile file = io::load_pytorch(path);
      CHECK(file.found_in == "state_dict");
      const auto& t = file.tensors;
      REQUIRE(t.size() == 24);
      for (const auto& [name, dtype] : {std::pair{"float64", float64},
                                        {"float32", float32},
                                        {"float16", float16},
                                        {"bfloat16", bfloat16},
                                        {"int64", int64},
                                        {"int32", int64},
                                        {"int16", int64},
                                        {"int8", int64},
                                        {"uint8", uint8}}) {
        const Tensor& x = t.at(fmt::format("type.{}", name));
        CHECK(x.dtype() == dtype);
        CHECK(x.shape() == Shape{2, 3});
        CHECK(values(x) == List{0, 1, 2, 3, 4, 100});
      }
      CHECK(t.at("type.bool").dtype() == boolean);
      CHECK(values(t.at("type.bool")) == List{1, 0, 1});
      CHECK(t.at("type.complex64").shape() == Shape{2, 2});
      CHECK(values(t.at("type.complex64")) == List{1, 2, 3, -4});
      CHECK(t.at("type.complex128").shape() == Shape{1, 1, 2});
      CHECK(values(t.at("type.complex128")) == List{0, 0.5});
      CHECK(values(t.at("negative.int32")) == List{-1, -2147483648.0});
      CHECK(values(t.at("negative.int8")) == List{-1, -128});
      CHECK(t.at("view.transposed").shape() == Shape{6, 4});
      CHECK(values(t.at("view.transposed").slice(0, 1, 2)) == List{1, 7, 13, 19});
      CHECK(values(t.at("view.slice")) == List{8, 9, 10, 14, 15, 16});
      CHECK(values(t.at("view.step")) == List{0, 3, 12, 15});
      CHECK(t.at("view.expanded").shape() == Shape{5, 3});
      CHECK(values(t.at("view.expanded")) == List(15, 0));
      CHECK(t.at("view.whole").raw() == t.at("view.transposed").raw());  // one storage, as it was
      CHECK(values(t.at("shape.scalar")) == List{7.5});
      CHECK(t.at("shape.scalar").dim() == 0);
      CHECK(t.at("shape.empty").shape() == Shape{0, 3});
      CHECK(t.at("shape.five").shape() == Shape{1, 2, 1, 3, 2});
      CHECK(values(t.at("parameter")) == List{1, 2});
      CHECK(values(t.at("frozen")) == List{3});
      CHECK(values(io::load_pytorch(path, "optimizer").tensors.at("state.0.exp_avg")) == List{1, 1});
    }
  const auto newer = io::load_pytorch(kFolder + "pytorch/new_types.pth").tensors;
  CHECK(values(newer.at("type.uint16")) == List{65535});
  CHECK(values(newer.at("type.uint32")) == List{4294967295.0});
  CHECK(newer.at("type.uint64").data<int64_t>()[0] == INT64_MAX);
  CHECK(values(newer.at("type.float8_e4m3fn")) == List{1.5, -448});
  CHECK(values(newer.at("type.float8_e5m2")) == List{1.5, -57344});
  for (const char* name : {"module.pth", "deflated.pth"}) {
    const auto t = io::load_pytorch(kFolder + "pytorch/" + name).tensors;
    CHECK(values(t.at("running_var")) == List{1, 1});
    CHECK(t.at("num_batches_tracked").shape() == Shape{});
  }
}

TEST_CASE("which dictionary holds the weights is found or chosen") {
  const std::string averaged = kFolder + "pytorch/averaged.pth", nested = kFolder + "pytorch/nested.pth";
  CHECK(values(io::load_state_dict(averaged).tensors.at("w")) == List{1});
  CHECK(values(io::load_state_dict(averaged, "ema").tensors.at("module.w")) == List{2});
  CHECK(values(io::load_state_dict(averaged, "state_dict_ema").tensors.at("module.w")) == List{2});
  CHECK(values(io::load_state_dict(nested, "ema").tensors.at("w")) == List{3});
  CHECK(io::load_state_dict(nested).found_in == "ema.state_dict");
  CHECK(values(io::load_state_dict(nested, "trunk").tensors.at("w")) == List{4});
  CHECK(message_of([&] { io::load_state_dict(averaged, "other"); }) ==
        "[pytorch] " + averaged + " holds no dictionary called 'other'");
  CHECK(message_of([&] {
          io::load_state_dict(kFolder + "checkpoints/plain.pth", "ema");
        }).find("holds no averaged weights (looked for state_dict_ema, ema, model_ema)") != std::string::npos);
}

TEST_CASE("programs in files are refused by name, and nothing runs") {
  const auto error = [](const char* name) {
    return message_of([&] { io::load_pytorch(kFolder + "pytorch/" + name); });
  };
  CHECK(error("system.pth").find("it wants to use posix.system, which is refused") != std::string::npos);
  CHECK(error("whole_module.pth").find("torch.nn.modules.batchnorm.BatchNorm1d, which is refused") !=
        std::string::npos);
  CHECK(error("script.pt").find("is a TorchScript archive, a program with weights") != std::string::npos);
  CHECK(error("big_endian.pth").find("was written on a big-endian machine") != std::string::npos);
  for (const char* call :
       {"cos\nsystem\n", "cbuiltins\neval\n", "cbuiltins\ngetattr\n", "c__builtin__\nexec\n", "csubprocess\nPopen\n",
        "ctorch\nload\n", "ctorch.storage\n_load_from_bytes\n", "cnumpy\nload\n", "ctorch\nos.system\n"})
    CHECK(error_of(torch_zip(pickle_of(call + ("(" + pickled("true")) + "tR"), {})).find("which is refused") !=
          std::string::npos);
}

TEST_CASE("bad files are named, with what is wrong and where") {
  const auto tensor = [](int32_t elements, int32_t offset, std::vector<int32_t> shape, std::vector<int32_t> strides) {
    return pickle_of(pickled_tensor("0", elements, offset, std::move(shape), std::move(strides)));
  };
  const std::string two = floats({1, 2}), good = torch_zip(tensor(2, 0, {2}, {1}), {{"0", two}});
  CHECK(values(parse(good).tensors.at("w")) == List{1, 2});
  CHECK(values(parse(good + "x").tensors.at("w")) == List{1, 2});  // as other readers of zip archives have it
  using atlas_test::little;
  using atlas_test::zip;
  const auto pickle = [](const std::string& body) { return torch_zip(body, {}); };
  const auto entry = [&](atlas_test::ZipEntry e) {
    e.name = "a/data/0";
    return zip({{"a/data.pkl", tensor(2, 0, {2}, {1})}, std::move(e)});
  };
  std::string nested = "\x80\2";
  for (int i = 0; i < 1100000; ++i) nested += ']';
  std::string marked = "\x80\2";
  for (int i = 0; i < 1100000; ++i) marked += '(';
  std::string copies = "\x80\2(" + std::string(2000, 'N') + std::string("lq\1", 3);  // a list, copied again and again
  for (int i = 0; i < 3000; ++i) copies += "cbuiltins\nlist\n(h\1tR0";

  const std::pair<std::string, std::string> table[] = {
      {"", "[pytorch] x.pth is no PyTorch file: it is neither a zip archive nor starts with PyTorch's magic number"},
      {"hello",
       "[pytorch] x.pth is no PyTorch file: it is neither a zip archive nor starts with PyTorch's magic number"},
      // the archive
      {good.substr(0, 10), "[zip] x.pth is no readable zip archive: it is truncated"},
      {good.substr(0, good.size() - 1), "[zip] x.pth is no readable zip archive: it has no end record (truncated?)"},
      {good.substr(0, good.size() - 30), "[zip] x.pth is no readable zip archive: it has no end record (truncated?)"},
      {"PK\3\4" + good.substr(60),
       "[zip] x.pth is no readable zip archive: its list of entries is truncated or damaged"},
      {zip({}),
       "[pytorch] x.pth is no PyTorch file: it is neither a zip archive nor starts with PyTorch's magic number"},
      {zip({{"readme.txt", "hello"}}), "[pytorch] x.pth is a zip archive without data.pkl: no PyTorch file"},
      {zip({{"a/data.pkl", "x"}, {"a/data.pkl", "x"}}), "[zip] x.pth has two entries called 'a/data.pkl'"},
      {zip({{"a/data.pkl", "x"}, {"a/constants.pkl", "x"}}),
       "[pytorch] x.pth is a TorchScript archive, a program with weights (save model.state_dict() instead)"},
      {zip({{"a/data.pkl", "x"}, {"a/byteorder", "big"}}),
       "[pytorch] x.pth was written on a big-endian machine (its byteorder entry is not 'little'); such files are not "
       "read"},
      {entry({.content = two, .wrong_crc = 1}), "[zip] x.pth: entry 'a/data/0' is damaged: its checksum differs"},
      {entry({.content = two, .method = 8, .wrong_crc = 1}),
       "[zip] x.pth: entry 'a/data/0' is damaged: its checksum differs"},
      {entry({.content = floats({1, 2, 3}), .method = 8, .claim = 8}),
       "[zip] x.pth: entry 'a/data/0' is damaged: its data does not unpack to its length"},
      {entry({.content = two, .method = 12}),
       "[zip] x.pth: entry 'a/data/0' is packed by method 12 (stored and deflated can be read)"},
      {entry({.content = two, .flags = 1}), "[zip] x.pth: entry 'a/data/0' is encrypted"},
      {entry({.content = floats({1}), .claim = 8}),
       "[zip] x.pth: entry 'a/data/0' is stored, but with two different lengths"},
      {entry({.content = floats({1})}), "[pytorch] x.pth: storage '0' has 4 bytes where its tensors need 8"},
      {torch_zip(tensor(2, 0, {2}, {1}), {}), "[pytorch] x.pth: storage '0' is missing (no entry 'a/data/0')"},
      {torch_zip(pickle_of(pickled_tensor("0", 500000000, 0, {500000000}, {1})), {{"0", two}}),
       "[pytorch] x.pth: storage '0' has 8 bytes where its tensors need 2000000000"},
      {zip({{"a/data.pkl", pickle_of(pickled_tensor("0", 500000000, 0, {500000000}, {1}))},
            {"a/data/0", two, 8, 0, 0, 2000000000}}),
       "[zip] x.pth: entry 'a/data/0' claims to be longer than its data can unpack to"},
      // tensors
      {torch_zip(tensor(2, 0, {3}, {1}), {{"0", two}}),
       "[pickle] x.pth: byte 119 of the pickle: a tensor [3] reaches beyond its storage '0' of 2 elements"},
      {torch_zip(tensor(2, 1, {2}, {1}), {{"0", two}}),
       "[pickle] x.pth: byte 119 of the pickle: a tensor [2] reaches beyond its storage '0' of 2 elements"},
      {torch_zip(tensor(2, 0, {2}, {2}), {{"0", two}}),
       "[pickle] x.pth: byte 119 of the pickle: a tensor [2] reaches beyond its storage '0' of 2 elements"},
      {torch_zip(tensor(2, -1, {2}, {1}), {{"0", two}}),
       "[pickle] x.pth: byte 119 of the pickle: a tensor with damaged arguments"},
      {torch_zip(tensor(2, 0, {-2}, {1}), {{"0", two}}),
       "[pickle] x.pth: byte 119 of the pickle: a tensor whose shape or strides are no numbers >= 0"},
      {torch_zip(tensor(2, 0, {2}, {-1}), {{"0", two}}),
       "[pickle] x.pth: byte 119 of the pickle: a tensor whose shape or strides are no numbers >= 0"},
      {torch_zip(tensor(2, 0, {2, 1}, {1}), {{"0", two}}),
       "[pickle] x.pth: byte 124 of the pickle: a tensor with damaged arguments"},
      {torch_zip(tensor(2, 0, {2000000000, 2000000000, 2000000000}, {0, 0, 0}), {{"0", two}}), "*beyond its storage"},
      {torch_zip(tensor(2, 0, {1000000}, {0}), {{"0", two}}), "*repeats the 2 elements of its storage too often"},
      {torch_zip(tensor(2, 0, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {0, 0, 0, 0, 0, 0, 0, 0, 0}), {{"0", two}}),
       "*a tensor of 9 axes"},
      {torch_zip(pickle_of(pickled_tensor("0", 2, 0, {2}, {1}, "QInt8Storage")), {{"0", two}}),
       "*torch.QInt8Storage, which is refused"},
      // the pickle
      {pickle(""), "[pickle] x.pth: byte 0 of the pickle: it is truncated"},
      {pickle("\x80\2}"), "[pickle] x.pth: byte 3 of the pickle: it is truncated"},
      {pickle("\x80\1}."), "[pickle] x.pth: byte 0 of the pickle: it is of protocol 1 (2 to 5 can be read)"},
      {pickle("\x80\6}."), "[pickle] x.pth: byte 0 of the pickle: it is of protocol 6 (2 to 5 can be read)"},
      {pickle("\x80\2."), "[pickle] x.pth: byte 2 of the pickle: it takes from an empty stack"},
      {pickle("\x80\2h\7."), "[pickle] x.pth: byte 2 of the pickle: it recalls value 7, which was never stored"},
      {pickle("\x80\2t."), "[pickle] x.pth: byte 2 of the pickle: it has no mark"},
      {pickle("\x80\2I1\n."), "[pickle] x.pth: byte 2 of the pickle: opcode 0x49 does not occur in checkpoints"},
      {pickle("\x80\2}(NNNu."), "[pickle] x.pth: byte 7 of the pickle: a key without a value"},
      {pickle("\x80\2N(NNu."), "[pickle] x.pth: byte 6 of the pickle: it adds items to what is no container"},
      {pickle("\x80\2X\xff\xff\xff\xff"
              "a."),
       "[pickle] x.pth: byte 2 of the pickle: a text of 4294967295 bytes"},
      {pickle("\x80\2X\xff\xff\0\0a."), "[pickle] x.pth: byte 2 of the pickle: it is truncated"},
      {pickle("\x80\2c" + std::string(5000, 'a')), "[pickle] x.pth: byte 2 of the pickle: an endless name"},
      {pickle("\x80\2N)R."), "[pickle] x.pth: byte 4 of the pickle: it calls what is no known constructor"},
      {pickle("\x80\2NQ."), "[pickle] x.pth: byte 3 of the pickle: a persistent identifier that is no storage"},
      {pickle("\x80\2ccollections\nOrderedDict\n)}"
              "a\x92."),
       "*no container"},
      {pickle(nested), "*it has more than 1000000 values"},
      {pickle(marked), "*its stack grows beyond every checkpoint's"},
      {pickle(copies), "*its containers hold too many items"},
      {pickle("\x80\2]."), "[pytorch] x.pth holds no dictionary of tensors"},
      {pickle("\x80\2}."),
       "[pytorch] x.pth holds no dictionary of tensors (looked for state_dict, model, model_state_dict and the top "
       "level)"},
  };
  for (const auto& row : table) {
    const std::string &bytes = row.first, &expected = row.second;
    CAPTURE(expected);
    const std::string found = error_of(bytes);
    if (expected.starts_with('*'))
      CHECK_MESSAGE(found.find(expected.substr(1)) != std::string::npos, found);
    else
      CHECK(found == expected);
  }
}

TEST_CASE("any damage gives a message or a picture of the same tensors, never more") {
  for (const char* name : {"pytorch/zip_protocol4.pth", "pytorch/legacy_protocol2.pth", "pytorch/deflated.pth"}) {
    const std::string good = read(kFolder + name);
    for (size_t at = 0; at < good.size(); at += 1 + at / 500)
      for (const int flip : {1, 0x80, 0xff}) {
        std::string bad = good;
        bad[at] = static_cast<char>(bad[at] ^ flip);
        error_of(bad);
        if (flip == 1) error_of(good.substr(0, at));
      }
  }
}

TEST_CASE("prefixes go when that makes names match, and only then") {
  const Tensor t = zeros({1});
  const auto dict = [&](std::initializer_list<const char*> names) {
    StateDict d;
    for (const char* n : names) d[n] = t;
    return d;
  };
  const StateDict model = dict({"a.weight", "a.bias", "b.0.w", "b.1.w"});
  const auto prefix = [&](std::initializer_list<const char*> names) {
    return io::fit_state_dict(dict(names), model).prefix;
  };
  CHECK(prefix({"a.weight", "a.bias", "b.0.w", "b.1.w"}).empty());
  CHECK(prefix({"module.a.weight", "module.a.bias"}) == "module.");
  CHECK(prefix({"module.model._orig_mod.a.weight"}) == "module.model._orig_mod.");
  CHECK(prefix({"encoder.a.weight"}) == "encoder.");
  CHECK(prefix({"backbone.a.weight", "head.x"}) == "backbone.");
  CHECK(prefix({"a.weight", "model.a.weight"}).empty());
  CHECK(prefix({"other.a.weight"}).empty());
  CHECK(io::fit_state_dict(dict({"model.x"}), dict({"model.x"})).prefix.empty());
  const auto fitted = io::fit_state_dict(dict({"module.a.weight", "module.b.0.w", "module.c", "epoch"}), model);
  CHECK(fitted.ignored == std::vector<std::string>{"epoch", "module.c"});
  CHECK(fitted.missing == std::vector<std::string>{"a.bias", "b.1.w"});
  CHECK(fitted.tensors.size() == 2);
  CHECK(message_of([&] {
          io::fit_state_dict(dict({"module.a.weight", "module.b.0.w", "module.b.1.w", "module.b.2.w"}), model);
        }) ==
        "[weights] tensor 'module.b.2.w' belongs to a block that the model does not have: these are a deeper model's "
        "weights");
  CHECK(io::without_prefixes("module.model.fc.weight") == "fc.weight");
  CHECK(prefix({"net.a.weight"}) == "net.");
  CHECK(prefix({"state_dict.a.weight"}) == "state_dict.");
  CHECK(prefix({"state_dict._forward_module.module.model.net.a.weight"}) ==
        "state_dict._forward_module.module.model.net.");
  for (const char* wrapper : {"_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module."}) {
    const std::string name = fmt::format("module.b.{}0.{}w", wrapper, wrapper);
    CHECK(io::fit_state_dict(dict({name.c_str()}), model).tensors.contains("b.0.w"));
    CHECK(io::without_prefixes(name) == "b.0.w");
  }
  CHECK(io::without_prefixes("my_orig_mod.w") == "my_orig_mod.w");
}

TEST_CASE("the format is recognized by content, whatever the name") {
  const atlas_test::Scratch scratch;
  const std::string path = scratch / "weights.bin";
  io::save_safetensors(path, {{"w", ones({2})}});
  CHECK(io::load_state_dict(path).format == "safetensors");
  CHECK(message_of([&] { io::load_state_dict(path, "ema"); }) ==
        "[weights] " + path + " is a safetensors file, which has no dictionary 'ema' to choose");
  StateDict padded;  // headers whose length starts like a zip archive's or a pickle's first byte
  for (int i = 0; i < 40; ++i) padded[fmt::format("a.tensor.{:03}", i)] = ones({1});
  for (int n = 1; n <= 40; ++n) {
    io::save_safetensors(path, {padded.begin(), std::next(padded.begin(), n)});
    CHECK(io::load_state_dict(path).tensors.size() == static_cast<size_t>(n));
  }
  scratch.write("weights.bin", {'v', 'e', 'r', 's', 'i', 'o', 'n', ' ', 'h', 't', 't', 'p'});
  CHECK(message_of([&] { io::load_state_dict(path); }) ==
        "[weights] " + path +
            " is neither a safetensors nor a PyTorch file (by its first bytes; a text, a web page or a "
            "Git LFS pointer?)");
  scratch.write("weights.bin", {});
  CHECK(message_of([&] { io::load_state_dict(path); }) == "[weights] " + path + " is empty");
  CHECK(message_of([&] { io::load_state_dict("/nowhere/x.pth"); }) ==
        "[weights] cannot open /nowhere/x.pth: No such file or directory");
}
