// Comparison: tensors of this library against those of one file of golden data; see tests/golden/README.md.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "atlas/io/safetensors.h"
#include "atlas/nn/state.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"

namespace golden {

using namespace atlas;

/// Compares tensors with those of one file and keeps the worst.
class Comparison {
 public:
  Comparison(io::SafetensorsFile file, double tolerance) : file_(std::move(file)), forced_(tolerance) {}

  bool has(const std::string& name) const { return file_.tensors.contains(name); }
  const Tensor& tensor(const std::string& name) {
    const auto it = file_.tensors.find(name);
    check(it != file_.tensors.end(), "golden_check", "the file has no '{}'", name);
    used_.insert(name);
    return it->second;
  }
  const std::string& meta(const std::string& name) const {
    const auto it = file_.metadata.find(name);
    check(it != file_.metadata.end(), "golden_check", "the file has no metadata '{}'", name);
    return it->second;
  }
  bool has_meta(const std::string& name) const { return file_.metadata.contains(name); }
  int64_t number(const std::string& name) const { return std::stoll(meta(name)); }
  std::vector<std::string> names(const std::string& prefix) const {
    std::vector<std::string> some;
    for (const auto& [name, t] : file_.tensors)
      if (name.starts_with(prefix)) some.push_back(name);
    return some;
  }

  /// The largest 2-norm of an entry whose name starts with `prefix`.
  double largest_norm(const std::string& prefix) const {
    double largest = 0;
    for (const auto& [name, t] : file_.tensors)
      if (name.starts_with(prefix) && !name.ends_with(".norm")) {
        const auto whole = file_.tensors.find(name + ".norm");
        largest = std::max(largest, whole != file_.tensors.end() ? whole->second.item() : norm(values(t)));
      }
    return largest;
  }

  /// e = |got - stored| / (|stored| + floor) over what is stored: all of it, or a sample and the norm.
  /// @param got     in the published layout
  /// @param remark  what somebody should know when it is too large
  void compare(const std::string& name, const Tensor& got, double tolerance, double floor = 0,
               const std::string& remark = "") {
    const Tensor& stored = tensor(name);
    std::vector<double> ours = values(got), theirs = values(stored);
    if (has(name + ".norm")) {
      const double whole = norm(ours);
      const size_t step = ours.size() / 512;
      std::vector<double> sample;
      for (size_t i = 0; i < ours.size(); i += step) sample.push_back(ours[i]);
      ours = std::move(sample);
      note(name + ".norm", std::abs(whole - tensor(name + ".norm").item()) / (tensor(name + ".norm").item() + floor),
           tolerance);
    } else {
      check(got.shape() == stored.shape(), "golden_check", "'{}' is {}, the file has {}", name, describe(got),
            describe(stored));
    }
    check(ours.size() == theirs.size(), "golden_check", "'{}' has {} values where the file stores {}", name,
          ours.size(), theirs.size());
    const double size = norm(theirs) + floor;
    for (size_t i = 0; i < ours.size(); ++i) ours[i] -= theirs[i];
    const double away = norm(ours);
    note(name, away == 0 ? 0 : away / size, tolerance, remark);
  }
  /// As compare(), of whole tensors whose elements are to be the same, NaN included.
  /// @param remark  what somebody should know when they are not
  void compare_equal(const std::string& name, const Tensor& got, const std::string& remark = "") {
    const Tensor& stored = tensor(name);
    check(got.shape() == stored.shape(), "golden_check", "'{}' is {}, the file has {}", name, describe(got),
          describe(stored));
    const std::vector<double> ours = values(got), theirs = values(stored);
    int64_t other = 0;
    for (size_t i = 0; i < ours.size(); ++i)
      other += ours[i] == theirs[i] || (std::isnan(ours[i]) && std::isnan(theirs[i])) ? 0 : 1;
    const bool forced = forced_ > 0;  // what is discrete has no tolerance
    ++count_;
    passed_ = passed_ && other == 0;
    if (other == 0 && (count_ > 1 || forced)) return;
    worst_share_ = other == 0 ? 0 : INFINITY;
    worst_ = fmt::format("{} of {} elements differ at {}{}", other, ours.size(), name, remark);
  }
  /// Records a relative error.
  void note(const std::string& name, double error, double tolerance, const std::string& remark = "") {
    if (forced_ > 0) tolerance = forced_;
    ++count_;
    const bool good = error <= tolerance;  // false for NaN
    passed_ = passed_ && good;
    const double share = std::isnan(error) ? INFINITY : error / tolerance;
    if (count_ > 1 && share <= worst_share_) return;
    worst_share_ = share;
    worst_ = fmt::format("{:.1e} at {} (tolerance {:.0e}){}", error, name, tolerance, good ? "" : remark);
  }
  /// A tensor nobody looked at would be a check that silently does not happen.
  void finish() const {
    for (const auto& [name, t] : file_.tensors)
      check(used_.contains(name), "golden_check", "nothing here produces '{}'", name);
    check(count_ > 0, "golden_check", "the file holds nothing to compare");
  }
  bool passed() const { return passed_; }
  std::string summary() const { return fmt::format("{}, {} comparisons", worst_, count_); }

 private:
  static double norm(const std::vector<double>& v) {
    double sum = 0;
    for (const double x : v) sum += x * x;
    return std::sqrt(sum);
  }
  static std::vector<double> values(const Tensor& t) {
    Tensor flat = empty(t.shape(), float64);
    copy_elements(flat, t.detach().to(Device{}));
    return {flat.data<double>(), flat.data<double>() + flat.numel()};
  }

  io::SafetensorsFile file_;
  std::set<std::string> used_;
  double forced_, worst_share_ = 0;
  std::string worst_;
  int64_t count_ = 0;
  bool passed_ = true;
};

struct Place {
  DType dtype;
  Device device;
};

/// A map [B, H, W, C] as files have it: [B, C, H, W].
inline Tensor channels_first(const Tensor& map) { return published_view(map.detach(), Layout::conv2d); }

}  // namespace golden
