// Bodies of report_page.h.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "atlas/train/curves.h"
#include "atlas/train/report_page.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {

/// Colors for light and dark; one column on a telephone, several on a screen. Nothing may be loaded from elsewhere.
inline constexpr const char* kPageHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data: file: 'self'">
<style>
:root{color-scheme:light dark;--bg:#fff;--card:#f6f7f9;--ink:#20262c;--soft:#5d6670;--line:#dde1e6;--s0:#1f77b4;--s1:#d9600f;--bar:#cfe3f4}
@media (prefers-color-scheme:dark){:root{--bg:#14181c;--card:#1d2329;--ink:#e6e9ec;--soft:#9aa4ae;--line:#343c44;--s0:#5db0ec;--s1:#f39a5b;--bar:#234a68}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1500px;padding:20px clamp(12px,2.5vw,36px) 48px;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.45rem;line-height:1.25;margin:0 0 4px}h2{font-size:1.1rem;margin:34px 0 12px}h3{font-size:.95rem;margin:0;font-weight:600}
p{margin:0}.soft{color:var(--soft)}
.tiles,.charts{display:grid;gap:12px}
.tiles{grid-template-columns:repeat(auto-fill,minmax(min(100%,155px),1fr));margin-top:16px}
.charts{grid-template-columns:repeat(auto-fill,minmax(min(100%,380px),1fr))}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px;min-width:0}
.tile b{display:block;font-size:1.3rem;line-height:1.3;font-variant-numeric:tabular-nums}
progress{width:100%;height:8px;accent-color:var(--s0)}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:.82rem;color:var(--soft);min-height:1.3em}
.legend i{display:inline-block;width:14px;height:3px;border-radius:2px;margin-right:6px;vertical-align:middle}
svg{display:block;width:100%;height:auto;margin-top:4px}svg text{fill:var(--soft);font-size:12px}
.grid{stroke:var(--line);stroke-width:1}.x{text-anchor:middle}.y{text-anchor:end}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.k0{background:var(--s0)}.k1{background:var(--s1)}
.s0 .line{stroke:var(--s0)}.s1 .line{stroke:var(--s1)}.s0 circle{fill:var(--s0)}.s1 circle{fill:var(--s1)}
.scroll{overflow:auto;max-height:560px;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:5px 12px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
td.text,th.text{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:7em;max-width:28em}
thead th{position:sticky;top:0;background:var(--card);font-weight:600}tr:last-child td{border-bottom:0}
td.share{background:linear-gradient(to right,var(--bar) var(--part),transparent 0)}
pre{margin:0;padding:10px 14px;font-size:.8rem}
details{margin-top:12px}summary{cursor:pointer;color:var(--soft)}details>*+*{margin-top:10px}
.sheet{overflow:auto;max-height:none}.sheet img{display:block;max-width:100%;margin:0 auto;background:#fff}
@media (max-width:700px){.sheet img{max-width:none}}
</style>
)";

inline std::string percent_text(double share) { return fmt::format("{:.2f} %", 100 * share); }

/// The number in a cell; NaN where there is none.
inline double number_in(const LogValue& v) {
  if (const auto* whole = std::get_if<int64_t>(&v)) return static_cast<double>(*whole);
  const auto* real = std::get_if<double>(&v);
  return real != nullptr ? *real : std::nan("");
}
inline double cell_of(const LogRow& row, std::string_view name) {
  for (const auto& [key, value] : row)
    if (key == name) return number_in(value);
  return std::nan("");
}

/// A card with a chart of columns of the log, or nothing where it has none of them.
inline std::string chart_card(const ReportPage& p, const std::string& title,
                              const std::vector<std::pair<std::string, std::string>>& columns, double factor = 1) {
  std::vector<data::Series> series;
  std::string legend;
  for (const auto& [column_name, label] : columns) {
    std::vector<double> y = column(p.log, column_name);
    if (y.size() != p.log.size()) continue;
    for (double& v : y) v *= factor;
    legend +=
        fmt::format(R"(<span><i class="k{}"></i>{}: {:.5g}</span>)", series.size(), html_escaped(label), y.back());
    series.push_back({label, column(p.log, "epoch"), std::move(y), true});
  }
  if (series.empty()) return "";
  return fmt::format(R"(<div class="card"><h3>{}</h3><div class="legend">{}</div>{}</div>)", html_escaped(title),
                     legend, svg_chart(series, title + " over the epochs", factor == 100)) +
         "\n";
}

/// A chart of a measured value, of training and of tests.
inline std::string measure_card(const ReportPage& p, const std::string& name) {
  const bool share = p.shares.contains("test_" + name) || p.shares.contains("train_" + name);
  return chart_card(p, share ? name + ", %" : name, {{"train_" + name, "training"}, {"test_" + name, "test"}},
                    share ? 100 : 1);
}

/// @param bars  behind numbers in percent
inline std::string table_html(const tasks::Table& table, bool bars = false) {
  std::string html = R"(<div class="scroll"><table><thead><tr>)";
  std::vector<bool> is_text;  // columns whose cells are no numbers
  for (size_t c = 0; c < table.columns.size(); ++c) {
    const bool text = std::any_of(table.rows.begin(), table.rows.end(), [&](const auto& row) {
      const std::string& cell = row.at(c);
      return !cell.empty() && cell != "-" && cell.find_first_not_of("0123456789.,-+e %") != cell.npos;
    });
    is_text.push_back(text || c == 0);
    html += fmt::format("<th{}>{}</th>", is_text[c] ? " class=\"text\"" : "", html_escaped(table.columns[c]));
  }
  html += "</tr></thead><tbody>\n";
  for (const auto& row : table.rows) {
    html += "<tr>";
    for (size_t c = 0; c < row.size(); ++c) {
      std::string how;
      if (is_text[c])
        how = " class=\"text\"";
      else if (bars && row[c].ends_with(" %"))
        how = fmt::format(R"( class="share" style="--part:{:.1f}%")", std::strtod(row[c].c_str(), nullptr));
      html += fmt::format("<td{}>{}</td>", how, html_escaped(row[c]));
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

/// Rows of the log, those of the last epochs first.
inline std::string epochs_html(const ReportPage& p) {
  tasks::Table table;
  for (const auto& [name, value] : p.log.back()) table.columns.push_back(name);
  for (auto row = p.log.rbegin(); row != p.log.rend(); ++row) {
    std::vector<std::string> cells;
    for (const auto& [name, value] : *row) {
      const double v = number_in(value);
      cells.push_back(std::isnan(v) ? "-" : p.shares.contains(name) ? percent_text(v) : fmt::format("{:.6g}", v));
    }
    table.rows.push_back(std::move(cells));
  }
  return table_html(table);
}

inline std::string settings_html(const ReportPage& p) {
  const auto object = [](const std::string& text) {
    auto j = nlohmann::ordered_json::parse(text, nullptr, false);
    check(j.is_object(), "report_page", "settings must be a JSON object, got {}", text);
    return j;
  };
  const auto now = object(p.settings), usual = object(p.defaults);
  tasks::Table given{{"setting", "value", "default"}, {}}, others{{"setting", "value"}, {}};
  const auto text = [](const nlohmann::ordered_json& v) {
    return v.is_string() && !v.get<std::string>().empty()
               ? v.get<std::string>()
               : v.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  };
  for (const auto& [key, value] : now.items()) {
    if (usual.contains(key) && usual[key] == value)
      others.rows.push_back({key, text(value)});
    else
      given.rows.push_back({key, text(value), usual.contains(key) ? text(usual[key]) : "-"});
  }
  std::string html = given.rows.empty() ? "<p class=\"soft\">all as by default</p>\n" : table_html(given);
  return html + fmt::format("<details><summary>{} others, as by default</summary>{}</details>\n", others.rows.size(),
                            table_html(others));
}

inline std::string pictures_html(const ReportPage& p) {
  std::string html;
  for (const auto& [what, file] : p.report.files) {
    if (!file.ends_with(".png")) continue;
    const std::string name = std::filesystem::path(file).filename().string();
    std::error_code error;
    const auto size = std::filesystem::file_size(file, error);
    check(!error, "report_page", "{}: {}", file, error.message());
    const std::string source = size <= static_cast<uint64_t>(p.largest_picture)
                                   ? "data:image/png;base64," + base64(data::read_file(file))
                                   : name;
    html += fmt::format(
        "<h2>{}</h2>\n<div class=\"scroll sheet\"><img src=\"{}\" alt=\"{}\"></div>\n<p class=\"soft\">{}</p>\n",
        html_escaped(what), html_escaped(source), html_escaped(what + " of the last test"), html_escaped(name));
  }
  return html;
}

inline std::string tile(const std::string& name, const std::string& value, const std::string& note = {}) {
  return fmt::format(
      "<div class=\"card tile\"><span class=\"soft\">{}</span><b>{}</b><span class=\"soft\">{}</span></div>\n",
      html_escaped(name), html_escaped(value), html_escaped(note));
}

inline std::string tiles_html(const ReportPage& p) {
  const LogRow& last = p.log.back();
  const std::string goal = "test_" + p.goal.value;
  const auto shown = [&](double v) {
    return std::isnan(v) ? std::string("-") : p.goal.share ? percent_text(v) : fmt::format("{:.5g}", v);
  };
  double best = std::nan(""), best_epoch = 0, seconds = 0;
  for (const LogRow& row : p.log) {
    const double v = cell_of(row, goal), took = cell_of(row, "seconds");
    if (!std::isnan(v) && (std::isnan(best) || p.goal.better(v, best))) best = v, best_epoch = cell_of(row, "epoch");
    if (!std::isnan(took)) seconds += took;
  }
  const double epoch = cell_of(last, "epoch"), speed = cell_of(last, "images_per_second"),
               memory = cell_of(last, "peak_memory_mib");
  std::string html = "<div class=\"tiles\">\n" +
                     tile("best " + p.goal.value, shown(best), fmt::format("epoch {}", best_epoch)) +
                     tile("last " + p.goal.value, shown(cell_of(last, goal)), fmt::format("epoch {}", epoch));
  if (const double loss = cell_of(last, "test_loss"); !std::isnan(loss))
    html += tile("test loss", fmt::format("{:.4f}", loss), fmt::format("training {:.4f}", cell_of(last, "train_loss")));
  if (!std::isnan(speed))
    html += tile("speed", fmt::format("{:.{}f}/s", speed, speed < 100 ? 2 : 0), "images in training");
  if (!std::isnan(memory))
    html += tile("peak memory",
                 memory < 1024 ? fmt::format("{:.0f} MiB", memory) : fmt::format("{:.2f} GiB", memory / 1024));
  const double left = seconds / static_cast<double>(p.log.size()) * (static_cast<double>(p.epochs) - epoch);
  html += tile("time", duration_text(seconds), left > 0 ? "about " + duration_text(left) + " to go" : "of all epochs");
  return html + "</div>\n";
}

/// Names of what the log has measured, without train_ and test_, in its order.
inline std::vector<std::string> measures(const LogRow& row) {
  std::vector<std::string> names;
  for (const auto& [key, value] : row)
    for (const std::string_view prefix : {"train_", "test_"})
      if (key.starts_with(prefix)) {
        const std::string name = key.substr(prefix.size());
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      }
  return names;
}

}  // namespace detail

ATLAS_INLINE std::string html_escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        safe += c;
    }
  return safe;
}

ATLAS_INLINE std::string base64(std::span<const uint8_t> bytes) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (k < n ? bytes[i + k] : 0u);
    for (size_t k = 0; k < 4; ++k) text += k <= n ? letters[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

ATLAS_INLINE std::string report_page(const ReportPage& p) {
  check(!p.log.empty(), "report_page", "needs the log of at least one epoch");
  const std::string title = html_escaped(p.title);
  const double epoch = detail::cell_of(p.log.back(), "epoch");
  std::string html = detail::kPageHead;
  html +=
      fmt::format("<title>{}</title></head><body>\n<h1>{}</h1>\n<p>{}</p>\n", title, title, html_escaped(p.summary));
  html += fmt::format("<p class=\"soft\">after epoch {} of {}, update {}</p>\n", epoch, p.epochs,
                      detail::cell_of(p.log.back(), "updates"));
  html += fmt::format("<progress max=\"{}\" value=\"{}\"></progress>\n", p.epochs, epoch) + detail::tiles_html(p);

  const std::vector<std::string> names = detail::measures(p.log.back());
  std::string others;
  for (const std::string& name : names)
    if (name != p.goal.value && name != "loss") others += detail::measure_card(p, name);
  html += "<h2>Curves</h2>\n<div class=\"charts\">\n" + detail::measure_card(p, p.goal.value) +
          (p.goal.value == "loss" ? "" : detail::measure_card(p, "loss")) +
          detail::chart_card(p, "learning rate", {{"lr", "at the end of the epoch"}}) + "</div>\n";
  if (!others.empty())
    html += fmt::format("<details{}><summary>other measures</summary><div class=\"charts\">\n{}</div></details>\n",
                        names.size() <= 4 ? " open" : "", others);
  if (!p.report.classes.rows.empty())
    html += "<h2>Classes</h2>\n" + detail::table_html(p.report.classes, true);
  else if (!p.report.tables.empty())
    html += "<h2>Tables</h2>\n<div class=\"scroll\"><pre>" + html_escaped(p.report.tables) + "</pre></div>\n";
  html += detail::pictures_html(p);
  html +=
      "<h2>Speed and memory</h2>\n<div class=\"charts\">\n" +
      detail::chart_card(p, "images per second", {{"images_per_second", "training"}}) +
      detail::chart_card(p, "seconds of an epoch, its test included", {{"seconds", "epoch"}}) +
      detail::chart_card(p, "seconds of an update",
                         {{"fastest_step_seconds", "fastest process"}, {"slowest_step_seconds", "slowest process"}}) +
      detail::chart_card(p, "peak memory, MiB", {{"peak_memory_mib", "since the start"}}) + "</div>\n";
  html += "<h2>Epochs</h2>\n" + detail::epochs_html(p) + "<h2>Settings</h2>\n" + detail::settings_html(p);
  return html + "</body></html>\n";
}

ATLAS_INLINE void ReportFile::on_epoch_end(Trainer& t, const EpochResult& result) {
  page_.log = log_.rows();
  page_.epochs = t.options().epochs;
  page_.goal = t.task().goal();
  for (const tasks::Value& v : result.training.values())
    if (v.share) page_.shares.insert("train_" + v.name);
  for (const tasks::Value& v : result.test.values())
    if (v.share) page_.shares.insert("test_" + v.name);
  page_.report = reports_.report();
  page_.summary = page_.report.summary;
  write_text(page_.folder + "/report.html", report_page(page_));
}

}  // namespace atlas::inline ATLAS_ABI::train
