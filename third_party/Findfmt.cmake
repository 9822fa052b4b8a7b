# Finds the fmt library: target fmt::fmt, linked with libfmt, or header-only where there is no (usable) libfmt
# or programs are static.
#
# fmt's own package file is not used because it stops CMake when libfmt-dev is unpacked without the package of the
# shared library, as on machines where packages are only unpacked into a folder.
include(FindPackageHandleStandardArgs)

if(TARGET fmt::fmt)  # the parent project brought its own
  set(fmt_FOUND TRUE)
  return()
endif()

find_path(fmt_INCLUDE_DIR fmt/core.h)
find_library(fmt_LIBRARY fmt)
mark_as_advanced(fmt_INCLUDE_DIR fmt_LIBRARY)
find_package_handle_standard_args(fmt REQUIRED_VARS fmt_INCLUDE_DIR)

if(fmt_FOUND)
  add_library(fmt::fmt-header-only INTERFACE IMPORTED)
  target_include_directories(fmt::fmt-header-only INTERFACE "${fmt_INCLUDE_DIR}")
  target_compile_definitions(fmt::fmt-header-only INTERFACE FMT_HEADER_ONLY=1)
  if(fmt_LIBRARY AND NOT ATLAS_STATIC)  # Debian has no libfmt.a
    add_library(fmt::fmt UNKNOWN IMPORTED)
    set_target_properties(fmt::fmt PROPERTIES IMPORTED_LOCATION "${fmt_LIBRARY}")
    target_include_directories(fmt::fmt INTERFACE "${fmt_INCLUDE_DIR}")
  else()
    add_library(fmt::fmt INTERFACE IMPORTED)
    target_link_libraries(fmt::fmt INTERFACE fmt::fmt-header-only)
  endif()
endif()
