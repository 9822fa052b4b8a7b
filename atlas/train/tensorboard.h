// TensorBoard beside the logs: an observer that writes event files into the folder of a run.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "atlas/io/event_file.h"
#include "atlas/train/observers.h"

namespace atlas::inline ATLAS_ABI::train {

struct TensorBoardOptions {
  int64_t histograms = 0;              ///< weights and gradients of every so many epochs; 0: none
  std::function<double()> clock = {};  ///< seconds since 1970; none: the system's
};

/// Writes an event file (io/event_file.h), for `tensorboard --logdir FOLDER`. Steps are updates.
///
/// After an epoch: what meters measured (loss/train and loss/test, side by side), images per second, memory, and, about
/// ten times in a training, the pictures of the task's report. Within an epoch, about fifty times: step/loss, the mean
/// since the last time (of this process's images), and step/lr. Gradients are those of the last update of an epoch,
/// before clipping.
///
/// A run that goes on writes another file, which takes the place of what comes after the checkpoint.
class TensorBoard : public Observer {
 public:
  /// @param reports  an observer that was added before; null: no pictures
  TensorBoard(std::string folder, const TestReports* reports, TensorBoardOptions options = {})
      : folder_(std::move(folder)), reports_(reports), o_(std::move(options)) {}

  ATLAS_INLINE void on_start(Trainer& t) override;
  ATLAS_INLINE void on_epoch_start(Trainer& t) override;
  ATLAS_INLINE void on_batch(Trainer& t, const data::Batch& batch) override;
  ATLAS_INLINE void on_step(Trainer& t) override;
  ATLAS_INLINE void on_epoch_end(Trainer& t, const EpochResult& result) override;
  /// The file that is being written; "" before training begins.
  std::string path() const { return file_ ? file_->path() : ""; }

 private:
  bool has_histograms(int64_t epoch) const { return o_.histograms > 0 && epoch % o_.histograms == 0; }
  void note_meter(const Trainer& t);
  void write_tensor(const std::string& tag, const Tensor& value, int64_t step);
  void write_pictures(int64_t step);

  std::string folder_;
  const TestReports* reports_;
  TensorBoardOptions o_;
  std::optional<io::EventFile> file_;
  double loss_sum_ = 0, images_ = 0;  // of the meter at the last point
  int64_t points_ = 0;                // of this epoch
};

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/tensorboard-inl.h"
#endif
