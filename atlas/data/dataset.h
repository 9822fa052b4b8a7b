// What a data set is: a list of images with targets. Sets held in memory and parts of another set are here too; sets
// read from files are in mnist.h, cifar.h and image_folder.h, drawn ones in shapes.h.
#pragma once

#include <fmt/core.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "atlas/data/sample.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::data {

/// A list of images and what is known about them, which can be read at any position, from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;
  /// Number of images.
  virtual int64_t size() const = 0;
  /// Image `index`, 0 <= index < size(). Thread-safe. @throws Error naming the file when it cannot be read.
  virtual Sample get(int64_t index) const = 0;
  /// The same, but pictures of files may be left encoded (Sample::encoded): what becomes of one says which part of it
  /// is to be decoded. What goes wrong then is told to skips().
  virtual Sample open(int64_t index) const { return get(index); }
  /// Image `index` was opened, and could not be decoded: true when such images are skipped, which is counted and
  /// reported as get() does it.
  virtual bool skips(int64_t /*index*/, const Error& /*error*/) const { return false; }
  /// Class number of image `index`, known without decoding it where the set can. @throws Error when it has none.
  virtual int64_t label(int64_t index) const { return label_of(get(index)); }
  /// Where image `index` comes from, for messages: a file name, or "image 7 of fashion-mnist".
  virtual std::string where(int64_t index) const { return fmt::format("image {} of {}", index, name_); }
  /// True when image `index` was met, could not be read and was skipped.
  virtual bool was_skipped(int64_t /*index*/) const { return false; }
  /// Number of such images so far.
  virtual int64_t skipped() const {
    int64_t count = 0;
    for (int64_t i = 0; i < size(); ++i) count += was_skipped(i) ? 1 : 0;
    return count;
  }

  /// What was found odd in the files and how that was dealt with, in one line; "" where nothing was.
  virtual std::string remarks() const { return ""; }

  /// Names of the classes; labels are positions in it.
  const std::vector<std::string>& classes() const { return classes_; }
  int64_t num_classes() const { return static_cast<int64_t>(classes_.size()); }
  /// Short name, such as "fashion-mnist train".
  const std::string& name() const { return name_; }

 protected:
  Dataset(std::string name, std::vector<std::string> classes) : name_(std::move(name)), classes_(std::move(classes)) {}
  Dataset(const Dataset&) = default;
  Dataset& operator=(const Dataset&) = default;
  void check_index(int64_t index) const {
    check(index >= 0 && index < size(), "dataset", "{} has {} images, asked for number {}", name_, size(), index);
  }
  std::string name_;
  std::vector<std::string> classes_;
};

using DatasetPtr = std::shared_ptr<const Dataset>;

/// The two halves of a benchmark.
struct DataPair {
  DatasetPtr train, test;
};

/// Images held in one tensor. Gray images are handed out as RGB with three equal channels.
class TensorDataset : public Dataset {
 public:
  /// @param images uint8 [N,H,W,3] or gray [N,H,W]
  /// @param labels N class numbers
  /// @throws Error when the shapes do not fit or a label is outside the classes.
  TensorDataset(std::string name, std::vector<std::string> classes, Tensor images, std::vector<int64_t> labels)
      : Dataset(std::move(name), std::move(classes)), images_(std::move(images)), labels_(std::move(labels)) {
    const Shape& s = images_.shape();
    check(images_.dtype() == uint8 && images_.is_contiguous() && (s.size() == 3 || (s.size() == 4 && s[3] == 3)),
          "dataset", "{} needs contiguous uint8 images [N,H,W,3] or [N,H,W], got {}", name_, describe(images_));
    check(s[0] == static_cast<int64_t>(labels_.size()), "dataset", "{} has {} images but {} labels", name_, s[0],
          labels_.size());
    for (size_t i = 0; i < labels_.size(); ++i)
      check(labels_[i] >= 0 && labels_[i] < num_classes(), "dataset",
            "{}: the label of image {} is {}, outside the {} classes", name_, i, labels_[i], num_classes());
  }
  int64_t size() const override { return images_.shape()[0]; }
  Sample get(int64_t index) const override {
    check_index(index);
    const Shape& s = images_.shape();
    Tensor image = empty({s[1], s[2], 3}, uint8, Device{});
    const int64_t pixels = s[1] * s[2], stride = pixels * (s.size() == 4 ? 3 : 1);
    const uint8_t* from = images_.data<uint8_t>() + index * stride;
    uint8_t* to = image.data<uint8_t>();
    if (s.size() == 4) {
      if (stride > 0) std::memcpy(to, from, static_cast<size_t>(stride));
    } else {
      for (int64_t i = 0; i < pixels; ++i) to[3 * i] = to[3 * i + 1] = to[3 * i + 2] = from[i];
    }
    return labeled(image, labels_[static_cast<size_t>(index)]);
  }
  int64_t label(int64_t index) const override {
    check_index(index);
    return labels_[static_cast<size_t>(index)];
  }
  const Tensor& images() const { return images_; }
  const std::vector<int64_t>& labels() const { return labels_; }

 private:
  Tensor images_;
  std::vector<int64_t> labels_;
};

/// Some images of another set, in the order given.
class Subset : public Dataset {
 public:
  /// @throws Error when an index is outside `whole`.
  Subset(DatasetPtr whole, std::vector<int64_t> indices)
      : Dataset(whole->name(), whole->classes()), whole_(std::move(whole)), indices_(std::move(indices)) {
    for (int64_t i : indices_)
      check(i >= 0 && i < whole_->size(), "subset", "{} has {} images, asked for number {}", name_, whole_->size(), i);
  }
  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  Sample get(int64_t index) const override { return whole_->get(inner(index)); }
  Sample open(int64_t index) const override { return whole_->open(inner(index)); }
  bool skips(int64_t index, const Error& error) const override { return whole_->skips(inner(index), error); }
  int64_t label(int64_t index) const override { return whole_->label(inner(index)); }
  std::string where(int64_t index) const override { return whole_->where(inner(index)); }
  bool was_skipped(int64_t index) const override { return whole_->was_skipped(inner(index)); }

 private:
  int64_t inner(int64_t index) const {
    check_index(index);
    return indices_[static_cast<size_t>(index)];
  }
  DatasetPtr whole_;
  std::vector<int64_t> indices_;
};

/// The first `count` images of a set (all of them when it has fewer). Of a set in order of classes that is one class:
/// see some_of_each_class().
inline DatasetPtr take(DatasetPtr whole, int64_t count) {
  check(count >= 0, "take", "needs count >= 0, got {}", count);
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < std::min(count, whole->size()); ++i) indices.push_back(i);
  return std::make_shared<Subset>(std::move(whole), std::move(indices));
}

}  // namespace atlas::inline ATLAS_ABI::data
