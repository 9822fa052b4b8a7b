// conv_hopper.cu, which the emulator does not run, by its parts: the kernel's arithmetic, with a model of what the TMA
// writes and what wgmma reads (PTX ISA: "Swizzling modes", "Matrix descriptor", "Register fragments"), and the protocol
// of its barriers.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "atlas/cuda/conv_hopper.cuh"
#include "atlas/kernels/conv.h"
#include "atlas/ops/arithmetic.h"
#include "atlas/tensor/create.h"
#include "atlas/tensor/memory.h"
#include "conv_case.h"
#include "device_tensor.h"

using namespace atlas;
using namespace atlas::cuda;
using test::ConvCase;
using test::random;
using test::relative_error;
using test::rounded;

namespace {

/// Shared memory of a block, by address.
struct SharedMemory {
  std::vector<float> elements = std::vector<float>((227 << 10) / 2, NAN);
  /// Bits 4 to 6 of an address are combined with bits 7 to 9.
  float& at(uint32_t address) { return elements[(address ^ (address >> 7 & 7) << 4) / 2]; }

  /// cp.async.bulk.tensor, swizzled by 128 bytes; returns the bytes that it counts.
  uint32_t copy(uint32_t to, const TensorBox& t, const float* from, const int (&corner)[4]) {
    REQUIRE(to % 1024 == 0);
    REQUIRE(t.box[0] * 2 == 128);
    REQUIRE(t.size[0] * 2 % 16 == 0);
    uint32_t count = 1, here[4] = {};
    for (int axis = 0; axis < t.rank; ++axis) {
      REQUIRE(t.box[axis] >= 1);
      REQUIRE(t.box[axis] <= 256);
      count *= t.box[axis];
    }
    for (uint32_t i = 0; i < count; ++i) {
      uint64_t step = 1, place = 0;
      bool inside = true;
      for (int axis = 0; axis < t.rank; ++axis) {
        const int64_t c = corner[axis] + int64_t{here[axis]};
        inside &= c >= 0 && c < static_cast<int64_t>(t.size[axis]);
        place += static_cast<uint64_t>(c) * step;
        step *= t.size[axis];
      }
      at(to + i * 2) = inside ? from[place] : 0;
      for (int axis = 0; axis < t.rank && ++here[axis] == t.box[axis]; ++axis) here[axis] = 0;
    }
    return count * 2;
  }
  /// An operand of wgmma: `rows` of 16 elements, as the descriptor says.
  void read(uint64_t descriptor, int rows, float* to, int stride) {
    REQUIRE((descriptor >> 62) == 1);      // swizzled by 128 bytes
    REQUIRE((descriptor >> 49 & 7) == 0);  // groups of rows begin at multiples of 1024
    const auto start = static_cast<uint32_t>((descriptor & 0x3fff) << 4);
    const auto groups = static_cast<uint32_t>((descriptor >> 32 & 0x3fff) << 4);
    for (int r = 0; r < rows; ++r)
      for (int k = 0; k < 16; ++k)
        to[r * stride + k] =
            at(start + static_cast<uint32_t>(r / 8) * groups + static_cast<uint32_t>(r % 8 * 128 + k * 2));
  }
};

/// One block of the kernel, its threads one after the other.
void run_block(const BoxedGather& p, unsigned block, const float* x, const float* w, Tensor& y) {
  SharedMemory shared;
  const uint32_t stage = 3 * 1024, columns = static_cast<uint32_t>(p.width);
  REQUIRE(stage + stage_size(p.width) <= 227u << 10);
  const BoxedGather::Corner corner = p.corner(block);
  std::vector<float> sums(kBoxPixels * columns, 0.0f), left(64 * 16), right(columns * 16);
  for (int tap = 0; tap < p.g.h.taps * p.g.w.taps; ++tap)
    for (int slice = 0; slice < p.slices(); ++slice) {
      const int h = source_position(p.g.h, corner.h, tap / p.g.w.taps);
      const int v = source_position(p.g.w, corner.w, tap % p.g.w.taps);
      uint32_t bytes = shared.copy(stage, p.pixels(), x, {slice * kSlice, v, h, corner.image});
      bytes += shared.copy(stage + kPixelBytes, p.filters(), w, {slice * kSlice, tap, corner.column, 0});
      CHECK(bytes == p.stage_bytes());
      for (uint32_t k = 0; k < kRowBytes; k += 32) {
        shared.read(operand_descriptor(stage + kPixelBytes) + descriptor_step(k), p.width, right.data(), 16);
        for (uint32_t m = 0; m < 4; ++m) {
          const uint64_t a = operand_descriptor(stage + m / 2 * (kBoxPixels / 2) * kRowBytes);
          shared.read(a + descriptor_step(m % 2 * 64 * kRowBytes + k), 64, left.data(), 16);
          for (uint32_t r = 0; r < 64; ++r)
            for (uint32_t c = 0; c < columns; ++c) {
              float& sum = sums[(m * 64 + r) * columns + c];
              for (uint32_t i = 0; i < 16; ++i) sum += left[r * 16 + i] * right[c * 16 + i];
            }
        }
      }
    }
  for (int row = 0; row < kBoxPixels; ++row) {
    const int64_t pixel = p.target(corner, row);
    for (int c = 0; c < p.width && pixel >= 0 && corner.column + c < p.n; ++c) {
      const int64_t i = pixel * p.n + corner.column + c;
      REQUIRE(i < y.numel());
      float& to = y.data<float>()[i];
      CHECK(std::isnan(to));  // once
      to = sums[static_cast<size_t>(row) * columns + static_cast<size_t>(c)];
      CHECK(std::isfinite(to));  // no row that the box leaves over
    }
  }
}

/// All blocks; false when this gather is not for them.
bool run_gather(const Gather& g, const Tensor& x, const Tensor& w, Tensor& y) {
  const auto p = boxed_gather(g, static_cast<int>(y.size(3)));
  if (!p) return false;
  for (unsigned block = 0; block < p->blocks(); ++block) run_block(*p, block, x.data<float>(), w.data<float>(), y);
  return true;
}

/// weight[O,KH,KW,I] as to[I][tap of the gather][O].
Tensor arranged(const Tensor& weight, const Gather& g) {
  const int64_t taps = int64_t{g.h.taps} * g.w.taps, kernel_w = weight.size(2), outputs = weight.size(0);
  Tensor to = empty({weight.size(3), taps, outputs}, float32, Device{});
  for (int64_t i = 0; i < to.size(0); ++i)
    for (int64_t tap = 0; tap < taps; ++tap)
      for (int64_t o = 0; o < outputs; ++o) {
        const int64_t h = g.h.first + tap / g.w.taps * g.h.tap_step, w = g.w.first + tap % g.w.taps * g.w.tap_step;
        to.data<float>()[(i * taps + tap) * outputs + o] =
            weight.data<float>()[((o * weight.size(1) + h) * kernel_w + w) * weight.size(3) + i];
      }
  return to;
}

Tensor unwritten(const Shape& shape) {
  Tensor t = empty(shape, float32, Device{});
  atlas::fill_elements(t, NAN);
  return t;
}

/// mbarrier: a phase ends when all have arrived and all bytes are there.
struct Barrier {
  int arrivals, waiting_for = arrivals;
  int64_t bytes = 0;
  uint32_t phase = 0;
  void change(int arrived, int64_t more) {
    waiting_for -= arrived;
    bytes += more;
    CHECK(waiting_for >= 0);
    if (waiting_for > 0 || bytes != 0) return;
    waiting_for = arrivals;
    ++phase;
  }
  bool over(uint32_t parity) const { return phase % 2 != parity; }
};

/// The protocol of the kernel with `chunks` chunks, in an order of `seed`; whether all came to an end.
bool barriers_end(int chunks, uint32_t seed) {
  constexpr int kStages = 4, kWarps = 8, kBytes = 100;
  std::vector<Barrier> full(kStages, Barrier{1}), empty(kStages, Barrier{kWarps});
  int held[kStages] = {-1, -1, -1, -1};    // the chunk that a stage has; -1 while it is written
  std::vector<std::array<int, 2>> copies;  // under way: stage, chunk
  struct Actor {
    Ring<kStages> at;
    int chunk = 0, former = 0;
  };
  Actor producer, warps[kWarps];
  std::minstd_rand order(seed);
  const auto step = [&](int who) {  // whether it could do something
    if (who == kWarps + 1) {
      if (copies.empty()) return false;
      const size_t i = order() % copies.size();
      held[copies[i][0]] = copies[i][1];
      full[static_cast<size_t>(copies[i][0])].change(0, -kBytes);
      copies.erase(copies.begin() + static_cast<std::ptrdiff_t>(i));
      return true;
    }
    Actor& a = who == kWarps ? producer : warps[who];
    const auto stage = static_cast<size_t>(a.at.stage);
    if (a.chunk == chunks) return false;
    if (who == kWarps) {
      if (!empty[stage].over(a.at.empty_parity())) return false;
      held[stage] = -1;
      full[stage].change(1, kBytes);
      copies.push_back({a.at.stage, a.chunk});
    } else {
      if (!full[stage].over(a.at.full_parity())) return false;
      CHECK(held[stage] == a.chunk);
      if (a.chunk > 0) {
        CHECK(held[a.former] == a.chunk - 1);  // its products have been in flight until now
        empty[static_cast<size_t>(a.former)].change(1, 0);
      }
      a.former = a.at.stage;
    }
    ++a.chunk;
    a.at.advance();
    return true;
  };
  for (int idle = 0; idle < 1000; ++idle)  // tries in a row that nobody could use
    if (step(static_cast<int>(order() % (kWarps + 2)))) idle = -1;
  CHECK(copies.empty());
  for (const Actor& w : warps)
    if (w.chunk != chunks || held[w.former] != chunks - 1) return false;
  return producer.chunk == chunks;
}

}  // namespace

TEST_CASE("the descriptor of an operand has the fields of the PTX ISA") {
  // Address 0x12400 / 16, 1, 1024 / 16, swizzle 1.
  CHECK(operand_descriptor(0x12400) == 0x4000'0040'0001'1240u);
  CHECK(operand_descriptor(0x12400) + descriptor_step(32) == 0x4000'0040'0001'1242u);
  CHECK(operand_descriptor(0x38000) + descriptor_step(64 * kRowBytes) == 0x4000'0040'0001'3a00u);
}

TEST_CASE("lanes hold a result of wgmma as the PTX ISA says") {
  for (int row = 0; row < 64; ++row)
    for (int column = 0; column < 192; ++column) {
      const int thread = row / 16 * 32 + row % 8 * 4 + column % 8 / 2,
                i = column / 8 * 4 + row % 16 / 8 * 2 + column % 2;
      CHECK(wgmma_row(thread, i) == row);
      CHECK(wgmma_column(thread, i) == column);
    }
}

TEST_CASE("boxes of pixels cover maps of all sizes with few boxes") {
  const auto chosen = [](int batch, int h, int w) {
    const PixelBox box = choose_box(batch, h, w);
    CHECK(box.pixels() <= kBoxPixels);
    const int boxes = parts(batch, box.images) * parts(h, box.h) * parts(w, box.w);
    return std::array{box.images, box.h, box.w, boxes};
  };
  using Chosen = std::array<int, 4>;
  CHECK(chosen(8, 256, 256) == Chosen{1, 16, 16, 2048});
  CHECK(chosen(8, 128, 128) == Chosen{1, 16, 16, 512});
  CHECK(chosen(128, 7, 7) == Chosen{5, 7, 7, 26});
  CHECK(chosen(128, 14, 14)[3] <= 105);   // 98 without any waste
  CHECK(chosen(128, 28, 28)[3] <= 420);   // 392
  CHECK(chosen(128, 56, 56)[3] <= 1680);  // 1568
  CHECK(chosen(1, 1, 1) == Chosen{1, 1, 1, 1});
  CHECK(chosen(1, 1, 1000)[3] == 4);
  CHECK(chosen(1, 3, 1000)[3] == 12);
}

TEST_CASE("boxes, copies and descriptors make a convolution and its input gradient") {
  for (const ConvCase& c : test::hopper_cases()) {
    CAPTURE(c.in);
    CAPTURE(c.out);
    CAPTURE(c.height);
    const Conv2dShape s = test::shape_of(c);
    const Tensor x = rounded(random({s.batch, s.in[0], s.in[1], s.in_channels}, 1));
    const Tensor w = rounded(random({s.out_channels, s.kernel[0], s.kernel[1], s.in_channels}, 2));
    const Shape image{s.batch, s.out[0], s.out[1], s.out_channels};
    int taken = 0;
    Tensor y = unwritten(image);
    if (run_gather(forward_gather(s), x, w, y)) {
      Tensor want = empty(image, float32, Device{});
      cpu::conv2d_forward(x, w, {}, want, s, {});
      CHECK(relative_error(y, want) < 1e-5);
      ++taken;
    }
    const Tensor dy = rounded(random(image, 3));
    Tensor dx = unwritten(x.shape());
    size_t phases = 0;
    const std::vector<Gather> gathers = backward_gathers(s);
    for (const Gather& g : gathers) phases += run_gather(g, dy, arranged(w, g), dx);
    if (phases == gathers.size()) {
      Tensor want = empty(x.shape(), float32, Device{});
      cpu::conv2d_backward_input(dy, w, want, s);
      CHECK(relative_error(dx, want) < 1e-5);
      ++taken;
    }
    CHECK(taken > 0);
  }
}

TEST_CASE("convolutions that boxes do not fit are left to others") {
  const auto fits = [](const ConvCase& c) {
    return boxed_gather(forward_gather(test::shape_of(c)), static_cast<int>(c.out)).has_value();
  };
  CHECK(fits({8, 256, 256, 192, 192}));
  CHECK(fits({8, 128, 128, 384, 384}));
  CHECK(fits({128, 56, 56, 160, 160}));
  CHECK(fits({128, 14, 14, 320, 320}));
  CHECK(fits({128, 28, 28, 256, 256}));
  CHECK_FALSE(fits({8, 256, 256, 192, 192, {3, 3}, {2, 2}}));  // pixels with others between them
  CHECK_FALSE(fits({8, 256, 256, 80, 80}));                    // 39 % of the multiplications useful
  CHECK_FALSE(fits({8, 256, 256, 196, 196}));                  // rows that begin between multiples of 16 bytes
  CHECK_FALSE(fits({1, 7, 7, 192, 192}));                      // a fifth of a box
  ConvCase grouped{8, 64, 64, 384, 384};
  grouped.groups = 2;
  CHECK_FALSE(fits(grouped));
}

TEST_CASE("the ring's barriers let nobody read early, write early or wait for ever") {
  for (const int chunks : {1, 2, 3, 4, 5, 8, 9, 27})
    for (uint32_t seed = 1; seed <= 20; ++seed) CHECK(barriers_end(chunks, seed));
}
