#include "atlas/autograd/node.h"
#include "atlas/core/rng.h"
#include "atlas/tensor/create.h"
// pooled_features: the vector that the head reads, with the maps that feature_maps() gives.
#include "tests/models/golden_state.h"

using namespace atlas;
using models::make_model;

TEST_CASE("the head of the pooled features gives the logits, the maps come along") {
  manual_seed(1);
  for (const char* name : {"atlas-tiny", "mambavision-toy"}) {
    const auto model = make_model(name);
    model->eval();
    const NoGrad off;
    const Tensor images = randn({2, 44, 36, 3});
    std::vector<Tensor> maps;
    const Tensor features = model->pooled_features(images, &maps);
    CHECK(features.dim() == 2);
    CHECK(golden::largest_difference(features, model->pooled_features(images)) == 0);
    for (const auto& [path, module] : model->named_modules())
      if (path == model->head_name()) CHECK(golden::largest_difference((*module)(features), (*model)(images)) == 0);
    const std::vector<Tensor> alone = model->feature_maps(images);
    REQUIRE(maps.size() == alone.size());
    for (size_t i = 0; i < maps.size(); ++i) CHECK(golden::largest_difference(maps[i], alone[i]) == 0);
    // Every part has a module of its own.
    for (const auto& [part, path] : model->parts()) {
      int found = 0;
      for (const auto& [at, module] : model->named_modules()) found += at == path ? 1 : 0;
      CHECK(found == 1);
    }
  }
}
