// Starting from weights that exist: heads are replaced or kept, frozen parts stay as they were, groups learn at their
// own rate.
#include "atlas/train/start.h"

#include <doctest/doctest.h>

#include "atlas/autograd/backward.h"
#include "atlas/core/rng.h"
#include "atlas/io/safetensors.h"
#include "atlas/models/presets.h"
#include "atlas/nn/init.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/loss.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "atlas/train/setup.h"
#include "atlas/train/trained_model.h"
#include "tests/compare.h"
#include "tests/data/data_test.h"
#include "tests/source_dir.h"

using namespace atlas;
using namespace atlas::train;
using atlas_test::message_of;
using atlas_test::Scratch;
using test::same_bits;

namespace {

std::map<std::string, Tensor> snapshot(const Module& m) {
  std::map<std::string, Tensor> all;
  for (const auto& [name, t] : m.state_dict()) all[name] = copy_of(t);
  return all;
}

}  // namespace

TEST_CASE("weights without and with their head") {
  const Scratch scratch;
  for (const char* name : {"atlas-toy", "mambavision-toy"}) {
    CAPTURE(std::string(name));
    manual_seed(1);
    const auto teacher = models::make_model(name, {.num_classes = 7});
    io::save_safetensors(scratch / "w.safetensors", teacher->state_dict());
    CHECK(classes_in(scratch / "w.safetensors", teacher->head_name()) == 7);
    CHECK(classes_in(scratch / "w.safetensors", "head.fc") == 0);
    const std::string head = teacher->head_name() + ".weight";

    manual_seed(2);
    for (const int64_t classes : {3, 7}) {  // the head is fresh also where the old one would fit
      const auto model = models::make_model(name, {.num_classes = classes});
      const Tensor fresh = copy_of(model->state_dict().at(head));
      load_weights(*model, scratch / "w.safetensors", {.head = false});
      for (const auto& [key, t] : model->state_dict())
        CHECK(same_bits(t, key == head                                 ? fresh
                           : key.starts_with(model->head_name() + ".") ? t
                                                                       : teacher->state_dict().at(key)));
    }
    const auto model = models::make_model(name, {.num_classes = 7});
    load_weights(*model, scratch / "w.safetensors");
    CHECK(same_bits(model->state_dict().at(head), teacher->state_dict().at(head)));

    const auto other = models::make_model(name, {.num_classes = 3});
    const auto before = snapshot(*other);
    const std::string message = message_of([&] { load_weights(*other, scratch / "w.safetensors"); });
    CHECK(message.find("w.safetensors") != std::string::npos);
    CHECK(message.find(head + " tells 7 classes apart, the model 3") != std::string::npos);
    for (const auto& [key, t] : other->state_dict()) CHECK(same_bits(t, before.at(key)));
  }
}

TEST_CASE("files of other programs: prefixes, layers nobody uses, averaged weights, other classes") {
  const Scratch scratch;
  manual_seed(1);
  const auto teacher = models::make_model("atlas-toy", {.num_classes = 7});
  StateDict dict;
  for (const auto& [name, t] : teacher->state_dict()) dict["module." + name] = t;
  dict["module.atlas_models.0.head.weight"] = zeros({1000, 4});  // carried by the authors' files, never used
  dict["module.atlas_models.0.norm.weight"] = zeros({4});
  io::save_safetensors(scratch / "w.safetensors", dict);
  CHECK(classes_in(scratch / "w.safetensors", teacher->head_name()) == 7);
  const auto model = models::make_model("atlas-toy", {.num_classes = 7});
  CHECK(load_weights(*model, scratch / "w.safetensors") ==
        "the model has no place for 2 of the file's tensors: module.atlas_models.0.head.weight, "
        "module.atlas_models.0.norm.weight");
  for (const auto& [key, t] : model->state_dict()) CHECK(same_bits(t, teacher->state_dict().at(key)));
  const auto fewer = models::make_model("atlas-toy", {.num_classes = 2});
  CHECK(load_weights(*fewer, scratch / "w.safetensors", {.head = false}) ==
        "the head of 7 classes is left out; the model has no place for 2 of the file's tensors: "
        "module.atlas_models.0.head.weight, module.atlas_models.0.norm.weight");

  // What a detector's or segmenter's heads have many tensors of is no number of classes.
  for (const auto& [name, text] :
       {std::pair{"cascade-mask-rcnn-mambavision-toy", "what it has of roi_head is left out"},
        {"upernet-mambavision-toy", "what it has of decode_head, auxiliary_head is left out"}}) {
    const auto dense = models::make_any_model(name, {.num_classes = 3});
    io::save_safetensors(scratch / "dense.safetensors", dense->state_dict());
    CHECK(load_weights(*models::make_any_model(name, {.num_classes = 5}), scratch / "dense.safetensors",
                       {.head = false}) == text);
  }

  ModelSource s;
  s.model = "mambavision-t";
  s.model_options =
      R"({"dim": 8, "in_dim": 4, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": [8, 8, 4, 2]})";
  s.weights = test::source_dir() + "/tests/golden/checkpoints/timm_style.pth.tar";
  const TrainedModel opened = open_model(s);
  CHECK(opened.model->num_classes() == 3);
  CHECK(opened.notes.empty());
  s.ema = true;
  CHECK(message_of([&] { open_model(s); }).find("timm_style.pth.tar holds no averaged weights") != std::string::npos);
  s.ema = false;
  s.model = "atlas-toy";
  s.model_options.clear();
  CHECK(message_of([&] { open_model(s); })
            .find("does not fit the model: [weights] none of its tensors has a name of "
                  "this model's") != std::string::npos);
}

TEST_CASE("frozen parts do not move, whatever train() says") {
  for (const auto& [name, parts_, start] :
       {std::tuple<const char*, const char*, const char*>{"mambavision-toy", "stem, 0,1", "levels.2."},
        {"mambavision-toy", "stem,levels.0.blocks", "levels.0.downsample."},
        {"mambavision-toy", "backbone", "head."},
        {"atlas-toy", "stem,0", "atlas_models.1."},
        {"atlas-toy", "backbone", "fc."}}) {
    const auto& parts = parts_;  // clang below 16 captures no structured binding
    CAPTURE(std::string(parts));
    manual_seed(3);
    const auto model = models::make_model(name);
    freeze_parts(*model, parts);
    model->train();
    CHECK(model->training());
    TrainConfig c;
    c.optimization.lr = 0.1;
    const auto optimizer = make_optimizer(c, *model);
    const auto before = snapshot(*model);
    Tensor target = zeros({4}, int64);
    backward(cross_entropy((*model)(randn({4, 32, 32, 3})), target));
    optimizer->step();
    int64_t moved = 0;
    bool reached = false;
    for (const auto& [key, t] : model->state_dict()) {
      if (same_bits(t, before.at(key))) continue;
      ++moved;
      reached = reached || key.starts_with(start);
      for (const StateEntry& e : model->state_entries())
        if (e.name == key && e.is_parameter) CHECK(e.tensor.requires_grad());
      CHECK_FALSE(key.starts_with(model->parts()[0].second + "."));  // the stem, its running statistics too
    }
    CHECK(reached);
    CHECK(moved > 0);
    if (std::string(parts) == "backbone") CHECK(moved <= 2);
  }
  const auto model = models::make_model("atlas-toy");
  CHECK(message_of([&] {
          freeze_parts(*model, "stem,7");
        }).find("'7' is no part of this model; there are stem, 0, 1, backbone") != std::string::npos);
  freeze_parts(*model, "");
  CHECK(parameter_groups({}, *model).size() == 2);
}

TEST_CASE("the backbone learns at its own rate") {
  const auto model = models::make_model("mambavision-toy");
  TrainConfig c;
  c.optimization.backbone_lr_scale = 0.1;
  size_t count = 0;
  for (const ParameterGroup& group : parameter_groups(c, *model)) {
    for (const Parameter& p : group.parameters) {
      CHECK(group.lr_scale == (p.name.starts_with("head.") ? 1 : 0.1));
      CHECK(group.weight_decay == (p.value.dim() >= 2 ? c.optimization.weight_decay : 0));
      ++count;
    }
  }
  CHECK(count == model->named_parameters().size());
}

TEST_CASE("a model out of a weights file: classes, names and contradictions") {
  const Scratch scratch;
  manual_seed(4);
  const auto model = models::make_model("mambavision-toy", {.num_classes = 3});
  const std::string file = scratch / "w.safetensors";
  io::save_safetensors(file, model->state_dict());
  const auto text = [&](const char* name, const std::string& content) {
    return scratch.write(name, {content.begin(), content.end()});
  };
  ModelSource s;
  s.model = "mambavision-toy";
  s.weights = file;
  CHECK(open_model(s).classes == std::vector<std::string>{"class 0", "class 1", "class 2"});
  s.classes = text("three.txt", "cat\r\nbig dog\n\"bird\"\n\n");
  const TrainedModel opened = open_model(s);
  CHECK(opened.classes == std::vector<std::string>{"cat", "big dog", "\"bird\""});
  CHECK_FALSE(opened.model->training());
  Tensor picture = zeros({40, 50, 3}, uint8);
  const auto guesses = best_guesses(opened.classify(picture), 5);
  REQUIRE(guesses.size() == 3);
  CHECK(guesses[0].probability >= guesses[1].probability);
  CHECK(to_json("a\"\\\xFF", {{2, 0.5}}, opened.classes) ==
        "{\"file\":\"a\\\"\\\\\xEF\xBF\xBD\",\"top\":[{\"class\":2,\"name\":\"\\\"bird\\\"\",\"probability\":0.5}]}");
  s.classes = text("two.txt", "cat\ndog\n");
  CHECK(message_of([&] { open_model(s); }).find("two.txt holds 2 names, but the model tells 3 classes apart") !=
        std::string::npos);
  s.classes.clear();
  s.model_options = text("options.json", R"({"dim": 8})");
  CHECK(message_of([&] { open_model(s); }).find("does not fit the model") != std::string::npos);
  s.model_options.clear();
  for (const char* size : {"0", "12x", "x", "-5", "big", "3.5"}) {
    s.image_size = size;
    CHECK(message_of([&] { open_model(s); }).find("is no size: write 384, 640x480 or native") != std::string::npos);
  }
  s.image_size = "50x20";
  data::Rng rng(0, data::Purpose::sample, 0, 0);
  CHECK(open_model(s).transform(picture, rng).shape() == Shape{20, 50, 3});
  s.checkpoint = "run/best.ckpt";
  CHECK(message_of([&] { open_model(s); }).find("leave --model out") != std::string::npos);
  CHECK(message_of([] { open_model({}); }).find("name a model with --checkpoint FILE") != std::string::npos);
}
