// Our side of the cases of segmentation and detection: models, RoIAlign, NMS, and the load of an annotation file.
#pragma once

#include <fmt/core.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "atlas/data/coco.h"
#include "atlas/models/heads/detect.h"
#include "atlas/models/heads/segment.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/boxes.h"
#include "atlas/ops/roi_align.h"
#include "atlas/tasks/segmentation.h"
#include "work.h"

namespace bench {

namespace detail {

/// A model without chance: no drop path, no dropout.
template <class M>
std::shared_ptr<M> dense_model(const std::string& name, int64_t height, int64_t width, const std::string& options) {
  const atlas::SkipInit filled_below;
  std::shared_ptr<atlas::models::Model> model =
      atlas::models::make_any_model(name, {.image_size = std::max(height, width), .overrides = options});
  atlas::io::formula_fill(*model);
  const auto wanted = std::dynamic_pointer_cast<M>(model);
  atlas::check(wanted != nullptr, "bench", "{} is made for {}", name, model->task());
  return wanted;
}

/// A training step of a model whose loss has parts: the answer is the parts, their sum and the norm of every gradient.
template <class M, class Losses>
Work training_work(const std::shared_ptr<M>& model, const Losses& losses) {
  const auto backward = [losses] {
    std::vector<double> parts;
    Tensor all;
    for (const auto& [name, part] : losses()) {
      parts.push_back(part.item());
      all = all.defined() ? all + part : part;
    }
    all.backward();
    parts.push_back(all.item());
    return parts;
  };
  const auto optimizer = std::make_shared<atlas::AdamW>(decay_groups(*model, 0.05), atlas::AdamOptions{.lr = 1e-4});
  return {[=] {
            backward();
            optimizer->step();
            optimizer->zero_grad();
          },
          [=] {
            std::vector<double> all = backward();
            double sum = 0;
            for (const auto& [name, p] : model->named_parameters())
              if (p.grad().defined()) sum += std::pow(bench::detail::norm(p.grad()), 2);
            optimizer->zero_grad();
            all.push_back(std::sqrt(sum));
            return all;
          }};
}

/// Regions of an image of 4 S x 4 S pixels, and boxes with scores, by the formula; many overlap.
inline Tensor formula_boxes(int64_t count, double side) {
  const Tensor at = atlas::io::formula_tensor("at", {count, 2}), size = atlas::io::formula_tensor("size", {count, 2});
  Tensor boxes = atlas::empty({count, 4});
  for (int64_t i = 0; i < count; ++i)
    for (int64_t k = 0; k < 2; ++k) {
      const double low = (static_cast<double>(at.at<float>({i, k})) + 1) / 2 * side * 0.7,
                   length = 8 + (static_cast<double>(size.at<float>({i, k})) + 1) / 2 * side * 0.25;
      boxes.at<float>({i, k}) = static_cast<float>(low);
      boxes.at<float>({i, k + 2}) = static_cast<float>(low + length);
    }
  return boxes;
}

}  // namespace detail

/// Segmentation: the class of every pixel, or a training step on labels in squares of 16 pixels.
inline Work segment_work(const std::string& name, int64_t height, int64_t width, bool train) {
  using atlas::models::Segmenter;
  const auto model = detail::dense_model<Segmenter>(name, height, width, R"({"drop_path_rate": 0, "dropout": 0})");
  const int64_t batch = train ? 2 : 1;  // batch norm of the map that is pooled to a pixel needs two values
  const Tensor images = atlas::io::formula_image(batch, height, width);
  if (!train) {
    model->eval();
    return {[=] {
              const atlas::NoGrad off;
              model->predict(images, height, width);
            },
            [=] {
              const atlas::NoGrad off;
              return detail::sample(published_view((*model)(images), atlas::Layout::conv2d));
            }};
  }
  model->train();
  const int64_t classes = model->num_classes();
  Tensor labels = atlas::zeros({batch, height, width}, atlas::int64);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t b = 0; b < batch; ++b) labels.at<int64_t>({b, y, x}) = (y / 16 + x / 16) % classes;
  atlas::data::Targets targets;
  targets.set(atlas::data::kMask, {atlas::data::TargetKind::mask, labels});
  const auto task = std::make_shared<atlas::tasks::Segmentation>(
      std::vector<std::string>(static_cast<size_t>(classes), "x"), atlas::tasks::SegmentationOptions{});
  return detail::training_work(model, [=] { return task->loss(task->outputs(*model, images, targets), targets); });
}

/// Detection: what is in an image, or a training step on eight objects whose masks are their boxes.
inline Work detect_work(const std::string& name, int64_t height, int64_t width, bool train) {
  using atlas::models::Detector;
  const auto model = detail::dense_model<Detector>(name, height, width, R"({"drop_path_rate": 0})");
  const Tensor images = atlas::io::formula_image(1, height, width);
  const std::vector<atlas::models::ImageSize> sizes{{height, width}};
  if (!train) {
    model->eval();
    return {[=] {
              const atlas::NoGrad off;
              model->predict(images, sizes, sizes);
            },
            [=] {
              const atlas::NoGrad off;
              atlas::models::DetectionTrace trace;
              model->predict(images, sizes, sizes, &trace);
              std::vector<double> all;
              for (int i = 0; i < 5; ++i) {
                all.push_back(detail::norm(trace.at(fmt::format("rpn{}.logits", i))));
                all.push_back(detail::norm(trace.at(fmt::format("rpn{}.deltas", i))));
              }
              return all;
            }};
  }
  model->train();
  atlas::models::ObjectTruth truth{atlas::empty({8, 4}), atlas::zeros({8}, atlas::int64),
                                   atlas::zeros({8, height, width}, atlas::uint8)};
  for (int64_t i = 0; i < 8; ++i) {
    const int64_t left = i * width / 10, top = i * height / 12, w = width / 8 + 4 * i, h = height / 6 + 8 * i;
    const std::array<int64_t, 4> box{left, top, left + w, top + h};
    for (int64_t k = 0; k < 4; ++k) truth.boxes.at<float>({i, k}) = static_cast<float>(box[static_cast<size_t>(k)]);
    truth.labels.at<int64_t>({i}) = i % model->num_classes();
    for (int64_t y = top; y < std::min(top + h, height); ++y)
      for (int64_t x = left; x < std::min(left + w, width); ++x) truth.masks.at<uint8_t>({i, y, x}) = 1;
  }
  return detail::training_work(model, [=] { return model->losses(images, {truth}, sizes, nullptr); });
}

/// RoIAlign of `rois` regions to 7 x 7, from a map of side x side; `train` adds the map's gradient.
inline Work roi_align_work(int64_t channels, int64_t side, int64_t rois, bool train) {
  Tensor map = atlas::empty({1, side, side, channels});
  Tensor published = published_view(map, atlas::Layout::conv2d);
  atlas::io::formula_fill(published, "map", {0, 1});
  const Tensor boxes = detail::formula_boxes(rois, 4.0 * static_cast<double>(side));
  Tensor regions = atlas::zeros({rois, 5});
  for (int64_t i = 0; i < rois; ++i)
    for (int64_t k = 0; k < 4; ++k) regions.at<float>({i, k + 1}) = boxes.at<float>({i, k});
  if (train) map.set_requires_grad();
  const auto f = [=] { return roi_align(map, regions, 7, 0.25); };
  if (!train) {
    const auto forward = [f] {
      const atlas::NoGrad off;
      return f();
    };
    return {[forward] { forward(); },
            [forward] { return detail::sample(published_view(forward(), atlas::Layout::conv2d)); }};
  }
  const auto gradient = [=] {
    const Tensor y = f();
    return atlas::grad({y}, {map}, {y.detach()})[0];
  };
  return {[gradient] { gradient(); }, [gradient] { return std::vector<double>{detail::norm(gradient())}; }};
}

/// Suppression among `count` boxes.
inline Work nms_work(int64_t count) {
  const Tensor boxes = detail::formula_boxes(count, 1000), scores = atlas::io::formula_tensor("score", {count});
  const auto f = [=] { return nms(boxes, scores, 0.5); };
  return {[f] { f(); },
          [f] {
            std::vector<double> kept;
            for (const int64_t i : to_vector<int64_t>(f())) kept.push_back(static_cast<double>(i));
            return kept;
          }};
}

/// The load of an annotation file as large as that of COCO's validation half: images, objects with polygons.
inline Work coco_work(int64_t images, int64_t objects) {
  const std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("atlas-bench-coco-{}-{}.json", images, objects)).string();
  if (!std::filesystem::exists(path)) {
    std::ofstream out(path + ".part");
    out << R"({"info": {"year": 2017}, "images": [)";
    for (int64_t i = 0; i < images; ++i)
      out << fmt::format(
          R"({}{{"license": 4, "file_name": "{:012}.jpg", "coco_url": "http://images.example.org/{:012}.jpg", "height": 480, "width": 640, "date_captured": "2013-11-14 17:02:52", "id": {}}})",
          i > 0 ? ", " : "", i, i, i);
    out << R"(], "annotations": [)";
    for (int64_t k = 0; k < objects; ++k) {
      const int64_t x = k * 37 % 500, y = k * 53 % 400;
      std::string polygon;
      for (int64_t p = 0; p < 24; ++p)
        polygon += fmt::format("{}{}.{:02}, {}.{:02}", p > 0 ? ", " : "", x + 5 * p, k % 100, y + 3 * (p % 12), p);
      out << fmt::format(
          R"({}{{"segmentation": [[{}]], "area": {}.25, "iscrowd": {}, "image_id": {}, "bbox": [{}, {}, 120.5, 40.25], "category_id": {}, "id": {}}})",
          k > 0 ? ", " : "", polygon, 4000 + k % 100, k % 80 == 79 ? 1 : 0, k * images / objects, x, y, k % 80 + 1, k);
    }
    out << R"(], "categories": [)";
    for (int c = 1; c <= 80; ++c) out << fmt::format(R"({}{{"id": {}, "name": "class {}"}})", c > 1 ? ", " : "", c, c);
    out << "]}";
    out.close();
    atlas::check(out.good(), "bench", "cannot write {}", path);
    std::filesystem::rename(path + ".part", path);
  }
  return {
      [path] { atlas::data::read_coco(path); },
      [path] {
        const atlas::data::CocoFile file = atlas::data::read_coco(path);
        return std::vector<double>{static_cast<double>(file.images.size()), static_cast<double>(file.objects.size())};
      }};
}

/// @param words  such as "segment upernet-mambavision-t 512 2048 forward" (height, width), "roi_align 256 200 1000
///               forward" (channels, side, regions), "nms 2000", "coco 5000 36781" (images, objects)
/// @return whether they describe such work, which is then in `work`
inline bool make_dense_work(const std::string& words, Work& work) {
  std::istringstream in(words);
  std::string kind, name, mode;
  int64_t a = 0, b = 0, c = 0;
  in >> kind;
  if (kind == "segment" && in >> name >> a >> b >> mode)
    work = segment_work(name, a, b, mode == "train");
  else if (kind == "detect" && in >> name >> a >> b >> mode)
    work = detect_work(name, a, b, mode == "train");
  else if (kind == "roi_align" && in >> a >> b >> c >> mode)
    work = roi_align_work(a, b, c, mode == "train");
  else if (kind == "nms" && in >> a)
    work = nms_work(a);
  else if (kind == "coco" && in >> a >> b)
    work = coco_work(a, b);
  else
    return false;
  return true;
}

}  // namespace bench
