// COCO's annotation files: what is read, what is odd and counted, masks of every kind, files that are cut off.
#include "atlas/data/coco.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "atlas/data/coco_folder.h"
#include "atlas/data/coco_match.h"
#include "atlas/data/image.h"
#include "atlas/data/open.h"
#include "atlas/data/select.h"
#include "atlas/io/json_reader.h"
#include "atlas/tensor/create.h"
#include "tests/ops/random_input.h"

using namespace atlas;
using namespace test;
using io::JsonReader;

namespace {

const std::string kFile = R"({"info": {"year": [1, {"a": "]"}]}, "annotations": [
  {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 4, 3], "area": 12.0, "iscrowd": 0,
   "segmentation": [[1, 2, 5, 2, 5, 5, 1, 5]]},
  {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 8], "area": 4, "iscrowd": 1,
   "segmentation": {"size": [8, 10], "counts": [2, 4, 74]}},
  {"id": 3, "image_id": 7, "category_id": 1, "bbox": [6, 6, 9, 9], "segmentation": []},
  {"id": 4, "image_id": 7, "category_id": 1, "bbox": [6, 6, -2, 1]},
  {"id": 5, "image_id": 8, "category_id": 1, "bbox": [6, 6, 2, 1]},
  {"id": 6, "image_id": 7, "category_id": 2, "bbox": [6, 6, 2, 1]}],
 "categories": [{"id": 3, "name": "b\u00e4r"}, {"id": 1, "name": "cat"}],
 "images": [{"id": 9, "file_name": "empty.png", "width": 10, "height": 8},
            {"id": 7, "file_name": "seven.png", "width": 10, "height": 8}]})";

int64_t ones_in(const Tensor& m) {
  int64_t n = 0;
  for (int64_t i = 0; i < m.numel(); ++i) n += m.contiguous().data<uint8_t>()[i];
  return n;
}

/// A folder with train.json, val.json and both pictures.
struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / "atlas_coco_test";
  explicit Folder(int64_t width = 10, const std::string& text = kFile) {
    std::filesystem::create_directories(path / "images");
    for (const char* half : {"train.json", "val.json"}) std::ofstream(path / half) << text;
    for (const char* name : {"empty.png", "seven.png"})
      data::write_png((path / "images" / name).string(), zeros({8, width, 3}, uint8, Device{}));
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

/// A file of one image with an object for each segmentation; "" leaves it out.
std::string file_of(const std::vector<std::string>& segmentations) {
  std::string objects;
  for (const std::string& s : segmentations)
    objects += (objects.empty() ? "" : ", ") +
               std::string(R"({"image_id": 7, "category_id": 1, "bbox": [1, 1, 4, 4])") +
               (s.empty() ? "" : ", \"segmentation\": " + s) + "}";
  return R"({"images": [{"id": 7, "file_name": "seven.png"}], "categories": [{"id": 1, "name": "cat"}], "annotations": [)" +
         objects + "]}";
}
/// A file with pictures of these names, and nothing else.
data::CocoFile file_of_pictures(const std::vector<std::string>& names) {
  data::CocoFile file;
  for (const std::string& name : names) file.images.push_back({std::ssize(file.images), 0, 0, name});
  return file;
}

}  // namespace

TEST_CASE("coco: sections in any order, ids anywhere, odd objects counted and left out") {
  const data::CocoFile file = data::parse_coco(kFile, "f.json");
  CHECK(data::parse_coco("\xef\xbb\xbf" + std::string(kFile), "marked.json").images.size() == 2);
  REQUIRE(file.images.size() == 2);
  CHECK(file.images[0].id == 7);
  CHECK(file.categories[0].name == "cat");
  CHECK(file.categories[1].name == "b\xc3\xa4r");
  REQUIRE(file.objects.size() == 3);
  CHECK(file.offsets == std::vector<int64_t>{0, 3, 3});
  CHECK(file.objects[0].category == 1);
  CHECK(file.objects[0].area == 12);
  CHECK(file.objects[1].crowd);
  CHECK(file.objects[2].area == 81);
  CHECK(
      file.counts.str() ==
      "1 crowds, 1 objects of images that are not there (left out), 1 objects of categories that are not there (left "
      "out), 1 boxes without area in their image (left out), 1 boxes beyond their image (clipped), 1 objects without a "
      "mask, 1 images without objects");
}

TEST_CASE("coco: an object that cannot be used costs itself alone, and says where it stands; broken JSON is an error") {
  const std::string good = R"({"image_id": 7, "category_id": 1, "bbox": [1, 1, 4, 4], "segmentation": [[1, 2]]})";
  const std::vector<std::string> odd{
      R"({"image_id": 7, "category_id": 1, "bbox": null})",
      R"({"image_id": 7, "category_id": 1, "bbox": [1, 2, 3]})",
      R"({"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, "4"]})",
      R"({"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 1e999]})",
      R"({"segmentation": [[1, 2]], "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": "yes"})",
      R"({"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "area": {}})",
      R"({"image_id": "7", "category_id": 1, "bbox": [1, 2, 3, 4]})",
      R"({"image_id": 7, "bbox": [1, 2, 3, 4]})",
      "null",
      "[1]"};
  const auto file = [](const std::string& objects) {
    return R"({"images": [{"id": 7, "file_name": "seven.png", "height": null, "width": 10}], "categories": [{"id": 1,
      "name": "cat"}], "annotations": [)" +
           objects + "]}";
  };
  for (const std::string& one : odd) {
    CAPTURE(one);
    const data::CocoFile some = data::parse_coco(file(good + ", " + one + ", " + good), "f.json");
    CHECK(some.objects.size() == 2);
    CHECK(some.counts.unusable == 1);
    CHECK(some.counts.bad_polygons == 2);  // of the good ones alone
    CHECK(some.images[0].height == 0);
  }
  const std::string two = file(good + ", " + odd[0] + ", " + odd[4]);
  CHECK(data::parse_coco(two, "f.json")
            .counts.str()
            .find(fmt::format("2 objects that cannot be used (left out), such as byte {}: needs an array",
                              two.find("\"bbox\": null") + 8)) != std::string::npos);
  for (const std::string broken :
       {R"({"image_id": 7, "bbox": nul})", R"({"image_id": x})", R"({"bbox": null,, "a": 1})",
        R"({"bbox": null, "a": [1 2]})", R"({"bbox": null, "a": "\x"})", R"({"bbox": null)"})
    CHECK(error_of([&] { data::parse_coco(file(broken), "f.json"); }).starts_with("[json] f.json, byte "));
}

TEST_CASE("coco: segmentations that draw nothing are none, and counted") {
  const std::vector<std::string> nothing{
      "", "null", "[]", "{}", "[ [ ], [\n] ]", "[[1, 2, 5, 5]]", "7", "[[1,2,3,4,5,6,7]]", "[1, 2, 5, 2, 5, 5]"};
  const data::CocoFile none = data::parse_coco(file_of(nothing), "f");
  REQUIRE(none.objects.size() == nothing.size());
  for (const data::CocoAnnotation& o : none.objects) CHECK(o.segmentation.empty());
  CHECK(none.counts.str() ==
        "3 polygons of fewer than three corners or an odd number of coordinates (left out), 9 objects without a mask");
  const std::string text = file_of({"[]", "[[1, 2, 5, 5], [1, 2, 5, 2, 5, 5, 1, 5]]", "[[1, 2, 5, 2, 5, 5]]"});
  const data::CocoFile some = data::parse_coco(text, "f");
  CHECK(some.counts.bad_polygons == 1);
  CHECK(some.counts.without_masks == 1);
  CHECK(ones_in(data::rle_decode(data::coco_mask(some.objects[1].segmentation, 8, 10, "f"))) == 12);
  {
    const Folder folder(10, text);
    const data::Sample sample = data::open_coco(folder.path.string()).train->get(0);
    REQUIRE(sample.targets.contains("instance_masks"));
    CHECK(ones_in(sample.targets["instance_masks"][0]) == 0);
    CHECK(ones_in(sample.targets["instance_masks"][1]) == 12);
  }
  const Folder folder(10, file_of(nothing));
  const data::DataPair pair = data::open_coco(folder.path.string());
  CHECK(pair.train->get(0).targets["boxes"].size(0) == 9);
  CHECK(!pair.train->get(0).targets.contains("instance_masks"));
  CHECK(pair.train->remarks().find("9 objects without a mask") != std::string::npos);
}

TEST_CASE("coco: pictures are images by the end of their paths, one each") {
  using Images = std::vector<int64_t>;
  const data::CocoFile cams = file_of_pictures({"cam1/1.jpg", "cam2/1.jpg", "cam2/2.jpg", "3.jpg"});
  CHECK(data::match_pictures(cams, {"/x/cam2/1.jpg", "/x/cam1/1.jpg", "/x/2.jpg", "/y/3.jpg", "/y/4.jpg"}, "f") ==
        Images{1, 0, 2, 3, -1});
  CHECK(data::match_pictures(cams, {"cam1/../cam2/./1.jpg"}, "f") == Images{1});
  CHECK(
      error_of([&] { data::match_pictures(cams, {"/x/cam3/1.jpg"}, "f.json"); }) ==
      "[coco] /x/cam3/1.jpg could be cam1/1.jpg or cam2/1.jpg of f.json: keep it in a folder of that name, or leave it "
      "out");
  // Of two pictures the one that agrees in more folders; of two images that agree in as many, the one that ends there.
  CHECK(data::match_pictures(cams, {"/x/2.jpg", "/x/cam2/2.jpg", "/y/2.jpg"}, "f") == Images{-1, 2, -1});
  CHECK(data::match_pictures(file_of_pictures({"cam1/1.jpg", "1.jpg"}), {"/cam1/1.jpg", "/x/1.jpg"}, "f") ==
        Images{0, 1});
  CHECK(error_of([&] {
          data::match_pictures(file_of_pictures({"1.jpg"}), {"cam1/1.jpg", "cam2/1.jpg"}, "f.json");
        }) == "[coco] cam1/1.jpg and cam2/1.jpg would both be 1.jpg of f.json: leave one out");
}

TEST_CASE("coco: categories are put into the order of classes, by name") {
  data::CocoFile file = data::parse_coco(kFile, "f");
  data::order_categories(file, {"b\xc3\xa4r", "cat"}, "f");
  CHECK(file.categories[0].id == 3);
  CHECK(file.categories[1].id == 1);
  CHECK(file.objects[0].category == 0);
  CHECK(file.objects[1].category == 1);
  CHECK(error_of([&] {
          data::order_categories(file, {"cat", "bear"}, "f.json");
        }) == "[coco] f.json has no category 'bear', which is a class of the model");
  CHECK(error_of([&] {
          data::order_categories(file, {"cats", "b\xc3\xa4r"}, "f.json");
        }) == "[coco] f.json has no category 'cats', which is a class of the model; did you mean cat?");
  CHECK(error_of([&] { data::order_categories(file, {"cat"}, "f.json"); }) ==
        "[coco] f.json has 2 categories, the model 1 classes");
}

TEST_CASE("coco: masks as polygons, runs and text") {
  const auto mask = [](const char* text) { return data::rle_decode(data::coco_mask(text, 8, 10, "f")); };
  CHECK(ones_in(mask("[[1, 2, 5, 2, 5, 5, 1, 5]]")) == 12);
  CHECK(ones_in(mask("[[1, 2, 5, 2, 5, 5, 1, 5], [6, 6, 8, 6, 8, 8, 6, 8]]")) == 16);
  CHECK(ones_in(mask("[]")) == 0);
  const Tensor runs = mask(R"({"size": [8, 10], "counts": [2, 4, 74]})");
  CHECK(ones_in(runs) == 4);
  CHECK(runs.at<uint8_t>({2, 0}) == 1);
  const std::string text = data::rle_to_string(data::rle_encode(runs));
  CHECK(same_bits(mask((R"({"counts": ")" + text + R"(", "size": [8, 10]})").c_str()), runs));
  CHECK(error_of([&] { mask(R"({"size": [8, 9], "counts": [72]})"); }) ==
        "[coco] f: a mask's size is not that of its image, 8 x 10");
  CHECK(error_of([&] { mask(R"({"size": [8, 10], "counts": [-2]})"); }) == "[json] f, byte 31: is no length of a run");
  CHECK(error_of([&] { mask(R"({"size": [8, 10], "counts": [3]})"); }) ==
        "[coco] f: [rle] the runs of a mask sum up to 3 pixels, which are not 8 x 10 = 80");
  CHECK(error_of([&] { mask("[[1, 2, 5, 2, 5, 1e9]]"); }).starts_with("[coco] f: [rle] corner 5, 1"));
}

TEST_CASE("coco: a folder as a data set") {
  const Folder folder;
  const data::DataPair pair = data::open_data("coco:" + folder.path.string());
  CHECK(pair.train->size() == 1);  // images without objects are for tests alone
  CHECK(pair.test->size() == 2);
  const data::Sample sample = pair.train->get(0);
  data::check_targets(sample, 2);
  CHECK(to_vector<float>(sample.targets["boxes"]) == std::vector<float>{1, 2, 5, 5, 0, 0, 10, 8, 6, 6, 10, 8});
  CHECK(to_vector<double>(sample.targets[data::kWrittenBoxes]) ==
        std::vector<double>{1, 2, 4, 3, 0, 0, 10, 8, 6, 6, 9, 9});
  CHECK(to_vector<int64_t>(sample.targets["label"]) == std::vector<int64_t>{1, 0, 0});
  CHECK(to_vector<int64_t>(sample.targets["crowd"]) == std::vector<int64_t>{0, 1, 0});
  CHECK(ones_in(sample.targets["instance_masks"][0]) == 12);
  CHECK(pair.test->get(1).targets["boxes"].shape() == Shape{0, 4});
  CHECK(error_of([&] { pair.test->label(0); }).find("has objects") != std::string::npos);
}

TEST_CASE("coco: the halves may order categories differently, and a picture may be missing") {
  const Folder folder;
  const std::string path = folder.path.string(), cat = R"({"id": 1, "name": "cat"})";
  const std::string bear = R"({"id": 3, "name": "b\u00e4r"})";
  std::string val = kFile;
  val.replace(val.find(bear), bear.size() + 2 + cat.size(), cat + ", " + bear);
  std::ofstream(folder.path / "val.json") << val;
  const data::DataPair pair = data::open_data("coco:" + path);
  CHECK(pair.test->classes() == pair.train->classes());
  CHECK(to_vector<int64_t>(pair.test->get(0).targets["label"]) == std::vector<int64_t>{1, 0, 0});
  val.replace(val.find("\"cat\""), 5, "\"cut\"");
  std::ofstream(folder.path / "val.json") << val;
  CHECK(error_of([&] { data::open_coco(path); }) ==
        "[coco] " + path + "/val.json has no category 'cat', which is a class of train; did you mean cut?");

  std::filesystem::create_directories(folder.path / "elsewhere");
  std::ofstream(folder.path / "elsewhere/1.png") << "";
  const auto best = [&](const std::vector<std::string>& names) {
    return data::picture_folder(file_of_pictures(names), {path + "/elsewhere", path + "/images"});
  };
  CHECK(best({"1.png", "empty.png", "seven.png"}) == path + "/images");
  CHECK(best({"gone.png", "seven.png"}) == path + "/images");
  CHECK(best({"gone.png"}).empty());
}

TEST_CASE("coco: a photograph that cannot be read is skipped and counted, or an error when strict") {
  const Folder folder;
  const std::string photo = (folder.path / "images/seven.png").string();
  std::ofstream(photo) << "no picture";
  std::vector<std::string> said;
  data::FolderOptions options;
  options.report = [&](const std::string& text) { said.push_back(text); };
  const data::DataPair pair = data::open_data("coco:" + folder.path.string(), options);
  for (int round = 0; round < 2; ++round) CHECK(!pair.train->get(0).image.defined());
  CHECK(pair.train->was_skipped(0));
  CHECK(pair.train->skipped() == 1);
  REQUIRE(said.size() == 1);
  CHECK(said[0].find("skipped an unreadable image: [image] " + photo) == 0);
  // What its images have is learned from one that can be read.
  CHECK(data::first_targets(*pair.test).contains("boxes"));
  CHECK(data::some_of(pair.test, 1)->size() == 1);
  options.strict = true;
  const data::DataPair strict = data::open_data("coco:" + folder.path.string(), options);
  CHECK(error_of([&] { strict.train->get(0); }).find(photo) != std::string::npos);
}

TEST_CASE("coco: mistakes are one line") {
  {
    const Folder folder(11);
    const std::string path = folder.path.string();
    const auto pair = data::open_data("coco:" + path);
    CHECK(error_of([&] { pair.train->get(0); }) ==
          "[coco] " + path + "/images/seven.png has 8 x 11 pixels, its annotations say 8 x 10");
    std::filesystem::remove(folder.path / "val.json");
    CHECK(error_of([&] { data::open_coco(path); }) ==
          "[coco] " + path + " has neither annotations/instances_val*.json nor val.json");
  }
  {
    const Folder folder(10,
                        R"({"images": [{"id": 7, "file_name": "seven.png"}], "categories": [{"id": 1, "name": "cat"}],
      "annotations": [{"image_id": 7, "category_id": 1, "bbox": [1, 1, 0, 4]}]})");
    const std::string path = folder.path.string();
    CHECK(error_of([&] { data::open_coco(path); }) ==
          "[coco] " + path +
              "/train.json has no objects to learn from: 1 boxes without area in their image (left out), "
              "1 images without objects");
  }
  CHECK(error_of([] { data::open_coco("/nowhere"); }) == "[coco] /nowhere is no folder");
  CHECK(error_of([] { data::parse_coco("{\"images\": []}", "f"); }) ==
        "[coco] f has no \"annotations\": it is no annotation file of COCO");
  CHECK(error_of([] { data::parse_coco(R"({"images": [{"id": 1}]})", "f"); }) ==
        "[json] f, byte 21: an image needs an id and a file_name");
  const std::string twice =
      R"({"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "annotations": [], "categories": []})";
  CHECK(error_of([&] { data::parse_coco(twice, "f"); }) == "[coco] f: image id 1 occurs twice");
  for (const std::string mark : {"\xFF\xFE", ""}) {  // as editors of Windows save it, with and without a mark
    std::string wide = mark;
    for (const char c : std::string("{\"images\": []}")) wide += {c, '\0'};
    CHECK(error_of([&] { data::parse_coco(wide, "f"); }) ==
          "[read_text] f: is UTF-16 text, as its first two bytes say; save it as UTF-8");
  }
  // Cut anywhere, a file is an error, and never a crash.
  for (size_t n = 0; n < kFile.size(); ++n)
    CHECK(!error_of([&] { data::parse_coco(kFile.substr(0, n), "f"); }).empty());
}

TEST_CASE("json reader: values, escapes, what is skipped, depth") {
  JsonReader json(R"( {"a": [1, -2.5e2, "q\"\\\n\u00e4\ud83d\ude00"], "b": {"x": [true, null]}, "c": false} )", "t");
  std::vector<double> numbers;
  std::string text, skipped;
  bool last = true;
  json.object([&](std::string_view key) {
    if (key == "a")
      json.array([&] {
        if (json.peek() == JsonReader::Kind::number)
          numbers.push_back(json.number());
        else
          text = json.string();
      });
    else if (key == "b")
      skipped = json.skip();
    else
      last = json.boolean();
  });
  json.finish();
  CHECK(numbers == std::vector<double>{1, -250});
  CHECK(text == "q\"\\\n\xc3\xa4\xf0\x9f\x98\x80");
  CHECK(skipped == R"({"x": [true, null]})");
  CHECK(!last);
  CHECK(error_of([] { JsonReader("1.5", "t").integer(); }) == "[json] t, byte 0: needs a whole number");
  CHECK(JsonReader("9223372036854775807", "t").integer() == INT64_MAX);
  CHECK(JsonReader("-9223372036854775808", "t").integer() == INT64_MIN);
  CHECK(JsonReader("9007199254740993,", "t").integer() == 9007199254740993);
  CHECK(JsonReader("-2e3", "t").integer() == -2000);
  CHECK(error_of([] { JsonReader("9223372036854775808", "t").integer(); }) ==
        "[json] t, byte 0: 9223372036854775808 is too large: whole numbers lie between -2^63 and 2^63 - 1");
  CHECK(error_of([] { JsonReader(" -1e40", "t").integer(); }) ==
        "[json] t, byte 1: -1e40 is too small: whole numbers lie between -2^63 and 2^63 - 1, those with a point or an "
        "exponent between -2^53 and 2^53");
  CHECK(error_of([] { JsonReader("\"abc", "t").string(); }) ==
        "[json] t, byte 0: a string does not end (is the file cut off?)");
  CHECK(error_of([] { JsonReader("\"\\x\"", "t").string(); }) == "[json] t, byte 2: no escape is written like this");
  CHECK(error_of([] { JsonReader("[1 2]", "t").array([] {}); }) == "[json] t, byte 1: needs ','");
}
