# What is installed, in three components (the packages of `cpack -G DEB`): library (the shared one), tools (the programs),
# dev (header, static library, and what find_package and pkg-config read). `cmake --build build --target uninstall` undoes
# the last `cmake --install build`.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/triage)

foreach(library ${TRI_LIBRARIES})
  get_target_property(kind ${library} EXPORT_NAME) # static, shared
  install(TARGETS ${library} EXPORT triage-${kind}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT dev
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
  install(EXPORT triage-${kind} NAMESPACE triage:: DESTINATION ${package_dir} COMPONENT dev)
endforeach()
if(TRI_PROGRAMS)
  install(TARGETS ${TRI_PROGRAMS} EXPORT triage-tools RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
  install(EXPORT triage-tools NAMESPACE triage:: DESTINATION ${package_dir} COMPONENT tools)
endif()
if(TARGET words)
  foreach(name ${TRI_PROGRAMS})
    set(words ${PROJECT_BINARY_DIR}/words/${name})
    install(FILES ${words}.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT tools)
    install(FILES ${words}.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME ${name}
            COMPONENT tools)
    install(FILES ${words}.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions RENAME _${name}
            COMPONENT tools)
  endforeach()
endif()
install(FILES ${PROJECT_SOURCE_DIR}/src/triage.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)

# ---- find_package(triage) and pkg-config triage ------------------------------------------------------------------
# What the static library needs beside it, by the linker's names.
set(TRI_PRIVATE_LIBRARIES "")
foreach(path ${LUA_LIBRARY} ${SQLITE_LIBRARY} ${JANSSON_LIBRARY} ${SODIUM_LIBRARY} ${PostgreSQL_LIBRARIES})
  get_filename_component(name ${path} NAME_WLE)
  string(REGEX REPLACE "^lib" "" name ${name})
  list(APPEND TRI_PRIVATE_LIBRARIES ${name})
endforeach()
set(TRI_SYSTEM_LIBRARIES ${OpenMP_C_LIB_NAMES} pthread m ${CMAKE_DL_LIBS}) # those that come with the compiler
list(REMOVE_DUPLICATES TRI_SYSTEM_LIBRARIES)
list(TRANSFORM TRI_PRIVATE_LIBRARIES PREPEND -l OUTPUT_VARIABLE flags)
list(TRANSFORM TRI_SYSTEM_LIBRARIES PREPEND -l OUTPUT_VARIABLE system_flags)
list(JOIN flags " " TRI_PRIVATE_FLAGS)
list(JOIN system_flags " " system_flags)
string(APPEND TRI_PRIVATE_FLAGS " ${system_flags}")
file(RELATIVE_PATH TRI_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/triage.pc.in triage.pc @ONLY)
configure_package_config_file(cmake/triageConfig.cmake.in triageConfig.cmake INSTALL_DESTINATION ${package_dir}
                              NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/triageConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/triageConfig.cmake ${PROJECT_BINARY_DIR}/triageConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT dev)
install(FILES ${PROJECT_BINARY_DIR}/triage.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)

# ---- uninstall ----------------------------------------------------------------------------------------------------
if(PROJECT_IS_TOP_LEVEL)
  add_custom_target(uninstall COMMAND ${CMAKE_COMMAND} -P ${PROJECT_SOURCE_DIR}/cmake/uninstall.cmake
                    WORKING_DIRECTORY ${PROJECT_BINARY_DIR} VERBATIM)
endif()

# ---- Debian packages ------------------------------------------------------------------------------------------------
set(CPACK_PACKAGE_VENDOR triage)
set(CPACK_PACKAGE_CONTACT "the triage authors <triage@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "block-sparse and attention GPU kernels that tune themselves")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE) # a package a component
set(CPACK_COMPONENTS_ALL library tools dev)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libtriage${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME triage-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION science)
set(CPACK_DEBIAN_TOOLS_PACKAGE_RECOMMENDS "gcc, libc6-dev") # the CPU's kernels are compiled with it
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libtriage-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libtriage${PROJECT_VERSION_MAJOR} (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_DEV_PACKAGE_RECOMMENDS "liblua5.4-dev, libsqlite3-dev, libjansson-dev, libsodium-dev, libpq-dev") # static
include(CPack)
