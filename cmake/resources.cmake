# Builds the project's text files into the library: one .incbin each, NUL-terminated, and a table of
# names in order, which src/base/resource.c searches. A file may be given as NAME=PATH, both from the source's folder.
function(tri_write_resources asm_path c_path)
  list(SORT ARGN)
  set(asm "/* Made by cmake/resources.cmake. */\n    .section .rodata\n")
  set(names "")
  set(externs "")
  set(index 0)
  set(depends "")
  foreach(entry ${ARGN})
    string(REGEX REPLACE "=.*" "" name ${entry})
    string(REGEX REPLACE ".*=" "" file ${entry})
    string(APPEND asm "    .balign 16\n    .globl tri_resource_${index}\n    .globl tri_resource_${index}_end\n"
                      "    .hidden tri_resource_${index}\n    .hidden tri_resource_${index}_end\n"
                      "tri_resource_${index}:\n    .incbin \"${PROJECT_SOURCE_DIR}/${file}\"\n"
                      "tri_resource_${index}_end:\n    .byte 0\n")
    string(APPEND externs "extern const char tri_resource_${index}[], tri_resource_${index}_end[];\n")
    string(APPEND names "    {\"${name}\", tri_resource_${index}, tri_resource_${index}_end},\n")
    list(APPEND depends ${PROJECT_SOURCE_DIR}/${file})
    math(EXPR index "${index} + 1")
  endforeach()
  string(APPEND asm "    .section .note.GNU-stack,\"\",%progbits\n")
  file(CONFIGURE OUTPUT ${asm_path} CONTENT "${asm}" @ONLY)
  file(CONFIGURE OUTPUT ${c_path} @ONLY CONTENT
"/* Made by cmake/resources.cmake. */
#include \"base/resource_table.h\"

${externs}
const tri_resource tri_resources[] = {
${names}};
const size_t tri_resource_count = sizeof tri_resources / sizeof tri_resources[0];
")
  set_source_files_properties(${asm_path} PROPERTIES OBJECT_DEPENDS "${depends}")
endfunction()
