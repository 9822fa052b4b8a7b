// report.html: a run on one page that needs nothing else, no network and no other program than a browser.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/data/plot.h"
#include "atlas/train/log.h"
#include "atlas/train/observers.h"

namespace atlas::inline ATLAS_ABI::train {

/// Text for a page: & < > " ' become entities.
std::string html_escaped(std::string_view text);
/// Base64 with padding (RFC 4648).
std::string base64(std::span<const uint8_t> bytes);

/// A chart as SVG, colored by the page: series i has the class `s<i>`. Points that are not finite break lines.
/// @param description  for readers that are read to
/// @param percent      of shares: the axis does not leave 0 to 100
/// @throws Error when a series has x and y of different lengths.
std::string svg_chart(const std::vector<data::Series>& series, const std::string& description, bool percent = false);

/// What is on the page.
struct ReportPage {
  std::string title;        ///< of the run
  std::string summary;      ///< of the last test, one line
  std::vector<LogRow> log;  ///< a row for each epoch
  int64_t epochs = 0;       ///< of the whole training
  tasks::Goal goal;
  std::set<std::string> shares;       ///< columns of the log that are shown in percent
  std::string settings, defaults;     ///< JSON objects: those of the run, and what they are when nobody sets them
  tasks::Report report;               ///< of the last test
  std::string folder;                 ///< where the page will be: pictures too large for it are linked from there
  int64_t largest_picture = 8 << 20;  ///< bytes of a picture that is put into the page
};

/// The page: the state of the training, curves, classes, pictures of the test, speed and memory, epochs, settings.
/// @throws Error for a log without rows, settings that are no JSON object, and pictures that cannot be read.
std::string report_page(const ReportPage& page);

/// Writes report.html after every epoch, whole or not at all.
class ReportFile : public Observer {
 public:
  /// @param config, defaults  settings of the run, and those of nobody, JSON
  /// @param log, reports      observers that were added before
  ReportFile(std::string folder, std::string title, std::string config, std::string defaults, const RunLog& log,
             const TestReports& reports)
      : log_(log), reports_(reports) {
    page_.folder = std::move(folder);
    page_.title = std::move(title);
    page_.settings = std::move(config);
    page_.defaults = std::move(defaults);
  }
  ATLAS_INLINE void on_epoch_end(Trainer& t, const EpochResult& result) override;

 private:
  ReportPage page_;
  const RunLog& log_;
  const TestReports& reports_;
};

}  // namespace atlas::inline ATLAS_ABI::train

#ifndef ATLAS_COMPILED_LIB
#include "atlas/train/report_page-inl.h"
#include "atlas/train/svg_chart-inl.h"
#endif
