// The backward engine's loop.
#pragma once

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "atlas/autograd/after_backward.h"
#include "atlas/autograd/backward.h"
#include "atlas/autograd/node.h"

namespace atlas::inline ATLAS_ABI {

namespace detail {

/// into += g. Changes `into` in place only when nobody else can see it.
inline void accumulate(Tensor& into, Tensor g) {
  if (!into.defined()) {
    into = std::move(g);
  } else if (solely_owned(into)) {
    into.add_(g);
  } else {
    Tensor sum = copy_of(into);
    sum.add_(g);
    into = std::move(sum);
  }
}

/// Adds `g` to a leaf's gradient and calls its hooks.
inline void accumulate_leaf(Tensor leaf, Tensor g) {
  Tensor total = leaf.grad();
  leaf.zero_grad();
  if (!total.defined())
    total = solely_owned(g) ? std::move(g) : copy_of(g);
  else
    accumulate(total, std::move(g));
  leaf.set_grad(total);
  const Tensor before = total;
  const auto hooks = leaf.impl().hooks;  // a hook may add hooks
  for (const auto& hook : hooks) hook(total);
  if (!total.is(before)) leaf.set_grad(total);  // a hook put another gradient in its place
}

/// While it lives, take_gradient() asks `take`.
class GradientSource {
 public:
  explicit GradientSource(const std::function<Tensor(size_t)>& take)
      : before_(std::exchange(gradient_source(), &take)) {}
  ~GradientSource() { gradient_source() = before_; }
  GradientSource(const GradientSource&) = delete;
  GradientSource& operator=(const GradientSource&) = delete;

 private:
  const std::function<Tensor(size_t)>* before_;
};

/// Work for the end of a pass, and how many passes run inside each other.
struct PassState {
  int depth = 0;
  std::vector<std::function<void()>> at_end;
};
inline PassState& pass_state() {
  thread_local PassState state;
  return state;
}

ATLAS_INLINE void after_backward(std::function<void()> what) { pass_state().at_end.push_back(std::move(what)); }

/// One pass. The outermost does what waits for its end.
class Pass {
 public:
  Pass() { ++pass_state().depth; }
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;
  ~Pass() {
    if (--pass_state().depth == 0) pass_state().at_end.clear();
  }
  void end() {
    if (pass_state().depth > 1) return;
    for (const auto& what : std::exchange(pass_state().at_end, {})) what();
  }
};

/// How many recorded uses each leaf with hooks has below `roots`. Leaves are the oldest nodes, so the queue has them
/// last; counting lets hooks run as soon as a gradient is complete, while older ops still compute.
inline std::unordered_map<Node*, int64_t> uses_of_hooked(const std::vector<Tensor>& roots) {
  std::unordered_map<Node*, int64_t> uses;
  std::unordered_set<Node*> seen;
  std::vector<Node*> stack;
  for (const Tensor& root : roots)
    if (Node* node = node_of(root).get(); node != nullptr && seen.insert(node).second) stack.push_back(node);
  while (!stack.empty()) {
    Node* const node = stack.back();
    stack.pop_back();
    for (const Node::Input& in : node->inputs) {
      if (!in.node) continue;
      const auto leaf = in.node->leaf.lock();
      if (leaf && !leaf->hooks.empty()) ++uses[in.node.get()];
      if (seen.insert(in.node.get()).second) stack.push_back(in.node.get());
    }
  }
  return uses;
}

struct Captures {
  std::unordered_map<Node*, std::vector<size_t>> wanted;  // node -> positions in results
  std::vector<Tensor> results;
};

/// Runs backward from `roots` with the gradients `seeds`. With `captures`, gradients go there and leaves stay
/// untouched.
inline void run_backward(const std::vector<Tensor>& roots, const std::vector<Tensor>& seeds, Captures* captures,
                         bool keep_graph) {
  NoGrad off;
  Pass pass;
  struct Pending {
    std::shared_ptr<Node> node;
    Tensor grad;
    bool early = false;  // a leaf with hooks that has its gradient already
  };
  std::unordered_map<Node*, Pending> pending;
  const auto older = [](const Node* a, const Node* b) { return a->id < b->id; };
  std::priority_queue<Node*, std::vector<Node*>, decltype(older)> queue(older);
  const auto give = [&](const std::shared_ptr<Node>& node, Tensor g) {
    auto [it, fresh] = pending.try_emplace(node.get());
    if (fresh) {
      it->second.node = node;
      queue.push(node.get());
    }
    accumulate(it->second.grad, std::move(g));
  };
  for (size_t i = 0; i < roots.size(); ++i) give(node_of(roots[i]), seeds[i]);
  std::unordered_map<Node*, int64_t> uses;
  if (captures == nullptr) uses = uses_of_hooked(roots);
  const auto used = [&](Node* leaf) {
    const auto it = uses.find(leaf);
    if (it == uses.end() || --it->second > 0) return;
    const auto entry = pending.find(leaf);
    const auto tensor = leaf->leaf.lock();
    if (entry == pending.end() || !tensor) return;
    entry->second.early = true;
    accumulate_leaf(Tensor(tensor), std::exchange(entry->second.grad, {}));
  };

  while (!queue.empty()) {
    // Every consumer of a node is younger than the node, so its gradient is complete when it comes up.
    auto entry = pending.extract(queue.top());
    queue.pop();
    if (entry.mapped().early) continue;
    const std::shared_ptr<Node> node = std::move(entry.mapped().node);
    Tensor grad = std::move(entry.mapped().grad);
    if (captures != nullptr) {
      if (const auto it = captures->wanted.find(node.get()); it != captures->wanted.end())
        for (size_t k : it->second) captures->results[k] = grad;
    }
    if (const auto leaf = node->leaf.lock()) {
      if (captures == nullptr) accumulate_leaf(Tensor(leaf), std::move(grad));
      continue;
    }
    check(!node->done, "backward",
          "the graph of {} was already used and freed; pass keep_graph = true to the first backward", node->name);
    if (!node->backward) continue;  // a leaf that no longer exists
    if (node->layer) detail::profile_layer() = *node->layer;
    const std::function<Tensor(size_t)> take = [&](size_t i) {
      const auto it = pending.find(node->inputs[i].node.get());
      return it != pending.end() && solely_owned(it->second.grad) ? std::exchange(it->second.grad, {}) : Tensor();
    };
    Grads grads;
    {
      const GradientSource source(take);
      grads = node->backward(grad);
    }
    if (node->layer) detail::profile_layer().clear();
    grad = Tensor();
    check(grads.size() == node->inputs.size(), "backward", "{} returned {} gradients for {} inputs", node->name,
          grads.size(), node->inputs.size());
    if (!keep_graph) {
      node->backward = nullptr;
      node->recompute = nullptr;
      node->done = true;
    }
    for (size_t i = 0; i < grads.size(); ++i) {
      const Node::Input& in = node->inputs[i];
      if (!in.node || !grads[i].defined()) continue;
      check(grads[i].shape() == in.shape && grads[i].dtype() == in.dtype, "backward",
            "{} returned {} as gradient of input {}, {}{}", node->name, describe(grads[i]), i, name(in.dtype),
            in.shape);
      give(in.node, std::move(grads[i]));
    }
    for (size_t i = 0; !uses.empty() && i < node->inputs.size(); ++i)
      if (node->inputs[i].node) used(node->inputs[i].node.get());
  }
  pass.end();
}

inline Tensor ones_for(const Tensor& t) {
  Tensor one = empty_like(t);
  fill_elements(one, 1);
  return one;
}

}  // namespace detail

ATLAS_INLINE void backward(const Tensor& loss, Tensor seed, bool keep_graph) {
  check(loss.requires_grad(), "backward", "{} depends on no tensor that requires a gradient", describe(loss));
  check(seed.defined() || loss.numel() == 1, "backward", "needs a scalar loss, got {} (reduce it, or give a seed)",
        describe(loss));
  if (!seed.defined()) seed = detail::ones_for(loss);
  check(seed.shape() == loss.shape() && seed.dtype() == loss.dtype(), "backward", "seed {} does not fit the loss {}",
        describe(seed), describe(loss));
  detail::run_backward({loss}, {seed}, nullptr, keep_graph);
}

ATLAS_INLINE void Tensor::backward() const { atlas::backward(*this); }
ATLAS_INLINE void Tensor::backward(const Tensor& seed, bool keep_graph) const {
  atlas::backward(*this, seed, keep_graph);
}

ATLAS_INLINE std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                                      std::vector<Tensor> seeds, bool keep_graph) {
  check(seeds.empty() || seeds.size() == outputs.size(), "grad", "{} seeds for {} outputs", seeds.size(),
        outputs.size());
  const bool ones = seeds.empty();
  for (size_t i = 0; i < outputs.size(); ++i) {
    check(outputs[i].requires_grad(), "grad", "output {} ({}) depends on no tensor that requires a gradient", i,
          describe(outputs[i]));
    if (ones) seeds.push_back(detail::ones_for(outputs[i]));
    check(seeds[i].shape() == outputs[i].shape() && seeds[i].dtype() == outputs[i].dtype(), "grad",
          "seed {} does not fit output {}", describe(seeds[i]), describe(outputs[i]));
  }
  detail::Captures captures;
  captures.results.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    check(inputs[i].requires_grad(), "grad", "input {} ({}) does not require a gradient", i, describe(inputs[i]));
    captures.wanted[node_of(inputs[i]).get()].push_back(i);
  }
  detail::run_backward(outputs, seeds, &captures, keep_graph);
  return std::move(captures.results);
}

}  // namespace atlas::inline ATLAS_ABI
