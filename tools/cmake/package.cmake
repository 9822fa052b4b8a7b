# `cpack`: a Debian package of the headers, the libraries, the CMake files and the programs. It is for any machine of
# this architecture: cmake --preset package && cmake --build --preset package && cpack --config build/package/CPackConfig.cmake
#
# Programs are installed as atlas-train, atlas-classify, ...: their own names are too short for everybody's PATH.
foreach(program train finetune classify segment detect features attention_maps convert_checkpoint model_info image_folders
    data_card show_augmentation)
  if(TARGET ${program})
    string(REPLACE "_" "-" installed "atlas-${program}")
    install(PROGRAMS "$<TARGET_FILE:${program}>" DESTINATION "${CMAKE_INSTALL_BINDIR}" RENAME "${installed}")
  endif()
endforeach()

set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)  # what is packed was built before; the tests need not be
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libatlas-dev)
set(CPACK_PACKAGE_VENDOR atlas)
set(CPACK_PACKAGE_CONTACT "the atlas authors <atlas@example.org>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_CONFLICTS libatlas-base-dev)  # linear algebra, whose library is libatlas.a as well
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)  # what the programs link
# What atlasConfig.cmake requires. CUDA and NCCL come from NVIDIA, in packages of many names.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libeigen3-dev, libfmt-dev, zlib1g-dev")
if(ATLAS_WITH_LIBJPEG)
  string(APPEND CPACK_DEBIAN_PACKAGE_DEPENDS ", libjpeg-dev")
endif()
# What it looks for: header-only programs that read files take the first two.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libstb-dev, nlohmann-json3-dev")
if(ATLAS_WITH_MPI)
  string(APPEND CPACK_DEBIAN_PACKAGE_RECOMMENDS ", openmpi-bin")  # mpirun, for the programs here
  set(CPACK_DEBIAN_PACKAGE_SUGGESTS libopenmpi-dev)  # for programs that use atlas/dist: it brings a Fortran compiler
endif()
# Read by cpack: refuses what runs on this machine alone.
set(CPACK_ATLAS_NATIVE OFF)
if((ATLAS_NATIVE AND ATLAS_HAS_MARCH_NATIVE) OR CMAKE_CXX_FLAGS MATCHES "-m(arch|cpu)=native")
  set(CPACK_ATLAS_NATIVE ON)
endif()
set(CPACK_PROJECT_CONFIG_FILE "${PROJECT_SOURCE_DIR}/tools/cmake/package_check.cmake")
include(CPack)
