// Class lists: what is read of them, the order of classes, and what is said of names that do not fit a folder.
#include "atlas/data/class_list.h"

#include <doctest/doctest.h>

#include "atlas/data/image_folder.h"
#include "atlas/data/open.h"
#include "tests/data/data_test.h"
#include "tests/data/encode.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;
using atlas_test::Scratch;

namespace {

Bytes picture(uint8_t value) { return atlas_test::bmp(4, 4, Bytes(48, value)); }

std::string list(const Scratch& scratch, const std::string& text) {
  return scratch.write("list.txt", {text.begin(), text.end()});
}

}  // namespace

TEST_CASE("a list is read with comments, empty lines, spaces, any line ends and a byte-order mark") {
  const Scratch scratch;
  const ClassList read = read_class_list(list(scratch, "\xEF\xBB\xBFn02\r\n# birds\n\n  n 01 \t\n#n03\nn04"));
  CHECK(read.names == std::vector<std::string>{"n02", "n 01", "n04"});
  CHECK(read.lines == std::vector<int64_t>{1, 4, 6});
  CHECK(read.where(1) == scratch / "list.txt line 4");
}

TEST_CASE("a list that says a name twice, none, or no folder's name is refused with its line") {
  const Scratch scratch;
  const std::string file = scratch / "list.txt";
  const auto error = [&](const std::string& text) { return message_of([&] { read_class_list(list(scratch, text)); }); };
  CHECK(error("a\nb\n\na\n") == fmt::format("[classes] {} line 4: a stands in line 1 already", file));
  CHECK(error("# nothing\n\n") ==
        fmt::format("[classes] {}: has no names (expected the name of a class folder a line)", file));
  CHECK(error("a\n../b\n") == fmt::format("[classes] {} line 2: '../b' is no name of a class folder", file));
  CHECK(error("..\n") == fmt::format("[classes] {} line 1: '..' is no name of a class folder", file));
  CHECK(error("a\n" + std::string(256, 'b')) ==
        fmt::format("[classes] {} line 2: 256 bytes are too many for the name of a folder", file));
  CHECK(read_class_list(list(scratch, std::string(255, 'b'))).names[0].size() == 255);
  CHECK(message_of([&] { read_class_list(scratch / "none.txt"); }).find("none.txt: No such file") != std::string::npos);
}

TEST_CASE("a folder may be called #a, and a comment is not taken for it in silence") {
  const Scratch scratch;
  for (const char* name : {"set/#a/1.bmp", "set/#a/2.bmp", "set/b/1.bmp", "set/b/2.bmp"})
    scratch.write(name, picture(1));
  FolderOptions options;
  options.report = [](const std::string&) {};
  const auto classes = [&](const std::string& text) {
    options.class_list = list(scratch, text);
    return image_folder(scratch / "set", options)->classes();
  };
  CHECK(classes("# a comment\n\\#a\n#c\nb\n") == std::vector<std::string>{"#a", "b"});
  CHECK(
      message_of([&] { classes("#a\nb\n"); }) ==
      fmt::format("[classes] {}: #a is a comment, and {} has a folder of this name: write \\#a for the folder, or '# ' "
                  "for a comment",
                  options.class_list, scratch / "set"));
}

TEST_CASE("a folder with a list has its classes alone, in its order") {
  const Scratch scratch;
  for (const char* name : {"train/cat", "train/dog", "train/emu", "val/cat", "val/dog", "val/emu"})
    scratch.write(std::string("set/") + name + "/1.bmp", picture(1));
  std::vector<std::string> reports;
  FolderOptions options;
  options.class_list = list(scratch, "emu\ncat\n");
  options.report = [&](const std::string& text) { reports.push_back(text); };
  const DataPair pair = open_data("folder:" + scratch / "set", options);
  CHECK(pair.train->classes() == std::vector<std::string>{"emu", "cat"});
  CHECK(pair.test->classes() == pair.train->classes());
  REQUIRE(pair.train->size() == 2);
  CHECK(pair.train->where(0) == scratch / "set/train/emu/1.bmp");
  CHECK(pair.train->label(0) == 0);
  CHECK(pair.test->label(1) == 1);
  REQUIRE(reports.size() == 2);  // once a half
  CHECK(reports[0] ==
        fmt::format("{}/train: 1 of 3 class folders are not in {} and left out", scratch / "set", options.class_list));

  // Without halves of its own a folder is divided, class by class.
  const Scratch whole;
  for (int i = 0; i < 5; ++i)
    for (const char* name : {"cat", "dog", "emu"}) whole.write(fmt::format("set/{}/{}.bmp", name, i), picture(1));
  options.class_list = list(whole, "dog\ncat\n");
  const DataPair divided = open_folder(whole / "set", options);
  CHECK(divided.train->classes() == std::vector<std::string>{"dog", "cat"});
  CHECK(divided.train->size() == 8);
  CHECK(divided.test->size() == 2);
}

TEST_CASE("classes that a folder lacks, or that are empty, are errors of one line") {
  const Scratch scratch;
  for (const char* name : {"train/n01440764", "train/n01443537", "val/n01440764"})
    scratch.write(std::string("set/") + name + "/1.bmp", picture(1));
  scratch.write("set/train/n02000000/notes.txt", {'x'});
  FolderOptions options;
  options.report = [](const std::string&) {};
  options.class_list = scratch / "list.txt";
  const auto error = [&](const std::string& text) {
    list(scratch, text);
    return message_of([&] { open_folder(scratch / "set", options); });
  };
  const std::string file = options.class_list, train = scratch / "set/train";
  CHECK(error("n01440764\nn01443573\n") ==
        fmt::format("[classes] {} line 2: {} has no folder n01443573; did you mean n01443537?", file, train));
  CHECK(error("n01440764\nn02000000\n") ==
        fmt::format("[image_folder] {} line 2: folder n02000000 of {} holds no images", file, train));
  CHECK(error("# both halves need it\nn01440764\nn01443537\n") ==
        fmt::format("[classes] {} line 3: {} has no folder n01443537", file, scratch / "set/val"));
  options.class_list = list(scratch, "shirt\n");
  CHECK(
      message_of([&] { open_data("shapes:32", options); }) ==
      fmt::format("[classes] {} cannot be applied to shapes:32: a class list names folders, as folder:FOLDER has them",
                  file));
}
