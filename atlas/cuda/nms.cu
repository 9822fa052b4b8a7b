// CUDA kernels of kernels/nms.h. Suppression: strips of boxes, whose overlaps with all later boxes are found in
// parallel as bits; one block then goes through the strip in order. Memory grows with the number of boxes, not its
// square.
#include "atlas/cuda/elements.cuh"
#include "atlas/kernels/box_step.h"
#include "atlas/kernels/nms.h"

namespace atlas::inline ATLAS_ABI::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kStrip = 512;  // boxes whose bits are in memory at once

template <class T>
__device__ BoxEdges<T> edges(const View<const T>& boxes, int64_t i) {
  return {boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]};
}

/// bits[i - first, w] says which of the boxes 64 w .. 64 w + 63, later than i, box i would suppress.
template <class T>
__global__ void overlap_bits_kernel(int64_t n, int64_t first, int64_t last, int64_t words, View<const T> boxes,
                                    View<const int64_t> groups, T threshold, View<uint64_t> bits) {
  const int64_t begin = first / 64, wide = words - begin, count = (last - first) * wide;
  for (int64_t at = global_thread(); at < count; at += global_threads()) {
    const int64_t i = first + at / wide, w = begin + at % wide;
    const BoxEdges<T> a = edges(boxes, i);
    const T area = box_area(a);
    uint64_t found = 0;
    for (int64_t j = 64 * w > i ? 64 * w : i + 1; j < 64 * (w + 1) && j < n; ++j) {
      if (groups && groups[i] != groups[j]) continue;
      const BoxEdges<T> b = edges(boxes, j);
      if (boxes_overlap(a, area, b, box_area(b), threshold)) found |= uint64_t{1} << (j - 64 * w);
    }
    bits[(i - first) * words + w] = found;
  }
}

/// One block: the boxes of the strip in order; those that stay suppress later ones.
__global__ void keep_kernel(int64_t first, int64_t last, int64_t words, View<const uint64_t> bits, View<uint64_t> gone,
                            View<uint8_t> kept) {
  for (int64_t i = first; i < last; ++i) {
    __syncthreads();  // the bits of the box before are in
    const bool stays = (gone[i / 64] >> (i % 64) & 1) == 0;
    __syncthreads();  // all have read them
    if (threadIdx.x == 0) kept[i] = stays ? 1 : 0;
    if (!stays) continue;
    for (int64_t w = i / 64 + threadIdx.x; w < words; w += blockDim.x) gone[w] |= bits[(i - first) * words + w];
  }
}

__global__ void clear_kernel(int64_t words, View<uint64_t> gone) {
  for (int64_t w = global_thread(); w < words; w += global_threads()) gone[w] = 0;
}

/// tops[g] = the largest overlap of truth g with any box; a block for each truth.
template <class T>
__global__ void best_of_truth_kernel(int64_t n, View<const T> boxes, View<const T> truths, View<T> tops) {
  __shared__ T of_warp[kWarp];
  const int64_t g = blockIdx.x;
  const BoxEdges<T> truth = edges(truths, g);
  const T area = box_area(truth);
  T top = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const BoxEdges<T> b = edges(boxes, i);
    const T iou = box_iou(truth, area, b, box_area(b));
    top = iou > top ? iou : top;
  }
  top = warp_max(top);
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = top;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int w = 1; w < kThreads / kWarp; ++w) top = of_warp[w] > top ? of_warp[w] : top;
  tops[g] = top;
}

template <class T>
__global__ void assign_kernel(int64_t n, int64_t count, View<const T> boxes, View<const T> truths, View<const T> tops,
                              T positive, T negative, T low_quality, View<int64_t> assigned) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const BoxEdges<T> b = edges(boxes, i);
    const T area = box_area(b);
    T best = -1;
    int64_t which = 0, own = -1;
    for (int64_t g = 0; g < count; ++g) {
      const BoxEdges<T> truth = edges(truths, g);
      const T iou = box_iou(truth, box_area(truth), b, area);
      if (iou > best) best = iou, which = g;
      if (low_quality >= 0 && tops[g] >= low_quality && iou == tops[g]) own = g;
    }
    int64_t out = best < negative ? -1 : -2;
    if (best >= positive) out = which;
    assigned[i] = own >= 0 ? own : out;
  }
}

}  // namespace

void nms(const Tensor& boxes, const Tensor& groups, double threshold, Tensor& kept) {
  const int64_t n = boxes.size(0), words = (n + 63) / 64;
  if (n == 0) return;
  const Device device = boxes.device();
  const View<uint64_t> bits(workspace<uint64_t>(device, kStrip * words, 0), kStrip * words);
  const View<uint64_t> gone(workspace<uint64_t>(device, words, 1), words);
  launch({device, "nms", blocks_for(words, kThreads), kThreads, 0, true}, clear_kernel, words, gone);
  for (int64_t first = 0; first < n; first += kStrip) {
    const int64_t last = std::min(first + kStrip, n), count = (last - first) * (words - first / 64);
    visit_cuda_float(boxes, "nms", [&](auto tag) {
      using T = decltype(tag);
      if constexpr (!std::is_same_v<T, bf16>)
        launch({device, "nms", blocks_for(count, kThreads), kThreads, 0, true}, overlap_bits_kernel<T>, n, first, last,
               words, view<const T>(boxes), view<const int64_t>(groups), static_cast<T>(threshold), bits);
    });
    launch({device, "nms", dim3(1), kThreads}, keep_kernel, first, last, words,
           View<const uint64_t>(bits.p, kStrip * words), gone, bits_view<uint8_t>(kept));
  }
}

void assign_boxes(const Tensor& boxes, const Tensor& truths, const AssignSetting& s, Tensor& assigned) {
  const int64_t n = boxes.size(0), count = truths.size(0);
  if (n == 0) return;
  const Device device = boxes.device();
  visit_cuda_float(boxes, "assign_boxes", [&](auto tag) {
    using T = decltype(tag);
    if constexpr (!std::is_same_v<T, bf16>) {
      const View<T> tops(workspace<T>(device, count), count);
      launch({device, "assign_boxes", dim3(static_cast<unsigned>(count)), kThreads}, best_of_truth_kernel<T>, n,
             view<const T>(boxes), view<const T>(truths), tops);
      launch({device, "assign_boxes", blocks_for(n, kThreads), kThreads, 0, true}, assign_kernel<T>, n, count,
             view<const T>(boxes), view<const T>(truths), View<const T>(tops.p, count), static_cast<T>(s.positive),
             static_cast<T>(s.negative), static_cast<T>(s.low_quality), view<int64_t>(assigned));
    }
  });
}

}  // namespace atlas::inline ATLAS_ABI::cuda
