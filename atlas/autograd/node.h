// The graph: nodes, grad mode, saved tensors and record(), with which an op states its gradient beside its forward
// code.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "atlas/core/profile.h"
#include "atlas/tensor/memory.h"
#include "atlas/tensor/tensor.h"

namespace atlas::inline ATLAS_ABI {

/// Gradients of an op's inputs, in the order of the inputs; an undefined tensor means "none".
using Grads = std::vector<Tensor>;

/// One recorded op: where its inputs came from and how its output's gradient becomes theirs.
struct Node {
  struct Input {
    std::shared_ptr<Node> node;  // null when the input needs no gradient
    Shape shape;
    DType dtype = float32;
  };
  uint64_t id = next_id();  // creation order: a topological order of the graph
  const char* name = "leaf";
  std::vector<Input> inputs;
  std::function<Grads(const Tensor&)> backward;  // empty for leaves, and after it has run
  std::function<Tensor()> recompute;  // the output once more, where keeping it costs more; see recomputable()
  std::weak_ptr<TensorImpl> leaf;
  bool done = false;                   // backward has run and its saved tensors are gone
  std::unique_ptr<std::string> layer;  // the module that made it, while a profile is taken

  Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node() {
    // A long chain would recurse once per op; instead, nodes that die with this one wait in a list.
    std::vector<std::shared_ptr<Node>> dying;
    take_inputs(dying);
    while (!dying.empty()) {
      std::shared_ptr<Node> n = std::move(dying.back());
      dying.pop_back();
      if (n.use_count() == 1) n->take_inputs(dying);
    }
  }

 private:
  void take_inputs(std::vector<std::shared_ptr<Node>>& to) {
    for (auto& i : inputs)
      if (i.node) to.push_back(std::move(i.node));
    inputs.clear();
  }
  static uint64_t next_id() {
    static std::atomic<uint64_t> counter{0};
    return ++counter;
  }
};

namespace detail {
bool& grad_mode();
bool& recomputing();
}  // namespace detail

/// True when ops on this thread are recorded for backward.
inline bool grad_enabled() { return detail::grad_mode(); }
/// True while a checkpointed block runs for the second time: layers with side effects (running statistics) skip them.
inline bool is_recomputing() { return detail::recomputing(); }

/// While it lives, ops on this thread are recorded (or not). `NoGrad guard;` switches recording off.
class GradMode {
 public:
  explicit GradMode(bool on) : before_(std::exchange(detail::grad_mode(), on)) {}
  ~GradMode() { detail::grad_mode() = before_; }
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool before_;
};
/// Switches recording off while it lives.
struct NoGrad : GradMode {
  NoGrad() : GradMode(false) {}
};

/// A tensor kept for backward. Remembers its storage's version and the op that saved it. Of the result of a cheap op
/// (recomputable()) it keeps the node instead, and computes it again when it is wanted.
class Saved {
 public:
  Saved() = default;
  Saved(const Tensor& t, const char* op) : op_(op) {
    if (!t.defined() || !grad_enabled()) return;
    if (t.impl().node && t.impl().node->recompute) {
      source_ = t.impl().node;
      return;
    }
    tensor_ = t.detach();  // no graph: a saved output must not keep its own node alive
    version_ = t.impl().storage->version();
  }
  /// The tensor. @throws Error when it was changed in place since it was saved.
  const Tensor& operator()() const {
    if (source_ && !tensor_.defined()) {
      check(source_->recompute != nullptr, "backward",
            "the graph of {} was already used and freed; pass keep_graph = true to the first backward", source_->name);
      tensor_ = source_->recompute();
      version_ = tensor_.impl().storage->version();
    }
    check(
        !tensor_.defined() || tensor_.impl().storage->version() == version_, op_,
        "a tensor needed for its gradient, {}, was changed in place after the forward pass (clone it before changing)",
        describe(tensor_));
    return tensor_;
  }

  /// True when the memory itself is kept.
  bool in_memory() const { return source_ == nullptr; }

 private:
  mutable Tensor tensor_;
  mutable uint64_t version_ = 0;
  std::shared_ptr<Node> source_;
  const char* op_ = "";
};

/// The node behind a tensor that requires a gradient; null otherwise.
std::shared_ptr<Node> node_of(const Tensor& t);

/// True when `out = op(inputs...)` has to be recorded.
inline bool needs_record(std::initializer_list<Tensor> inputs) {
  if (!grad_enabled()) return false;
  for (const Tensor& t : inputs)
    if (t.requires_grad()) return true;
  return false;
}

namespace detail {
/// The new node of `out`, with its edges to `inputs`; null when nothing is to be recorded.
Node* make_node(const char* name, Tensor& out, const std::vector<Tensor>& inputs);
}  // namespace detail

/// Makes `out` the result of op `name` on `inputs`, whose gradients `backward(dy)` returns in the same order.
///
/// `backward` runs with recording off; it saves tensors as Saved, may return undefined tensors, and may be given a
/// non-contiguous dy. `out` must be a fresh tensor object. Nothing is recorded when no input needs a gradient.
template <class F>
Tensor record(const char* name, Tensor out, const std::vector<Tensor>& inputs, F&& backward) {
  if (Node* node = detail::make_node(name, out, inputs)) node->backward = std::forward<F>(backward);
  return out;
}

/// Whether the result of a cheap op is so large that computing it again in backward is better than keeping it.
inline bool worth_recomputing(const Tensor& y) {
  constexpr int64_t kLarge = int64_t{8} << 20;  // bytes
  return y.numel() * item_size(y.dtype()) >= kLarge;
}

/// Lets the result `y` of a cheap op be computed again in backward instead of being kept.
///
/// Ops that save y then hold no memory of it: they call `again` when they need it. y is left as it is when it is small,
/// when it is not recorded, or when `from` itself would have to be computed again.
/// @param from   what the op saves anyway, and y is computed from
/// @param again  gives y once more
template <class F>
Tensor recomputable(Tensor y, const Saved& from, F&& again) {
  if (worth_recomputing(y) && grad_enabled() && y.requires_grad() && y.impl().node && from.in_memory())
    y.impl().node->recompute = std::forward<F>(again);
  return y;
}

namespace detail {
/// src, or a copy of it when writing to `dst` would change it on the way.
Tensor apart_from(const Tensor& dst, const Tensor& src);

/// True when `t` is contiguous and the only handle on memory of this library's own: to write there disturbs nobody.
bool solely_owned(const Tensor& t);

/// How the op whose backward runs on this thread takes gradients of its inputs; null when none does.
const std::function<Tensor(size_t)>*& gradient_source();
/// The gradient that input `i` of the op whose backward runs already has from other uses, contiguous, for that op
/// alone: it adds its own part and returns it as the gradient of that input, which saves a pass over both. Undefined
/// when there is none, or others see its memory.
Tensor take_gradient(size_t i);

void check_in_place(const Tensor& t, const char* op);
}  // namespace detail

}  // namespace atlas::inline ATLAS_ABI

#ifndef ATLAS_COMPILED_LIB
#include "atlas/autograd/node-inl.h"
#endif
