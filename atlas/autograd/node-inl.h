// What recording does.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/autograd/node.h"
#include "atlas/core/profile.h"
#include "atlas/tensor/memory.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

ATLAS_INLINE bool& grad_mode() {
  thread_local bool on = true;
  return on;
}

ATLAS_INLINE bool& recomputing() {
  thread_local bool on = false;
  return on;
}

}  // namespace detail

ATLAS_INLINE std::shared_ptr<Node> node_of(const Tensor& t) { return t.requires_grad() ? t.impl().node : nullptr; }

ATLAS_INLINE Node* detail::make_node(const char* name, Tensor& out, const std::vector<Tensor>& inputs) {
  if (!grad_enabled()) return nullptr;
  bool any = false;
  for (const Tensor& t : inputs) any = any || t.requires_grad();
  if (!any) return nullptr;
  std::vector<Node::Input> edges;
  edges.reserve(inputs.size());
  for (const Tensor& t : inputs)
    edges.push_back(t.requires_grad() ? Node::Input{node_of(t), t.shape(), t.dtype()} : Node::Input{});
  auto node = std::make_shared<Node>();  // made after its inputs' nodes: ids are a topological order
  node->name = name;
  if (profiling()) node->layer = std::make_unique<std::string>(profile_layer());
  node->inputs = std::move(edges);
  out.impl().node = node;
  out.impl().requires_grad = true;
  return node.get();
}

ATLAS_INLINE Tensor& Tensor::set_requires_grad(bool on) {
  check(!on || is_floating(dtype()), "set_requires_grad", "only floating tensors have gradients, got {}",
        describe(*this));
  check(!impl().node || impl().node->leaf.lock() != nullptr, "set_requires_grad",
        "only leaves can be switched; this tensor is the result of {} (detach it first)",
        impl().node ? impl().node->name : "");
  if (on && !impl().node) {  // a leaf's accumulator, made here: first ops on a leaf may come from several threads
    impl().node = std::make_shared<Node>();
    impl().node->leaf = ptr();
  }
  impl().requires_grad = on;
  return *this;
}

namespace detail {

ATLAS_INLINE Tensor apart_from(const Tensor& dst, const Tensor& src) {
  const bool shared = src.impl().storage == dst.impl().storage;
  const bool same = src.shape() == dst.shape() && src.strides() == dst.strides() && src.offset() == dst.offset();
  return shared && !same ? copy_of(src) : src;
}

ATLAS_INLINE bool solely_owned(const Tensor& t) {
  return t.defined() && t.ptr().use_count() == 1 && t.impl().storage.use_count() == 1 &&
         !t.impl().storage->borrowed() && t.is_contiguous();
}

ATLAS_INLINE const std::function<Tensor(size_t)>*& gradient_source() {
  thread_local const std::function<Tensor(size_t)>* source = nullptr;
  return source;
}

ATLAS_INLINE Tensor take_gradient(size_t i) {
  return gradient_source() != nullptr ? (*gradient_source())(i) : Tensor();
}

ATLAS_INLINE void check_in_place(const Tensor& t, const char* op) {
  check(!(grad_enabled() && t.requires_grad()), op,
        "changing {} in place would invalidate its gradient; do it under NoGrad, or on a detached tensor", describe(t));
  check(!overlaps(t), op, "{} is expanded: several indices share one element, so it cannot be written (clone it first)",
        describe(t));
}

/// What is written into a tensor in place comes in without its graph.
ATLAS_INLINE void check_source(const Tensor& src, const char* op) {
  check(!(grad_enabled() && src.requires_grad()), op,
        "the gradient of {} would be lost: write its detach(), or make the whole with cat(), stack() or where()",
        describe(src));
}

}  // namespace detail

ATLAS_INLINE Tensor& Tensor::fill_(double value) {
  detail::check_in_place(*this, "fill_");
  fill_elements(*this, value, "fill_");
  bump_version();
  return *this;
}

ATLAS_INLINE Tensor& Tensor::add_(const Tensor& src, double alpha) {
  detail::check_in_place(*this, "add_");
  detail::check_source(src, "add_");
  add_elements(*this, detail::apart_from(*this, src), alpha);
  bump_version();
  return *this;
}

ATLAS_INLINE Tensor& Tensor::mul_(double factor) {
  detail::check_in_place(*this, "mul_");
  scale_elements(*this, factor);
  bump_version();
  return *this;
}

ATLAS_INLINE Tensor& Tensor::copy_(const Tensor& src) {
  detail::check_in_place(*this, "copy_");
  detail::check_source(src, "copy_");
  copy_elements(*this, detail::apart_from(*this, src));
  bump_version();
  return *this;
}

}  // namespace atlas::inline ATLAS_ABI
