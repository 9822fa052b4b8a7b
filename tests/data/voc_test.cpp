// Pascal VOC's annotations and folders: what is read, what is odd and counted, files that are broken; the XML reader.
#include "atlas/data/voc.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "atlas/data/image.h"
#include "atlas/data/open.h"
#include "atlas/io/xml_reader.h"
#include "atlas/tensor/create.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;
using atlas_test::Scratch;

namespace {

const std::string kFile = R"(<?xml version="1.0" encoding="UTF-8"?>
<!-- made by hand -->
<annotation verified="yes">
  <folder>VOC2012</folder>
  <filename>a &amp; b.png</filename>
  <size><width>10</width><height>8</height><depth>3</depth></size>
  <object>
    <name>dog</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>
    <bndbox><xmin>2</xmin><ymin>3</ymin><xmax>5</xmax><ymax>5.0</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
  </object>
  <object><name>cat</name><bndbox><xmax>14</xmax><ymax>8</ymax><xmin>7</xmin><ymin>7</ymin></bndbox><difficult>1</difficult></object>
  <object><name>cat</name><bndbox><xmin>9</xmin><ymin>7</ymin><xmax>4</xmax><ymax>8</ymax></bndbox></object>
</annotation>
)";

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

/// What read_xml() reports, one event a line.
std::string events_of(const std::string& text) {
  std::string all;
  io::read_xml(text, "x.xml",
               {[&](std::string_view path) { all += "<" + std::string(path) + "\n"; },
                [&](std::string_view path, std::string_view content) {
                  all += std::string(path) + "='" + std::string(content) + "'\n";
                }});
  return all;
}
std::string xml_error(const std::string& text) {
  return message_of([&] { events_of(text); });
}

/// VOCdevkit/VOC2012 with one picture for training, and it and an empty one for tests.
struct Folder {
  Scratch scratch;
  std::string root = scratch / "VOCdevkit/VOC2012";
  Folder() {
    for (const char* part : {"Annotations", "ImageSets/Main", "JPEGImages"})
      std::filesystem::create_directories(root + "/" + part);
    put("Annotations/a.xml", kFile);
    put("Annotations/b.xml", "<annotation/>");
    put("ImageSets/Main/train.txt", "a\r\nb\n");
    put("ImageSets/Main/val.txt", "a  1\n\nb -1\n");
    for (const char* name : {"a", "b"})
      write_png(fmt::format("{}/JPEGImages/{}.png", root, name), zeros({8, 10, 3}, uint8, Device{}));
  }
  void put(const std::string& file, const std::string& text) {
    scratch.write("VOCdevkit/VOC2012/" + file, bytes_of(text));
  }
  std::string error() const {
    return message_of([&] { open_data("voc:" + scratch.path()); });
  }
};

}  // namespace

TEST_CASE("voc: an annotation file") {
  const VocAnnotation a = parse_voc(kFile, "a.xml");
  CHECK(a.file == "a & b.png");
  CHECK(a.width == 10);
  CHECK(a.height == 8);
  REQUIRE(a.objects.size() == 3);
  CHECK(a.objects[0].name == "dog");
  CHECK(a.objects[0].box == std::array<double, 4>{1, 2, 5, 5});  // pixels 2 to 5, counted from 1
  CHECK(!a.objects[0].difficult);
  CHECK(a.objects[1].difficult);
  CHECK(parse_voc("\xEF\xBB\xBF" + kFile, "marked.xml").objects.size() == 3);
}

TEST_CASE("voc: a folder as a data set") {
  const Folder folder;
  const DataPair pair = open_data("voc:" + folder.scratch.path());
  CHECK(pair.train->size() == 1);  // pictures without objects are for tests alone
  CHECK(pair.test->size() == 2);
  CHECK(pair.train->num_classes() == 20);
  CHECK(pair.train->classes()[7] == "cat");
  CHECK(pair.train->classes()[19] == "tvmonitor");
  const Sample sample = pair.train->get(0);
  check_targets(sample, 20);
  CHECK(to_vector<float>(sample.targets["boxes"]) == std::vector<float>{1, 2, 5, 5, 6, 6, 10, 8});
  CHECK(to_vector<int64_t>(sample.targets["label"]) == std::vector<int64_t>{11, 7});
  CHECK(to_vector<int64_t>(sample.targets["crowd"]) == std::vector<int64_t>{0, 1});
  CHECK(to_vector<double>(sample.targets["area"])[0] == 12);
  CHECK(pair.test->get(1).targets["boxes"].shape() == Shape{0, 4});
  CHECK(pair.train->remarks().find(
            "1 boxes without area in their image (left out), 1 boxes beyond their image (clipped)") !=
        std::string::npos);
}

TEST_CASE("voc: other classes, other halves") {
  Folder folder;
  folder.put("Annotations/b.xml",
             "<annotation><object><name>zebra</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
             "</bndbox></object></annotation>");
  std::filesystem::rename(folder.root + "/ImageSets/Main/train.txt", folder.root + "/ImageSets/Main/trainval.txt");
  std::filesystem::rename(folder.root + "/ImageSets/Main/val.txt", folder.root + "/ImageSets/Main/test.txt");
  const DataPair pair = open_data("voc:" + folder.root);
  CHECK(pair.train->classes() == std::vector<std::string>{"cat", "dog", "zebra"});
  CHECK(pair.train->size() == 2);
}

TEST_CASE("voc: an object or a file that is odd costs itself alone, and is counted") {
  const VocAnnotation read = parse_voc(
      "<annotation><size><width>ten</width><height>8</height></size>"
      "<object><name>dog</name><bndbox><xmin>left</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></object>"
      "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object>"
      "<object><name>cow</name></object>"
      "<object><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object></annotation>",
      "x.xml");
  CHECK(read.width == 0);  // not known
  CHECK(read.height == 8);
  CHECK(read.unusable == 3);
  CHECK(read.first_unusable == "x.xml: object 1, dog: <xmin> is 'left', no number of pixels");
  REQUIRE(read.objects.size() == 1);
  CHECK(read.objects[0].name == "cat");
  CHECK(read.objects[0].box == std::array<double, 4>{0, 1, 3, 4});

  Folder folder;
  const std::string cut = folder.root + "/Annotations/cut.xml";
  folder.put("Annotations/cut.xml", kFile.substr(0, 300));
  folder.put("Annotations/a.xml",
             kFile.substr(0, kFile.find("</annotation>")) + "<object><name>cow</name></object></annotation>");
  folder.put("ImageSets/Main/train.txt", "cut\na\ngone\n");
  const DataPair pair = open_data("voc:" + folder.root);
  REQUIRE(pair.train->size() == 1);
  CHECK(pair.train->where(0) == folder.root + "/JPEGImages/a.png");
  CHECK(to_vector<int64_t>(pair.train->get(0).targets["label"]) == std::vector<int64_t>{11, 7});
  const std::string odd = pair.train->remarks();
  CHECK(odd.find("1 objects that cannot be used (left out), such as " + folder.root +
                 "/Annotations/a.xml: object 4, cow: no box (bndbox)") != std::string::npos);
  CHECK(odd.find("2 images whose annotations cannot be read (left out), such as [xml] " + cut + ", byte ") !=
        std::string::npos);
  const std::string strict = message_of([&] { open_voc(folder.root, {.strict = true}); });
  CHECK(strict.find("[xml] " + cut + ", byte ") == 0);
}

TEST_CASE("voc: mistakes are one line") {
  Folder folder;
  const std::string a = folder.root + "/Annotations/a.xml", main = folder.root + "/ImageSets/Main";
  const auto with = [&](const std::string& text) {
    folder.put("Annotations/a.xml", text);
    return folder.error();
  };
  const std::string nothing = "[voc] " + main + "/train.txt lists no picture with objects to learn from: ";
  CHECK(with("<annotation><object><name>dog</name></object></annotation>") ==
        nothing + "1 objects that cannot be used (left out), such as " + a +
            ": object 1, dog: no box (bndbox), 2 images without objects");
  CHECK(with("<annotation><object></object></annotation>").find(a + ": object 1: no name") != std::string::npos);
  const auto none = [&](const std::string& text) {
    folder.put("ImageSets/Main/train.txt", "a\n");
    return with(text);
  };
  const std::string unread =
      "[voc] none of the 1 annotation files that " + main + "/train.txt lists can be read, such as ";
  CHECK(none("<data/>") ==
        unread + "[voc] " + a + " is no annotation of VOC: its outermost element is not <annotation>");
  CHECK(none(kFile.substr(0, 300)).find(unread + "[xml] " + a + ", byte ") == 0);
  for (size_t n = 0; n < kFile.find("</annotation>"); n += 7)
    CHECK(!message_of([&] { parse_voc(std::string_view(kFile).substr(0, n), "f"); }).empty());
  std::filesystem::remove(a);
  CHECK(folder.error() == unread + "[read_file] " + a + ": No such file or directory");
  folder.put("Annotations/a.xml", kFile);
  folder.put("ImageSets/Main/val.txt", "a\na\n");
  CHECK(folder.error() == "[voc] " + main + "/val.txt: 'a' occurs twice");
  folder.put("ImageSets/Main/val.txt", "\n");
  CHECK(folder.error() == "[voc] " + main + "/val.txt lists no picture");
  std::filesystem::remove(main + "/val.txt");
  CHECK(folder.error() == "[voc] " + main + " has neither train.txt and val.txt nor trainval.txt and test.txt");
  CHECK(message_of([] { open_voc("/nowhere"); }).find("[voc] there is no folder /nowhere") == 0);
  std::filesystem::remove_all(folder.root + "/Annotations");
  CHECK(folder.error().find("lacks Annotations (looked for in it") != std::string::npos);
}

TEST_CASE("xml: elements, text, entities, what is passed over") {
  CHECK(events_of("<a x='1' y=\"<>\"> t1 <b/><!-- <c> --><b>in</b> t2<?do it?></a>") ==
        "<a\n<a/b\na/b=''\n<a/b\na/b='in'\na='t1  t2'\n");
  CHECK(events_of("<!DOCTYPE a SYSTEM 'x'><a>&lt;&amp;&gt;&quot;&apos;&#65;&#xe9;&#x1F600;<![CDATA[<&]]></a>\n") ==
        "<a\na='<&>\"'A\xC3\xA9\xF0\x9F\x98\x80<&'\n");
}

TEST_CASE("xml: what is wrong is named with its byte") {
  CHECK(xml_error("<a><b></a>") == "[xml] x.xml, byte 9: </a> where <b> is open");
  CHECK(xml_error("<a>") == "[xml] x.xml, byte 3: it ends within <a>");
  CHECK(xml_error("") == "[xml] x.xml, byte 0: it holds no element");
  CHECK(xml_error("<a/><b/>").find("a second outermost element") != std::string::npos);
  CHECK(xml_error("<a/>text").find("text outside the outermost element") != std::string::npos);
  CHECK(xml_error("<a>&nbsp;</a>").find("the entity '&nbsp;' is unknown") != std::string::npos);
  CHECK(xml_error("<a>x & y</a>").find("an ampersand that begins no entity") != std::string::npos);
  CHECK(xml_error("<a>&#xD800;</a>").find("is no character") != std::string::npos);
  CHECK(xml_error("<!DOCTYPE a [<!ENTITY b 'bb'>]><a>&b;</a>").find("declares something, which is not read") !=
        std::string::npos);
  CHECK(xml_error("<a>\xff</a>").find("the file is not UTF-8") != std::string::npos);
  CHECK(xml_error("<a b=c/>").find("not quoted") != std::string::npos);
  std::string deep;
  for (int i = 0; i < 40; ++i) deep += "<a>";
  CHECK(xml_error(deep).find("elements more than 32 deep") != std::string::npos);
}
