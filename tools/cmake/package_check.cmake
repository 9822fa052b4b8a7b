# Read by cpack before it makes a package.
if(CPACK_ATLAS_NATIVE AND CPACK_INSTALL_CMAKE_PROJECTS AND NOT CPACK_ATLAS_ALLOW_NATIVE)
  # A leading space keeps CMake from wrapping the line.
  message(FATAL_ERROR " atlas: this tree is compiled for this machine alone (-march=native); configure it with \
--preset package or -DATLAS_NATIVE=OFF. A package for machines just like it: cpack -D CPACK_ATLAS_ALLOW_NATIVE=ON")
endif()
