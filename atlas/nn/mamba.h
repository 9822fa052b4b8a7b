// The MambaVision mixer: a selective state-space model beside a plain branch.
#pragma once

#include <cmath>

#include "atlas/nn/conv.h"
#include "atlas/nn/linear.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/ops/compare.h"
#include "atlas/ops/conv.h"
#include "atlas/ops/derived.h"
#include "atlas/ops/join.h"
#include "atlas/ops/scan.h"
#include "atlas/ops/shape.h"
#include "atlas/ops/unary.h"

namespace atlas::inline ATLAS_ABI {

/// Mixes tokens: half of the channels go through convolution, SiLU and a selective scan, the other half through
/// convolution and SiLU alone; both are joined (Hatamizadeh and Kautz, arXiv 2407.08083, eq. 6).
///
/// x: [B, L, C] -> y: [B, L, C]
///
///     [x z] = W_in x,  x = silu(conv(x)),  z = silu(conv(z)),  [dt B C] = W_x x
///     y = W_out [scan(x, W_dt dt + b, -exp(A_log), B, C, D, b), z]
///
/// The bias b of dt_proj enters twice, in the linear layer and inside the scan's softplus: published weights expect it.
class MambaMixer : public Module {
 public:
  /// @param dim      channels C, even
  /// @param d_state  states N per channel
  /// @param d_conv   length of the convolutions
  explicit MambaMixer(int64_t dim, int64_t d_state = 8, int64_t d_conv = 3)
      : in_proj(checked(dim, d_state), dim, false),
        x_proj(dim / 2, (dim + 15) / 16 + 2 * d_state, false),
        dt_proj((dim + 15) / 16, dim / 2),
        out_proj(dim, dim, false),
        conv1d_x(dim / 2, d_conv, false),
        conv1d_z(dim / 2, d_conv, false),
        half_(dim / 2),
        d_state_(d_state),
        dt_rank_((dim + 15) / 16) {
    Tensor decay = empty({half_, d_state}, float32, Device{});
    for (int64_t i = 0; i < half_; ++i)
      for (int64_t n = 0; n < d_state; ++n) decay.at<float>({i, n}) = std::log(static_cast<float>(n + 1));
    A_log = detail::on_device(decay, default_device());
    D = empty({half_});
    constant_(D, 1);
    register_parameter("A_log", A_log);
    register_parameter("D", D);
    register_modules({{"in_proj", in_proj},
                      {"x_proj", x_proj},
                      {"dt_proj", dt_proj},
                      {"out_proj", out_proj},
                      {"conv1d_x", conv1d_x},
                      {"conv1d_z", conv1d_z}});
  }
  Tensor forward(const Tensor& input) const override { return out_proj(mixed(input)); }
  Tensor forward_onto(const Tensor& residual, const Tensor& input, const Tensor& scale) const override {
    return out_proj.onto(residual, mixed(input), scale);
  }

  Linear in_proj, x_proj, dt_proj, out_proj;
  DepthwiseConv1d conv1d_x, conv1d_z;
  Tensor A_log, D;  // [C / 2, N], [C / 2]

 private:
  /// [scan(x, ...), z]
  Tensor mixed(const Tensor& input) const {
    check(input.dim() == 3, "MambaMixer", "needs x of shape [B, L, C], got {}", describe(input));
    Tensor xz = in_proj(input);
    // Both convolutions at once: they are depthwise, so their weights only stand side by side.
    xz = conv1d_depthwise(xz, filters_.get({conv1d_x.weight, conv1d_z.weight}, [&] {
      return cat({conv1d_x.weight, conv1d_z.weight}, 1);
    }));
    xz = silu(std::move(xz));
    const Tensor x = leading_channels(xz, half_);
    const auto dbc = split(x_proj(x), {dt_rank_, d_state_, d_state_}, -1);
    const Tensor A = decay_.get({A_log}, [&] { return neg(exp(A_log)); });
    return selective_scan_beside(std::move(xz), x, dt_proj(dbc[0]), A, dbc[1], dbc[2], D, dt_proj.bias);
  }
  static int64_t checked(int64_t dim, int64_t d_state) {
    check(dim >= 2 && dim % 2 == 0, "MambaMixer", "needs an even number of channels, got {}", dim);
    detail::check_size("MambaMixer", "d_state", d_state);
    return dim;
  }

  int64_t half_, d_state_, dt_rank_;
  Derived<Tensor> filters_, decay_;
};

}  // namespace atlas::inline ATLAS_ABI
