// Bodies of tensorboard.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>

#include "atlas/core/storage.h"
#include "atlas/data/image.h"
#include "atlas/train/tensorboard.h"

namespace atlas::inline ATLAS_ABI::train {

ATLAS_INLINE void TensorBoard::on_start(Trainer& t) {
  file_.emplace(folder_, o_.clock);
  if (t.step() > 0) file_->session_start(t.step() + 1);
}

ATLAS_INLINE void TensorBoard::on_epoch_start(Trainer& t) {
  note_meter(t);
  points_ = 0;
}

ATLAS_INLINE void TensorBoard::note_meter(const Trainer& t) {
  images_ = static_cast<double>(t.meter().images());
  const double loss = t.meter().find("loss");
  loss_sum_ = images_ > 0 && std::isfinite(loss) ? loss * images_ : 0;
}

ATLAS_INLINE void TensorBoard::on_batch(Trainer& t, const data::Batch& batch) {
  // The gradients of the last update of an epoch are whole here, and gone when it ends.
  if (!has_histograms(t.epoch() + 1) || batch.end != t.epoch_end()) return;
  for (const auto& [name, value] : t.model().named_parameters())
    if (const Tensor gradient = value.grad(); gradient.defined())
      write_tensor("gradients/" + name, gradient, t.step() + 1);
}

ATLAS_INLINE void TensorBoard::on_step(Trainer& t) {
  constexpr int64_t kPoints = 50;
  const int64_t behind = t.position().images * kPoints / std::max<int64_t>(t.epoch_end(), 1);
  if (behind == points_) return;
  points_ = behind;
  const double sum = loss_sum_, images = images_;
  note_meter(t);
  if (images_ > images) file_->scalar(t.step(), "step/loss", (loss_sum_ - sum) / (images_ - images));
  file_->scalar(t.step(), "step/lr", t.optimizer().lr());
}

ATLAS_INLINE void TensorBoard::on_epoch_end(Trainer& t, const EpochResult& result) {
  const int64_t step = t.step();
  for (const tasks::Value& v : result.training.values()) file_->scalar(step, v.name + "/train", v.value);
  for (const tasks::Value& v : result.test.values()) file_->scalar(step, v.name + "/test", v.value);
  file_->scalar(step, "run/epoch", static_cast<double>(result.epoch));
  file_->scalar(step, "run/lr", t.optimizer().lr());
  file_->scalar(step, "run/images_per_second", result.images_per_second);
  file_->scalar(step, "run/seconds", result.seconds);
  file_->scalar(step, "run/peak_memory_mib", static_cast<double>(memory_stats(t.model().device()).peak) / (1 << 20));
  if (has_histograms(result.epoch))
    for (const auto& [name, value] : t.model().named_parameters()) write_tensor("weights/" + name, value, step);
  const int64_t epochs = t.options().epochs, every = std::max<int64_t>(1, epochs / 10);
  if (result.epoch % every == 0 || result.epoch == epochs) write_pictures(step);
}

ATLAS_INLINE void TensorBoard::write_tensor(const std::string& tag, const Tensor& value, int64_t step) {
  const Tensor host = on_host(value.detach()).to(float32).contiguous();
  file_->histogram(step, tag, io::Histogram::of(std::span(host.data<float>(), static_cast<size_t>(host.numel()))));
}

ATLAS_INLINE void TensorBoard::write_pictures(int64_t step) {
  if (reports_ == nullptr) return;
  for (const auto& [what, file] : reports_->report().files) {
    if (!file.ends_with(".png")) continue;
    const data::Bytes png = data::read_file(file);
    const data::ImageInfo info = data::inspect_image(png, file);
    file_->picture(step, what, std::string_view(reinterpret_cast<const char*>(png.data()), png.size()), info.width,
                   info.height);
  }
}

}  // namespace atlas::inline ATLAS_ABI::train
