# atlas::cuda from atlas/cuda/*.cu. Included by the top level when ATLAS_CUDA is ON.
#
# It holds the host bodies as well: with ATLAS_WITH_CUDA=1 they live in another inline namespace than those of
# atlas::compiled, so that the two cannot be mixed in one program.
#
# ATLAS_CUDA_ARCHS: the architectures to make code for, newest last; newer GPUs get the PTX of the last one.
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "atlas: ATLAS_CUDA=ON needs nvcc 12.4 or newer; put it on PATH or set CMAKE_CUDA_COMPILER")
endif()

set(ATLAS_CUDA_ARCHS "80;90" CACHE STRING "CUDA architectures (80 A100, 86 RTX 30, 89 RTX 40, 90 H100, 100 B200)")
list(LENGTH ATLAS_CUDA_ARCHS count)
if(count EQUAL 0)
  message(FATAL_ERROR "atlas: ATLAS_CUDA_ARCHS is empty; use for instance -DATLAS_CUDA_ARCHS=\"80;90\"")
endif()
set(CMAKE_CUDA_ARCHITECTURES)
list(GET ATLAS_CUDA_ARCHS -1 newest)
foreach(arch IN LISTS ATLAS_CUDA_ARCHS)
  if(NOT arch MATCHES "^[0-9]+$" OR arch LESS 80)
    message(FATAL_ERROR "atlas: ATLAS_CUDA_ARCHS has '${arch}'; architectures are numbers from 80 on")
  endif()
  if(arch EQUAL newest)
    list(APPEND CMAKE_CUDA_ARCHITECTURES ${arch})  # code and PTX
  else()
    list(APPEND CMAKE_CUDA_ARCHITECTURES ${arch}-real)
  endif()
endforeach()
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.4)
  message(FATAL_ERROR "atlas: nvcc ${CMAKE_CUDA_COMPILER_VERSION} found, 12.4 or newer is needed")
endif()
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
find_package(CUDAToolkit 12.4 REQUIRED)
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL OFF)

file(GLOB atlas_cuda_sources CONFIGURE_DEPENDS atlas/cuda/*.cu)
# wgmma needs code for 9.0a, from which nothing else would gain.
if(90 IN_LIST ATLAS_CUDA_ARCHS)
  set_property(SOURCE atlas/cuda/conv_hopper.cu PROPERTY COMPILE_OPTIONS -gencode=arch=compute_90a,code=sm_90a)
endif()
atlas_add_static_library(atlas_cuda cuda ${atlas_sources} ${atlas_cuda_sources})
target_compile_definitions(atlas_cuda PUBLIC ATLAS_WITH_CUDA=1)
list(JOIN ATLAS_CUDA_ARCHS ", " archs_text)
# fmt 9 takes nvcc for a compiler without constexpr and then does not compile as C++20.
target_compile_definitions(atlas_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:FMT_USE_CONSTEXPR=1> ATLAS_CUDA_ARCHS_TEXT="${archs_text}")
target_link_libraries(atlas_cuda PUBLIC CUDA::cudart PRIVATE CUDA::cublasLt)
# Optional (libnccl-dev): without it several processes train on CPUs.
set(ATLAS_WITH_NCCL OFF)
if(ATLAS_NCCL AND ATLAS_WITH_MPI)
  list(PREPEND CMAKE_MODULE_PATH "${PROJECT_SOURCE_DIR}/third_party")
  set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)
  find_package(NCCL 2.10 MODULE QUIET)  # the first with bfloat16
  set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL OFF)
  list(POP_FRONT CMAKE_MODULE_PATH)
  if(NCCL_FOUND)
    set(ATLAS_WITH_NCCL ON)
    message(STATUS "atlas: NCCL ${NCCL_VERSION}")  # tools/test.sh looks for it
    # One file sees NCCL; the others compile as they do without it.
    set_source_files_properties(atlas/dist/nccl.cpp PROPERTIES
      COMPILE_DEFINITIONS ATLAS_WITH_NCCL=1 INCLUDE_DIRECTORIES "${NCCL_INCLUDE_DIR}")
    target_link_libraries(atlas_cuda PRIVATE $<LINK_ONLY:$<TARGET_NAME_IF_EXISTS:NCCL::NCCL>>)
  else()
    message(STATUS "atlas: NCCL (libnccl-dev, or PyPI's nvidia-nccl-cu13) not found: several processes train on CPUs")
  endif()
endif()
# By hand: CMake learnt of nvcc's C++20 later than 3.24.
# 186: functors of any type compare with zero, also where the type has no sign.
target_compile_options(atlas_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20 --expt-relaxed-constexpr -diag-suppress=186>)
set_target_properties(atlas_cuda PROPERTIES CUDA_STANDARD_REQUIRED OFF)
list(APPEND atlas_libraries atlas_cuda)
set(ATLAS_LIBRARY atlas::cuda)
