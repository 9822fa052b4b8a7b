// The progress display on a terminal and in a pipe, with a clock that the test turns.
#include "atlas/train/progress.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>

#include "atlas/ops/arithmetic.h"

using namespace atlas::train;

namespace {

struct Output {
  Output() : file(std::tmpfile()) { REQUIRE(file != nullptr); }
  ~Output() { std::fclose(file); }
  std::string text() const {
    std::fflush(file);
    std::rewind(file);
    std::string s;
    for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) s += static_cast<char>(c);
    return s;
  }
  std::FILE* file;
};

}  // namespace

TEST_CASE("durations") {
  CHECK(duration_text(7.4) == "0:07");
  CHECK(duration_text(754) == "12:34");
  CHECK(duration_text(3723) == "1:02:03");
  CHECK(duration_text(-1) == "?");
  CHECK(duration_text(1.0 / 0.0) == "?");
}

TEST_CASE("a line tells what is known and fits the terminal") {
  const ProgressInfo info{.loss = 0.41236, .measure = 0.8631, .images = 2500};
  CHECK(progress_line("epoch 3/10", 0.25, 10, 30, info, 0, false) ==
        "epoch 3/10   25 %  loss 0.4124  acc 86.31 %  250 images/s  ETA 0:30");
  CHECK(progress_line("test", 1, 65, 0, {}, 0, false) == "test  100 %  1:05");
  CHECK(progress_line("test", 0, 0, -1, {}, 0, false) == "test    0 %");
  const std::string bar = progress_line("epoch 3/10", 0.25, 10, 30, info, 100, false);
  CHECK(bar.size() < 100);
  CHECK(bar.find("=====>") != std::string::npos);
  CHECK(progress_line("epoch 3/10", 0.25, 10, 30, info, 100, true).find("━┄") != std::string::npos);
  CHECK(progress_line("epoch 3/10", 0.25, 10, 30, info, 30, false).size() == 29);
}

TEST_CASE("in a pipe: a line per quarter, or after a while, and the last") {
  Output out;
  double now = 0;
  {
    Progress bar(
        "epoch 1/1", 100,
        {.style = ProgressOptions::Style::plain, .out = out.file, .plain_seconds = 20, .clock = [&] { return now; }});
    for (int i = 1; i <= 100; ++i) {
      now += i <= 50 ? 1 : 0.1;
      bar.update(i, {.images = i});
    }
    bar.finish("saved");
    bar.finish("twice is once");
  }
  CHECK(out.text() ==
        "epoch 1/1   20 %  1.00 images/s  ETA 1:20\n"
        "epoch 1/1   25 %  1.00 images/s  ETA 1:15\n"
        "epoch 1/1   45 %  1.00 images/s  ETA 0:55\n"
        "epoch 1/1   50 %  1.00 images/s  ETA 0:50\n"
        "epoch 1/1   75 %  1.43 images/s  ETA 0:18\n"
        "epoch 1/1  100 %  1.82 images/s  0:55  saved\n");
}

TEST_CASE("on a terminal: one line that redraws, ten times a second at most") {
  setenv("LC_ALL", "C", 1);
  Output out;
  double now = 0;
  const auto make = [&] {
    return std::make_unique<Progress>(
        "e", 10, ProgressOptions{.style = ProgressOptions::Style::terminal, .out = out.file, .width = 40, .clock = [&] {
                                   return now;
                                 }});
  };
  auto bar = make();
  bar->update(1, {});
  now = 0.05;
  bar->update(2, {});  // too soon to draw
  now = 1;
  bar->update(5, {});
  bar->finish();
  bar.reset();
  CHECK(out.text() ==
        "\re  =>                    10 %  ETA 0:00\x1b[K"
        "\re  =========>            50 %  ETA 0:01\x1b[K"
        "\re  =========>            50 %  ETA 0:01\x1b[K\n");
  // Left by an exception: the cursor goes to a new line.
  bar = make();
  bar->update(1, {});
  bar.reset();
  CHECK(out.text().back() == '\n');
}

TEST_CASE("steps before a resume do not count for the time left") {
  Output out;
  double now = 0;
  Progress bar("e", 100, {.style = ProgressOptions::Style::plain, .out = out.file, .clock = [&] { return now; }}, 50);
  now = 10;
  bar.update(75, {});
  CHECK(out.text() == "e   75 %  ETA 0:10\n");
}

TEST_CASE("silence") {
  Output out;
  Progress bar("e", 2, {.style = ProgressOptions::Style::silent, .out = out.file});
  bar.update(1, {});
  bar.finish();
  CHECK(out.text().empty());
}
