// Multi-head self-attention.
#pragma once

#include <functional>

#include "atlas/nn/attention_probe.h"
#include "atlas/nn/linear.h"
#include "atlas/ops/attention.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/shape.h"

namespace atlas::inline ATLAS_ABI {

/// y = concat_h(softmax(Q_h K_hᵀ / √D) V_h) W_pᵀ + b_p with [Q K V] = x W_qkvᵀ + b_qkv (Vaswani et al., NeurIPS 2017).
///
/// x: [B, L, C] -> y: [B, L, C]
class Attention : public Module {
 public:
  /// @param dim    channels C, a multiple of heads
  /// @param heads  number of heads, each of D = C / heads channels
  Attention(int64_t dim, int64_t heads) : qkv(dim, 3 * dim), proj(dim, dim), heads_(heads) {
    check(heads >= 1 && dim % heads == 0, "Attention", "{} channels do not divide into {} heads", dim, heads);
    register_modules({{"qkv", qkv}, {"proj", proj}});
  }
  Tensor forward(const Tensor& x) const override { return proj(mixed(x)); }
  Tensor forward_onto(const Tensor& residual, const Tensor& x, const Tensor& scale) const override {
    return proj.onto(residual, mixed(x), scale);
  }
  /// forward() of some of the tokens, which look at all of them.   x: [B, L, C] -> [B, fewer, C]
  /// @param choose  gives their rows of a tensor [B, L, C]
  Tensor forward_some(const Tensor& x, const std::function<Tensor(const Tensor&)>& choose) const {
    const LayerScope layer(*this);
    return proj(mixed(x, choose));
  }

  Linear qkv, proj;

 private:
  /// What the tokens (those chosen) gather from each other, heads side by side.
  Tensor mixed(const Tensor& x, const std::function<Tensor(const Tensor&)>& choose = {}) const {
    check(x.dim() == 3, "Attention", "needs x of shape [B, L, C], got {}", describe(x));
    const int64_t batch = x.size(0), tokens = x.size(1), dim = x.size(2);
    const Tensor all = qkv(x);
    // Strided views: the kernel reads the linear layer's output in place.
    Tensor y = all.reshape({batch, tokens, 3, heads_, dim / heads_});
    const Tensor k = y.select(2, 1), v = y.select(2, 2);
    const Tensor q = choose ? choose(all.slice(2, 0, dim)).reshape({batch, -1, heads_, dim / heads_}) : y.select(2, 0);
    const auto places = [](const Tensor& queries) { return self_attention_places(queries); };
    const AttentionScope scope(*this, places);
    y = attention(q, k, v);
    return y.reshape({batch, q.size(1), dim});
  }

  int64_t heads_;
};

}  // namespace atlas::inline ATLAS_ABI
