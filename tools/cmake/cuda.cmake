# atlas::cuda from atlas/cuda/*.cu. Included by the top level when ATLAS_CUDA is ON.
#
# It holds the host bodies as well: with ATLAS_WITH_CUDA=1 they live in another inline namespace than those of
# atlas::compiled, so that the two cannot be mixed in one program.
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "atlas: ATLAS_CUDA=ON needs nvcc 12.4 or newer; put it on PATH or set CMAKE_CUDA_COMPILER")
endif()
file(GLOB atlas_cuda_sources CONFIGURE_DEPENDS atlas/cuda/*.cu)
if(NOT atlas_cuda_sources)
  message(STATUS "atlas: ATLAS_CUDA=ON, but there is no atlas/cuda/*.cu: atlas::cuda is not built")
  return()
endif()

if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80 90)
endif()
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.4)
  message(FATAL_ERROR "atlas: nvcc ${CMAKE_CUDA_COMPILER_VERSION} found, 12.4 or newer is needed")
endif()
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
find_package(CUDAToolkit 12.4 REQUIRED)

atlas_add_static_library(atlas_cuda cuda ${atlas_sources} ${atlas_cuda_sources})
target_compile_definitions(atlas_cuda PUBLIC ATLAS_WITH_CUDA=1)
# fmt 9 takes nvcc for a compiler without constexpr and then does not compile as C++20.
target_compile_definitions(atlas_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:FMT_USE_CONSTEXPR=1>)
target_link_libraries(atlas_cuda PUBLIC CUDA::cudart)
if(TARGET CUDA::cublasLt)
  target_link_libraries(atlas_cuda PRIVATE CUDA::cublasLt)
endif()
# By hand: CMake learnt of nvcc's C++20 later than 3.24.
target_compile_options(atlas_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20 --expt-relaxed-constexpr>)
list(APPEND atlas_libraries atlas_cuda)
set(ATLAS_LIBRARY atlas::cuda)
