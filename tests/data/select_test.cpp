// Choosing and dividing images: all classes alike, whatever the order of the set.
#include "atlas/data/select.h"

#include <doctest/doctest.h>

#include <map>

#include "atlas/data/shapes.h"
#include "atlas/data/text.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/train/evaluate.h"
#include "atlas/train/setup.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::message_of;
using atlas_test::Scratch;

namespace {

std::map<int64_t, int64_t> counts(const std::vector<int64_t>& groups, const std::vector<int64_t>& chosen) {
  std::map<int64_t, int64_t> n;
  for (const int64_t i : chosen) ++n[groups[static_cast<size_t>(i)]];
  return n;
}

}  // namespace

TEST_CASE("limits take equally many of each class, of sets in any order") {
  for (const int64_t period : {1, 2, 4, 7}) {
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < 1200; ++i) labels.push_back(period == 1 ? i / 300 : i / period % 4);  // sorted, alternating
    for (const int64_t count : {4, 125, 300, 500, 600}) {
      const std::vector<int64_t> chosen = choose_evenly(labels, count);
      CHECK(std::ssize(chosen) == count);
      CHECK(std::is_sorted(chosen.begin(), chosen.end()));
      for (const auto& [label, n] : counts(labels, chosen)) CHECK(std::abs(n - count / 4) <= 1);
      CHECK(counts(labels, chosen).size() == 4);
    }
  }
  const std::vector<int64_t> few{0, 0, 0, 0, 0, 0, 1, 2, 2};  // what small classes leave goes to the others
  CHECK(counts(few, choose_evenly(few, 7)) == std::map<int64_t, int64_t>{{0, 4}, {1, 1}, {2, 2}});
  CHECK(choose_evenly(few, 100).size() == few.size());
  const auto small = choose_evenly(few, 3), large = choose_evenly(few, 6);
  CHECK(std::includes(large.begin(), large.end(), small.begin(), small.end()));
}

TEST_CASE("--limit-train and --limit-test keep every class of alternating shapes") {
  train::TrainConfig c;
  c.data.name = "shapes:32";
  c.data.limit_train = 500;
  c.data.limit_test = 125;
  c.optimization.batch_size = 50;
  const DataPair sets = train::open_data(c);
  for (const auto& [set, share] : {std::pair{sets.train, 125}, {sets.test, 31}}) {
    std::map<int64_t, int64_t> n;
    for (const int64_t label : labels_of(*set)) ++n[label];
    CHECK(n.size() == 4);
    for (const auto& [label, count] : n) CHECK(std::abs(count - share) <= 1);
  }
  CHECK(sets.train->label(3) == label_of(sets.train->get(3)));
}

TEST_CASE("text files lose their byte-order mark") {
  const Scratch scratch;
  const auto write = [&](const std::string& text) {
    return scratch.write("names.txt", std::vector<uint8_t>(text.begin(), text.end()));
  };
  CHECK(read_lines(write("\xEF\xBB\xBF"
                         "cat\r\ndog\n\n")) == std::vector<std::string>{"cat", "dog"});
  CHECK(read_lines(write("a\n\nb")) == std::vector<std::string>{"a", "", "b"});
  CHECK(read_lines(write("\xEF\xBB\xBF")).empty());
  CHECK(message_of([&] {
          read_lines(
              write(std::string("\xFF\xFE"
                                "c\0",
                                4)));
        }).find("UTF-16") != std::string::npos);
}
