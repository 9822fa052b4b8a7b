// Our side of a case: a step to time, and the numbers that PyTorch must give too.
#pragma once

#include <fmt/core.h>

#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"
#include "atlas/io/formula.h"
#include "atlas/models/presets.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/matmul.h"
#include "atlas/ops/reduce.h"
#include "atlas/optim/adam.h"
#include "atlas/tensor/create.h"

namespace bench {

using atlas::Tensor;

struct Work {
  std::function<void()> step;
  /// Logits of a forward pass; the loss and the norm of every gradient of a training step; or a sample of an op's
  /// result. The first call of a fresh work, so that weights are those of the formula.
  std::function<std::vector<double>()> answer;
  double flops = 0;  ///< of a step; 0: not counted
};

namespace detail {

inline std::vector<double> values(const Tensor& t) {
  const Tensor flat = t.detach().contiguous();
  return {flat.data<float>(), flat.data<float>() + flat.numel()};
}
inline double norm(const Tensor& t) {
  double sum = 0;
  for (const double v : values(t)) sum += v * v;
  return std::sqrt(sum);
}
/// About a thousand elements, evenly spread over the published order.
inline std::vector<double> sample(const Tensor& t) {
  const std::vector<double> all = values(t);
  std::vector<double> some;
  for (size_t i = 0; i < all.size(); i += std::max<size_t>(1, all.size() / 1009)) some.push_back(all[i]);
  return some;
}

}  // namespace detail

/// Forward pass or training step of a preset with the formula's weights and images.
inline Work model_work(const std::string& name, int64_t size, int64_t batch, bool train) {
  const atlas::SkipInit filled_below;
  const std::shared_ptr<atlas::models::Classifier> model =
      atlas::models::make_model(name, {.image_size = size, .overrides = R"({"drop_path_rate": 0})"});
  atlas::io::formula_fill(*model);
  const Tensor images = atlas::io::formula_image(batch, size, size);
  if (!train) {
    model->eval();
    const auto forward = [model, images] {
      const atlas::NoGrad off;
      return (*model)(images);
    };
    return {[forward] { forward(); }, [forward] { return detail::values(forward()); }};
  }
  model->train();
  Tensor labels = atlas::zeros({batch}, atlas::int64);
  for (int64_t i = 0; i < batch; ++i) labels.at<int64_t>({i}) = i % model->num_classes();
  const auto loss_and_gradients = [model, images, labels] {
    const Tensor loss = cross_entropy((*model)(images), labels, 0.1);
    loss.backward();
    return loss;
  };
  const auto optimizer = std::make_shared<atlas::AdamW>(decay_groups(*model, 0.05), atlas::AdamOptions{.lr = 1e-4});
  return {[=] {
            loss_and_gradients();
            optimizer->step();
            optimizer->zero_grad();
          },
          [=] {
            const double loss = loss_and_gradients().item();
            std::map<std::string, double> norms;  // in the order of names
            for (const atlas::StateEntry& e : model->state_entries())
              if (e.is_parameter) norms[e.name] = detail::norm(e.tensor.grad());
            optimizer->zero_grad();
            std::vector<double> all{loss};
            for (const auto& [parameter, size_of_gradient] : norms) all.push_back(size_of_gradient);
            return all;
          }};
}

/// 3x3 convolution of stride 1 with bias on one map; `train` adds the gradients of map, filters and bias.
inline Work conv_work(int64_t channels, int64_t side, bool train) {
  Tensor x = atlas::empty({1, side, side, channels}), w = atlas::empty({channels, 3, 3, channels}),
         b = atlas::io::formula_tensor("b", {channels});
  for (auto [t, t_name, scale] : {std::tuple<Tensor*, const char*, double>{&x, "x", 1},
                                  {&w, "w", std::sqrt(3.0 / static_cast<double>(9 * channels))}}) {
    Tensor published = published_view(*t, atlas::Layout::conv2d);
    atlas::io::formula_fill(published, t_name, {0, scale});
  }
  const auto f = [=] { return conv2d(x, w, b, {.padding = {1, 1}}); };
  const double flops = 18.0 * static_cast<double>(side * side * channels * channels);
  if (!train) {
    const auto forward = [f] {
      const atlas::NoGrad off;
      return f();
    };
    return {[forward] { forward(); },
            [forward] { return detail::sample(published_view(forward(), atlas::Layout::conv2d)); }, flops};
  }
  for (Tensor t : {x, w, b}) t.set_requires_grad();
  const auto gradients = [=] {
    const Tensor y = f();
    return atlas::grad({y}, {x, w, b}, {y.detach()});
  };
  return {[gradients] { gradients(); },
          [gradients] {
            std::vector<double> all;
            for (const Tensor& g : gradients()) all.push_back(detail::norm(g));
            return all;
          },
          3 * flops};
}

/// One of the three products of a linear layer: y = x Wᵀ + b, dx = dy W, dW = dyᵀ x.
inline Work linear_work(int64_t rows, int64_t in, int64_t out, const std::string& kind) {
  using atlas::io::formula_tensor;
  const Tensor x = formula_tensor("x", {rows, in}), w = formula_tensor("w", {out, in}), b = formula_tensor("b", {out}),
               dy = formula_tensor("dy", {rows, out});
  const auto f = [=] {
    const atlas::NoGrad off;
    return kind == "forward" ? linear(x, w, b) : kind == "dx" ? matmul(dy, w) : matmul(dy.transpose(0, 1), x);
  };
  return {[f] { f(); }, [f] { return detail::sample(f()); }, 2.0 * static_cast<double>(rows * in * out)};
}

/// @param words  such as "model atlas-b 1024 1 forward" (see Case)
/// @throws atlas::Error for words that describe no work
inline Work make_work(const std::string& words) {
  std::istringstream in(words);
  std::string kind, name, mode;
  int64_t a = 0, b = 0, c = 0;
  in >> kind;
  if (kind == "model" && in >> name >> a >> b >> mode) return model_work(name, a, b, mode == "train");
  if (kind == "conv" && in >> a >> b >> mode) return conv_work(a, b, mode == "train");
  if (kind == "linear" && in >> a >> b >> c >> mode) return linear_work(a, b, c, mode);
  throw atlas::Error("[bench] no work is called '" + words + "'");
}

}  // namespace bench
