// AttentionRecorder: what attention layers look at, for people who want to see it.
//
// Layers compute probabilities block by block and forget them. While a recorder lives, they are also computed the plain
// way and kept, with the place in the image of every token that asked and every token that was read.
// Not in atlas.h: include it by name.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "atlas/nn/module.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/window.h"

namespace atlas::inline ATLAS_ABI {

/// Where the tokens of an attention layer lie: windows of a map whose tokens are `stride` pixels of the image apart.
struct TokenPlace {
  WindowLayout layout;
  int64_t stride = 1;
  size_t scale = 0;  ///< 0 is the finest map of a multi-scale layer, and the only one of others
};

/// One set of keys of an attention layer.
struct AttentionSource {
  TokenPlace place;
  std::vector<int64_t> window;  ///< for each window of queries of an image: the window it reads here
};

/// A part of a map that a token reads, and how much of its attention each token there gets.
struct AttentionRead {
  TokenPlace place;
  int64_t row = 0, column = 0;  ///< first token of the window in its map; row * place.stride is a pixel of the image
  Tensor weights;               ///< [heads, h, w], padding left out; the weights of all reads of a token add up to 1
};

/// What one attention layer looked at in one call.
struct AttentionRecord {
  std::string layer;     ///< path of the module: "levels.3.blocks.2.mixer"
  std::string pass;      ///< "self" (a window reads itself); Atlas: "down" (and coarser scales), "up" (the finer scale)
  Tensor probabilities;  ///< [images * windows of queries, heads, L, keys of all sources]; padding has 0
  TokenPlace queries;    ///< where the L tokens of each window lie
  std::vector<AttentionSource> sources;

  /// Number of images.
  int64_t images() const { return probabilities.size(0) / queries.layout.windows(); }

  /// What the token at (row, column) of the queries' map reads in image `image`: one entry per source.
  /// @throws Error when there is no such token or image.
  std::vector<AttentionRead> read_by(int64_t image, int64_t row, int64_t column) const;
};

namespace detail {

/// The place of the tokens that layers without a map of their own work on.
const TokenPlace*& token_place();

}  // namespace detail

/// While it lives, attention() on this thread is that of a layer, which can say where its queries and sources lie. It
/// is only asked when somebody records.
class AttentionScope {
 public:
  /// @param places  function object that outlives this; gives an AttentionRecord without path and probabilities for the
  ///                queries [B, L, heads, D]
  template <class Places>
  AttentionScope(const Module& layer, const Places& places)
      : layer_(layer),
        places_(&places),
        ask_([](const void* f, const Tensor& q) { return (*static_cast<const Places*>(f))(q); }),
        before_(std::exchange(innermost(), this)) {}
  template <class Places>
  AttentionScope(const Module& layer, const Places&& places) = delete;  // it is kept by address
  ~AttentionScope() { innermost() = before_; }
  AttentionScope(const AttentionScope&) = delete;
  AttentionScope& operator=(const AttentionScope&) = delete;

  /// That of this thread, or null.
  static const AttentionScope* current() { return innermost(); }
  const Module& layer() const { return layer_; }
  AttentionRecord places(const Tensor& q) const { return ask_(places_, q); }

 private:
  static const AttentionScope*& innermost();

  const Module& layer_;
  const void* places_;
  AttentionRecord (*ask_)(const void*, const Tensor&);
  const AttentionScope* before_;
};

/// What is known of tokens [B, L, heads, D] that attend to each other: they are windows of the TokenScope's map, if
/// they are as many, or a row.
AttentionRecord self_attention_places(const Tensor& q);

/// While it lives, layers on this thread know where their tokens lie (for AttentionRecorder; it changes no numbers).
class TokenScope {
 public:
  explicit TokenScope(const TokenPlace& place)
      : place_(place), before_(std::exchange(detail::token_place(), &place_)) {}
  ~TokenScope() { detail::token_place() = before_; }
  TokenScope(const TokenScope&) = delete;
  TokenScope& operator=(const TokenScope&) = delete;

 private:
  TokenPlace place_;
  const TokenPlace* before_;
};

/// While it lives, keeps the attention probabilities of every layer of `root` that runs on this thread. They take
/// windows * heads * L * keys numbers a layer: choose layers when images are large.
///
/// \snippet tests/models/attention_probe_test.cpp record attention
class AttentionRecorder {
 public:
  /// @param want  which layers to record, by their paths; all of them when empty
  explicit AttentionRecorder(Module& root, std::function<bool(const std::string& layer)> want = {});
  ~AttentionRecorder() { detail::attention_observer() = before_; }
  AttentionRecorder(const AttentionRecorder&) = delete;
  AttentionRecorder& operator=(const AttentionRecorder&) = delete;

  /// In the order of computation.
  const std::vector<AttentionRecord>& records() const { return records_; }
  /// Forgets what was recorded.
  void clear() { records_.clear(); }

 private:
  std::unordered_map<const Module*, std::string> paths_;
  detail::AttentionObserver observe_;
  const detail::AttentionObserver* before_ = nullptr;
  std::vector<AttentionRecord> records_;
};

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/nn/attention_probe-inl.h"
#endif
