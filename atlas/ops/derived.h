// Derived: what a layer works out from its weights alone, kept between inferences.
// Not in atlas.h: include it by name.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/ops/watch.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// Identity of a tensor's contents: the memory, what part of it, and the version. Does not keep the memory alive.
class ContentKey {
 public:
  explicit ContentKey(const Tensor& t) {
    if (!t.defined()) return;
    storage_ = t.impl().storage;
    version_ = t.impl().storage->version();
    offset_ = t.offset();
    dtype_ = t.dtype();
    shape_ = t.shape();
    strides_ = t.strides();
  }
  bool operator==(const ContentKey& o) const {
    // The control block lives as long as a weak pointer does: another storage cannot be taken for one that is gone.
    return !storage_.owner_before(o.storage_) && !o.storage_.owner_before(storage_) && version_ == o.version_ &&
           offset_ == o.offset_ && dtype_ == o.dtype_ && shape_ == o.shape_ && strides_ == o.strides_;
  }

 private:
  std::weak_ptr<Storage> storage_;
  uint64_t version_ = 0;
  int64_t offset_ = 0;
  DType dtype_ = float32;
  Shape shape_, strides_;
};

}  // namespace detail

/// A value computed from weights alone (a folded convolution, a table of positions), kept as long as they do not
/// change.
///
/// A member of a layer. While gradients are recorded nothing is kept and every call computes, so that the graph is
/// whole; under NoGrad the value is computed once, and again when one of the tensors was changed in place (by an
/// optimizer, load_state_dict(), running statistics), replaced, or converted by Module::to(). Writing through data<T>()
/// is only noticed after Tensor::bump_version(). Several threads may infer at once; changing weights meanwhile is a
/// race.
///
/// Example: `Tensor A = decay_.get({A_log}, [&] { return neg(exp(A_log)); });`
template <class Value>
class Derived {
 public:
  /// When a value is kept: from its first use on, or, for what takes much memory and saves little time, from the second
  /// on (a program that infers once should not pay for it).
  enum class Keep : uint8_t { at_once, at_second_use };
  explicit Derived(Keep keep = Keep::at_once) : keep_(keep) {}

  /// compute(), or what it gave last time.
  /// @param from     all tensors that the value depends on; undefined ones too
  /// @param compute  returns a Value; runs with recording off when the result is kept
  /// @param sizes    other things that it depends on
  template <class F>
  Value get(std::initializer_list<Tensor> from, F&& compute, const Shape& sizes = {}) const {
    if (!detail::inference_mode()) {
      clear();
      return compute();
    }
    std::vector<detail::ContentKey> key;
    key.reserve(from.size());
    for (const Tensor& t : from) key.emplace_back(t);
    const std::lock_guard lock(mutex_);
    const bool known = key == key_ && sizes == sizes_;
    if (value_ && known) return *value_;
    value_.reset();
    key_ = std::move(key);
    sizes_ = sizes;
    if (keep_ == Keep::at_second_use && !known) return compute();
    value_ = compute();
    return *value_;
  }
  /// Forgets the value.
  void clear() const {
    const std::lock_guard lock(mutex_);
    value_.reset();
    key_.clear();
  }

 private:
  Keep keep_;
  mutable std::mutex mutex_;
  mutable std::optional<Value> value_;
  mutable std::vector<detail::ContentKey> key_;
  mutable Shape sizes_;
};

}  // namespace atlas::inline ATLAS_ABI
