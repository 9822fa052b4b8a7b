// The log of a run, one row per epoch (or step): log.csv for spreadsheets, log.jsonl for programs.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "atlas/core/error.h"

namespace atlas::inline ATLAS_ABI::train {

/// A cell of the log.
using LogValue = std::variant<int64_t, double, std::string>;
/// Names and values in the order of the columns. The first is the row's number (epoch or step), an integer that
/// increases.
using LogRow = std::vector<std::pair<std::string, LogValue>>;

/// Writes log.csv and log.jsonl side by side, flushing each row.
///
/// A run that is resumed at row n keeps the rows up to n, drops what was written after the checkpoint (and a line cut
/// short by a kill), and goes on. Doubles are written so that they read back exactly; NaN and infinity are null in
/// JSON.
class RunLog {
 public:
  /// Opens the logs in `folder`.
  /// @param keep_through  -1 starts new files; n >= 0 keeps the rows numbered up to n
  /// @throws Error naming the file when it cannot be read or written, or when a line of it is no row of a log
  explicit RunLog(const std::string& folder, int64_t keep_through = -1);

  /// Appends a row. @throws Error when its columns are not those of the file, its number does not increase, or the disk
  /// is full.
  void write(const LogRow& row);

  /// All rows: those kept from before and those written since.
  const std::vector<LogRow>& rows() const { return rows_; }

 private:
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  using File = std::unique_ptr<std::FILE, Close>;

  void open(File& file, const std::string& path, const std::string& content);
  void append(File& file, const std::string& path, const std::string& line);

  std::string csv_path_, jsonl_path_;
  File csv_, jsonl_;
  std::vector<LogRow> rows_;
};

/// Reads a log.jsonl. A last line without its end (the writer was killed) is ignored.
/// @throws Error naming the file and the line that is no row
std::vector<LogRow> read_log(const std::string& jsonl_path);

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/log-inl.h"
#endif
