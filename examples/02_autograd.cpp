// Gradients: fit a line by hand, then a two-layer network to two spirals, and draw what it has learnt.
//
//   02_autograd [FILE.png]        default: spirals.png, the plane colored by what the network says
//
// Ops on tensors that require a gradient are recorded; backward() walks the record in reverse and leaves d(loss)/d(x)
// in x.grad(). Everything here is plain ops: no layers yet (see 04_custom_layer).
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>
#include <string>

#include "atlas/atlas.h"
#include "atlas/core/program.h"
#include "atlas/data/canvas.h"

using namespace atlas;

namespace {

void fit_a_line() {
  fmt::print("A line through noisy points of y = 2 x - 1\n");
  // [line]
  manual_seed(1);
  const Tensor x = uniform({100}, -1, 1);
  const Tensor y = 2 * x - 1 + 0.1 * randn({100});
  Tensor slope = zeros({}).set_requires_grad();
  Tensor offset = zeros({}).set_requires_grad();
  for (int step = 0; step <= 60; ++step) {
    const Tensor loss = mean(square(slope * x + offset - y));
    slope.zero_grad();
    offset.zero_grad();
    loss.backward();
    if (step % 20 == 0)
      fmt::print("  step {:2}  loss {:.4f}  y = {:.3f} x {:+.3f}   (d loss / d slope = {:+.4f})\n", step, loss.item(),
                 slope.item(), offset.item(), slope.grad().item());
    NoGrad guard;  // the update itself is not part of the graph
    slope.add_(slope.grad(), -0.3);
    offset.add_(offset.grad(), -0.3);
  }
  // [line]
}

/// Points of two arms that wind around each other: [n,2], and the arm of each: [n].
std::pair<Tensor, Tensor> spirals(int64_t n) {
  Tensor points = empty({n, 2}), arms = empty({n}, int64);
  const Tensor noise = 0.03 * randn({n, 2});
  for (int64_t i = 0; i < n; ++i) {
    const int64_t arm = i % 2;
    const double t = static_cast<double>(i) / static_cast<double>(n);
    const double angle = 3.5 * std::numbers::pi * t + std::numbers::pi * static_cast<double>(arm),
                 radius = 0.1 + 0.85 * t;
    points.at<float>({i, 0}) = static_cast<float>(radius * std::cos(angle)) + noise.at<float>({i, 0});
    points.at<float>({i, 1}) = static_cast<float>(radius * std::sin(angle)) + noise.at<float>({i, 1});
    arms.at<int64_t>({i}) = arm;
  }
  return {points, arms};
}

/// Two layers, as four tensors and a formula.
struct Network {
  static constexpr int64_t kHidden = 64;
  // Wide first weights, so that the folds of the hidden layer are spread over the plane.
  Tensor w1 = 4 * randn({kHidden, 2}), b1 = 2 * randn({kHidden}), w2 = 0.1 * randn({2, kHidden}), b2 = zeros({2});

  NamedTensors parameters() {
    for (Tensor* t : {&w1, &b1, &w2, &b2}) t->set_requires_grad();
    return {{"w1", w1}, {"b1", b1}, {"w2", w2}, {"b2", b2}};
  }
  Tensor operator()(const Tensor& x) const { return linear(tanh(linear(x, w1, b1)), w2, b2); }  // [n,2] -> [n,2]
};

double accuracy(const Network& net, const Tensor& points, const Tensor& arms) {
  NoGrad guard;
  tasks::Accuracy a;
  a.add(net(points), arms);
  return a.top1();
}

/// The plane from -1.2 to 1.2, colored by the probability of each arm, with the points on it.
void draw(const Network& net, const Tensor& points, const Tensor& arms, const std::string& file) {
  constexpr int64_t kSide = 480;
  NoGrad guard;
  Tensor plane = empty({kSide * kSide, 2});
  for (int64_t i = 0; i < kSide * kSide; ++i) {
    plane.at<float>({i, 0}) = 2.4f * (static_cast<float>(i % kSide) + 0.5f) / kSide - 1.2f;
    plane.at<float>({i, 1}) = 1.2f - 2.4f * (static_cast<float>(i / kSide) + 0.5f) / kSide;
  }
  const Tensor p = softmax(net(plane), -1);
  constexpr data::Color kColors[2] = {{230, 119, 0}, {24, 100, 171}};
  data::Canvas canvas(kSide, kSide);
  for (int64_t i = 0; i < kSide * kSide; ++i) {
    const double blue = static_cast<double>(p.at<float>({i, 1}));
    canvas.blend(i % kSide, i / kSide, kColors[blue > 0.5 ? 1 : 0], 0.15 + 0.6 * std::abs(2 * blue - 1));
  }
  for (int64_t i = 0; i < points.size(0); ++i) {
    const double x = (static_cast<double>(points.at<float>({i, 0})) + 1.2) / 2.4 * kSide;
    const double y = (1.2 - static_cast<double>(points.at<float>({i, 1}))) / 2.4 * kSide;
    canvas.dot(x, y, 4, data::kWhite);
    canvas.dot(x, y, 3, kColors[arms.at<int64_t>({i})]);
  }
  data::write_png(file, canvas.image());
}

void learn_spirals(const std::string& file) {
  fmt::print("\nTwo spirals, which no straight line can part\n");
  manual_seed(2);
  const auto [points, arms] = spirals(400);
  const auto [test_points, test_arms] = spirals(400);  // the same arms with other noise
  // [network]
  Network net;
  AdamW optimizer(decay_groups(net.parameters(), 1e-3));
  const Schedule schedule{.peak = 0.03, .epochs = 600, .warmup = 20};
  for (int step = 0; step <= 600; ++step) {
    optimizer.set_lr(schedule.at(step));
    const Tensor loss = cross_entropy(net(points), arms);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    if (step % 100 == 0)
      fmt::print("  step {:3}  loss {:.4f}  accuracy {:5.1f} %\n", step, loss.item(),
                 100 * accuracy(net, points, arms));
  }
  // [network]
  fmt::print("  on new points: {:.1f} %\n", 100 * accuracy(net, test_points, test_arms));
  draw(net, points, arms, file);
  fmt::print("  the plane as the network sees it: {}\n", file);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
    std::fprintf(stderr, "02_autograd: usage: 02_autograd [FILE.png]\n");
    return 2;
  }
  return run_program("02_autograd", [&] {
    if (argc > 1) data::check_png_name(argv[1]);
    fit_a_line();
    learn_spirals(argc > 1 ? argv[1] : "spirals.png");
    return 0;
  });
}
