// conv2d on the CPU as a blocked, implicit im2col: the patches of a block of pixels are gathered into a buffer that
// fits the cache and multiplied with the filters. The three products (forward, input gradient, weight gradient) share
// one gather.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "atlas/core/parallel.h"
#include "atlas/core/workspace.h"
#include "atlas/cpu/bf16.h"
#include "atlas/cpu/conv_patches.h"
#include "atlas/cpu/winograd.h"
#include "atlas/kernels/conv.h"

namespace atlas::inline ATLAS_ABI::cpu {

namespace detail {

/// The forward pass of one group in float32: the filters are packed once, each thread gathers blocks of patches.
inline void convolve_direct(const float* in, const float* weight, float* out, const Conv2dShape& s,
                            const GemmEpilogue<float>& epilogue, const float* packed) {
  const int64_t rows = s.out_pixels(), depth = s.depth(), channels = s.out_channels;
  const PackedPanels filters(channels, depth);
  const Scratch<float> mine(packed == nullptr ? filters.size() : 0, kSlotShared);
  if (packed == nullptr) {
    filters.pack(true, weight, depth, mine.data());
    packed = mine.data();
  }
  const PatchGrid patches = input_patches(s, 0);
  const int64_t block = patch_rows(rows, depth, sizeof(float)), blocks = divide_up(rows, block);
  const Pieces pieces(channels, channel_piece(blocks, channels), filters.tile);
  parallel_for(blocks * pieces.count, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = i / pieces.count * block, n = std::min(block, rows - begin);
      const int64_t o = i % pieces.count * pieces.length, width = std::min(pieces.length, channels - o);
      float* buffer = workspace<float>(block * depth);
      patches.gather(in, begin, begin + n, buffer);
      filters.multiply(false, buffer, depth, packed, n, o, width, 1.0f, out + begin * channels + o, channels, false, 0,
                       depth);
      finish_block(epilogue, out, channels, n, width, begin, o);
    }
  });
}

/// dW[O, depth] = dyᵀ patches in float32, one product whose right side is packed from the image, a slice of the pixels
/// at a time, and shared by all threads.
inline void direct_weight_gradient(const float* in, const float* dy, float* dw, const Conv2dShape& s) {
  const int64_t pixels = s.out_pixels(), depth = s.depth();
  const PatchGrid patches = input_patches(s, 0);
  const PackedPanels right(depth, pixels);
  const auto pack = [&](float* panels, int64_t from, int64_t to) {
    pack_patches(patches, in, right, panels, from, to);
  };
  gemm_shared_with(pack, true, s.out_channels, depth, pixels, 1.0f, dy, s.out_channels, 0.0f, dw, depth, {});
}

}  // namespace detail

ATLAS_INLINE Tensor packed_filters(const Tensor& weight, const Conv2dShape& s) {
  if (weight.dtype() != float32 || s.groups != 1 || weight.numel() == 0) return {};
  if (const int64_t side = detail::winograd_side(s, detail::WinogradUse::forward); side > 0) {
    Tensor u = empty({detail::WinogradFilters(s.in_channels, s.out_channels, (side + 2) * (side + 2)).size}, float32,
                     Device{});
    detail::winograd_filters(weight.data<float>(), s, side, false, u.data<float>());
    return u;
  }
  if (inference_precision() == bfloat16 && detail::bf16_convolves(s))
    return detail::bf16_packed(weight.data<float>(), s.depth(), s.out_channels, s.depth());
  const detail::PackedPanels filters(s.out_channels, s.depth());
  Tensor packed = empty({filters.size()}, float32, Device{});
  filters.pack(true, weight.data<float>(), s.depth(), packed.data<float>());
  return packed;
}

ATLAS_INLINE void conv2d_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor& y,
                                 const Conv2dShape& s, const Fused& fused) {
  visit_float(x, "conv2d", [&](auto tag) {
    using T = decltype(tag);
    const T *in = x.data<T>(), *w = weight.data<T>(), *b = bias.defined() ? bias.data<T>() : nullptr;
    T* out = y.data<T>();
    const int64_t rows = s.out_pixels(), depth = s.depth(), channels = s.out_channels, share = s.group_out();
    const GemmEpilogue<T> epilogue{.bias = b,
                                   .activation = fused.activation,
                                   .residual = fused.residual.defined() ? fused.residual.data<T>() : nullptr};
    if (rows == 0 || channels == 0) return;
    if (depth == 0) return detail::empty_product(rows, channels, T(0), out, channels, epilogue);
    if constexpr (std::is_same_v<T, float>) {
      if (fused.packed.defined() && fused.packed.dtype() == bfloat16)
        return s.pointwise()
                   ? detail::bf16_product(in, depth, fused.packed, rows, channels, depth, out, channels, epilogue)
                   : detail::bf16_convolve(in, fused.packed, out, s, epilogue);
      const float* packed = fused.packed.defined() ? fused.packed.data<float>() : nullptr;
      if (s.pointwise() && packed != nullptr)
        return detail::gemm_shared(false, true, rows, channels, depth, 1.0f, in, depth, w, depth, 0.0f, out, channels,
                                   epilogue, packed);
      if (const int64_t side = detail::winograd_side(s, detail::WinogradUse::forward); side > 0)
        return detail::winograd_convolve(in, w, out, s, side, false, epilogue, packed);
      if (!s.pointwise() && s.groups == 1) return detail::convolve_direct(in, w, out, s, epilogue, packed);
    }
    if (s.pointwise())
      return gemm<T>(false, true, rows, channels, depth, T(1), in, depth, w, depth, T(0), out, channels, epilogue);
    std::vector<detail::PatchGrid> patches;
    for (int64_t g = 0; g < s.groups; ++g) patches.push_back(detail::input_patches(s, g));
    const int64_t block = detail::patch_rows(rows, depth, sizeof(T)), blocks = (rows + block - 1) / block;
    const int64_t piece = detail::channel_piece(blocks, share), pieces = share > 0 ? (share + piece - 1) / piece : 0;
    parallel_for(blocks * pieces, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t begin = i / pieces * block, end = std::min(rows, begin + block);
        const int64_t o = i % pieces * piece, width = std::min(piece, share - o);
        T* buffer = workspace<T>(block * depth);
        for (int64_t g = 0; g < s.groups; ++g) {
          patches[static_cast<size_t>(g)].gather(in, begin, end, buffer);
          const int64_t channel = g * share + o;
          gemm_serial<T>(false, true, end - begin, width, depth, T(1), buffer, depth, w + channel * depth, depth, T(0),
                         out + begin * channels + channel, channels);
          detail::finish_block(epilogue, out, channels, end - begin, width, begin, channel);
        }
      }
    });
  });
}

// dx[i] = sum over taps and outputs of dy[(i + padding - k dilation) / stride] W[k]. The input pixels of one residue
// modulo the stride are reached by the same taps, so each residue (a "phase") is a stride-1 convolution of dy with a
// part of the filters; nothing is multiplied by inserted zeros, and every dx is written once.
ATLAS_INLINE void conv2d_backward_input(const Tensor& dy, const Tensor& weight, Tensor& dx, const Conv2dShape& s) {
  visit_float(dy, "conv2d", [&](auto tag) {
    using T = decltype(tag);
    const T *dout = dy.data<T>(), *w = weight.data<T>();
    T* din = dx.data<T>();
    const int64_t in_share = s.group_in(), out_share = s.group_out(), channels = s.in_channels;
    if (dx.numel() == 0) return;
    if (dy.numel() == 0) {
      std::fill_n(din, dx.numel(), T(0));
      return;
    }
    if (s.pointwise())
      return gemm<T>(false, false, s.out_pixels(), channels, s.out_channels, T(1), dout, s.out_channels, w, channels,
                     T(0), din, channels);
    if constexpr (std::is_same_v<T, float>)
      if (const int64_t side = detail::winograd_side(s, detail::WinogradUse::input_gradient); side > 0)
        return detail::winograd_convolve(dout, w, din, s, side, true);
    const bool dense = s.stride == Conv2dShape::Pair{1, 1};

    struct Phase {
      detail::PhaseAxis h, w;
      int64_t filters;  // where this phase's filters begin
      int64_t depth, rows, block;
      int64_t packed = 0;  // where its packed filters begin
    };
    struct Task {
      const Phase* phase;
      int64_t begin, end;              // pixels of the phase
      int64_t channel, channel_count;  // within each group
    };
    std::vector<Phase> phases;
    std::vector<Task> tasks;
    int64_t filters = 0;
    for (int64_t h = 0; h < std::min(s.stride[0], s.in[0]); ++h) {
      for (int64_t v = 0; v < std::min(s.stride[1], s.in[1]); ++v) {
        detail::PhaseAxis axis_h(s, 0, h), axis_w(s, 1, v);
        const int64_t taps = static_cast<int64_t>(axis_h.k.size() * axis_w.k.size());
        const int64_t rows = s.batch * axis_h.length * axis_w.length, depth = taps * out_share;
        phases.push_back(
            {std::move(axis_h), std::move(axis_w), filters, depth, rows, detail::patch_rows(rows, depth, sizeof(T))});
        filters += taps * s.out_channels * in_share;
      }
    }
    for (const Phase& p : phases) {
      const int64_t blocks = (p.rows + p.block - 1) / p.block * static_cast<int64_t>(phases.size());
      // Whole panels of packed filters (below), which begin where a register tile does.
      const int64_t piece = detail::Pieces(in_share, detail::channel_piece(blocks, in_share), 32).length;
      for (int64_t r = 0; r < p.rows; r += p.block)
        for (int64_t c = 0; c < in_share; c += piece)
          tasks.push_back({&p, r, std::min(p.rows, r + p.block), c, std::min(piece, in_share - c)});
    }

    // Filters as [group][tap][out channel of the group][in channel of the group], phase by phase.
    const Scratch<T> rearranged(filters, 4);
    T* arranged = rearranged.data();
    parallel_for(static_cast<int64_t>(phases.size()) * s.groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Phase& p = phases[static_cast<size_t>(i / s.groups)];
        const int64_t g = i % s.groups;
        T* to = arranged + p.filters + g * p.depth * in_share;
        for (int64_t kh : p.h.k)
          for (int64_t kw : p.w.k)
            for (int64_t o = g * out_share; o < (g + 1) * out_share; ++o)
              to = std::copy_n(w + ((o * s.kernel[0] + kh) * s.kernel[1] + kw) * in_share, in_share, to);
      }
    });

    // In float32 all threads read filters that were packed once: [phase][PackedPanels].
    const bool packs = std::is_same_v<T, float> && s.groups == 1;
    int64_t panels = 0;
    for (Phase& p : phases) {
      p.packed = panels;
      panels += packs ? detail::PackedPanels(channels, p.depth).size() : 0;
    }
    const Scratch<float> shared(panels, detail::kSlotShared);
    float* packed = packs ? shared.data() : nullptr;
    if constexpr (std::is_same_v<T, float>)
      if (packs)
        for (const Phase& p : phases)
          detail::PackedPanels(channels, p.depth).pack(false, arranged + p.filters, channels, packed + p.packed);

    parallel_for(static_cast<int64_t>(tasks.size()), 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const Task& task = tasks[static_cast<size_t>(i)];
        const Phase& p = *task.phase;
        const int64_t rows = task.end - task.begin;
        detail::PatchGrid patches;
        patches.image = s.out;
        patches.grid = {p.h.length, p.w.length};
        patches.channels = s.out_channels;
        patches.count = out_share;
        patches.tap_h = p.h.offset;
        patches.tap_w = p.w.offset;
        patches.find_runs();
        T* buffer = workspace<T>(p.block * p.depth);
        T* scattered = dense ? nullptr : workspace<T>(p.block * task.channel_count, 1);
        for (int64_t g = 0; g < s.groups; ++g) {
          patches.first = g * out_share;
          patches.gather(dout, task.begin, task.end, buffer);
          const int64_t channel = g * in_share + task.channel, width = task.channel_count;
          T* const to = dense ? din + task.begin * channels + channel : scattered;
          const int64_t to_step = dense ? channels : width;
          if constexpr (std::is_same_v<T, float>)
            if (packed != nullptr && p.depth > 0)
              detail::PackedPanels(channels, p.depth)
                  .multiply(false, buffer, p.depth, packed + p.packed, rows, channel, width, 1.0f, to, to_step, false,
                            0, p.depth);
          if (packed == nullptr || p.depth == 0)
            gemm_serial<T>(false, false, rows, width, p.depth, T(1), buffer, p.depth,
                           arranged + p.filters + g * p.depth * in_share + task.channel, in_share, T(0), to, to_step);
          if (dense) continue;
          for (int64_t r = 0; r < rows; ++r) {  // the pixels of a phase lie a stride apart
            const int64_t q = task.begin + r;
            const int64_t col = p.w.start + q % p.w.length * s.stride[1];
            const int64_t row = p.h.start + q / p.w.length % p.h.length * s.stride[0];
            const int64_t image = q / (p.w.length * p.h.length);
            std::copy_n(scattered + r * width, width,
                        din + ((image * s.in[0] + row) * s.in[1] + col) * channels + channel);
          }
        }
      }
    });
  });
}

// dW = dyᵀ patches: slices of the pixels have their own sums, which are added in order.
ATLAS_INLINE void conv2d_backward_weight(const Tensor& x, const Tensor& dy, Tensor& dweight, const Conv2dShape& s) {
  visit_float(x, "conv2d", [&](auto tag) {
    using T = decltype(tag);
    const T *in = x.data<T>(), *dout = dy.data<T>();
    T* dw = dweight.data<T>();
    const int64_t rows = s.out_pixels(), depth = s.depth(), share = s.group_out(), size = s.out_channels * depth;
    if (size == 0) return;
    if (s.pointwise())
      return gemm<T>(true, false, s.out_channels, depth, rows, T(1), dout, s.out_channels, in, depth, T(0), dw, depth);
    if (rows == 0) {
      std::fill_n(dw, size, T(0));
      return;
    }
    if constexpr (std::is_same_v<T, float>) {
      if (const int64_t side = detail::winograd_side(s, detail::WinogradUse::weight_gradient); side > 0)
        return detail::winograd_weight_gradient(in, dout, dw, s, side);
      if (s.groups == 1 && size >= int64_t{1} << 16) return detail::direct_weight_gradient(in, dout, dw, s);
    }
    // 16 slices or so, of at least 64 pixels, whose sums take at most 64 MiB; large filters are cut along the kernel's
    // rows instead. All of it depends on the sizes alone.
    const int64_t room = (int64_t{64} << 20) / (size * static_cast<int64_t>(sizeof(T)));
    const int64_t panels = std::min(room, rows / 64) < 16 ? s.kernel[0] : 1;
    const int64_t wanted = std::max<int64_t>(1, 16 / (panels * s.groups));
    int64_t slices = std::max<int64_t>(1, std::min({wanted, room, rows / 64}));
    const int64_t slice = (rows + slices - 1) / slices;
    slices = (rows + slice - 1) / slice;
    T* const partial = slices > 1 ? workspace<T>((slices - 1) * size, 4) : nullptr;

    parallel_for(slices * panels * s.groups, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t part = i % slices, panel = i / slices % panels, g = i / (slices * panels);
        detail::PatchGrid patches = detail::input_patches(s, g);
        if (panels > 1) patches.tap_h = {patches.tap_h[static_cast<size_t>(panel)]};
        const int64_t width = patches.depth(), begin = part * slice, end = std::min(rows, begin + slice);
        const int64_t block = std::min(detail::patch_rows(rows, width, sizeof(T)) * 2, end - begin);
        T* buffer = workspace<T>(block * width);
        T* sum = (part == 0 ? dw : partial + (part - 1) * size) + g * share * depth + panel * width;
        for (int64_t r = begin; r < end; r += block) {
          const int64_t n = std::min(block, end - r);
          patches.gather(in, r, r + n, buffer);
          gemm_serial<T>(true, false, share, width, n, T(1), dout + r * s.out_channels + g * share, s.out_channels,
                         buffer, width, r == begin ? T(0) : T(1), sum, depth);
        }
      }
    });
    if (partial == nullptr) return;
    parallel_for(size, 16384, [&](int64_t begin, int64_t end) {
      for (int64_t part = 1; part < slices; ++part) {
        const T* p = partial + (part - 1) * size;
        for (int64_t j = begin; j < end; ++j) dw[j] += p[j];
      }
    });
  });
}

}  // namespace atlas::inline ATLAS_ABI::cpu
