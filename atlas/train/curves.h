// The curves of a run: the loss and what its task is after over its epochs, from the rows of its log.
// Not in atlas.h: include it by name.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "atlas/data/plot.h"
#include "atlas/tasks/task.h"
#include "atlas/train/log.h"

namespace atlas::inline ATLAS_ABI::train {

namespace detail {

inline std::vector<double> column(const std::vector<LogRow>& rows, const std::string& name) {
  std::vector<double> values;
  for (const LogRow& row : rows)
    for (const auto& [key, value] : row)
      if (key == name)
        values.push_back(std::visit(
            [](const auto& v) -> double {
              if constexpr (std::is_arithmetic_v<std::decay_t<decltype(v)>>)
                return static_cast<double>(v);
              else
                return std::nan("");
            },
            value));
  return values;
}

}  // namespace detail

/// The loss and the task's goal over the epochs, one chart above the other.
inline Tensor curves(const std::vector<LogRow>& rows, const std::string& title, const tasks::Goal& goal) {
  const std::vector<double> epochs = detail::column(rows, "epoch");
  const auto measure = [&](const std::string& name) {
    std::vector<double> v = detail::column(rows, name);
    if (goal.share)
      for (double& x : v) x *= 100;
    return v;
  };
  const auto chart = [&](const std::string& name, const std::string& y_label, std::vector<double> training,
                         std::vector<double> test) {
    data::ChartOptions o;
    o.title = name;
    o.x_label = "epoch";
    o.y_label = y_label;
    std::vector<data::Series> series;  // a task may have no loss of tests, and measure nothing in training
    if (training.size() == epochs.size()) series.push_back({"training", epochs, std::move(training), true});
    if (test.size() == epochs.size()) series.push_back({"test", epochs, std::move(test), true});
    return data::line_chart(series, o);
  };
  return data::stack_pictures(
      {chart(title + ": loss", "cross-entropy", detail::column(rows, "train_loss"), detail::column(rows, "test_loss")),
       chart(title + ": " + goal.value, goal.axis, measure("train_" + goal.value), measure("test_" + goal.value))});
}

}  // namespace atlas::inline ATLAS_ABI::train
