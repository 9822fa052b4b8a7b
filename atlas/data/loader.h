// The loader: reads, augments and mixes batches of a data set on worker threads, in an order that depends on the seed
// and the epoch alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "atlas/data/batch.h"
#include "atlas/data/dataset.h"
#include "atlas/data/transform.h"
#include "atlas/ops/augment.h"

namespace atlas::inline ATLAS_ABI::data {

/// What a task does to a batch once its samples are joined, on the thread that made it; random numbers belong to the
/// batch of all processes, which draw the same. New targets may lie anywhere on the host.
using Collate = std::function<void(Batch& batch, Rng& rng)>;

/// Which images of a batch of `images` one of `ranks` processes takes, in ascending order. Where all get equally many
/// and an even number, image i and its mirror image images-1-i go to the same process, as image and mirror image
/// (mixing joins the two): mixed by several processes, a batch is the same as by one.
std::vector<int64_t> places_of_rank(int64_t images, int64_t rank, int64_t ranks);

struct LoaderOptions {
  int64_t batch_size = 32;  ///< of this process
  /// Processes that share the batches: batch b of all of them together is images b batch_size ranks to
  /// (b + 1) batch_size ranks of the order, and the rank-th takes places_of_rank() of them. Where the last one is not
  /// full some get fewer, or none. A rank that has no image of a batch is handed it without images, so that all see the
  /// same number of batches.
  int rank = 0, ranks = 1;
  bool shuffle = false;    ///< a new order each epoch, from (seed, epoch)
  bool drop_last = false;  ///< leave out a last batch that is not full
  int workers = 0;         ///< threads; 0 = read inside next()
  int prefetch = 4;        ///< batches that may be finished or in work ahead of the one handed out
  /// Memory that those may take, in bytes: fewer are made ahead where they are larger, but always one.
  int64_t prefetch_bytes = int64_t{2} << 30;
  uint64_t seed = 0;
  Collate collate{};  ///< such as Mix, or that of a task
  /// 0: images of a batch must have one size. n >= 1: they are padded with 0 to the right and below to the largest of
  /// the batch, rounded up to a multiple of n; masks are padded with what they ignore, and Batch::sizes says what is
  /// image.
  int64_t pad = 0;
  /// Set: images are what `transform` gives, in bytes, and the rest of the pipeline is left to the device (Feed does
  /// it, or finish()).
  std::shared_ptr<const DeviceAugment> on_device{};
  bool pinned = false;  ///< batches lie in memory that a CUDA device copies from by itself (Feed)
};

/// Hands out the batches of an epoch. All workers fill one batch, an image each at a time, before they begin the next.
///
/// Batch b of epoch e depends on the seed alone: not on the number of workers, the prefetch depth, or the batch that an
/// epoch was started at. The order of the images does not even depend on the batch size or the number of processes: two
/// with batches of 32 see the images that one sees in batches of 64.
///
/// Images that a data set skips are left out of their batch. A batch that loses all is passed over where one process
/// trains alone. One thread may call start_epoch and next. Errors of worker threads name the image's file and come out
/// of next().
///
///     Loader loader(train, {.batch_size = 64, .shuffle = true, .workers = 2}, transform);
///     loader.start_epoch(epoch);
///     for (Batch batch; loader.next(batch);) { ... }
class Loader {
 public:
  /// @param transform from uint8 [H,W,3] to uint8 or float32 [H',W',3], one size for all; uint8 results are divided by
  /// 255
  /// @throws Error for options out of range, an empty set, or drop_last with a set smaller than a batch.
  Loader(DatasetPtr dataset, LoaderOptions options, Transform transform = {});
  /// Stops the workers, wherever they are.
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Batches of an epoch.
  int64_t batches() const;
  /// Images of an epoch, of all processes together (what drop_last leaves out is not counted).
  int64_t images() const;
  /// Begins epoch `epoch` at image `first_image` of its order, dropping what is left of another. At a multiple of the
  /// batch size the batches are those of the whole epoch.
  /// @param whole  to the last image of the order, whatever drop_last says
  /// @throws Error when first_image is outside [0, size of the set].
  void start_epoch(int64_t epoch, int64_t first_image = 0, bool whole = false);
  /// The next batch of the epoch; false when it has ended. @throws Error naming the file that failed.
  bool next(Batch& batch);

  const Dataset& dataset() const;
  const LoaderOptions& options() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/loader-inl.h"
#endif
