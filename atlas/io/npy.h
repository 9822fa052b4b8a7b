// .npy files, which NumPy and most numerical programs read: one array each (format 1.0).
// Not in atlas.h: include it by name.
#pragma once

#include <fmt/core.h>

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "atlas/core/output_file.h"
#include "atlas/ops/cast.h"
#include "atlas/tensor/memory.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI::io {

namespace detail {

/// The text that .npy files name a dtype by.
inline const char* npy_type(DType dtype) {
  static_assert(std::endian::native == std::endian::little, "the arrays are written as they lie in memory");
  if (dtype == float32) return "<f4";
  if (dtype == float64) return "<f8";
  if (dtype == float16) return "<f2";
  if (dtype == int64) return "<i8";
  if (dtype == uint8) return "|u1";
  check(dtype == boolean, "npy", "there is no .npy type for {}", name(dtype));
  return "|b1";
}

/// Magic number, version 1.0, length and dictionary; always 256 bytes, so that the number of rows can be put in last.
inline std::string npy_header(const char* type, int64_t rows, const Shape& row) {
  std::string shape = fmt::format("{},", rows);
  for (const int64_t n : row) shape += fmt::format(" {},", n);
  if (row.size() > 0) shape.pop_back();  // Python: (3,) but (3, 4)
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, shape);
  constexpr size_t kLength = 256, kFront = 10;
  check(text.size() < kLength - kFront, "npy", "arrays of {} axes do not fit the header", row.size() + 1);
  text.resize(kLength - kFront - 1, ' ');
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>((kLength - kFront) & 0xFF);
  header += static_cast<char>((kLength - kFront) >> 8);
  return header + text + "\n";
}

}  // namespace detail

/// Writes one array row by row, so that it need not fit into memory. The file appears under its name when it is
/// complete, at finish(); a writer that is destroyed before leaves nothing.
///
/// Example: `io::NpyWriter out("pooled.npy"); for (...) out.append(batch); out.finish();`
class NpyWriter {
 public:
  /// @throws Error naming the file and the system's reason when it cannot be made, also for devices and FIFOs.
  explicit NpyWriter(std::string path) : path_(std::move(path)), file_(std::in_place, path_, "npy") {
    check(file_->replaces(), "npy", "cannot write {}: the number of rows is put in last, which only plain files allow",
          path_);
  }

  /// Adds rows.
  /// @param rows  [n, ...] of any strides; the first call decides the dtype and the shape of a row; bfloat16, which
  ///              NumPy does not know, becomes float32
  /// @throws Error for rows of another dtype or shape, or when the disk is full.
  void append(const Tensor& rows) {
    check(rows.defined() && rows.dim() >= 1, "npy", "needs rows [n, ...], got {}", describe(rows));
    const Tensor x = rows.dtype() == bfloat16 ? rows.detach().to(float32) : rows.detach();
    Shape row = x.shape();
    row.erase(0);
    if (!row_) {
      row_ = row;
      dtype_ = x.dtype();
      write(detail::npy_header(detail::npy_type(dtype_), 0, row));
    }
    check(*row_ == row && dtype_ == x.dtype(), "npy", "{}: rows are {}{}, got {}", path_, name(dtype_), row_->str(),
          describe(rows));
    const Tensor flat = on_host(x);
    write({static_cast<const char*>(flat.raw()), static_cast<size_t>(flat.numel() * item_size(dtype_))});
    count_ += x.size(0);
  }
  int64_t rows() const { return count_; }

  /// Completes the file. @throws Error when nothing was appended or the file cannot be written.
  void finish() {
    check(row_.has_value() && file_.has_value(), "npy", "{}: no rows were written", path_);
    const std::string header = detail::npy_header(detail::npy_type(dtype_), count_, *row_);
    file_->write_front(header.data(), header.size());
    file_->finish();
    file_.reset();
  }

 private:
  void write(std::string_view bytes) {
    check(file_.has_value(), "npy", "{}: was finished before these rows", path_);
    file_->write(bytes.data(), bytes.size());
  }

  std::string path_;
  std::optional<OutputFile> file_;
  std::optional<Shape> row_;
  DType dtype_ = float32;
  int64_t count_ = 0;
};

/// Writes one array. @param tensor  at least one axis, any strides   @throws Error as NpyWriter.
inline void save_npy(const std::string& path, const Tensor& tensor) {
  NpyWriter writer(path);
  writer.append(tensor);
  writer.finish();
}

}  // namespace atlas::inline ATLAS_ABI::io
