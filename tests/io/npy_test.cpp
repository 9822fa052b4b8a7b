// .npy files: the bytes of the format, arrays of any dtype and stride, rows that come one batch at a time.
#include "atlas/io/npy.h"

#include <doctest/doctest.h>

#include "atlas/ops/arithmetic.h"
#include "atlas/ops/shape.h"
#include "atlas/tensor/memory.h"
#include "tests/data/data_test.h"

using namespace atlas;
using atlas_test::message_of;
using atlas_test::Scratch;

namespace {

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
/// The dictionary at the front, without the spaces behind it.
std::string dictionary(const std::string& file) {
  REQUIRE(file.size() >= 256);
  CHECK(file.substr(0, 10) == std::string("\x93NUMPY\x01\x00\xF6\x00", 10));  // 246 bytes follow
  CHECK(file[255] == '\n');
  const std::string text = file.substr(10, 245);
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

}  // namespace

TEST_CASE("the file is what NumPy's description of the format says") {
  const Scratch scratch;
  const std::string path = scratch / "a.npy";
  Tensor t = empty({2, 3});
  for (int64_t i = 0; i < 6; ++i) t.data<float>()[i] = static_cast<float>(i);
  io::save_npy(path, t);
  const std::string file = content(path);
  CHECK(dictionary(file) == "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
  CHECK(file.substr(256) == std::string(reinterpret_cast<const char*>(t.raw()), 24));

  io::save_npy(path, t.transpose(0, 1));  // replaced, and C order whatever the strides
  const std::string turned = content(path);
  CHECK(dictionary(turned) == "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }");
  const float* v = reinterpret_cast<const float*>(turned.data() + 256);
  CHECK(std::vector<float>(v, v + 6) == std::vector<float>{0, 3, 1, 4, 2, 5});
}

TEST_CASE("dtypes and one axis") {
  const Scratch scratch;
  const std::string path = scratch / "a.npy";
  for (const auto& [dtype, text] : {std::pair<DType, const char*>{float32, "<f4"},
                                    {float64, "<f8"},
                                    {float16, "<f2"},
                                    {int64, "<i8"},
                                    {uint8, "|u1"},
                                    {boolean, "|b1"},
                                    {bfloat16, "<f4"}}) {
    Tensor t = empty({7}, dtype);
    fill_elements(t, 1);
    io::save_npy(path, t);
    CHECK(dictionary(content(path)) == fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': (7,), }}", text));
    CHECK(content(path).size() == static_cast<size_t>(256 + 7 * item_size(dtype == bfloat16 ? float32 : dtype)));
  }
}

TEST_CASE("rows add up, and an unfinished file never shows") {
  const Scratch scratch;
  const std::string path = scratch / "rows.npy";
  {
    io::NpyWriter writer(path);
    writer.append(empty({2, 4, 5}));
    CHECK(message_of([&] {
            writer.append(empty({2, 4, 6}));
          }).find("rows are float32[4,5], got float32[2,4,6]") != std::string::npos);
    CHECK(message_of([&] { writer.append(empty({2, 4, 5}, float64)); }).find("got float64") != std::string::npos);
    writer.append(empty({3, 4, 5}));
    CHECK_FALSE(std::filesystem::exists(path));
    writer.finish();
    CHECK(writer.rows() == 5);
  }
  CHECK(dictionary(content(path)) == "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 4, 5), }");
  CHECK(content(path).size() == 256 + 5 * 4 * 5 * 4);
  {
    io::NpyWriter dropped(scratch / "dropped.npy");
    dropped.append(empty({2, 4}));
  }
  CHECK(std::distance(std::filesystem::directory_iterator(scratch.path()), {}) == 1);
  CHECK(message_of([&] { io::NpyWriter(scratch / "no/where.npy"); }).find("cannot write") != std::string::npos);
  CHECK(message_of([&] { io::NpyWriter(scratch / "empty.npy").finish(); }).find("no rows were written") !=
        std::string::npos);
}
