// AttentionRecorder: what is recorded is what the layers computed, and it says where.
#include "atlas/nn/attention_probe.h"

#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/reduce.h"
#include "atlas/tensor/create.h"
#include "tests/models/golden_state.h"

using namespace atlas;
using models::make_model;

namespace {

double total(const std::vector<AttentionRead>& reads) {
  double sum = 0;
  for (const AttentionRead& r : reads) sum += atlas::sum(r.weights).item();
  return sum;
}

}  // namespace

TEST_CASE("Atlas: windows and coarser scales that a token reads") {
  manual_seed(1);
  // 13 x 9 tokens: windows of 4 with padding, pooled to 7 x 5 (windows of 4) and 4 x 3 (one window).
  const auto model = make_model("atlas-tiny", {.image_size = 64, .overrides = R"({"depths": [1, 1], "dim": 16})"});
  model->eval();
  const Tensor images = randn({2, 52, 36, 3});
  const Tensor plain = (*model)(images);
  const AttentionRecorder recorder(*model);
  CHECK(golden::largest_difference((*model)(images), plain) == 0);
  REQUIRE(recorder.records().size() == 3 + 2 + 2 + 1);  // down and up pass of three, then of two scales

  const AttentionRecord& record = recorder.records()[2];
  CHECK(record.layer == "atlas_models.0.levels.0.blocks.0.blocks.0.attn");
  CHECK(record.pass == "down");
  CHECK(record.images() == 2);
  CHECK(record.queries.layout == WindowLayout{13, 9, 4, 4});
  CHECK(record.queries.stride == 4);
  CHECK(record.probabilities.shape() == Shape{2 * 4 * 3, 4, 16, 16 + 16 + 12});
  const auto reads = record.read_by(1, 12, 8);  // the last token: alone in its window
  REQUIRE(reads.size() == 3);
  CHECK(reads[0].row == 12);
  CHECK(reads[0].column == 8);
  CHECK(reads[0].weights.shape() == Shape{4, 1, 1});
  CHECK(reads[1].place.scale == 1);
  CHECK(reads[1].place.stride == 8);
  CHECK(reads[1].row == 4);  // window 11 of 12 reads window 3 of 4
  CHECK(reads[1].column == 4);
  CHECK(reads[1].weights.shape() == Shape{4, 3, 1});
  CHECK(reads[2].weights.shape() == Shape{4, 4, 3});
  CHECK(total(reads) == doctest::Approx(4).epsilon(1e-5));  // nothing is lost to padding

  const AttentionRecord& up = recorder.records()[3];
  CHECK(up.pass == "up");
  CHECK(up.queries.scale == 1);
  CHECK(up.queries.layout == WindowLayout{7, 5, 2, 2});
  const auto under = up.read_by(0, 6, 4);
  REQUIRE(under.size() == 1);
  CHECK(under[0].place.scale == 0);
  CHECK(under[0].row == 12);
  CHECK(under[0].column == 8);
  const AttentionRecord& later = recorder.records()[6];
  CHECK(later.layer == "atlas_models.1.levels.0.blocks.0.blocks.0.attn");
  CHECK(later.queries.scale == 1);
  CHECK(golden::message_of([&] { record.read_by(0, 13, 0); }).find("there is no token (13, 0)") != std::string::npos);
}

TEST_CASE("MambaVision: attention of the last stages, and only the layers that are wanted") {
  manual_seed(2);
  const auto model = make_model("mambavision-toy", {.overrides = R"({"window_size": [8, 8, 2, 2]})"});
  model->eval();
  const Tensor images = randn({1, 70, 100, 3});
  const NoGrad off;
  //! [record attention]
  AttentionRecorder recorder(*model, [](const std::string& layer) { return layer.starts_with("levels.3."); });
  (*model)(images);
  for (const AttentionRecord& r : recorder.records())
    for (const AttentionRead& read : r.read_by(0, 1, 2))      // by the token in row 1, column 2
      CHECK(sum(read.weights).item() == doctest::Approx(8));  // every head's add up to 1
  //! [record attention]
  REQUIRE(recorder.records().size() == 1);
  const AttentionRecord& record = recorder.records()[0];
  CHECK(record.layer == "levels.3.blocks.1.mixer");
  CHECK(record.queries.stride == 32);
  CHECK(record.queries.layout == WindowLayout{3, 4, 2, 2});
  const auto reads = record.read_by(0, 1, 2);
  CHECK(reads[0].row == 0);
  CHECK(reads[0].column == 2);
  CHECK(reads[0].weights.shape() == Shape{8, 2, 2});
  recorder.clear();
  CHECK(recorder.records().empty());
}

TEST_CASE("recorded probabilities give the layer's output") {
  manual_seed(3);
  Attention layer(8, 2);
  const Tensor x = randn({2, 5, 8});
  AttentionRecorder recorder(layer);
  const Tensor y = layer(x);
  REQUIRE(recorder.records().size() == 1);
  const Tensor v = layer.qkv(x).reshape({2, 5, 3, 2, 4}).select(2, 2).permute({0, 2, 1, 3});
  const Tensor mixed =
      matmul(recorder.records()[0].probabilities.to(v.device()), v).permute({0, 2, 1, 3}).reshape({2, 5, 8});
  CHECK(golden::largest_difference(layer.proj(mixed), y) < 1e-6);
  CHECK(recorder.records()[0].queries.layout == WindowLayout{1, 5, 1, 5});
}
