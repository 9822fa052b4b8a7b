# `cmake --install`: headers, libraries and a package that find_package(atlas) finds.
include(CMakePackageConfigHelpers)
set(atlas_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/atlas")

install(DIRECTORY atlas/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/atlas"
  FILES_MATCHING PATTERN "*.h" PATTERN "*.inc" PATTERN "*.cuh")
install(TARGETS atlas ${atlas_libraries} EXPORT atlas)
install(EXPORT atlas NAMESPACE atlas:: FILE atlasTargets.cmake DESTINATION "${atlas_package_dir}")

configure_package_config_file(third_party/atlasConfig.cmake.in atlasConfig.cmake
  INSTALL_DESTINATION "${atlas_package_dir}")
write_basic_package_version_file(atlasConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/atlasConfig.cmake" "${CMAKE_CURRENT_BINARY_DIR}/atlasConfigVersion.cmake"
  third_party/Findfmt.cmake third_party/Findstb.cmake third_party/FindNCCL.cmake DESTINATION "${atlas_package_dir}")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
