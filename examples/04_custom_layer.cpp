// Your own layer, a small model made of it, and the whole training loop in forty lines.
//
//   04_custom_layer [shapes | fashion-mnist]        default: shapes, drawn by the program itself
//
// A Module registers its parameters and children by name in its constructor and holds them by value. What it gets for
// that: train()/eval(), named_parameters() for the optimizer, state_dict() for files.
#include <fmt/core.h>

#include <cstdio>
#include <string_view>

#include "atlas/atlas.h"
#include "atlas/core/program.h"
#include "atlas/train/progress.h"

using namespace atlas;

namespace {

// [layer]
/// A residual block whose channels weigh themselves (Hu et al., "Squeeze-and-excitation networks", CVPR 2018):
///
///     h = bn(conv(relu(bn(conv(x))))),   y = relu(x + h · sigmoid(W₂ relu(W₁ mean(h))))
///
/// x: [B, H, W, C] -> y: [B, H, W, C]
class GatedBlock : public Module {
 public:
  explicit GatedBlock(int64_t channels)
      : conv1(channels, channels, 3, {.padding = {1, 1}}, false),
        conv2(channels, channels, 3, {.padding = {1, 1}}, false),
        norm1(channels),
        norm2(channels),
        squeeze(channels, channels / 4),
        excite(channels / 4, channels) {
    register_modules({{"conv1", conv1},
                      {"conv2", conv2},
                      {"norm1", norm1},
                      {"norm2", norm2},
                      {"squeeze", squeeze},
                      {"excite", excite}});
  }
  Tensor forward(const Tensor& x) const override {
    const Tensor h = norm2(conv2(relu(norm1(conv1(x)))));
    const Tensor summary = mean(h, {1, 2}, true);                  // [B,1,1,C]
    return relu(x + h * sigmoid(excite(relu(squeeze(summary)))));  // the gate broadcasts over H and W
  }

  Conv2d conv1, conv2;
  BatchNorm2d norm1, norm2;
  Linear squeeze, excite;
};
// [layer]

/// Three halvings of the picture with a block after each, and a linear classifier on the mean of what is left.
class Net : public Module {
 public:
  explicit Net(int64_t classes)
      : stem(3, 16, 3, {.stride = {2, 2}, .padding = {1, 1}}),
        down1(16, 32, 3, {.stride = {2, 2}, .padding = {1, 1}}),
        down2(32, 48, 3, {.stride = {2, 2}, .padding = {1, 1}}),
        block0(16),
        block1(32),
        block2(48),
        head(48, classes) {
    register_modules({{"stem", stem},
                      {"down1", down1},
                      {"down2", down2},
                      {"block0", block0},
                      {"block1", block1},
                      {"block2", block2},
                      {"head", head}});
  }
  Tensor forward(const Tensor& x) const override {
    const Tensor features = block2(down2(block1(down1(block0(stem(x))))));
    return head(mean(features, {1, 2}));
  }

  Conv2d stem, down1, down2;
  GatedBlock block0, block1, block2;
  Linear head;
};

data::DataPair data_set(std::string_view name) {
  if (name == "shapes")
    return {std::make_shared<data::Shapes>(2400, 32, 8, 1), std::make_shared<data::Shapes>(800, 32, 8, 2)};
  return {data::some_of_each_class(data::fashion_mnist(true), 4000),
          data::some_of_each_class(data::fashion_mnist(false), 1000)};
}

void run(std::string_view name) {
  manual_seed(4);
  const data::DataPair set = data_set(name);
  const data::Normalize normalize{{0.5f, 0.5f, 0.5f}, {0.25f, 0.25f, 0.25f}};
  data::Loader train_loader(set.train, {.batch_size = 32, .shuffle = true, .drop_last = true, .workers = 1}, normalize);
  data::Loader test_loader(set.test, {.batch_size = 100}, normalize);

  // [loop]
  Net net(set.train->num_classes());
  AdamW optimizer(decay_groups(net, 0.05));
  const Schedule schedule{.peak = 4e-3, .epochs = 4, .warmup = 0.3};
  fmt::print("{}: {} images of {} classes; the model has {} parameters\n", set.train->name(), set.train->size(),
             set.train->num_classes(), net.parameter_count());
  int64_t update = 0;
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    tasks::RunningMean loss_mean;
    tasks::Accuracy accuracy;
    train::Progress bar(fmt::format("epoch {}/4", epoch + 1), train_loader.batches());
    train_loader.start_epoch(epoch);
    for (data::Batch batch; train_loader.next(batch);) {
      optimizer.set_lr(schedule.lr(update++, train_loader.batches()));
      const Tensor logits = net(batch.images);
      const Tensor loss = cross_entropy(logits, batch.targets["label"], 0.1);
      optimizer.zero_grad();
      loss.backward();
      clip_grad_norm(optimizer, 5);
      optimizer.step();
      loss_mean.add(loss.item());
      accuracy.add(logits, batch.targets["label"]);
      bar.update(batch.number + 1, {.loss = loss_mean.mean(), .measure = accuracy.top1(), .images = accuracy.count()});
    }
    bar.finish();
  }
  // [loop]

  // [evaluation]
  NoGrad guard;
  net.eval();  // batch norm now uses its running statistics
  tasks::ConfusionMatrix confusion(set.test->num_classes());
  test_loader.start_epoch(0);
  for (data::Batch batch; test_loader.next(batch);) confusion.add(net(batch.images), batch.targets["label"]);
  fmt::print("\nOn {} images it has not seen:\n\n{}\n{}", set.test->size(), confusion.class_table(set.test->classes()),
             confusion.matrix_table(set.test->classes()));
  // [evaluation]
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view name = argc > 1 ? argv[1] : "shapes";
  if (argc > 2 || (name != "shapes" && name != "fashion-mnist")) {
    std::fprintf(stderr, "04_custom_layer: usage: 04_custom_layer [shapes | fashion-mnist]\n");
    return 2;
  }
  return run_program("04_custom_layer", [&] {
    run(name);
    return 0;
  });
}
