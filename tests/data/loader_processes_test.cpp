// The loader of several processes: what they share of every batch is what one process has.
#include <doctest/doctest.h>

#include <memory>
#include <set>
#include <vector>

#include "atlas/data/loader.h"
#include "atlas/data/mix.h"
#include "atlas/data/shapes.h"
#include "tests/compare.h"
#include "tests/data/data_test.h"
#include "tests/data/loader_settings.h"

using namespace atlas;
using namespace atlas::data;
using atlas_test::augmentation;
using atlas_test::epoch_of;
using atlas_test::message_of;
using atlas_test::options_with;

TEST_CASE("processes share the batches: together they have what one has") {
  for (const int workers : {0, 2})
    for (const int ranks : {1, 2, 3, 4})
      for (const bool drop_last : {false, true})
        for (const int64_t first : {0, 24, 30}) {
          CAPTURE(ranks);
          CAPTURE(first);
          const auto set = std::make_shared<Shapes>(50, 16);
          LoaderOptions one{.batch_size = 12, .shuffle = true, .drop_last = drop_last, .seed = 7};
          Loader alone(set, one, augmentation());
          alone.start_epoch(1, first);
          std::vector<std::unique_ptr<Loader>> shares;
          for (int rank = 0; rank < ranks; ++rank) {
            LoaderOptions share = one;
            share.batch_size = 12 / ranks;
            share.rank = rank;
            share.ranks = ranks;
            share.workers = workers;
            shares.push_back(std::make_unique<Loader>(set, share, augmentation()));
            CHECK(shares.back()->batches() == alone.batches());
            CHECK(shares.back()->images() == alone.images());
            shares.back()->start_epoch(1, first);
          }
          std::vector<std::vector<Batch>> parts(shares.size());
          for (size_t rank = 0; rank < shares.size(); ++rank)
            for (Batch b; shares[rank]->next(b);) parts[rank].push_back(b);
          for (Batch whole; alone.next(whole);) {
            std::vector<int64_t> together(whole.indices.size(), -1);
            for (size_t rank = 0; rank < parts.size(); ++rank) {
              REQUIRE_FALSE(parts[rank].empty());
              const Batch b = parts[rank].front();
              parts[rank].erase(parts[rank].begin());
              CHECK(b.number == whole.number);
              CHECK(b.end == whole.end);
              CHECK(b.of == whole.images.size(0));
              CHECK(b.places == data::places_of_rank(b.of, static_cast<int64_t>(rank), ranks));
              CHECK(b.images.defined() == !b.places.empty());  // it may have none of the last batch
              for (size_t i = 0; i < b.places.size(); ++i) {
                CHECK(test::same_bits(b.images[static_cast<int64_t>(i)], whole.images[b.places[i]]));
                together[static_cast<size_t>(b.places[i])] = b.indices[i];
              }
            }
            CHECK(together == whole.indices);
          }
          for (const auto& part : parts) CHECK(part.empty());
        }
}

TEST_CASE("mixed by several processes, a batch is the same as mixed by one") {
  const auto set = std::make_shared<Shapes>(48, 16);
  LoaderOptions one{.batch_size = 24, .shuffle = true, .seed = 7};
  one.collate = Mix({.mixup = 1, .cutmix = 1, .label_smoothing = 0.1}, 4);
  Loader alone(set, one, augmentation());
  alone.start_epoch(0);
  std::vector<Batch> whole;
  for (Batch b; alone.next(b);) whole.push_back(b);
  for (const int ranks : {2, 3, 4, 6})
    for (int rank = 0; rank < ranks; ++rank) {
      CAPTURE(ranks);
      LoaderOptions share = one;
      share.batch_size = 24 / ranks;
      share.rank = rank;
      share.ranks = ranks;
      Loader part(set, share, augmentation());
      part.start_epoch(0);
      for (Batch b; part.next(b);) {
        const Batch& all = whole[static_cast<size_t>(b.number)];
        REQUIRE(std::ssize(b.places) == share.batch_size);
        for (size_t i = 0; i < b.places.size(); ++i) {
          const auto row = static_cast<int64_t>(i);
          CHECK(test::same_bits(b.images[row], all.images[b.places[i]]));
          CHECK(test::same_bits(b.targets.at(kSoftLabel).value[row], all.targets.at(kSoftLabel).value[b.places[i]]));
        }
      }
    }
}

TEST_CASE("collate draws the same numbers on every rank, and others in every batch") {
  std::vector<double> drawn;
  for (const int rank : {0, 1}) {
    LoaderOptions options = options_with(0);
    options.rank = rank;
    options.ranks = 2;
    options.collate = [&](Batch&, Rng& rng) { drawn.push_back(rng.uniform()); };
    epoch_of(options, 0);
  }
  REQUIRE(drawn.size() == 8);  // 50 images: three batches of 2 x 8, and one of 2 images
  const std::vector<double> first(drawn.begin(), drawn.begin() + 4);
  CHECK(std::vector<double>(drawn.begin() + 4, drawn.end()) == first);
  CHECK(std::set<double>(first.begin(), first.end()).size() == 4);
}

TEST_CASE("a rank that is none of the ranks is refused") {
  const auto set = std::make_shared<Shapes>(50, 16);
  CHECK(message_of([&] { Loader(set, {.rank = 2, .ranks = 2}); }) ==
        "[loader] rank must lie in [0, ranks), got rank 2 of 2");
  CHECK(message_of([&] {
          Loader(set, {.batch_size = 26, .rank = 0, .ranks = 2, .drop_last = true});
        }).find("has 50 images, fewer than one batch of 52") != std::string::npos);
}
