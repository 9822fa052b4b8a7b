// Bodies of mnist.h.
#pragma once

#include <zlib.h>

#include <cstring>
#include <filesystem>

#include "atlas/data/file.h"
#include "atlas/data/find_file.h"
#include "atlas/data/mnist.h"

namespace atlas::inline ATLAS_ABI::data {

namespace detail {

/// Reads plain or gzipped content piece by piece, so that a size can be judged before memory is taken for it.
class Unpacker {
 public:
  Unpacker(const std::string& path, std::span<const uint8_t> bytes) : path_(path), bytes_(bytes) {
    zipped_ = bytes_.size() >= 2 && bytes_[0] == 0x1F && bytes_[1] == 0x8B;
    if (!zipped_) return;
    check(::inflateInit2(&z_, 16 + MAX_WBITS) == Z_OK, "read_idx", "{}: zlib could not start", path_);
    started_ = true;
  }
  ~Unpacker() {
    if (started_) ::inflateEnd(&z_);
  }
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;

  /// Fills `to`; returns how many bytes there were.
  size_t read(uint8_t* to, size_t count) {
    size_t done = 0;
    if (!zipped_) {
      done = std::min(count, bytes_.size() - in_);
      if (done > 0) std::memcpy(to, bytes_.data() + in_, done);  // an empty vector has no address
      in_ += done;
      return done;
    }
    while (done < count && !ended_) {
      constexpr size_t kPiece = size_t{1} << 30;  // zlib counts in 32 bits
      const size_t in = std::min(kPiece, bytes_.size() - in_), out = std::min(kPiece, count - done);
      z_.next_in = const_cast<Bytef*>(bytes_.data() + in_);  // zlib reads it only
      z_.avail_in = static_cast<uInt>(in);
      z_.next_out = to + done;
      z_.avail_out = static_cast<uInt>(out);
      const int status = ::inflate(&z_, Z_NO_FLUSH);
      in_ += in - z_.avail_in;
      done += out - z_.avail_out;
      if (status == Z_STREAM_END)
        ended_ = true;
      else if (status == Z_BUF_ERROR || (status == Z_OK && in_ == bytes_.size() && z_.avail_out > 0))
        fail("read_idx", "{}: gzip data is cut short at offset {}", path_, in_);
      else
        check(status == Z_OK, "read_idx", "{}: gzip data is damaged near offset {} ({})", path_, in_,
              z_.msg != nullptr ? z_.msg : "unknown reason");
    }
    return done;
  }
  /// The most bytes that can still come.
  size_t bound() const { return zipped_ ? (bytes_.size() - in_) * 1032 + 65536 : bytes_.size() - in_; }
  /// Packed bytes after the end of the packed data.
  size_t left_over() const { return zipped_ ? bytes_.size() - in_ : 0; }

 private:
  const std::string& path_;
  std::span<const uint8_t> bytes_;
  z_stream z_{};
  size_t in_ = 0;
  bool zipped_ = false, started_ = false, ended_ = false;
};

inline std::shared_ptr<const TensorDataset> idx_dataset(const std::string& name, const std::string& folder, bool train,
                                                        std::vector<std::string> classes, const char* package) {
  // Archives differ in train-images-idx3-ubyte and train-images.idx3-ubyte; torchvision puts them into MNIST/raw.
  const auto spellings = [](const std::string& file) {
    std::string dotted = file;
    dotted.replace(file.find("-idx"), 1, ".");
    return std::vector<std::string>{file, file + ".gz", dotted, dotted + ".gz"};
  };
  const auto find = [&](const std::string& file) {
    const std::vector<std::string> names = spellings(file);
    const std::string place = folder_with(folder, names, name);
    for (const std::string& spelling : names) {
      const std::filesystem::path path = std::filesystem::path(place) / spelling;
      std::error_code ignored;
      if (!place.empty() && std::filesystem::exists(path, ignored)) return path.string();
    }
    return std::string();
  };
  const std::string half = train ? "train" : "t10k";
  const std::string image_file = find(half + "-images-idx3-ubyte"), label_file = find(half + "-labels-idx1-ubyte");
  if (image_file.empty() || label_file.empty()) {
    std::vector<std::string> missing;
    for (const char* file :
         {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"})
      if (find(file).empty()) missing.emplace_back(file);
    fail_missing(name, folder, missing,
                 fmt::format("also as train-images.idx3-ubyte, with a dot, and packed, with .gz{}", package));
  }
  const Tensor images = read_idx(image_file), labels = read_idx(label_file);
  check(images.dim() == 3, name, "{}: has {} axes, expected 3 (images, rows, columns)", image_file, images.dim());
  check(labels.dim() == 1, name, "{}: has {} axes, expected 1 (labels)", label_file, labels.dim());
  check(images.shape()[0] == labels.shape()[0], name, "{} has {} images, but {} has {} labels", image_file,
        images.shape()[0], label_file, labels.shape()[0]);
  check(images.numel() > 0, name, "{}: has no pixels ({})", image_file, images.shape().str());
  std::vector<int64_t> values(labels.data<uint8_t>(), labels.data<uint8_t>() + labels.numel());
  for (size_t i = 0; i < values.size(); ++i)
    check(values[i] < static_cast<int64_t>(classes.size()), name, "{}: label {} is {}, outside the {} classes",
          label_file, i, values[i], classes.size());
  return std::make_shared<TensorDataset>(name + (train ? " train" : " test"), std::move(classes), images,
                                         std::move(values));
}

}  // namespace detail

ATLAS_INLINE Tensor parse_idx(std::span<const uint8_t> bytes, const std::string& name) {
  detail::Unpacker in(name, bytes);
  uint8_t head[16] = {};
  const size_t got = in.read(head, 4);
  check(got > 0, "read_idx", "{}: the file is empty", name);
  check(got == 4 && head[0] == 0 && head[1] == 0, "read_idx",
        "{}: not an IDX file: it begins with bytes {:02x} {:02x} {:02x} {:02x}, expected 00 00 08", name, head[0],
        head[1], head[2], head[3]);
  check(head[2] == 8, "read_idx", "{}: element type is 0x{:02x} at offset 2, expected 0x08 (unsigned bytes)", name,
        head[2]);
  const int axes = head[3];
  check(axes >= 1 && axes <= 3, "read_idx", "{}: has {} axes at offset 3, expected 1 to 3", name, axes);
  check(in.read(head + 4, static_cast<size_t>(4 * axes)) == static_cast<size_t>(4 * axes), "read_idx",
        "{}: cut short: the header of {} axes needs {} bytes", name, axes, 4 + 4 * axes);
  Shape shape;
  for (int i = 0; i < axes; ++i) {
    const uint8_t* p = head + 4 + 4 * i;
    shape.push_back((int64_t{p[0]} << 24) | (int64_t{p[1]} << 16) | (int64_t{p[2]} << 8) | int64_t{p[3]});
  }
  int64_t count = 0;
  try {
    count = shape.numel();
  } catch (const Error&) {
    fail("read_idx", "{}: declares {} elements, more than 64 bits can count", name, shape.str());
  }
  check(static_cast<uint64_t>(count) <= in.bound(), "read_idx",
        "{}: declares {} = {} bytes, but the file can hold at most {} (cut short or damaged?)", name, shape.str(),
        count, in.bound());
  Tensor y = empty(shape, uint8, Device{});
  const size_t read = count > 0 ? in.read(y.data<uint8_t>(), static_cast<size_t>(count)) : 0;
  check(read == static_cast<size_t>(count), "read_idx", "{}: cut short: {} elements after the header, expected {} = {}",
        name, read, shape.str(), count);
  uint8_t extra = 0;
  check(in.read(&extra, 1) == 0 && in.left_over() == 0, "read_idx",
        "{}: has bytes after the {} = {} elements it declares", name, shape.str(), count);
  return y;
}

ATLAS_INLINE Tensor read_idx(const std::string& path) { return parse_idx(read_file(path), path); }

ATLAS_INLINE std::shared_ptr<const TensorDataset> mnist(const std::string& folder, bool train) {
  return detail::idx_dataset("mnist", folder, train, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, "");
}

ATLAS_INLINE std::shared_ptr<const TensorDataset> fashion_mnist(bool train, const std::string& folder) {
  return detail::idx_dataset(
      "fashion-mnist", folder, train,
      {"T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"},
      "; on Debian: apt install dataset-fashion-mnist; or give the folder as fashion-mnist:FOLDER");
}

}  // namespace atlas::inline ATLAS_ABI::data
