// Accuracies, running means and the confusion matrix with its tables.
#include "atlas/tasks/metrics.h"

#include <doctest/doctest.h>

#include <cmath>

#include "atlas/ops/arithmetic.h"

using namespace atlas;
using namespace atlas::tasks;

namespace {

template <class T>
Tensor matrix(int64_t rows, const std::vector<T>& values) {
  Tensor t = rows > 0 ? empty({rows, static_cast<int64_t>(values.size()) / rows}, dtype_of<T>())
                      : empty({static_cast<int64_t>(values.size())}, dtype_of<T>());
  std::copy(values.begin(), values.end(), t.template data<T>());
  return t;
}

}  // namespace

TEST_CASE("running mean weighs by samples") {
  RunningMean m;
  CHECK(m.mean() == 0);
  m.add(1, 3);
  m.add(5, 1);
  CHECK(m.mean() == 2);
  CHECK(m.weight() == 4);
  m.reset();
  CHECK(m.mean() == 0);
}

TEST_CASE("top-1 and top-5") {
  // Ranks of the true class: first, fifth, sixth of seven.
  const Tensor logits = matrix<float>(3, {9, 1, 2, 3, 4, 5, 6,  //
                                          9, 8, 3, 7, 6, 1, 0,  //
                                          9, 8, 3, 7, 6, 5, 0});
  Accuracy a;
  a.add(logits, matrix<int64_t>(0, {0, 2, 2}));
  CHECK(a.top1() == doctest::Approx(1.0 / 3));
  CHECK(a.top5() == doctest::Approx(2.0 / 3));
  CHECK(a.count() == 3);

  // Equal logits: the first class wins. NaN: nobody does.
  Accuracy ties;
  ties.add(matrix<double>(2, {1, 1, 1, 1}), matrix<int64_t>(0, {0, 1}));
  CHECK(ties.top1() == 0.5);
  Accuracy nan;
  nan.add(matrix<float>(1, {NAN, NAN}), matrix<int64_t>(0, {0}));
  CHECK(nan.top1() == 0);
  CHECK(nan.top5() == 0);

  // A soft target stands for its largest class.
  Accuracy soft;
  soft.add(matrix<float>(2, {0, 1, 1, 0}), matrix<float>(2, {0.3f, 0.7f, 0.4f, 0.6f}));
  CHECK(soft.top1() == 0.5);
}

TEST_CASE("metrics refuse what does not fit") {
  Accuracy a;
  const Tensor logits = matrix<float>(2, {0, 1, 1, 0});
  CHECK_THROWS_WITH_AS(a.add(logits, matrix<int64_t>(0, {0, 2})), "[accuracy] target 1 is 2, outside the 2 classes",
                       Error);
  CHECK_THROWS_WITH_AS(a.add(logits, matrix<int64_t>(0, {0})),
                       "[accuracy] needs targets int64[2] or soft ones [2,2], got int64[1]", Error);
  CHECK_THROWS_WITH_AS(a.add(empty({4}), matrix<int64_t>(0, {0})),
                       "[accuracy] needs logits of shape [batch, classes], got float32[4]", Error);
  ConfusionMatrix m(2);
  CHECK_THROWS_WITH_AS(m.add(0, 2), "[confusion matrix] true class 0 and predicted class 2 must be below 2", Error);
  CHECK_THROWS_AS(ConfusionMatrix(0), Error);
}

TEST_CASE("confusion matrix") {
  ConfusionMatrix m(3);
  m.add(matrix<float>(4, {5, 1, 0, 5, 1, 0, 0, 7, 1, 0, 0, 1}), matrix<int64_t>(0, {0, 1, 1, 1}));
  CHECK(m.at(0, 0) == 1);
  CHECK(m.at(1, 0) == 1);
  CHECK(m.at(1, 1) == 1);
  CHECK(m.at(1, 2) == 1);
  CHECK(m.images(1) == 3);
  CHECK(m.class_accuracy(1) == doctest::Approx(1.0 / 3));
  CHECK(m.class_accuracy(2) == 0);
  CHECK(m.accuracy() == 0.5);

  CHECK(m.class_table({"shoe", "Hemd (weiß)", "bag"}) ==
        "class         images  accuracy  most often taken for\n"
        "shoe               1   100.0 %  -\n"
        "Hemd (weiß)        3    33.3 %  shoe (1)\n"
        "bag                0     0.0 %  -\n"
        "all                4    50.0 %\n");
  CHECK(m.matrix_table({"shoe", "shirt"}) ==
        "true \\ predicted 0 1 2\n"
        "  0 shoe         1 . .\n"
        "  1 shirt        1 1 1\n"
        "  2 class 2      . . .\n");
  CHECK(m.to_csv({"a,b", "say \"c\"", "d"}) ==
        "true\\predicted,\"a,b\",\"say \"\"c\"\"\",d\n\"a,b\",1,0,0\n\"say \"\"c\"\"\",1,1,1\nd,0,0,0\n");
}

TEST_CASE("many classes: the worst are shown") {
  ConfusionMatrix m(100);
  for (int64_t c = 0; c < 100; ++c) m.add(c, c == 42 ? 7 : c);
  const std::string table = m.class_table({}, 2);
  CHECK(table.find("class 42") != std::string::npos);
  CHECK(table.find("class 7 (1)") != std::string::npos);
  CHECK(table.find("(the 2 worst of 100 classes)") != std::string::npos);
  CHECK(std::count(table.begin(), table.end(), '\n') == 5);
}
