// Testing a model on a data set, and the pictures and tables that come of it.
#pragma once

#include <string>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/data/feed.h"
#include "atlas/data/plot.h"
#include "atlas/data/select.h"
#include "atlas/models/classifier.h"
#include "atlas/ops/loss.h"
#include "atlas/ops/order.h"
#include "atlas/ops/reduce.h"
#include "atlas/train/diagnose.h"
#include "atlas/train/metrics.h"
#include "atlas/train/progress.h"

namespace atlas::inline ATLAS_ABI::train {

/// What a pass over the test images found.
struct Evaluation {
  RunningMean loss;   ///< cross-entropy without smoothing
  Accuracy accuracy;  ///< top-1 and top-5
  ConfusionMatrix confusion;
  std::vector<int64_t> indices, labels, predictions;  ///< of every image, in the loader's order
  explicit Evaluation(int64_t classes) : confusion(classes) {}
};

/// Runs the model over all batches of `loader` in inference mode (batch statistics and dropout off), and sets it back.
/// @param stop  asked before each batch; true ends the pass early
template <class Stop>
Evaluation evaluate(models::Classifier& model, data::Loader& loader, Progress& progress, const Stop& stop) {
  NoGrad off;
  const bool training = model.training();
  model.eval();
  Evaluation result(model.num_classes());
  data::Feed feed(loader, model.device());
  feed.start_epoch(0);
  for (data::Batch batch; !stop() && feed.next(batch);) {
    // The batch is small after the model: the numbers are made on the host, which waits once for all of them.
    const Tensor logits = on_host(model(batch.images).to(float32)), labels = on_host(batch.targets[data::kLabel]);
    require_finite(model, batch.images, logits);
    result.loss.add(cross_entropy(logits, labels).item(), static_cast<double>(labels.numel()));
    result.accuracy.add(logits, labels);
    result.confusion.add(logits, labels);
    const Tensor best = argmax(logits, 1);
    for (size_t i = 0; i < batch.indices.size(); ++i) {
      result.indices.push_back(batch.indices[i]);
      result.labels.push_back(labels.at<int64_t>({static_cast<int64_t>(i)}));
      result.predictions.push_back(best.at<int64_t>({static_cast<int64_t>(i)}));
    }
    progress.update(
        batch.number + 1,
        {.loss = result.loss.mean(), .accuracy = result.accuracy.top1(), .images = result.accuracy.count()});
  }
  model.train(training);
  return result;
}

/// A picture of test images with what they are and what the model says: every second one a mistake, as far as there are
/// mistakes.
/// @param count  images to show, at most
inline Tensor prediction_sheet(const data::Dataset& set, const Evaluation& result, int64_t count,
                               const std::string& title) {
  std::vector<size_t> right, wrong, chosen;
  for (size_t i = 0; i < result.indices.size(); ++i)
    (result.labels[i] == result.predictions[i] ? right : wrong).push_back(i);
  // Of all classes alike, whatever the order of the set.
  const auto pick = [&](const std::vector<size_t>& from, size_t n) {
    std::vector<int64_t> classes;
    for (const size_t i : from) classes.push_back(result.labels[i]);
    for (const int64_t i : data::choose_evenly(classes, static_cast<int64_t>(n)))
      chosen.push_back(from[static_cast<size_t>(i)]);
  };
  const size_t wanted = static_cast<size_t>(count), mistakes = std::min(wrong.size(), wanted / 2);
  pick(right, wanted - mistakes);
  pick(wrong, wanted - std::min(right.size(), wanted - mistakes));
  std::sort(chosen.begin(), chosen.end());
  std::vector<data::Tile> tiles;
  const auto class_name = [&](int64_t c) { return set.classes()[static_cast<size_t>(c)]; };
  for (size_t i : chosen) {
    const data::Sample sample = set.get(result.indices[i]);
    if (sample.image.defined())
      tiles.push_back(data::prediction_tile(sample.image, class_name(label_of(sample)), class_name(result.predictions[i])));
  }
  return data::contact_sheet(tiles, 8, title);
}

}  // namespace atlas::inline ATLAS_ABI::train
