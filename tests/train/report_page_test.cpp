// report.html: what is on the page, what is escaped, and that nothing is asked of anybody else.
#include "atlas/train/report_page.h"

#include <doctest/doctest.h>

#include <cmath>
#include <regex>

#include "atlas/data/image.h"
#include "atlas/data/text.h"
#include "atlas/tasks/class_table.h"
#include "atlas/tensor/create.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::train;
using atlas_test::message_of;
using atlas_test::Scratch;

namespace {

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++n;
  return n;
}
bool has(const std::string& text, const std::string& part) { return count(text, part) > 0; }

LogRow row(int64_t epoch, double loss, double accuracy) {
  return {{"epoch", epoch},
          {"updates", epoch * 10},
          {"lr", 1e-3},
          {"train_loss", loss + 0.1},
          {"train_accuracy", accuracy - 0.05},
          {"test_loss", loss},
          {"test_accuracy", accuracy},
          {"images_per_second", 123.0},
          {"seconds", 60.0},
          {"peak_memory_mib", 2048.0}};
}

ReportPage page() {
  ReportPage p;
  p.title = "atlas-toy on folder:<b>&\"'";
  p.summary = "test accuracy 80.00 %";
  p.log = {row(1, 0.9, 0.6), row(2, 0.5, 0.8), row(3, 0.6, 0.7)};
  p.epochs = 5;
  p.goal = {"accuracy", "acc", "% correct", true, true};
  p.shares = {"train_accuracy", "test_accuracy"};
  p.settings = R"({"lr": 0.002, "epochs": 5, "model": "atlas-toy", "group": "<i>"})";
  p.defaults = R"({"lr": 0.003, "epochs": 6, "model": "atlas-toy", "group": ""})";
  p.report.classes = {{"class", "images", "accuracy"},
                      {{"<script>alert(1)</script>", "7", "71.4 %"}, {"ok", "3", "-"}}};
  return p;
}

/// Every element is closed, in order; those without an end are known.
std::string first_unbalanced(const std::string& html) {
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-z0-9]+)([^>]*)>");
  for (auto it = std::sregex_iterator(html.begin(), html.end(), tag); it != std::sregex_iterator(); ++it) {
    const std::string name = (*it)[2].str(), rest = (*it)[3].str();
    if (name == "meta" || name == "img" || rest.ends_with("/")) continue;
    if ((*it)[1].str().empty())
      open.push_back(name);
    else if (open.empty() || open.back() != name)
      return name;
    else
      open.pop_back();
  }
  return open.empty() ? "" : open.back();
}

}  // namespace

TEST_CASE("text is escaped, and base64 is that of RFC 4648") {
  CHECK(html_escaped("a<b>&\"'c") == "a&lt;b&gt;&amp;&quot;&#39;c");
  const auto encoded = [](const std::string& s) {
    return base64({reinterpret_cast<const uint8_t*>(s.data()), s.size()});
  };
  CHECK(encoded("") == "");
  CHECK(encoded("f") == "Zg==");
  CHECK(encoded("fo") == "Zm8=");
  CHECK(encoded("foo") == "Zm9v");
  CHECK(encoded("foobar") == "Zm9vYmFy");
  CHECK(encoded("\xff\xfe\xfd") == "//79");
}

TEST_CASE("the page shows state, curves, classes, speed and settings, and is well formed") {
  const std::string html = report_page(page());
  CHECK(first_unbalanced(html) == "");
  CHECK(html.starts_with("<!doctype html>"));
  CHECK(has(html, "after epoch 3 of 5, update 30"));
  CHECK(has(html, "<b>80.00 %</b><span class=\"soft\">epoch 2</span>"));  // the best, not the last
  CHECK(has(html, "<b>70.00 %</b><span class=\"soft\">epoch 3</span>"));
  CHECK(has(html, "<b>2.00 GiB</b>"));
  CHECK(has(html, "<b>3:00</b><span class=\"soft\">about 2:00 to go</span>"));
  CHECK(has(html, "<h3>accuracy, %</h3>"));
  CHECK(has(html, "<h3>loss</h3>"));
  CHECK(has(html, "<title>test 2: 80</title>"));
  CHECK(has(html, "<title>training 1: 1</title>"));
  CHECK(count(html, "<svg ") == 6);  // accuracy, loss, rate, images, seconds, memory: one process has no slowest
  CHECK(has(html, "<td class=\"share\" style=\"--part:71.4%\">71.4 %</td>"));
  CHECK(has(html, "<td class=\"text\">lr</td><td class=\"text\">0.002</td><td class=\"text\">0.003</td>"));
  CHECK(has(html, "1 others, as by default"));
}

TEST_CASE("nothing on it runs or is fetched, whatever names say") {
  const std::string html = report_page(page());
  CHECK(!has(html, "<script"));
  CHECK(!has(html, "<b>&"));
  CHECK(!has(html, "<i>"));
  CHECK(has(html, "&lt;script&gt;alert(1)&lt;/script&gt;"));
  CHECK(has(html, "<title>atlas-toy on folder:&lt;b&gt;&amp;&quot;&#39;</title>"));
  CHECK(!has(html, "http:"));
  CHECK(!has(html, "https:"));
  CHECK(!has(html, "<link"));
  CHECK(!has(html, "url("));
  CHECK(!has(html, "@import"));
}

TEST_CASE("pictures are in the page, or beside it where they are large") {
  const Scratch scratch;
  const std::string file = scratch / "predictions.png";
  data::write_png(file, full({4, 4, 3}, 9, uint8));
  ReportPage p = page();
  p.folder = scratch.path();
  p.report.files = {{"predictions", file}, {"numbers", scratch / "confusion.csv"}};
  const std::string inside = report_page(p);
  CHECK(has(inside, "<img src=\"data:image/png;base64,iVBORw0KGgo"));
  CHECK(has(inside, base64(data::read_file(file))));
  CHECK(!has(inside, "confusion.csv"));
  CHECK(first_unbalanced(inside) == "");
  p.largest_picture = 10;
  const std::string beside = report_page(p);
  CHECK(has(beside, "<img src=\"predictions.png\""));
  CHECK(!has(beside, "base64"));
  p.report.files = {{"predictions", scratch / "none.png"}};
  CHECK(has(message_of([&] { report_page(p); }), "none.png: No such file"));
}

TEST_CASE("values that are missing or no numbers leave gaps, and tasks without classes have their tables") {
  ReportPage p = page();
  p.report.classes = {};
  p.report.tables = "a  <b>\n";
  p.goal = {"error", "err", "% wrong", false, true};
  p.shares = {"test_error"};
  p.log = {{{"epoch", int64_t{1}}, {"updates", int64_t{3}}, {"test_error", 0.25}, {"test_extra", std::nan("")}},
           {{"epoch", int64_t{2}}, {"updates", int64_t{6}}, {"test_error", 0.5}, {"test_extra", 7.0}}};
  const std::string html = report_page(p);
  CHECK(first_unbalanced(html) == "");
  CHECK(has(html, "<b>25.00 %</b><span class=\"soft\">epoch 1</span>"));  // lower is better
  CHECK(has(html, "<pre>a  &lt;b&gt;\n</pre>"));
  CHECK(has(html, "<h3>extra</h3>"));
  CHECK(has(html, "<td>-</td>"));
  CHECK(!has(html, "nan"));
  p.log.clear();
  CHECK(message_of([&] { report_page(p); }) == "[report_page] needs the log of at least one epoch");
  p = page();
  p.settings = "[1]";
  CHECK(message_of([&] { report_page(p); }) == "[report_page] settings must be a JSON object, got [1]");
}

TEST_CASE("charts break lines where a value is missing") {
  const double nan = std::nan("");
  const std::string svg = svg_chart({{"a", {1, 2, 3, 4}, {1, nan, 2, 3}}, {"b", {1, 2}, {3, 3}}}, "a \"chart\"");
  CHECK(has(svg, "aria-label=\"a &quot;chart&quot;\""));
  const size_t begin = svg.find("class=\"line\" d=\"") + 16;
  const std::string path = svg.substr(begin, svg.find('"', begin) - begin);
  CHECK(count(path, "M") == 2);
  CHECK(count(path, "L") == 1);
  CHECK(count(svg, "<circle") == 5);
  CHECK(first_unbalanced(svg) == "");
  CHECK(first_unbalanced(svg_chart({}, "empty")) == "");
  CHECK(message_of([] {
          svg_chart({{"a", {1, 2}, {1}}}, "");
        }) == "[svg_chart] series a has 2 x values and 1 y values");
}

TEST_CASE("classes of images and of pixels as tables") {
  tasks::ConfusionMatrix m(3);
  m.add(0, 0, 3);
  m.add(0, 1, 1);
  m.add(1, 1, 2);
  const tasks::Table images = tasks::class_table(m, {"cat", "dog", "emu"});
  CHECK(images.rows == std::vector<std::vector<std::string>>{{"cat", "4", "75.0 %", "dog (25.0 %)"},
                                                             {"dog", "2", "100.0 %", "-"},
                                                             {"emu", "0", "-", "-"}});
  tasks::PixelConfusion pixels(2);
  Tensor truth = zeros({4}, uint8), guess = zeros({4}, uint8);
  truth.data<uint8_t>()[3] = 1;
  guess.data<uint8_t>()[2] = guess.data<uint8_t>()[3] = 1;
  pixels.add(guess, truth);
  CHECK(tasks::class_table(pixels, {"ground", "cell"}).rows ==
        std::vector<std::vector<std::string>>{{"ground", "75.0 %", "66.7 %", "66.7 %", "cell (33.3 %)"},
                                              {"cell", "25.0 %", "50.0 %", "100.0 %", "-"}});
}
