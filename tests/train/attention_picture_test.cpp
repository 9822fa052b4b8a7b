// Pictures of attention: their size, what is framed and colored, and errors for what does not exist.
#include "atlas/train/attention_picture.h"

#include <doctest/doctest.h>

#include "atlas/core/rng.h"
#include "atlas/models/presets.h"
#include "atlas/nn/init.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "tests/data/data_test.h"

using namespace atlas;
using namespace atlas::train;
using atlas_test::message_of;

namespace {

/// Pixels of exactly this color.
int64_t count(const Tensor& picture, int r, int g, int b) {
  int64_t n = 0;
  const uint8_t* p = picture.data<uint8_t>();
  for (int64_t i = 0; i < picture.size(0) * picture.size(1); ++i, p += 3) n += p[0] == r && p[1] == g && p[2] == b;
  return n;
}

}  // namespace

TEST_CASE("Atlas and MambaVision: panels, frames and the patch") {
  manual_seed(1);
  Tensor image = empty({48, 64, 3}, uint8);
  fill_elements(image, 200);
  for (const char* name : {"atlas-toy", "mambavision-toy"}) {
    const auto model = models::make_model(name);
    model->eval();
    const Tensor input = randn({48, 64, 3});
    const Tensor picture = attention_picture(*model, input, image, {.x = 10, .y = 20, .name = name});
    const bool atlas = model->family() == "atlas";
    // Two rows (macro stages, or layers) of panels 420 wide; three panels for Atlas (overview and two scales).
    CHECK(picture.size(1) == (atlas ? 3 : 2) * (420 + 24) + 24);
    CHECK(picture.size(0) > 2 * 315);
    CHECK(count(picture, 0xFF, 0x30, 0x30) > 4 * 60);  // the patch, in every panel
    CHECK(count(picture, 0x00, 0xA6, 0xFF) > 4 * 60);  // a window
    CHECK(count(picture, 0xFF, 0x8C, 0x1A) > 2 * 400);
    // Another patch or head gives another picture, in the same frame.
    const Tensor other = attention_picture(*model, input, image, {.x = 50, .y = 40, .name = name});
    CHECK(other.shape() == picture.shape());
    CHECK(std::memcmp(other.raw(), picture.raw(), static_cast<size_t>(picture.numel())) != 0);
    const Tensor one = attention_picture(*model, input, image, {.x = 10, .y = 20, .head = 1, .block = 0, .panel = 100});
    CHECK(one.size(0) < picture.size(0));

    CHECK(message_of([&] { attention_picture(*model, input, image, {.head = 99}); }).find("there is no head 99") !=
          std::string::npos);
    CHECK(message_of([&] { attention_picture(*model, input, image, {.block = 99}); }).find("there is no block 99") !=
          std::string::npos);
    CHECK(message_of([&] {
            attention_picture(*model, input, image, {.x = 64, .y = 0});
          }).find("the point 64,0 is outside the image of 64 x 48 pixels") != std::string::npos);
    CHECK(message_of([&] {
            attention_picture(*model, randn({32, 32, 3}), image);
          }).find("in the same size") != std::string::npos);
  }
}
