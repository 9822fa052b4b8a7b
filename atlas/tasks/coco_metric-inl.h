// Bodies of coco_metric.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>

#include "atlas/core/parallel.h"
#include "atlas/tasks/coco_metric.h"

namespace atlas::inline ATLAS_ABI::tasks {

namespace detail {

// Products are rounded before anything is added: overlaps are compared with thresholds, and a fused multiply-add would
// differ from pycocotools in the last bit.
inline double rounded(double a, double b) { return data::detail::rounded_product(a, b); }

inline std::array<double, 10> coco_ious() {
  std::array<double, 10> all{};
  const double step = (0.95 - 0.5) / 9;
  for (size_t i = 0; i < 10; ++i) all[i] = i == 9 ? 0.95 : rounded(static_cast<double>(i), step) + 0.5;
  return all;
}
inline constexpr std::array<std::array<double, 2>, 4> kCocoAreas = {
    {{0, 1e10}, {0, 32 * 32}, {32 * 32, 96 * 96}, {96 * 96, 1e10}}};
inline constexpr std::array<size_t, 3> kCocoLimits = {1, 10, 100};

inline double coco_size(const CocoObject& o, CocoShape shape) {
  return shape == CocoShape::mask ? static_cast<double>(o.mask.area()) : rounded(o.box[2], o.box[3]);
}
/// False for truths that are neither right nor wrong to find.
inline bool coco_counts(const CocoObject& truth, CocoShape shape) {
  return !truth.crowd && (shape == CocoShape::box || truth.mask.height > 0);
}
/// Against a crowd the union is the detection alone. A truth without a mask is compared by its box.
inline double coco_iou(const CocoObject& found, const CocoObject& truth, CocoShape shape) {
  if (truth.mask.height == 0) shape = CocoShape::box;
  double inter = 0;
  if (shape == CocoShape::mask) {
    inter = static_cast<double>(data::rle_intersection(found.mask, truth.mask));
  } else {
    const auto &d = found.box, &t = truth.box;
    const double w = std::min(d[0] + d[2], t[0] + t[2]) - std::max(d[0], t[0]);
    const double h = std::min(d[1] + d[3], t[1] + t[3]) - std::max(d[1], t[1]);
    inter = rounded(std::max(w, 0.0), std::max(h, 0.0));
  }
  if (!(inter > 0)) return 0;
  const double own = coco_size(found, shape);
  return inter / (truth.crowd ? own : own + coco_size(truth, shape) - inter);
}

/// One image and category: what was found, best first, and how it overlaps with what is there.
struct CocoPair {
  std::vector<const CocoObject*> truths, found;
  std::vector<double> iou, sizes;  // [found, truths], [found]
};
/// What became of the found ones at one IoU.
struct CocoMatch {
  std::vector<char> hit, ignored;  // [10, found]
  int64_t counted = 0;             // truths that count
};

inline CocoMatch coco_match(const CocoPair& pair, const std::array<double, 2>& area, CocoShape shape) {
  const size_t truths = pair.truths.size(), found = pair.found.size();
  // Crowds, truths of other sizes and without masks are ignored: finding one is neither right nor wrong. They come
  // last.
  std::vector<size_t> order;
  std::vector<char> skip;
  for (const bool ignored : {false, true})
    for (size_t t = 0; t < truths; ++t) {
      const CocoObject& o = *pair.truths[t];
      if ((!coco_counts(o, shape) || !(area[0] <= o.area && o.area <= area[1])) != ignored) continue;
      order.push_back(t);
      skip.push_back(ignored ? 1 : 0);
    }
  CocoMatch m{std::vector<char>(10 * found, 0), std::vector<char>(10 * found, 0)};
  for (const char s : skip) m.counted += s == 0 ? 1 : 0;
  const std::array<double, 10> ious = coco_ious();
  std::vector<char> taken(truths);
  for (size_t i = 0; i < 10; ++i) {
    std::fill(taken.begin(), taken.end(), char{0});
    for (size_t d = 0; d < found; ++d) {
      double best = std::min(ious[i], 1 - 1e-10);
      size_t at = truths;
      for (size_t k = 0; k < truths; ++k) {
        const size_t t = order[k];
        if (taken[k] != 0 && !pair.truths[t]->crowd) continue;
        if (at < truths && skip[at] == 0 && skip[k] != 0) break;
        if (const double iou = pair.iou[d * truths + t]; iou >= best) best = iou, at = k;  // equal: the later
      }
      const size_t cell = i * found + d;
      if (at < truths) {
        taken[at] = 1;
        m.hit[cell] = 1;
        m.ignored[cell] = skip[at];
      } else if (pair.sizes[d] < area[0] || pair.sizes[d] > area[1]) {
        m.ignored[cell] = 1;
      }
    }
  }
  return m;
}

/// Precision and recall of one category, area range and limit, written into the tables.
inline void coco_accumulate(const std::vector<CocoPair>& pairs, const std::vector<CocoMatch>& matches, size_t k,
                            size_t a, size_t l, CocoResult& result) {
  int64_t counted = 0;
  struct Entry {
    double score;
    size_t pair, at;
  };
  std::vector<Entry> all;
  for (size_t p = 0; p < pairs.size(); ++p) {
    counted += matches[p].counted;
    for (size_t d = 0; d < std::min(pairs[p].found.size(), kCocoLimits[l]); ++d)
      all.push_back({pairs[p].found[d]->score, p, d});
  }
  if (counted == 0) return;
  std::stable_sort(all.begin(), all.end(), [](const Entry& x, const Entry& y) { return x.score > y.score; });
  const size_t categories = result.categories.size();
  std::vector<double> recall, precision;
  for (size_t i = 0; i < 10; ++i) {
    recall.clear(), precision.clear();
    double right = 0, wrong = 0;
    for (const Entry& e : all) {
      const size_t cell = i * pairs[e.pair].found.size() + e.at;
      const bool hit = matches[e.pair].hit[cell] != 0;
      if (matches[e.pair].ignored[cell] == 0) (hit ? right : wrong) += 1;
      recall.push_back(right / static_cast<double>(counted));
      precision.push_back(right / (right + wrong + 0x1p-52));
    }
    result.recall[((i * categories + k) * 4 + a) * 3 + l] = recall.empty() ? 0 : recall.back();
    for (size_t j = precision.size(); j-- > 1;) precision[j - 1] = std::max(precision[j - 1], precision[j]);
    for (size_t r = 0; r < 101; ++r) {
      const double wanted = r == 100 ? 1 : rounded(static_cast<double>(r), 0.01);
      const auto at = static_cast<size_t>(std::lower_bound(recall.begin(), recall.end(), wanted) - recall.begin());
      result.precision[(((i * 101 + r) * categories + k) * 4 + a) * 3 + l] = at < precision.size() ? precision[at] : 0;
    }
  }
}

/// The mean of those that are not -1; -1 when all are.
class CocoMean {
 public:
  void add(double v) {
    if (v > -1) sum_ += v, ++count_;
  }
  double value() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : -1; }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

}  // namespace detail

ATLAS_INLINE double CocoResult::precision_at(int64_t iou, int64_t step, int64_t category, int64_t area,
                                             int64_t limit) const {
  const int64_t n = std::ssize(categories);
  return precision[static_cast<size_t>((((iou * kRecalls + step) * n + category) * kAreas + area) * kLimits + limit)];
}
ATLAS_INLINE double CocoResult::recall_at(int64_t iou, int64_t category, int64_t area, int64_t limit) const {
  return recall[static_cast<size_t>(((iou * std::ssize(categories) + category) * kAreas + area) * kLimits + limit)];
}
ATLAS_INLINE double CocoResult::category_ap(int64_t category, int64_t iou) const {
  detail::CocoMean mean;
  for (int64_t i = iou < 0 ? 0 : iou; i < (iou < 0 ? kIous : iou + 1); ++i)
    for (int64_t r = 0; r < kRecalls; ++r) mean.add(precision_at(i, r, category, 0, 2));
  return mean.value();
}
ATLAS_INLINE std::string CocoResult::text() const {
  std::string lines;
  for (size_t i = 0; i < numbers.size(); ++i)
    lines += numbers[i] < 0 ? fmt::format("{:<6} -\n", kCocoNames[i])
                            : fmt::format("{:<6} {:5.1f} %\n", kCocoNames[i], 100 * numbers[i]);
  return lines;
}

ATLAS_INLINE CocoResult coco_evaluate(const std::vector<CocoObject>& truths, const std::vector<CocoObject>& found,
                                      CocoShape shape) {
  CocoResult result;
  std::map<int64_t, std::map<int64_t, detail::CocoPair>> by_category;  // then by image
  for (const CocoObject& o : truths) by_category[o.category][o.image].truths.push_back(&o);
  for (const CocoObject& o : found) by_category[o.category][o.image].found.push_back(&o);
  std::vector<std::vector<detail::CocoPair>> all;
  for (auto& [category, images] : by_category) {
    result.categories.push_back(category);
    all.emplace_back();
    for (auto& [image, pair] : images) all.back().push_back(std::move(pair));
  }
  const auto n = all.size();
  result.precision.assign(10 * 101 * n * 12, -1.0);
  result.recall.assign(10 * n * 12, -1.0);
  parallel_for(static_cast<int64_t>(n), 1, [&](int64_t begin, int64_t end) {
    for (auto k = static_cast<size_t>(begin); k < static_cast<size_t>(end); ++k) {
      for (detail::CocoPair& pair : all[k]) {
        std::stable_sort(pair.found.begin(), pair.found.end(),
                         [](const CocoObject* x, const CocoObject* y) { return x->score > y->score; });
        if (pair.found.size() > detail::kCocoLimits.back()) pair.found.resize(detail::kCocoLimits.back());
        for (const CocoObject* d : pair.found) {
          pair.sizes.push_back(detail::coco_size(*d, shape));
          for (const CocoObject* t : pair.truths) pair.iou.push_back(detail::coco_iou(*d, *t, shape));
        }
      }
      for (size_t a = 0; a < detail::kCocoAreas.size(); ++a) {
        std::vector<detail::CocoMatch> matches;
        for (const detail::CocoPair& pair : all[k])
          matches.push_back(detail::coco_match(pair, detail::kCocoAreas[a], shape));
        for (size_t l = 0; l < detail::kCocoLimits.size(); ++l)
          detail::coco_accumulate(all[k], matches, k, a, l, result);
      }
    }
  });
  // What is averaged for each number: one IoU or all, an area, a limit; precision or recall.
  const auto mean = [&](bool of_precision, int64_t iou, int64_t area, int64_t limit) {
    detail::CocoMean m;
    for (int64_t i = iou < 0 ? 0 : iou; i < (iou < 0 ? CocoResult::kIous : iou + 1); ++i)
      for (int64_t k = 0; k < static_cast<int64_t>(n); ++k) {
        if (!of_precision) m.add(result.recall_at(i, k, area, limit));
        for (int64_t r = 0; of_precision && r < CocoResult::kRecalls; ++r)
          m.add(result.precision_at(i, r, k, area, limit));
      }
    return m.value();
  };
  result.numbers = {mean(true, -1, 0, 2),  mean(true, 0, 0, 2),   mean(true, 5, 0, 2),   mean(true, -1, 1, 2),
                    mean(true, -1, 2, 2),  mean(true, -1, 3, 2),  mean(false, -1, 0, 0), mean(false, -1, 0, 1),
                    mean(false, -1, 0, 2), mean(false, -1, 1, 2), mean(false, -1, 2, 2), mean(false, -1, 3, 2)};
  return result;
}

ATLAS_INLINE std::vector<CocoObject> coco_truths(const data::CocoFile& file, size_t image,
                                                 const std::array<int64_t, 2>& size, bool masks,
                                                 const std::string& path) {
  std::vector<CocoObject> all;
  const data::CocoFile::Image& about = file.images[image];
  data::check_picture_size(about, size[0], size[1], path);
  for (int64_t k = file.offsets[image]; k < file.offsets[image + 1]; ++k) {
    const data::CocoAnnotation& a = file.objects[static_cast<size_t>(k)];
    if (!data::box_within(a, size[0], size[1])) continue;
    CocoObject t{.image = about.id, .category = a.category, .box = a.box};
    t.area = a.area;
    t.crowd = a.crowd;
    if (masks && !a.segmentation.empty())
      t.mask = data::coco_mask(a.segmentation, size[0], size[1], file.mask_of(about));
    if (t.mask.area() == 0) t.mask = {};
    all.push_back(std::move(t));
  }
  return all;
}

ATLAS_INLINE bool have_masks(const std::vector<CocoObject>& objects) {
  return std::any_of(objects.begin(), objects.end(), [](const CocoObject& o) { return o.mask.height > 0; });
}

ATLAS_INLINE std::string coco_results(const std::vector<CocoObject>& found, const std::vector<int64_t>& category_ids) {
  std::string all = "[";
  for (const CocoObject& o : found) {
    check(category_ids.empty() || (o.category >= 0 && o.category < std::ssize(category_ids)), "coco",
          "class {} has no id among {}", o.category, category_ids.size());
    const int64_t category = category_ids.empty() ? o.category + 1 : category_ids[static_cast<size_t>(o.category)];
    all += fmt::format(
        R"({}{{"image_id": {}, "category_id": {}, "bbox": [{:.3f}, {:.3f}, {:.3f}, {:.3f}], "score": {:.6f})",
        all.size() > 1 ? ",\n" : "", o.image, category, o.box[0], o.box[1], o.box[2], o.box[3], o.score);
    if (o.mask.height > 0) {
      all += fmt::format(R"(, "segmentation": {{"size": [{}, {}], "counts": ")", o.mask.height, o.mask.width);
      for (const char c : data::rle_to_string(o.mask)) all += c == '\\' ? "\\\\" : std::string(1, c);
      all += "\"}";
    }
    all += "}";
  }
  return all + "]\n";
}

}  // namespace atlas::inline ATLAS_ABI::tasks
