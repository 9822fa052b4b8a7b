# atlas::cuda_emulated: the CUDA library as tests run it on machines without a GPU. The host compiler reads atlas/cuda/*.cu
# as C++, and tests/cuda/ runs the kernels (emulate.h) and plays the device (device.cpp).
# Included by the top level when ATLAS_CUDA_EMULATE is ON; all programs of that build tree are linked with it.
if(ATLAS_CUDA)
  message(FATAL_ERROR "atlas: ATLAS_CUDA and ATLAS_CUDA_EMULATE need a build tree each")
endif()
file(GLOB atlas_cuda_sources CONFIGURE_DEPENDS atlas/cuda/*.cu)
list(FILTER atlas_cuda_sources EXCLUDE REGEX "/(device|conv_hopper)\\.cu$")
set_source_files_properties(${atlas_cuda_sources} PROPERTIES LANGUAGE CXX)
file(GLOB atlas_emulation_sources CONFIGURE_DEPENDS tests/cuda/*.cpp)
list(FILTER atlas_emulation_sources EXCLUDE REGEX "_test\\.cpp$")
# NCCL is played as well, over MPI: atlas/dist/nccl.cpp finds a header of its name there.
list(APPEND atlas_emulation_sources tests/cuda/nccl/nccl.cpp)
set_source_files_properties(atlas/dist/nccl.cpp PROPERTIES
  COMPILE_DEFINITIONS ATLAS_WITH_NCCL=1 INCLUDE_DIRECTORIES "${PROJECT_SOURCE_DIR}/tests/cuda/nccl")

atlas_add_static_library(atlas_cuda_emulated cuda_emulated
  ${atlas_sources} ${atlas_cuda_sources} ${atlas_emulation_sources})
target_compile_definitions(atlas_cuda_emulated PUBLIC ATLAS_WITH_CUDA=1 ATLAS_CUDA_EMULATE=1)
target_compile_options(atlas_cuda_emulated PRIVATE -Wno-unknown-pragmas)  # of nvcc
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  # Small tests run on the emulated device, almost nothing on the CPU: compile time counts.
  target_compile_options(atlas_cuda_emulated PRIVATE -O1)
  set(hardly_run ${atlas_sources})
  list(FILTER hardly_run INCLUDE REGEX "atlas/(data|io|models|train)/")
  set_source_files_properties(${hardly_run} PROPERTIES COMPILE_OPTIONS -O0)
endif()
set_target_properties(atlas_compiled PROPERTIES EXCLUDE_FROM_ALL ON)
set(ATLAS_LIBRARY atlas::cuda_emulated)
