// Version, feature macros and the inline namespace. Every header includes this one first.
//
//   (nothing)             header-only, CPU: copy atlas/ next to a program, add Eigen and fmt
//   ATLAS_COMPILED_LIB    bodies of *-inl.h come from a library (CMake target atlas::compiled)
//   ATLAS_WITH_CUDA=1     tensors may live on CUDA devices (CMake target atlas::cuda)
//   ATLAS_CUDA_EMULATE=1  with that one: kernels run on the CPU, for tests (tests/cuda/emulate.h)
//   ATLAS_WITH_LIBJPEG=1  JPEG files are decoded by libjpeg-turbo (CMake sets it; link -ljpeg) instead of stb_image
#pragma once

#define ATLAS_VERSION_MAJOR 0
#define ATLAS_VERSION_MINOR 1
#define ATLAS_VERSION_PATCH 0

#ifndef ATLAS_WITH_CUDA
#define ATLAS_WITH_CUDA 0
#endif
#ifndef ATLAS_CUDA_EMULATE
#define ATLAS_CUDA_EMULATE 0
#endif
#ifndef ATLAS_WITH_LIBJPEG
#define ATLAS_WITH_LIBJPEG 0
#endif

// Everything lives in `namespace atlas::inline ATLAS_ABI`, so that object files built with different
// features fail at link time instead of silently mixing.
#if defined(ATLAS_COMPILED_LIB) && ATLAS_WITH_CUDA && ATLAS_CUDA_EMULATE
#define ATLAS_ABI v0_1_cuda_emulated
#elif defined(ATLAS_COMPILED_LIB) && ATLAS_WITH_CUDA
#define ATLAS_ABI v0_1_cuda
#elif defined(ATLAS_COMPILED_LIB)
#define ATLAS_ABI v0_1_compiled
#elif ATLAS_WITH_CUDA
#error "atlas: CUDA needs compiled mode: link atlas::cuda, which defines ATLAS_COMPILED_LIB"
#elif ATLAS_WITH_LIBJPEG
#define ATLAS_ABI v0_1_headers_jpeg
#else
#define ATLAS_ABI v0_1_headers
#endif

#ifdef ATLAS_COMPILED_LIB
#define ATLAS_INLINE
#else
#define ATLAS_INLINE inline
#endif

#ifdef __CUDACC__
#define ATLAS_HOST_DEVICE __host__ __device__
#else
#define ATLAS_HOST_DEVICE
#endif

/// The framework: tensors, gradients, layers, models and their training.
namespace atlas::inline ATLAS_ABI {

/// True when this build can place tensors on CUDA devices.
inline constexpr bool kWithCuda = ATLAS_WITH_CUDA != 0;

}  // namespace atlas::inline ATLAS_ABI
