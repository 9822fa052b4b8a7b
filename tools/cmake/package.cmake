# `cpack`: a Debian package of the headers, the libraries, the CMake files and the programs. See the preset "package".
#
# Programs are installed as atlas-train, atlas-classify, ...: their own names are too short for everybody's PATH.
foreach(program train classify features attention_maps finetune convert_checkpoint model_info image_folders)
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
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)  # what the programs link; headers need these:
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libeigen3-dev, libfmt-dev, zlib1g-dev")
if(ATLAS_WITH_LIBJPEG)
  string(APPEND CPACK_DEBIAN_PACKAGE_DEPENDS ", libjpeg-dev")
endif()
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libstb-dev, nlohmann-json3-dev")
include(CPack)
