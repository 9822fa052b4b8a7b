// Bodies of log.h. The JSON lines are the record; log.csv is written again from them when a run is resumed, so the two
// cannot disagree.
#pragma once

#include <fmt/core.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "atlas/core/input_file.h"
#include "atlas/core/output_file.h"
#include "atlas/data/text.h"
#include "atlas/io/json_fields.h"
#include "atlas/tensor/print.h"
#include "atlas/train/log.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {

inline std::string csv_cell(const LogValue& v) {
  if (const auto* i = std::get_if<int64_t>(&v)) return std::to_string(*i);
  if (const auto* d = std::get_if<double>(&v)) return std::isfinite(*d) ? fmt::format("{}", *d) : "";
  std::string s = std::get<std::string>(v);
  if (s.find_first_of(",\"\r\n") == std::string::npos) return s;
  for (size_t at = s.find('"'); at != std::string::npos; at = s.find('"', at + 2)) s.insert(at, "\"");
  return "\"" + s + "\"";
}

inline std::string csv_line(const LogRow& row, bool header) {
  std::string line;
  for (const auto& [name, value] : row) line += (line.empty() ? "" : ",") + csv_cell(header ? LogValue(name) : value);
  return line + "\n";
}

inline std::string json_line(const LogRow& row) {
  auto j = nlohmann::ordered_json::object();
  // A value that is not finite becomes null: JSON has no word for it.
  for (const auto& [name, value] : row) std::visit([&, &key = name](const auto& v) { j[key] = v; }, value);
  return j.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

inline int64_t row_number(const LogRow& row) {
  const auto* n = row.empty() ? nullptr : std::get_if<int64_t>(&row[0].second);
  check(n != nullptr && *n >= 0, "log", "a row begins with its number, an integer >= 0");
  return *n;
}

inline LogRow parse_row(const std::string& line, const std::string& where) {
  check(line.find('\0') == line.npos, "log", "{}: not JSON: it has a NUL byte", where);
  nlohmann::ordered_json j;
  try {
    j = nlohmann::ordered_json::parse(line);
  } catch (const nlohmann::json::exception& e) {
    fail("log", "{}: not JSON: {}", where, io::json_reason(e.what()));
  }
  check(j.is_object() && !j.empty() && io::whole_number_in(j.front()).has_value(), "log",
        "{}: not a row that begins with its number", where);
  LogRow row;
  for (const auto& [name, v] : j.items()) {
    check(v.is_number() || v.is_string() || v.is_null(), "log", "{}: '{}' is neither number nor text", where, name);
    if (const auto whole = io::whole_number_in(v))
      row.emplace_back(name, *whole);
    else if (v.is_string())
      row.emplace_back(name, v.get<std::string>());
    else
      row.emplace_back(name, v.is_null() ? std::nan("") : v.get<double>());
  }
  return row;
}

}  // namespace detail

ATLAS_INLINE std::vector<LogRow> read_log(const std::string& jsonl_path) {
  const InputFile in(jsonl_path);
  check(in.problem().empty(), "log", "cannot open {}: {}", jsonl_path, in.problem());
  std::string whole(static_cast<size_t>(in.size()), '\0');
  whole.resize(in.read(whole.data(), whole.size()));
  check(errno == 0, "log", "cannot read {}: {}", jsonl_path, std::strerror(errno));
  const std::string text(data::without_mark(whole));
  std::vector<LogRow> rows;
  int64_t number = 0;
  size_t begin = 0;
  for (size_t end = text.find('\n'); end != std::string::npos; begin = end + 1, end = text.find('\n', begin))
    rows.push_back(detail::parse_row(text.substr(begin, end - begin), fmt::format("{} line {}", jsonl_path, ++number)));
  return rows;
}

ATLAS_INLINE RunLog::RunLog(const std::string& folder, int64_t keep_through)
    : csv_path_((std::filesystem::path(folder) / "log.csv").string()),
      jsonl_path_((std::filesystem::path(folder) / "log.jsonl").string()) {
  if (keep_through >= 0 && std::filesystem::exists(jsonl_path_)) {
    for (LogRow& row : read_log(jsonl_path_))
      if (detail::row_number(row) <= keep_through) rows_.push_back(std::move(row));
  }
  std::string csv, jsonl;
  for (const LogRow& row : rows_) {
    if (csv.empty()) csv = detail::csv_line(row, true);
    csv += detail::csv_line(row, false);
    jsonl += detail::json_line(row);
  }
  open(csv_, csv_path_, csv);
  open(jsonl_, jsonl_path_, jsonl);
}

/// Puts `content` in the place of the file, whole or not at all, and opens it for more.
ATLAS_INLINE void RunLog::open(File& file, const std::string& path, const std::string& content) {
  OutputFile whole(path, "log");
  whole.write(content.data(), content.size());
  file.reset(whole.finish_and_keep());
}

ATLAS_INLINE void RunLog::append(File& file, const std::string& path, const std::string& line) {
  const bool ok = std::fwrite(line.data(), 1, line.size(), file.get()) == line.size() && std::fflush(file.get()) == 0;
  check(ok, "log", "cannot write {}: {}", path, std::strerror(errno));
}

ATLAS_INLINE void RunLog::write(const LogRow& row) {
  const int64_t number = detail::row_number(row);
  if (!rows_.empty()) {
    const LogRow& last = rows_.back();
    bool same = last.size() == row.size();
    for (size_t i = 0; i < row.size() && same; ++i) same = last[i].first == row[i].first;
    check(same, "log", "the row has other columns than those in {} (was it written by another version? move it away)",
          csv_path_);
    check(number > detail::row_number(last), "log", "row {} comes after row {} in {}", number, detail::row_number(last),
          csv_path_);
  } else {
    append(csv_, csv_path_, detail::csv_line(row, true));
  }
  append(csv_, csv_path_, detail::csv_line(row, false));
  append(jsonl_, jsonl_path_, detail::json_line(row));
  rows_.push_back(row);
}

}  // namespace atlas::inline ATLAS_ABI::train
