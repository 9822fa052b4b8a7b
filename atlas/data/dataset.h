// What a data set is: a list of images with targets. Sets held in memory and parts of another set are here too; sets
// read from files are in mnist.h, cifar.h and image_folder.h, drawn ones in shapes.h.
#pragma once

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
  ATLAS_INLINE virtual std::string where(int64_t index) const;
  /// What the set knows of image `index` without opening it, such as its class and its file: what several processes
  /// compare. "" where that is nothing.
  virtual std::string known_of(int64_t /*index*/) const { return ""; }
  /// Evidence of what image `index` holds that costs next to nothing: the size of its file, a hash of what is in
  /// memory. Processes compare that as well. "" where there is none. Thread-safe.
  virtual std::string content_of(int64_t /*index*/) const { return ""; }
  /// True when image `index` was met, could not be read and was skipped.
  virtual bool was_skipped(int64_t /*index*/) const { return false; }
  /// Number of such images so far.
  ATLAS_INLINE virtual int64_t skipped() const;

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
  void check_index(int64_t index) const;
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
  TensorDataset(std::string name, std::vector<std::string> classes, Tensor images, std::vector<int64_t> labels);
  int64_t size() const override { return images_.shape()[0]; }
  ATLAS_INLINE Sample get(int64_t index) const override;
  ATLAS_INLINE int64_t label(int64_t index) const override;
  std::string known_of(int64_t index) const override { return std::to_string(label(index)); }
  ATLAS_INLINE std::string content_of(int64_t index) const override;
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
  Subset(DatasetPtr whole, std::vector<int64_t> indices);
  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  Sample get(int64_t index) const override { return whole_->get(inner(index)); }
  Sample open(int64_t index) const override { return whole_->open(inner(index)); }
  bool skips(int64_t index, const Error& error) const override { return whole_->skips(inner(index), error); }
  int64_t label(int64_t index) const override { return whole_->label(inner(index)); }
  std::string where(int64_t index) const override { return whole_->where(inner(index)); }
  std::string known_of(int64_t index) const override { return whole_->known_of(inner(index)); }
  std::string content_of(int64_t index) const override { return whole_->content_of(inner(index)); }
  bool was_skipped(int64_t index) const override { return whole_->was_skipped(inner(index)); }

 private:
  int64_t inner(int64_t index) const;
  DatasetPtr whole_;
  std::vector<int64_t> indices_;
};

/// The first `count` images of a set (all of them when it has fewer). Of a set in order of classes that is one class:
/// see some_of_each_class().
DatasetPtr take(DatasetPtr whole, int64_t count);

}  // namespace atlas::inline ATLAS_ABI::data

#ifndef ATLAS_COMPILED_LIB
#include "atlas/data/dataset-inl.h"
#endif
