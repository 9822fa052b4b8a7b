# Functions that give a target what atlas targets have in common.

if(ATLAS_NATIVE)
  include(CheckCXXCompilerFlag)
  check_cxx_compiler_flag(-march=native ATLAS_HAS_MARCH_NATIVE)
endif()

# Warnings and code generation of the project's own code. All PRIVATE: no user of a target inherits them.
function(atlas_project_code target)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion>
    # Loops over exp, sqrt and comparisons vectorize; results stay IEEE (this is not -ffast-math).
    $<$<COMPILE_LANGUAGE:CXX>:-fno-math-errno -fno-trapping-math>
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Wshadow>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # False alarms of g++ 12 inside its own headers: AVX-512 intrinsics (GCC bug 105593), std::string (105651).
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized -Wno-restrict>)
  endif()
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # What g++'s -Wconversion leaves out in C++: indices are int64_t here, containers take size_t.
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-sign-conversion>)
  endif()
  if(ATLAS_WERROR)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
  endif()
  if(ATLAS_NATIVE AND ATLAS_HAS_MARCH_NATIVE)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-march=native>)
  endif()
  if(ATLAS_STATIC)
    target_compile_options(${target} PRIVATE -ffunction-sections -fdata-sections)  # the linker leaves out what is not used
  endif()
  if(NOT PROJECT_IS_TOP_LEVEL)
    target_compile_options(${target} PRIVATE -w)  # a parent's warnings, also as errors, are about the parent's code
  endif()
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
endfunction()

# Include path, language level and libraries that every atlas library hands on; scope is INTERFACE or PUBLIC.
function(atlas_library_interface target scope)
  set(system)
  if(NOT PROJECT_IS_TOP_LEVEL)
    set(system SYSTEM)  # a parent's warnings are about the parent's code; installed headers are SYSTEM anyway
  endif()
  target_include_directories(${target} ${system} ${scope}
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(${target} ${scope} cxx_std_20)
  target_link_libraries(${target} ${scope} fmt::fmt Threads::Threads)
endfunction()

# A static library of the -inl.h bodies: atlas::<export_name>.
function(atlas_add_static_library target export_name)
  add_library(${target} STATIC ${ARGN})
  add_library(atlas::${export_name} ALIAS ${target})
  # Position-independent, so that it can be part of somebody's shared library.
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${export_name} POSITION_INDEPENDENT_CODE ON)
  atlas_library_interface(${target} PUBLIC)
  atlas_project_code(${target})
  target_compile_definitions(${target} PUBLIC ATLAS_COMPILED_LIB)
  # Header-only dependencies end here; zlib and libjpeg have to be linked by the program.
  target_link_libraries(${target} PRIVATE
    "$<BUILD_INTERFACE:Eigen3::Eigen;stb::stb;nlohmann_json::nlohmann_json>" ZLIB::ZLIB)
  if(ATLAS_WITH_LIBJPEG)
    target_compile_definitions(${target} PRIVATE ATLAS_WITH_LIBJPEG=1)
    target_link_libraries(${target} PRIVATE JPEG::JPEG)
  endif()
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    # Rooms without loops over elements, which call ops and write files: compile time counts there, not speed.
    foreach(source IN LISTS ARGN)
      if(source MATCHES "/atlas/(io|models|tasks|train)/[a-z_]+\\.cpp$")
        set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_OPTIONS -O1)
      endif()
    endforeach()
  endif()
  if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=")
    # Instrumented code takes three times as long to compile with optimization. Only the kernels need it.
    foreach(source IN LISTS ARGN)
      if(source MATCHES "\\.cpp$" AND NOT source MATCHES "atlas/cpu/")
        set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_OPTIONS -O0)
      endif()
    endforeach()
  endif()
  if(ATLAS_WITH_MPI)
    # One file sees MPI; the others compile as they do without it.
    set_source_files_properties(atlas/dist/mpi.cpp PROPERTIES
      COMPILE_DEFINITIONS ATLAS_WITH_MPI=1 INCLUDE_DIRECTORIES "${MPI_CXX_INCLUDE_DIRS}")
    # Where it is installed: only programs that use atlas/dist take mpi.cpp out of the library and need it.
    target_link_libraries(${target} PRIVATE $<LINK_ONLY:$<TARGET_NAME_IF_EXISTS:MPI::MPI_CXX>>)
  endif()
endfunction()

# A program of this repository, linked with the compiled library (atlas::cuda when that is built).
function(atlas_add_program target)
  add_executable(${target} ${ARGN})
  atlas_project_code(${target})
  target_link_libraries(${target} PRIVATE ${ATLAS_LIBRARY})
  if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=")
    target_compile_options(${target} PRIVATE -O0)  # as most of the library, below
  endif()
  if(ATLAS_STATIC)
    target_link_options(${target} PRIVATE -static -Wl,--gc-sections)
  endif()
endfunction()
