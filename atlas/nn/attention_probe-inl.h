// Bodies of attention_probe.h.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/nn/attention_probe.h"
#include "atlas/nn/module.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/cast.h"
#include "atlas/ops/window.h"

namespace atlas::inline ATLAS_ABI {

ATLAS_INLINE std::vector<AttentionRead> AttentionRecord::read_by(int64_t image, int64_t row, int64_t column) const {
  const WindowLayout& q = queries.layout;
  check(image >= 0 && image < images() && row >= 0 && row < q.height && column >= 0 && column < q.width,
        "AttentionRecord", "there is no token ({}, {}) of image {}: {} images, maps of {} x {} tokens", row, column,
        image, images(), q.height, q.width);
  const int64_t window = row / q.window_height * q.columns() + column / q.window_width;
  const int64_t token = row % q.window_height * q.window_width + column % q.window_width;
  const Tensor weights = probabilities.select(0, image * q.windows() + window).select(1, token);  // [heads, keys]
  std::vector<AttentionRead> reads;
  int64_t first = 0;
  for (const AttentionSource& s : sources) {
    const WindowLayout& k = s.place.layout;
    const int64_t read = s.window[static_cast<size_t>(window)];
    AttentionRead r{s.place, read / k.columns() * k.window_height, read % k.columns() * k.window_width, {}};
    r.weights = weights.slice(1, first, first + k.pixels())
                    .reshape({weights.size(0), k.window_height, k.window_width})
                    .slice(1, 0, std::min(k.window_height, k.height - r.row))
                    .slice(2, 0, std::min(k.window_width, k.width - r.column))
                    .contiguous();
    reads.push_back(std::move(r));
    first += k.pixels();
  }
  return reads;
}

namespace detail {

ATLAS_INLINE const TokenPlace*& token_place() {
  thread_local const TokenPlace* place = nullptr;
  return place;
}

}  // namespace detail

ATLAS_INLINE const AttentionScope*& AttentionScope::innermost() {
  thread_local const AttentionScope* scope = nullptr;
  return scope;
}

ATLAS_INLINE AttentionRecord self_attention_places(const Tensor& q) {
  TokenPlace place{{1, q.size(1), 1, q.size(1)}};
  if (const TokenPlace* known = detail::token_place(); known != nullptr && known->layout.pixels() == q.size(1))
    place = *known;
  std::vector<int64_t> itself;
  for (int64_t i = 0; i < place.layout.windows(); ++i) itself.push_back(i);
  return {"", "self", {}, place, {{place, std::move(itself)}}};
}

ATLAS_INLINE AttentionRecorder::AttentionRecorder(Module& root, std::function<bool(const std::string& layer)> want) {
  for (const auto& [path, module] : root.named_modules())
    if (!want || want(path)) paths_[module] = path;
  observe_ = [this](const Tensor& q, const std::vector<KeyValue>& sources) {
    const AttentionScope* const scope = AttentionScope::current();
    const auto path = scope != nullptr ? paths_.find(&scope->layer()) : paths_.end();
    if (path == paths_.end()) return;
    const NoGrad off;
    AttentionRecord record = scope->places(q);
    record.layer = path->second;
    record.probabilities = on_host(attention_probabilities(q, sources).to(statistics_dtype(q)));
    records_.push_back(std::move(record));
  };
  before_ = std::exchange(detail::attention_observer(), &observe_);
}

}  // namespace atlas::inline ATLAS_ABI
