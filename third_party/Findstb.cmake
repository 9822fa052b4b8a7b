# Finds the stb headers: target stb::stb. Both <stb/stb_image.h> and <stb_image.h> work.
include(FindPackageHandleStandardArgs)

find_path(stb_INCLUDE_DIR stb/stb_image.h)
mark_as_advanced(stb_INCLUDE_DIR)
find_package_handle_standard_args(stb REQUIRED_VARS stb_INCLUDE_DIR)

if(stb_FOUND AND NOT TARGET stb::stb)
  add_library(stb::stb INTERFACE IMPORTED)
  target_include_directories(stb::stb INTERFACE "${stb_INCLUDE_DIR}" "${stb_INCLUDE_DIR}/stb")
endif()
